"""Show stored runs again, with every server stopped: recomputed from what lies in the results folder."""

import argparse
from collections.abc import Callable
from pathlib import Path

from bench import errors, store
from bench.analysis.summary import summarize
from bench.errors import UsageError
from bench.experiments import demo
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
    """What is in one place; of several runs one that is damaged is named, and hides no other."""
    if demo.is_experiment(path):
        out(_comparison(path, format_))
        return errors.OK
    folders, code = store.find_runs(path), errors.OK
    for folder in folders:
        try:
            made = _single(store.open_run(folder), format_)
        except UsageError as error:
            if len(folders) == 1:
                raise
            say(f"bench: {error}")
            code = error.exit_code
            continue
        if len(folders) > 1 and format_ == "text":
            out(f"{folder}\n")
        out(made)
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
    comparison, sides = demo.load(path)
    match format_:
        case "markdown":
            return markdown.comparison_markdown(comparison, sides)
        case "html":
            return html.comparison_html(comparison, sides)
        case "json":
            return data.to_text(data.comparison_json(comparison, sides))
    return text.comparison_text(comparison, sides)
