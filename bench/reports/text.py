"""Reports as plain text for a terminal or a log: every line fits the width, bold and colour only where asked for."""

import io
from textwrap import wrap

from rich import box
from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from bench.analysis.compare import SideComparison
from bench.analysis.summary import Summary
from bench.record import Run
from bench.reports.comparison_page import Sides, comparison_page
from bench.reports.run_page import run_page
from bench.reports.tables import Cell, Page, Table, Tone, Verdict

_GAP = 2
_RULE = box.Box("    \n    \n ── \n    \n    \n    \n    \n    \n")
_STYLES: dict[Tone, str] = {"": "", "better": "green", "worse": "red", "bad": "red", "muted": "dim", "code": ""}


def run_text(summary: Summary, run: Run, width: int = 80, colour: bool = False) -> str:
    """The report of one run."""
    return page_text(run_page(summary, run), width, colour)


def comparison_text(comparison: SideComparison, sides: Sides, width: int = 80, colour: bool = False) -> str:
    """The report of a comparison of two sides."""
    return page_text(comparison_page(comparison, sides), width, colour)


def page_text(page: Page, width: int = 80, colour: bool = False) -> str:
    """A page as text; no line is longer than `width` (at least 40), none ends in a blank."""
    parts: list[RenderableType] = [Text(page.title, "bold"), Text()]
    parts += [_verdict(v) for v in page.verdicts]
    if page.lead:
        parts += [Text(), Text(page.lead)]
    for index, table in enumerate(page.tables):
        parts += [Text(), _table(table, index > 0, width)]
    if page.warnings:
        parts += [Text(), Text("Warnings", "bold"), *(_item(w) for w in page.warnings)]
    return _print(Group(*parts), max(width, 40), colour)


def _verdict(v: Verdict) -> RenderableType:
    word = Text(" VALID " if v.valid else " INVALID ", "bold green reverse" if v.valid else "bold red reverse")
    name = f"{v.name}: " if v.name else ""
    line = Text.assemble(word, " ", (name, "bold"), v.summary)
    return Group(line, *(_item(r) for r in v.reasons))


def _item(text: str) -> RenderableType:
    grid = RichTable.grid(padding=(0, 1, 0, 0))
    grid.add_row(Text("-"), Text(text))
    return Padding(grid, (0, 0, 0, 2))


def _table(table: Table, titled: bool, width: int) -> RenderableType:
    headed = any(table.columns)
    gap = _GAP - 1 if headed else _GAP  # a box draws a blank between columns itself
    rich = RichTable(box=_RULE if headed else None, show_header=headed, show_edge=False, pad_edge=False, padding=(0, gap, 0, 0))
    for title, most in zip(table.columns, _widths(table, width), strict=True):
        rich.add_column(Text(title, "bold"), overflow="fold", max_width=most)
    for row in table.rows:
        rich.add_row(*(_cell(c) for c in row))
    heading = [Text(table.title, "bold")] if titled else []
    note = [Text(table.note, "dim")] if table.note else []
    return Group(*heading, rich, *note)


def _widths(table: Table, width: int) -> list[int]:
    """What each column may take: all it needs, else the first and the last give way so that the fewest lines are broken."""
    columns = [[title, *(row[index].text for row in table.rows)] for index, title in enumerate(table.columns)]
    widths = [max(map(cell_len, column)) for column in columns]
    excess = sum(widths) + _GAP * (len(widths) - 1) - width
    if excess <= 0 or len(widths) < 2:
        return widths
    first, last = columns[0], columns[-1]
    least = [max((cell_len(word) for text in column for word in text.split()), default=1) for column in (first, last)]
    choices = [(widths[0] - given, widths[-1] - (excess - given)) for given in range(excess + 1)]
    kept = [(f, e) for f, e in choices if f >= least[0] and e >= least[1]]
    f, e = min(kept, key=lambda pair: _lines(first, last, *pair), default=(least[0], least[1]))
    return [f, *widths[1:-1], e]


def _lines(first: list[str], last: list[str], f: int, e: int) -> int:
    return sum(max(len(wrap(a, f)), len(wrap(b, e))) for a, b in zip(first, last, strict=True))


def _cell(c: Cell) -> Text:
    return Text(c.text, _STYLES[c.tone])


def _print(what: RenderableType, width: int, colour: bool) -> str:
    out = io.StringIO()
    console = Console(
        file=out,
        width=width,
        force_terminal=colour,
        color_system="standard" if colour else None,
        legacy_windows=False,
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=False,
        _environ={},
    )
    console.print(what)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()).strip("\n") + "\n"
