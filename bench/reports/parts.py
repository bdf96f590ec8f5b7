"""What the report of a mix says of its parts: a column each."""

from collections.abc import Iterator, Sequence
from itertools import cycle, islice

from bench.analysis.summary import Distribution, Estimate, PartSummary, QuantileClaim
from bench.reports import tables
from bench.reports.tables import Cell, Table

Parts = Sequence[PartSummary]
Value = Estimate | QuantileClaim | None

TITLE = "By part"
_SIDE_BY_SIDE = 2  # parts whose intervals stand beside the values; of more they stand below


def table(parts: Parts) -> Table:
    """Requests, errors, throughput and latency of each part, and whether it keeps its own promises; no rows without parts."""
    rows = (
        (Cell("requests"), *(Cell(tables.count(p.requests)) for p in parts)),
        (Cell("share / asked for"), *(Cell(f"{tables.share(p.share)} / {tables.share(p.asked)}") for p in parts)),
        (Cell("failed"), *(_failed(p) for p in parts)),
        _measured("throughput", [p.throughput for p in parts]),
        *_times("latency", [p.latency for p in parts]),
        *_times("TTFT", [p.ttft for p in parts if p.ttft is not None]),
        (Cell("compared replies"), *(Cell(tables.count(p.compared)) for p in parts)),
        (Cell("own promises"), *(_kept(p) for p in parts)),
    )
    return Table(TITLE, ("", *names(parts)), rows if parts else (), sides=("", *sides(parts)))


def names(parts: Parts) -> list[str]:
    """As a report may show them."""
    return [tables.plain(p.name) for p in parts]


def sides(parts: Parts) -> list[str]:
    """Which of `tables.SIDES` stands for each part, in tables and plots."""
    return list(islice(cycle(tables.SIDES), len(parts)))


def _times(name: str, of: Sequence[Distribution]) -> Iterator[tuple[Cell, ...]]:
    """Mean, median and P99, where there are such times."""
    if of:
        yield _measured(f"mean {name}", [d.mean for d in of])
        yield from (_measured(f"{tables.quantile(q)} {name}", [d.at(q) for d in of]) for q in (0.5, 0.99))


def _measured(name: str, values: Sequence[Value]) -> tuple[Cell, ...]:
    like = tables.largest(values)
    shown = tables.measure if len(values) <= _SIDE_BY_SIDE else _stacked
    return Cell(name), *(Cell(shown(value, like)) for value in values)


def _stacked(value: Value, like: float | None) -> str:
    if isinstance(value, QuantileClaim) and value.estimate is None and value.needs is not None:
        return f"{tables.NONE}\n(needs {value.needs:,})"
    return tables.stacked(value, like)


def _failed(p: PartSummary) -> Cell:
    failed = sum(p.errors.values())
    return Cell(f"{tables.share(p.error_rate)} ({failed:,} of {p.requests:,})", "bad" if failed else "")


def _kept(p: PartSummary) -> Cell:
    return {True: Cell("met", "better"), False: Cell("missed", "worse"), None: Cell("not known", "muted")}[p.kept]
