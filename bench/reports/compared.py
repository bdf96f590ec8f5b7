"""The metrics of sides as the rows of tables, and a table of them for each part of a mix."""

from collections.abc import Iterator, Sequence

from bench.analysis.compare import Row, SideComparison
from bench.analysis.estimate import QuantileClaim
from bench.analysis.judging import estimate_of
from bench.reports import tables
from bench.reports.tables import Cell, Table


def changed(rows: Sequence[Row], valid: bool) -> list[tuple[Cell, ...]]:
    """The values of two sides and the change, a metric a row."""
    made = []
    for row in rows:
        like = tables.largest(row.values)
        change = tables.change(row.changes[0], row.better) if valid else Cell("not compared", "muted")
        made.append((Cell(name(row.metric)), *(Cell(tables.measure(value, like)) for value in row.values), change))
    return made


def stacked(rows: Sequence[Row]) -> list[tuple[Cell, ...]]:
    """The values of more sides than two, the interval below the value."""
    return [
        (Cell(name(row.metric)), *(Cell(tables.stacked(value, tables.largest(row.values))) for value in row.values))
        for row in rows
    ]


def name(metric: str) -> str:
    """A metric as the first column says it."""
    # the note below the table says that CPU is CPU utilization
    return tables.plain(metric).replace("CPU utilization", "CPU")


def of_parts(comparison: SideComparison, names: Sequence[str], columns: Sequence[str]) -> Iterator[Table]:
    """The parts of a mix of sides with these names: with the change between two of them, of more their values."""
    for part, rows in comparison.parts:
        claimed = [row for row in rows if all(estimate_of(value) is not None for value in row.values)]
        unclaimed = [f"no {name(row.metric)}: it takes {_needed(row):,} requests of each side" for row in rows if _needed(row)]
        two = len(names) == 2
        yield Table(
            f"Part {tables.plain(part)}",
            ("", *names, "change") if two else ("", *names),
            tuple(changed(claimed, comparison.valid) if two else stacked(claimed)),
            "; ".join(unclaimed),
            ("", *columns, "") if two else ("", *columns),
        )


def _needed(row: Row) -> int:
    """The requests that a side lacks which a quantile takes; 0 where it may be claimed of all."""
    return max((value.needs or 0 for value in row.values if isinstance(value, QuantileClaim)), default=0)
