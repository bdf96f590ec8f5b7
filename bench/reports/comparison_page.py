"""What the report of several sides says: verdicts, the tables that lead, how each was set up, and each round."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice

from bench.analysis import stats
from bench.analysis.compare import Agreement, Row, SideComparison, estimate_of
from bench.analysis.estimate import Reason
from bench.analysis.quantiles import requests_needed
from bench.analysis.summary import Summary, summarize
from bench.record import Run
from bench.reports import compared, facts, run_page, tables
from bench.reports.tables import Cell, Page, Table, Verdict

IN_SHORT = ("mean TTFT", "longest gap", "output tokens", "throughput")  # of what a comparison of streams is about
NO_INTERVALS = f"no intervals: they take {stats.MIN_ROUNDS} rounds of each side"

Measure = Callable[[Summary], str]


@dataclass(frozen=True, slots=True)
class Side:
    """One side: its runs, a round each, and what they come to."""

    name: str
    runs: tuple[Run, ...]
    summaries: tuple[Summary, ...]


Sides = tuple[Side, ...]


def side(name: str, runs: Sequence[Run]) -> Side:
    """The side `name` of these rounds."""
    return Side(name, tuple(runs), tuple(summarize(run) for run in runs))


def comparison_page(comparison: SideComparison, sides: Sides) -> Page:
    """The page of a comparison of two sides or more, all of them with the first."""
    workload = next((tables.plain(s.workload) for one in sides for s in one.summaries), "")
    leading = [_leading(comparison, sides)] if len(sides) == 2 else [_values(comparison, sides), _changes(comparison, sides)]
    names = [tables.plain(one.name) for one in sides]
    rest = (*compared.of_parts(comparison, names, columns(sides)), *_batches(sides), *_rounds(sides), *_settings(sides))
    return Page(
        title=_title(sides) + (f": {workload}" if workload else ""),
        verdicts=tuple(_verdict(one, found) for one, found in zip(sides, comparison.reasons, strict=True)),
        lead=_lead(comparison, sides),
        tables=tuple(t for t in (*leading, *rest) if t.rows),
        warnings=tuple(f"{tables.plain(one.name)}: {text}" for one in sides for text in _warnings(one)),
        leading=len(leading),
    )


def streamed(sides: Sides) -> bool:
    """Whether a side's replies were streamed."""
    return any(s.streaming is not None for one in sides for s in one.summaries)


def has_gpu(sides: Sides) -> bool:
    """Whether a GPU's utilization was sampled on a side."""
    return any(run_page.has_gpu(s.resources) for one in sides for s in one.summaries)


def claimable_everywhere(sides: Sides) -> float | None:
    """The highest quantile that every round of all sides may claim; None where there is none."""
    rounds = [{c.quantile for c in s.latency.quantiles if c.estimate is not None} for one in sides for s in one.summaries]
    common = set.intersection(*rounds) if rounds else set()
    return max((q for q in common if q > 0.5), default=None)


def side_by_side(sides: Sides) -> list[tuple[str, ...]]:
    """(what, a value each side) for each setting that is known of a side; several values of one side beside each other."""
    servers = [[facts.settings(run) for run in one.runs] for one in sides]
    loads = [[facts.load_settings(run, s.load) for run, s in zip(one.runs, one.summaries, strict=True)] for one in sides]
    rows = []
    for of_sides in (servers, loads):
        names = dict.fromkeys(name for runs in of_sides for run in runs for name in run)
        rows += [(name, *(_setting(runs, name) for runs in of_sides)) for name in names]
    return rows


def columns(sides: Sides) -> tuple[str, ...]:
    """Which of `tables.SIDES` each side is."""
    return tuple(islice(cycle(tables.SIDES), len(sides)))


def _title(sides: Sides) -> str:
    first, *others = (tables.plain(one.name) for one in sides)
    return f"{others[0]} against {first}" if len(others) == 1 else f"{len(others)} sides against {first}"


def _verdict(one: Side, reasons: Sequence[Reason]) -> Verdict:
    sent = tables.counted(sum(s.requests for s in one.summaries), "request")
    loads = ", ".join(dict.fromkeys(tables.plain(s.load) for s in one.summaries))
    window_s = tables.number(sum(s.window_s for s in one.summaries))
    said = f"{loads}; {sent}, {tables.counted(len(one.runs), 'round')}, {window_s} s" if one.runs else "no runs"
    return Verdict(tables.plain(one.name), not reasons, said, tuple(_once([(r.code, run_page.reason(r)) for r in reasons])))


def _warnings(one: Side) -> Iterator[str]:
    alone = len(one.summaries) == 1
    # a round with few requests is no fault where all rounds together have enough
    enough = sum(s.latency.count for s in one.summaries) >= requests_needed(0.9)
    given = ((n, w) for n, s in enumerate(one.summaries, 1) for w in s.warnings if not (enough and w.code == "few_requests"))
    return _once([(w.code, run_page.reason(w) if alone else f"round {n}: {run_page.reason(w)}") for n, w in given])


def _once(given: Sequence[tuple[str, str]]) -> Iterator[str]:
    """The first text of each code, and in how many more rounds there was such."""
    for code in dict.fromkeys(code for code, _ in given):
        texts = [text for other, text in given if other == code]
        yield texts[0] + (f" (the like in {tables.counted(len(texts) - 1, 'more round')})" if len(texts) > 1 else "")


