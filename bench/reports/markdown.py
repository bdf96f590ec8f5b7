"""Reports as Markdown: the tables of the terminal for a pull request, an issue or a step summary."""

import re

from bench.analysis.compare import SideComparison
from bench.analysis.summary import Summary
from bench.record import Run
from bench.reports.comparison_page import comparison_page
from bench.reports.run_page import run_page
from bench.reports.sides import Sides
from bench.reports.tables import Page, Table, Verdict

# what could start markup inside a line; "]" only where it would make a link or a definition of one
_SPECIAL = re.compile(r"([\\`*<>|~&#$@]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|\](?=[(\[:])|!(?=\[))")
_LIST = re.compile(r"^(\d*)([-+=.)])(?=[-+=\s]|$)")


def run_markdown(summary: Summary, run: Run) -> str:
    """The report of one run."""
    return page_markdown(run_page(summary, run))


def comparison_markdown(comparison: SideComparison, sides: Sides) -> str:
    """The report of a comparison."""
    return page_markdown(comparison_page(comparison, sides))


def page_markdown(page: Page) -> str:
    """A page as Markdown; names and messages are escaped."""
    parts = [f"# {escape(page.title)}", "\n".join(_verdict(v) for v in page.verdicts)]
    if page.lead:
        parts.append(escape(page.lead))
    for index, table in enumerate(page.tables):
        parts += [f"## {escape(table.title)}"] if index else []
        parts += [_table(table)] + ([f"*{escape(table.note)}*"] if table.note else [])
    if page.warnings:
        parts += ["## Warnings", "\n".join(f"- {escape(w)}" for w in page.warnings)]
    return "\n\n".join(parts) + "\n"


def escape(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    return _LIST.sub(r"\1\\\2", _SPECIAL.sub(r"\\\1", " ".join(text.split())))


def _verdict(v: Verdict) -> str:
    name = f"{escape(v.name)}: " if v.name else ""
    lines = [f"- **{v.word}** {name}{escape(v.summary)}"]
    return "\n".join([*lines, *(f"  - {escape(r)}" for r in v.reasons)])


def _table(table: Table) -> str:
    lines = [[escape(c) for c in table.columns], ["---"] * len(table.columns)]
    lines += [[escape(c.text) for c in row] for row in table.rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
