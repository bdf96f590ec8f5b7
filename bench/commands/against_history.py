"""`bench compare --against-history`: one run, stored or measured now, judged by the stored runs of its kind before it."""

import argparse
from collections.abc import Callable
from pathlib import Path

from bench import endpoint as endpoints
from bench import environment, errors, recorded, resources, store
from bench.analysis.history import History, Point, judge
from bench.commands import compare_flags, crew_flags, target_flags
from bench.commands.arrival_flags import count
from bench.commands.compare_job import WORKLOAD, path_of
from bench.commands.flags import override
from bench.commands.run import discard_if_empty, drivers, measure
from bench.errors import UsageError
from bench.experiments import history
from bench.reports import data, history_page, markdown, text
from bench.terminal import Terminal

LAST, MOST = 20, 200  # runs
_OF_SIDES = ("rounds", "looks", "exclusive", "force")  # flags that say something of sides


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags to a parser."""
    group = parser.add_argument_group("one run against those before it")
    group.add_argument("--against-history", action="store_true", help="judge the one SIDE, a stored run or a target word that "
                       "is measured once, by the stored runs of its kind below --output")  # fmt: skip
    group.add_argument("--last", type=count, metavar="N", help=f"the newest N of them (default: {LAST})")


def run(args: argparse.Namespace, out: Callable[[str], None], say: Terminal) -> int:
    """Judge the run, print the report and keep it in the run's folder; the exit code, as of a comparison."""
    _check(args)
    given = path_of(args.sides[0])
    folder = _measured(args, say) if given is None else store.find_runs(given)[0]
    judged = history.point(given or folder)
    deltas = dict(compare_flags.rule(args, judged.run.workload.generates, live=False).deltas)
    found = history.before(judged.run, args.output, args.last or LAST, say)
    made = judge(found.points, judged, deltas)
    out(_shown(made, found, args.format))
    _keep(folder, made, found, say)
    return _exit_code(made, judged, args.unknown == "ok")


def _check(args: argparse.Namespace) -> None:
    if len(args.sides) != 1:
        raise UsageError(f"--against-history: expected one side, the run that is judged, got {len(args.sides)}")
    if given := [f"--{name}" for name in _OF_SIDES if getattr(args, name)]:
        raise UsageError(f"{given[0]} has no place beside --against-history, which judges one run")
    if args.last and not 1 <= args.last <= MOST:
        raise UsageError(f"--last: expected a number of runs from 1 to {MOST}, got {args.last}")
    if args.workload and path_of(args.sides[0]):
        raise UsageError(f"--workload {args.workload[0]}: a stored run has its workload with it")
    if len(args.workload) > 1 or len(args.model_repository) > 1:
        raise UsageError("--against-history measures one run: expected one --workload and one --model-repository at most")


def _measured(args: argparse.Namespace, say: Terminal) -> Path:
    """The folder of a run that is made now, as `bench run` makes it."""
    name = args.workload[0] if args.workload else WORKLOAD
    workload = override(resources.load_workload(name), args)
    word = target_flags.parse(args.sides[0], args)
    repository = args.model_repository[0] if args.model_repository else None
    endpoints.check(word, workload, repository)
    references = recorded.find_each(name, workload)
    load, clock, sampler = drivers(word, crew_flags.crew(args, workload, word), say)
    machine = environment.fingerprint() if sampler else {}
    folder = store.create(args.output, store.slug(f"{workload.name}-{word.kind}-{word.version}"), clock)
    try:
        with endpoints.live(word, workload, folder / "server.log", say, repository) as endpoint:
            measure(workload, endpoint.held_to(references), folder, load, clock, sampler, machine, say)
    finally:
        discard_if_empty(folder)
    return folder


def _shown(made: History, found: history.Found, format_: str) -> str:
    if format_ == "json":
        return data.to_text(history_page.history_json(made, found.passed_over))
    page = history_page.history_page(made, found.passed_over)
    return markdown.page_markdown(page) if format_ == "markdown" else text.page_text(page)


def _keep(folder: Path, made: History, found: history.Found, say: Terminal) -> None:
    """Beside the run's own report, where its folder may be written to: the verdict stands without."""
    path = folder / "history.html"
    try:
        path.write_text(history_page.history_html(made, found.passed_over), encoding="utf-8")
    except OSError as error:
        say(f"bench: {path}: cannot be written: {error.strerror}")
    else:
        say(f"report: {path}")


def _exit_code(made: History, judged: Point, unknown_ok: bool) -> int:
    """130 interrupted, 1 WORSE, 4 the run is INVALID or the verdict UNKNOWN, 0 else."""
    if judged.run.status == "partial":
        return errors.INTERRUPTED
    if made.verdict == "WORSE":
        return errors.FAILED
    if not judged.summary.valid or (made.verdict == "UNKNOWN" and not unknown_ok):
        return errors.UNDECIDED
    return errors.OK