def _lead(comparison: SideComparison, sides: Sides) -> str:
    names = [tables.plain(one.name) for one in sides]
    if invalid := [name for name, found in zip(names, comparison.reasons, strict=True) if found]:
        are = "are" if len(invalid) > 1 else "is"
        return f"No conclusion: {_listed(invalid)} {are} INVALID. The numbers help to find out why and say nothing else."
    rows = [row for row in shown(comparison) if row.better and (not streamed(sides) or row.metric in IN_SHORT)]
    sentences = []
    for n, name in enumerate(names[1:]):
        said = [f"{tables.plain(row.metric)} {tables.change_in_short(row.changes[n])}" for row in rows if row.changes[n]]
        if said:
            sentences.append(f"{name} against {names[0]}: {', '.join(said)}.")
    return " ".join(sentences)


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


# ---------------------------------------------------------------- the tables that lead


def shown(comparison: SideComparison) -> list[Row]:
    """The rows that people see: of several quantiles of one metric the median and the highest that all sides may claim.

    Where that is below the P99, a note says so.
    """
    claimed = {row.metric: all(estimate_of(value) is not None for value in row.values) for row in comparison.rows}
    rows = []
    for row in comparison.rows:
        quantile, _, metric = row.metric.partition(" ")
        if quantile == "P90" and (claimed.get(f"P99 {metric}") or not claimed[row.metric]):
            continue
        if quantile == "P99" and not claimed[row.metric] and claimed.get(f"P90 {metric}"):
            continue
        rows.append(row)
    return rows


def _leading(comparison: SideComparison, sides: Sides) -> Table:
    """Two sides and the change between them."""
    rows = compared.changed(shown(comparison), comparison.valid)
    rows += [(*cells, Cell("–", "muted")) for cells in _agreement(comparison, sides)]
    titles = ("", *(tables.plain(one.name) for one in sides), "change")
    return Table("In short", titles, tuple(rows), _note(comparison, sides), ("", *columns(sides), ""))


def _values(comparison: SideComparison, sides: Sides) -> Table:
    """More sides than two: a column each."""
    rows = compared.stacked(shown(comparison))
    titles = ("", *(tables.plain(one.name) for one in sides))
    rows += _agreement(comparison, sides)
    return Table("In short", titles, tuple(rows), _note(comparison, sides), ("", *columns(sides)))


def _changes(comparison: SideComparison, sides: Sides) -> Table:
    """How each side but the first differs from it."""
    rows = []
    for row in shown(comparison) if comparison.valid else ():
        cells = [tables.change(change, row.better) for change in row.changes]
        if any(row.changes):
            rows.append((Cell(compared.name(row.metric)), *(c._replace(text=_in_lines(c.text)) for c in cells)))
    first, *others = (tables.plain(one.name) for one in sides)
    return Table(f"Against {first}", ("", *others), tuple(rows), sides=("", *columns(sides)[1:]))


def _in_lines(change: str) -> str:
    return change.replace(" (no interval)", "").replace(" [", "\n[")


def _agreement(comparison: SideComparison, sides: Sides) -> Iterator[tuple[Cell, ...]]:
    """Whether the kept answers are those of the first side."""
    found = comparison.agreement
    if any(a is not None and a.compared for a in found):
        what = "same tokens" if streamed(sides) else "same answers"
        yield Cell(what), Cell("–", "muted"), *(_agreed(a) for a in found)


def _agreed(a: Agreement | None) -> Cell:
    if a is None or not a.compared:
        return Cell(tables.NONE, "muted")
    return Cell(f"{a.same} of {a.compared}", "worse" if a.same < a.compared else "")


def _note(comparison: SideComparison, sides: Sides) -> str:
    said = [run_page.utilization_note(tuple(r for one in sides for s in one.summaries for r in s.resources))]
    if streamed(sides):
        said.append(next((run_page.goodput_note(run) for one in sides for run in one.runs), ""))
    if metrics := [name for name in ("TTFT", "ITL", "latency") if _without_p99(comparison, name, len(sides))]:
        said.append(f"no P99 of {_listed(metrics)}: it takes {requests_needed(0.99)} requests of each side")
    if min((len(one.runs) for one in sides), default=0) < stats.MIN_ROUNDS and not _any_interval(comparison):
        said.append(NO_INTERVALS)
    return "; ".join(filter(None, said))


def _without_p99(comparison: SideComparison, name: str, sides: int) -> bool:
    """Whether a note has to say so: between two sides a row that is shown says it itself."""
    seen = [row for row in shown(comparison) if row.metric == f"P99 {name}"]
    if not seen:
        return any(row.metric == f"P99 {name}" for row in comparison.rows)
    return sides > 2 and any(estimate_of(value) is None for value in seen[0].values)


def _any_interval(comparison: SideComparison) -> bool:
    return any(e is not None and e.low is not None for row in comparison.rows for e in map(estimate_of, row.values))


# ---------------------------------------------------------------- the tables below


def _batches(sides: Sides) -> Iterator[Table]:
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


def _rounds(sides: Sides) -> Iterator[Table]:
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


def _settings(sides: Sides) -> Iterator[Table]:
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
