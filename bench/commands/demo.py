"""Several servers on one workload, all started here, measured in turn, compared: the five-minute tour of bench."""

import argparse
import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

from bench import endpoint as endpoints
from bench import environment, errors, recorded, resources, store
from bench import workload as workloads
from bench.analysis.summary import Summary, summarize
from bench.commands import crew_flags, target_flags
from bench.commands.arrival_flags import count
from bench.commands.flags import add_load, add_output, add_repository, override
from bench.commands.run import drivers, measure
from bench.endpoint import Endpoint
from bench.errors import BenchError, RunError
from bench.experiments import demo
from bench.record import Run
from bench.reports import html, markdown, tables, text
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
    rounds = f"rounds of each side (default: {ROUNDS}; of a workload that generates: {GENERATING_ROUNDS})"
    parser.add_argument("--rounds", type=count, metavar="N", help=rounds)
    target_flags.add_headers(parser)
    target_flags.add_client(parser)
    add_load(parser)
    crew_flags.add(parser)
    add_repository(parser)
    add_output(parser)


def run(args: argparse.Namespace, out: Callable[[str], None], say: Terminal) -> int:
    workload = override(resources.load_workload(args.workload), args)
    generates = workload.generates
    sides = args.sides or (GENERATING if generates else SIDES)
    if len(sides) < 2:
        raise errors.UsageError(f"bench demo: expected two targets or more, got {len(sides)}")
    if not args.requests and not args.duration:
        workload = workloads.override(workload, requests=GENERATING_REQUESTS if generates else REQUESTS)
    rounds = args.rounds or (GENERATING_ROUNDS if generates else ROUNDS)
    asked = target_flags.parse_all(sides, args)
    for word in asked:
        endpoints.check(word, workload, args.model_repository)
    crew = crew_flags.crew(args, workload, *asked)
    references = recorded.find_each(args.workload, workload)
    clock, facts = drivers(asked[0], crew, say)[1], environment.fingerprint()
    folder = store.create(args.output, store.slug(f"demo-{workload.name}"), clock)
    with contextlib.ExitStack() as stack:
        live = [
            stack.enter_context(endpoints.live(word, workload, folder / f"server-{n}.log", say, args.model_repository))
            for n, word in enumerate(asked, 1)
        ]
        live = [one.held_to(references) for one in live]
        names = side_names(live)
        folders = demo.begin(folder, workload.name, names)

        def one(which: int, number: int, path: Path) -> Run:
            load, clock, sampler = drivers(live[which].word, crew, say)
            label = f"round {number} of {rounds}, {names[which]}"
            done = measure(workload, live[which], path, load, clock, sampler, facts, say, label)
            say(f"{label}: {_in_short(summarize(done))}")
            return done

        say(f"{workload.name}: {rounds} rounds a side, in turn, on {', '.join(names[:-1])} and {names[-1]}")
        try:
            whole = demo.measure(folders, rounds, workload.seed, one)
        except BenchError as error:
            raise RunError(f"{error}\nthe finished rounds are kept: bench report {folder}") from None
    return _show(folder, whole, out)


def _in_short(summary: Summary) -> str:
    valid = "" if summary.valid else ", INVALID"
    if (s := summary.streaming) is not None:
        mean = f", mean TTFT {tables.point(s.ttft.mean)}" if s.ttft.mean else ""
        return f"{summary.requests} requests, {tables.number(s.tokens.value)} tokens/s{mean}{valid}"
    mean = f", mean {summary.latency.mean.value:.0f} ms" if summary.latency.mean else ""
    return f"{summary.requests} requests, {summary.throughput.value:.1f}/s{mean}{valid}"


def side_names(live: Sequence[Endpoint]) -> list[str]:
    """Names that tell the sides apart: those of one name get the options in which they differ, or else numbers.

    Where sides differ in precision, every name says its own.
    """
    precisions = [_precision(one) for one in live]
    apart = len(set(precisions)) > 1
    made = []
    for side, precision in zip(live, precisions, strict=True):
        alike = [other.asked.options for other in live if other.name == side.name]
        told = {k: v for k, v in side.asked.options.items() if len({of.get(k) for of in alike}) > 1}
        told |= {"precision": precision} if apart and precision else {}
        made.append(" ".join([side.name, *(f"{k}={v}" for k, v in sorted(told.items()))]))
    return [f"{name} ({made[: n + 1].count(name)})" if made.count(name) > 1 else name for n, name in enumerate(made)]


def _precision(one: Endpoint) -> str:
    """Of the models that bench built for it, else the one that its word asks for."""
    return ",".join(dict.fromkeys(of.model.precision for of in one.models if of.model)) or one.asked.options.get(
        "precision", ""
    )


def _show(folder: Path, whole: bool, out: Callable[[str], None]) -> int:
    comparison, sides = demo.load(folder)
    (folder / "report.html").write_text(html.comparison_html(comparison, sides), encoding="utf-8")
    (folder / "report.md").write_text(markdown.comparison_markdown(comparison, sides), encoding="utf-8")
    out(text.comparison_text(comparison, sides))
    out(f"report: {folder / 'report.html'}")
    if not whole:
        return errors.INTERRUPTED
    return errors.OK if comparison.valid else errors.UNDECIDED
