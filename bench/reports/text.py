"""Reports as plain text for a terminal or a log: every line fits the width, bold and colour only where asked for."""

import io
from dataclasses import replace
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
from bench.reports.comparison_page import comparison_page
from bench.reports.run_page import run_page
from bench.reports.sides import Sides
from bench.reports.tables import Cell, Page, Table, Tone, Verdict

_GAP = 2
_RULE = box.Box("    \n    \n ── \n    \n    \n    \n    \n    \n")
_WORDS = {"better": "green", "worse": "red", "muted": "yellow"}
_STYLES: dict[Tone, str] = {"": "", "better": "green", "worse": "red", "bad": "red", "muted": "dim", "code": ""}


def run_text(summary: Summary, run: Run, width: int = 80, colour: bool = False) -> str:
    """The report of one run."""
    return page_text(run_page(summary, run), width, colour)


def comparison_text(comparison: SideComparison, sides: Sides, width: int = 80, colour: bool = False) -> str:
    """The report of a comparison."""
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
    word = Text(f" {v.word} ", f"bold {_WORDS[v.tone]} reverse")
    name = f"{v.name}: " if v.name else ""
    line = Text.assemble(word, " ", (name, "bold"), v.summary)
    return Group(line, *(_item(r) for r in v.reasons))


def _item(text: str) -> RenderableType:
    grid = RichTable.grid(padding=(0, 1, 0, 0))
    grid.add_row(Text("-"), Text(text))
    return Padding(grid, (0, 0, 0, 2))


def _table(table: Table, titled: bool, width: int) -> RenderableType:
    heading = [Text(table.title, "bold")] if titled else []
    note = [Text(table.note, "dim")] if table.note else []
    grids: list[RenderableType] = []
    for part in _parts(table, width):
        grids += [Text(), _grid(part, width)] if grids else [_grid(part, width)]
    return Group(*heading, *grids, *note)


def _grid(table: Table, width: int) -> RenderableType:
    headed = any(table.columns)
    gap = _GAP - 1 if headed else _GAP  # a box draws a blank between columns itself
    rich = RichTable(box=_RULE if headed else None, show_header=headed, show_edge=False, pad_edge=False, padding=(0, gap, 0, 0))
    widths = _widths(table, width)
    for title, most in zip(table.columns, widths, strict=True):
        rich.add_column(Text(_broken(title, most), "bold"), overflow="fold", max_width=most)
    for row in table.rows:
        rich.add_row(*(_cell(c) for c in row))
    return rich


def _parts(table: Table, width: int) -> list[Table]:
    """The same table in as many parts as it takes for the columns of more sides than two; each begins with the first column."""
    if len(set(filter(None, table.sides))) <= 2:
        return [table]
    first, *least = _least(table, width // 3)
    parts: list[list[int]] = [[]]
    for index, needed in enumerate(least, 1):
        used = first + sum(_GAP + least[i - 1] for i in parts[-1])
        if parts[-1] and used + _GAP + needed > width:
            parts.append([])
        parts[-1].append(index)
    return [_columns(table, [0, *part]) for part in parts]


def _columns(table: Table, at: list[int]) -> Table:
    of = [tuple(row[n] for n in at) for row in table.rows]
    return replace(table, columns=tuple(table.columns[n] for n in at), rows=tuple(of), sides=tuple(table.sides[n] for n in at))


def _least(table: Table, most: int) -> list[int]:
    """What each column of a table of sides takes at the least: cells whole, up to `most`, its title in pieces."""
    least = []
    for index, title in enumerate(table.columns):
        lines = [line for row in table.rows for line in row[index].text.splitlines()]
        cells = min(max(map(cell_len, lines), default=0), most)
        least.append(max(cells, *(cell_len(piece) for piece in title.replace("=", "= ").split() or [""])))
    return least


def _broken(title: str, width: int) -> str:
    """A title whose long words may break after "="; those of sides are names and options."""
    return " ".join(word if cell_len(word) <= width else word.replace("=", "=\n") for word in title.split(" "))


def _widths(table: Table, width: int) -> list[int]:
    """What each column may take: all it needs, else titles break, and then the first and the last so that few lines do."""
    columns = [[title, *(row[index].text for row in table.rows)] for index, title in enumerate(table.columns)]
    widths = [max(cell_len(line) for text in column for line in text.splitlines() or [""]) for column in columns]
    excess = sum(widths) + _GAP * (len(widths) - 1) - width
    if excess <= 0 or len(widths) < 2:
        return widths
    if len(set(filter(None, table.sides))) > 2:
        return _shared(_least(table, width // 3), widths, width)
    if any(table.sides):
        wanted, least = widths, _least(table, width)
        widths = [min(w, n) if side else w for w, n, side in zip(widths, least, table.sides, strict=True)]
        excess = sum(widths) + _GAP * (len(widths) - 1) - width
        if excess <= 0:
            return _shared(widths, wanted, width)
    first, last = columns[0], columns[-1]
    least = [max((cell_len(word) for text in column for word in text.split()), default=1) for column in (first, last)]
    choices = [(widths[0] - given, widths[-1] - (excess - given)) for given in range(excess + 1)]
    kept = [(f, e) for f, e in choices if f >= least[0] and e >= least[1]]
    f, e = min(kept, key=lambda pair: _lines(first, last, *pair), default=(least[0], least[1]))
    return [f, *widths[1:-1], e]


def _shared(least: list[int], wanted: list[int], width: int) -> list[int]:
    """What is left of the width, shared out to those that have least of it."""
    widths = list(least)
    left = width - sum(widths) - _GAP * (len(widths) - 1)
    while left > 0 and (short := [n for n in range(len(widths)) if widths[n] < wanted[n]]):
        widths[min(short, key=lambda n: widths[n])] += 1
        left -= 1
    return widths


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
