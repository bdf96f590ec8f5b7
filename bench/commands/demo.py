"""Several servers on one workload, all started here, measured in turn, compared: the five-minute tour of bench."""

import argparse
from collections.abc import Callable
from pathlib import Path

from bench import endpoint as endpoints
from bench import environment, errors, recorded, resources, store
from bench import workload as workloads
from bench.commands import crew_flags, live_sides, target_flags
from bench.commands.arrival_flags import count
from bench.commands.flags import add_load, add_output, add_repository, override
from bench.commands.run import drivers
from bench.errors import BenchError, RunError
from bench.experiments import compare, folder, rounds
from bench.experiments.names import side_names
from bench.experiments.rounds import Turn
from bench.record import Run
from bench.reports import html, markdown, text, verdicts
from bench.terminal import Terminal

SIDES, ROUNDS, REQUESTS = ("flask", "triton"), 6, 120
# of a workload that generates; a request takes seconds on a CPU, and three rounds are the fewest that give an interval
GENERATING = ("flask", "triton?batching=off", "triton?batching=dynamic", "triton?batching=continuous")
GENERATING_ROUNDS, GENERATING_REQUESTS = 3, 8


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "sides", nargs="*", metavar="TARGET", help="two targets or more, all compared with the first (default: flask triton; "
        "of a workload that generates: flask, and triton with each mode of batching)",
    )  # fmt: skip
    parser.add_argument("--workload", default="resnet50", metavar="W", help="a name or a .toml file (default: resnet50)")
    made = f"rounds of each side (default: {ROUNDS}; of a workload that generates: {GENERATING_ROUNDS})"
    parser.add_argument("--rounds", type=count, metavar="N", help=made)
    target_flags.add_headers(parser)
    target_flags.add_client(parser)
    add_load(parser)
    crew_flags.add(parser)
    add_repository(parser)
    add_output(parser)


def run(args: argparse.Namespace, out: Callable[[str], None], say: Terminal) -> int:
    workload = override(resources.load_workload(args.workload), args)
    generates = workload.generates
    named = args.sides or (GENERATING if generates else SIDES)
    if len(named) < 2:
        raise errors.UsageError(f"bench demo: expected two targets or more, got {len(named)}")
    if not args.requests and not args.duration:
        workload = workloads.override(workload, requests=GENERATING_REQUESTS if generates else REQUESTS)
    most = args.rounds or (GENERATING_ROUNDS if generates else ROUNDS)
    asked = target_flags.parse_all(named, args)
    for word in asked:
        endpoints.check(word, workload, args.model_repository)
    setup = live_sides.Setup(
        words=asked,
        workload=workload,
        repositories=[args.model_repository] * len(asked),
        references=recorded.find_each(args.workload, workload),
        crew=crew_flags.crew(args, workload, *asked),
    )
    facts = environment.fingerprint()
    path = store.create(args.output, store.slug(f"demo-{workload.name}"), drivers(asked[0], setup.crew, say)[1])
    with live_sides.start(setup, path, facts, say) as stage:
        names = side_names([stage.endpoint(n).describe() for n in range(len(asked))])
        experiment = folder.begin(path, "demo", workload.name, [(name, None) for name in names], None)

        def one(turn: Turn) -> Run:
            where = folder.round_folder(path, experiment.sides[turn.side], turn.number)
            label = f"round {turn.number} of {most}, {names[turn.side]}"
            done = stage.measure(turn.side, turn.number, where, label)
            say(f"{label}: {verdicts.in_short(done)}")
            return done

        say(f"{workload.name}: {most} rounds a side, in turn, on {', '.join(names[:-1])} and {names[-1]}")
        try:
            whole = rounds.measure(rounds.course(len(asked), (most,), workload.seed), one)
        except BenchError as error:
            raise RunError(f"{error}\nthe finished rounds are kept: bench report {path}") from None
    return _show(path, whole, out)


def _show(path: Path, whole: bool, out: Callable[[str], None]) -> int:
    comparison, found = compare.load(path)
    (path / "report.html").write_text(html.comparison_html(comparison, found), encoding="utf-8")
    (path / "report.md").write_text(markdown.comparison_markdown(comparison, found), encoding="utf-8")
    out(text.comparison_text(comparison, found))
    out(f"report: {path / 'report.html'}")
    if not whole:
        return errors.INTERRUPTED
    return errors.OK if comparison.valid else errors.UNDECIDED
