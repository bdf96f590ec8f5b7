"""Is one side slower than the other: yes, no, or not yet known. Live sides are measured in turn, stored ones are read."""

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from bench import errors, store
from bench.analysis.compare import SideComparison
from bench.analysis.rule import worst
from bench.clock import SystemClock
from bench.commands import against_history, compare_flags, crew_flags, flags, target_flags
from bench.commands.compare_job import COOLDOWN_NS, Job, measured, prepared, sides_of
from bench.errors import UsageError
from bench.experiments import compare
from bench.reports import data, html, markdown, text
from bench.reports.sides import Sides
from bench.terminal import Terminal

FORMATS = ("text", "markdown", "json")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("sides", nargs="+", metavar="SIDE", help="two or more, all held to the first: target words, which are "
                        "measured in turn, and folders of stored runs (with a slash in the name)")  # fmt: skip
    parser.add_argument("--workload", action="append", default=[], metavar="W", help="a name or a .toml file; may be repeated: "
                        "each is a comparison of its own (default: resnet50, or that of the stored runs)")  # fmt: skip
    compare_flags.add(parser)
    against_history.arguments(parser)
    group = parser.add_argument_group("how live sides are measured")
    group.add_argument("--exclusive", action="store_true", help="one server at a time, for a GPU or a memory that holds no two")
    group.add_argument("--cooldown", type=flags.pause, default=COOLDOWN_NS, metavar="D",
                       help="a pause before each round (default: 500ms)")  # fmt: skip
    group.add_argument("--model-repository", type=Path, action="append", default=[], metavar="DIR", help="Tritons "
                       "that bench starts serve your models in DIR; given several times, each in its turn")  # fmt: skip
    target_flags.add_headers(parser)
    target_flags.add_client(parser)
    flags.add_load(parser)
    crew_flags.add(parser)
    flags.add_output(parser)
    parser.add_argument("--format", choices=FORMATS, default="text", help="of what is printed; the folder keeps text and pages")
    parser.add_argument("--json", dest="format", action="store_const", const="json", help="the same as --format json")


def run(args: argparse.Namespace, out: Callable[[str], None], say: Terminal) -> int:
    if args.against_history:
        return against_history.run(args, out, say)
    if args.last:
        raise UsageError("--last: says how many runs of its history one is judged by; it goes with --against-history")
    sides = sides_of(args)
    jobs = [prepared(args, name, sides) for name in args.workload or [None]]
    if len(jobs) > 1 and any(isinstance(side, Path) for side in sides):
        raise UsageError("--workload: stored runs are of one workload, so that one comparison can be made with them")
    root = args.output if len(jobs) == 1 else store.create(args.output, "compare", SystemClock())
    reports, codes = [], []
    for job in jobs:
        report, code = _compared(job, root, args, say)
        reports.append(report)
        codes.append(code)
        if code == errors.INTERRUPTED:
            break
    out(together(reports, args.format))
    return severest(codes)


def _compared(job: Job, root: Path, args: argparse.Namespace, say: Terminal) -> tuple[str, int]:
    """(the report, the exit code) of one comparison."""
    done = measured(job, root, say)
    comparison, sides = compare.judge(done.experiment, done.rounds)
    report = shown(comparison, sides, args.format)
    _keep(done.folder, comparison, sides, say)
    if done.failure is not None:
        say(f"bench: {done.failure}\nthe finished rounds are kept: bench report {done.folder}")
        return report, done.failure.exit_code
    return report, exit_code(comparison, done.whole, args.unknown == "ok")


def _keep(folder: Path, comparison: SideComparison, sides: Sides, say: Terminal) -> None:
    """Leave the report beside the runs; where that cannot be, it is told, and the verdict stands."""
    try:
        (folder / "report.html").write_text(html.comparison_html(comparison, sides), encoding="utf-8")
        (folder / "report.md").write_text(markdown.comparison_markdown(comparison, sides), encoding="utf-8")
    except OSError as error:
        say(f"bench: {folder}: the report cannot be kept there: {error.strerror}")
        return
    say(f"report: {folder / 'report.html'}")


def shown(comparison: SideComparison, sides: Sides, format_: str) -> str:
    """The comparison as text, Markdown or JSON."""
    match format_:
        case "markdown":
            return markdown.comparison_markdown(comparison, sides)
        case "json":
            return data.to_text(data.comparison_json(comparison, sides))
    return text.comparison_text(comparison, sides)


def together(texts: Sequence[str], format_: str) -> str:
    """The reports of several comparisons: documents become one list."""
    if format_ != "json" or len(texts) == 1:
        return "\n".join(texts)
    return data.to_text([json.loads(text) for text in texts])


def exit_code(comparison: SideComparison, whole: bool, unknown_ok: bool) -> int:
    """0 no regression, 1 one is WORSE, 4 a side is INVALID or a verdict UNKNOWN, 130 interrupted."""
    found = worst(comparison.judgements())
    if not whole:
        return errors.INTERRUPTED
    if found == "WORSE":
        return errors.FAILED
    if not comparison.valid or comparison.ended:
        return errors.UNDECIDED
    return errors.UNDECIDED if found == "UNKNOWN" and not unknown_ok else errors.OK


def severest(codes: list[int]) -> int:
    """The exit code of several comparisons: that of the first of interrupted, failed, WORSE, UNKNOWN that happened."""
    order = (errors.INTERRUPTED, 3, 2, errors.FAILED, errors.UNDECIDED, errors.OK)
    return min(codes, key=order.index)
