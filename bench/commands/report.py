"""Show stored runs again, with every server stopped: recomputed from what lies in the results folder."""

import argparse
from collections.abc import Callable
from pathlib import Path

from bench import errors, store
from bench.analysis.summary import summarize
from bench.commands.compare import shown, together
from bench.errors import UsageError
from bench.experiments import compare
from bench.experiments import folder as experiments
from bench.record import Run
from bench.reports import data, html, markdown, text

FORMATS = ("text", "markdown", "html", "json", "csv")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", nargs="+", type=Path, help="a run's folder, or a folder of runs")
    parser.add_argument("--format", choices=FORMATS, default="text")
    parser.add_argument("--json", dest="format", action="store_const", const="json", help="the same as --format json")


def run(args: argparse.Namespace, out: Callable[[str], None], say: Callable[[str], None]) -> int:
    if args.format == "csv":
        runs = [store.open_run(folder) for path in args.path for folder in store.find_runs(path)]
        out(data.runs_csv((one, summarize(one)) for one in runs).rstrip("\n"))
        return errors.OK
    if args.format == "html" and len(args.path) > 1:
        raise UsageError("--format html: expected one run or one experiment, an HTML page holds no more")
    codes = [_report(path, args.format, out, say) for path in args.path]
    return max(codes)


def _report(path: Path, format_: str, out: Callable[[str], None], say: Callable[[str], None]) -> int:
    """What is in one place: experiments, and runs that are in none. A damaged one of several is named, and hides no other."""
    found = experiments.find(path)
    runs = [] if found and not list(path.rglob("run.json")) else store.find_runs(path)
    alone = [run for run in runs if not any(run.is_relative_to(one) for one in found)]
    made, code = [], errors.OK
    for folder in (*found, *alone):
        try:
            report = _comparison(folder, format_) if folder in found else _single(store.open_run(folder), format_)
        except UsageError as error:
            if len(found) + len(alone) == 1:
                raise
            say(f"bench: {error}")
            code = error.exit_code
            continue
        several = len(found) + len(alone) > 1 and format_ == "text"
        made.append(f"{folder}\n\n{report}" if several else report)
    if made:
        out(together(made, format_))
    return code


def _single(one: Run, format_: str) -> str:
    summary = summarize(one)
    match format_:
        case "markdown":
            return markdown.run_markdown(summary, one)
        case "html":
            return html.run_html(one, summary)
        case "json":
            return data.to_text(data.run_json(one, summary))
    return text.run_text(summary, one)


def _comparison(path: Path, format_: str) -> str:
    comparison, sides = compare.load(path)
    return html.comparison_html(comparison, sides) if format_ == "html" else shown(comparison, sides, format_)
