"""Reports in a terminal."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from bench.analysis.compare import SideComparison
from bench.analysis.summary import summarize
from bench.record import Run
from bench.reports import tables
from bench.reports.sides import Sides
from bench.reports.tables import Cell, Page, Table, Verdict
from bench.reports.text import comparison_text, page_text, run_text

GOLDEN = Path(__file__).parents[1] / "golden" / "reports"
LINE = st.text(st.characters(exclude_categories=("C", "Z", "M", "Sk")) | st.just(" "), max_size=90)
TABLES = st.integers(1, 6).flatmap(
    lambda n: st.builds(
        lambda title, columns, rows: Table(title, tuple(columns), tuple(tuple(map(Cell, row)) for row in rows)),
        LINE,
        st.lists(LINE, min_size=n, max_size=n),
        st.lists(st.lists(LINE, min_size=n, max_size=n), min_size=1, max_size=4),
    )
)


def test_the_report_of_a_run_reads_exactly_so(made_run: Callable[..., Run]) -> None:
    """What a user sees of a run, to the letter."""
    run = made_run(errors={3: "status"}, load={"messages": {"status": "HTTP 503"}})
    assert run_text(summarize(run), run) == (GOLDEN / "run.txt").read_text(encoding="utf-8")


def test_the_report_of_a_comparison_reads_exactly_so(made_sides: Callable[..., tuple[SideComparison, Sides]]) -> None:
    """What a user sees of the demo, to the letter."""
    assert comparison_text(*made_sides()) == (GOLDEN / "comparison.txt").read_text(encoding="utf-8")


def test_the_report_of_a_run_of_streams_reads_exactly_so(made_stream_run: Callable[..., Run]) -> None:
    """What a user sees of a run of streams, to the letter."""
    run = made_stream_run(count=100)
    assert run_text(summarize(run), run) == (GOLDEN / "stream-run.txt").read_text(encoding="utf-8")


def test_the_report_of_four_sides_reads_exactly_so(made_modes: Callable[..., tuple[SideComparison, Sides]]) -> None:
    """What a user sees of the demo of a workload that generates, to the letter."""
    assert comparison_text(*made_modes()) == (GOLDEN / "modes.txt").read_text(encoding="utf-8")


@given(LINE, TABLES, st.lists(LINE, max_size=3), st.integers(40, 130))
def test_no_line_is_longer_than_the_terminal(name: str, table: Table, texts: list[str], width: int) -> None:
    """Names and messages of any length and script wrap; nothing is cut off at the right."""
    verdict = Verdict(name, "INVALID", name, tuple(texts))
    page = Page(name, (verdict,), name, (table, table), tuple(texts))
    lines = page_text(page, width).splitlines()
    assert max(map(cell_len, lines)) <= width
    assert all(line == line.rstrip() for line in lines)


@given(TABLES, st.integers(40, 130))
def test_no_letter_of_a_table_is_lost(table: Table, width: int) -> None:
    """A cell that does not fit goes on in the next line; as many columns as letters fit, no more are asked for."""
    printed = page_text(Page("", (), "", (table,), ()), width)
    wanted = "".join(cell.text for row in table.rows for cell in row)
    assert sorted(re.sub(r"\s", "", wanted)) == sorted(_rest(printed, "".join(table.columns)))


def _rest(printed: str, titles: str) -> list[str]:
    """The visible letters of a table less its rule and the titles of its columns."""
    letters = list(re.sub(r"\s", "", printed))
    for letter in re.sub(r"\s", "", titles):
        letters.remove(letter)
    return [letter for letter in letters if letter != "─"]


@pytest.mark.parametrize("width", [40, 60, 80, 100])
def test_reports_fit_the_width_they_are_given(
    width: int,
    hostile_run: Run,
    made_sides: Callable[..., tuple[SideComparison, Sides]],
    made_modes: Callable[..., tuple[SideComparison, Sides]],
) -> None:
    """80 columns are a promise, and fewer are no reason to break."""
    texts = [run_text(summarize(hostile_run), hostile_run, width), comparison_text(*made_sides(), width=width)]
    texts += [comparison_text(*made_modes(sides=sides), width=width) for sides in (2, 3, 4)]
    assert max(cell_len(line) for text in texts for line in text.splitlines()) <= width


def test_colour_comes_only_when_asked_for(made_run: Callable[..., Run]) -> None:
    """A file, a pipe or a log gets no escape codes; the words are the same."""
    run = made_run()
    plain, coloured = (run_text(summarize(run), run, colour=colour) for colour in (False, True))
    assert "\x1b" not in plain
    assert "\x1b[" in coloured
    stripped = re.sub(r"\x1b\[[0-9;]*m", "", coloured)
    assert [line.rstrip() for line in stripped.splitlines()] == plain.splitlines()


def test_names_cannot_drive_the_terminal(hostile_run: Run) -> None:
    """A server's error message may hold anything, escape codes among it."""
    assert "\x1b" not in run_text(summarize(hostile_run), hostile_run)


def test_the_columns_of_many_sides_go_on_in_another_table_each_with_the_names_of_the_rows() -> None:
    """Seven sides of 12 letters do not fit 80 columns; no number is broken, none is missing."""
    names = tuple(f"side-{n}" for n in range(7))
    sides = ("", *tables.SIDES, "first")
    rows = tuple((Cell(f"row {r}"), *(Cell(f"{r}{n},000,000 ms") for n in range(7))) for r in range(2))
    printed = page_text(Page("", (), "", (Table("", ("", *names), rows, sides=sides),), ()), 80)
    assert max(map(cell_len, printed.splitlines())) <= 80
    assert [len(re.findall(name, printed)) for name in ("row 0", "row 1", *names)] == [2, 2, *[1] * 7]
    for r in range(2):
        for n in range(7):
            assert f"{r}{n},000,000 ms" in printed


def test_a_long_name_in_a_heading_breaks_after_the_sign() -> None:
    """An option's name above its value, not in the middle of a word."""
    columns = ("", *(f"Triton 2.48.0 batching=continuous{n}" for n in range(4)))
    table = Table("", columns, ((Cell("mean"), *[Cell("1,234 ms")] * 4),), sides=("", *tables.SIDES[:4]))
    assert re.search(r"batching= +batching=", page_text(Page("", (), "", (table,), ()), 80))
