"""The tables below those that lead a comparison: executed batches, each round, and how each side was set up."""

from collections.abc import Callable, Iterator, Sequence

from bench.analysis.summary import Summary
from bench.reports import facts, run_page, tables
from bench.reports.sides import Side, Sides, claimable_everywhere, columns, streamed
from bench.reports.tables import Cell, Table

Measure = Callable[[Summary], str]


def side_by_side(sides: Sides) -> list[tuple[str, ...]]:
    """(what, a value each side) for each setting that is known of a side; several values of one side beside each other."""
    servers = [[facts.settings(run) for run in one.runs] for one in sides]
    loads = [[facts.load_settings(run, s.load) for run, s in zip(one.runs, one.summaries, strict=True)] for one in sides]
    rows = []
    for of_sides in (servers, loads):
        names = dict.fromkeys(name for runs in of_sides for run in runs for name in run)
        rows += [(name, *(_setting(runs, name) for runs in of_sides)) for name in names]
    return rows


# ---------------------------------------------------------------- the tables below


def batches(sides: Sides) -> Iterator[Table]:
    """How often each batch size was executed, where servers say so."""
    counts: list[dict[int, int]] = []
    for one in sides:
        total: dict[int, int] = {}
        for s in one.summaries:
            for size, count in s.batches.items():
                total[size] = total.get(size, 0) + count
        counts.append(total)
    sizes = sorted({size for total in counts for size in total})
    rows = tuple((Cell(str(size)), *(Cell(run_page.executed(total, size)) for total in counts)) for size in sizes)
    means = (Cell("mean size"), *(Cell(run_page.mean_batch(total)) for total in counts))
    titles = ("size", *(tables.plain(one.name) for one in sides))
    yield Table(run_page.BATCHES, titles, (*rows, means) if rows else (), run_page.BATCHES_NOTE, ("", *columns(sides)))


def rounds(sides: Sides) -> Iterator[Table]:
    if len(sides) == 2:
        yield _rounds_of_two(sides)
        return
    count = max((len(one.summaries) for one in sides), default=0)
    for what, of in (*_measures(sides), ("failed", lambda s: tables.count(sum(s.errors.values())))):
        rows = tuple((Cell(str(n + 1)), *(Cell(_of_round(one, n, of)) for one in sides)) for n in range(count))
        if what != "failed" or any(s.errors for one in sides for s in one.summaries):
            titles = ("round", *(tables.plain(one.name) for one in sides))
            yield Table(f"Round by round: {what}", titles, rows, sides=("", *columns(sides)))


def _rounds_of_two(sides: Sides) -> Table:
    measures = _measures(sides)
    names = [tables.plain(one.name) for one in sides]
    titles = ("round", *(f"{name} {what}" for what, _ in measures for name in names), "failed")
    count = max((len(one.summaries) for one in sides), default=0)
    rows = []
    for n in range(count):
        values = (Cell(_of_round(one, n, of)) for _, of in measures for one in sides)
        failed = sum(sum(one.summaries[n].errors.values()) for one in sides if n < len(one.summaries))
        rows.append((Cell(str(n + 1)), *values, Cell(tables.count(failed), "bad" if failed else "")))
    return Table("Round by round", titles, tuple(rows), sides=("", *columns(sides) * len(measures), ""))


def _measures(sides: Sides) -> list[tuple[str, Measure]]:
    if streamed(sides):
        return [
            ("mean TTFT", lambda s: tables.point(s.streaming.ttft.mean) if s.streaming else tables.NONE),
            ("tokens/s", lambda s: tables.number(s.streaming.tokens.value) if s.streaming else tables.NONE),
        ]
    high = claimable_everywhere(sides)
    measures: list[tuple[str, Measure]] = [("mean", lambda s: tables.point(s.latency.mean))]
    if high is not None:
        measures.append((tables.quantile(high), lambda s: tables.point(s.latency.at(high))))
    measures.append(("answered", lambda s: tables.point(s.throughput)))
    return measures


def _of_round(one: Side, n: int, of: Measure) -> str:
    return of(one.summaries[n]) if n < len(one.summaries) else tables.NONE


def settings(sides: Sides) -> Iterator[Table]:
    title, names = "How each side was set up and driven", tuple(tables.plain(one.name) for one in sides)
    rows = side_by_side(sides)
    if len(sides) == 2:
        marked = tuple((*map(Cell, row), Cell("", "muted") if row[1] == row[2] else Cell("differs", "muted")) for row in rows)
        yield Table(title, ("", *names, ""), marked, sides=("", *columns(sides), ""))
        return
    differing = tuple(tuple(map(Cell, row)) for row in rows if len(set(row[1:])) > 1)
    alike = tuple((Cell(row[0]), Cell(row[1])) for row in rows if len(set(row[1:])) == 1)
    yield Table(f"{title}: what differs", ("", *names), differing, sides=("", *columns(sides)))
    yield Table(f"{title}: alike on all sides", ("", ""), alike)


def _setting(runs: Sequence[facts.Facts], name: str) -> str:
    values = list(dict.fromkeys(run[name] for run in runs if name in run))
    return ", ".join(values[:3]) + (f" and {len(values) - 3} more" if len(values) > 3 else "") if values else "–"
