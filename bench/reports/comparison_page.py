"""What the report of several sides says: verdicts, the tables that lead, how each was set up, and each round."""

from collections.abc import Iterator, Sequence

from bench.analysis import stats
from bench.analysis.compare import Agreement, Row, SideComparison
from bench.analysis.estimate import Estimate, Reason
from bench.analysis.judging import estimate_of
from bench.analysis.quantiles import requests_needed
from bench.reports import compared, run_page, side_tables, tables, under_test, verdicts
from bench.reports.sides import Side, Sides, columns, streamed
from bench.reports.tables import Cell, Page, Table, Verdict

IN_SHORT = ("mean TTFT", "longest gap", "output tokens", "throughput")  # of what a comparison of streams is about
NO_INTERVALS = f"no intervals: they take {stats.MIN_ROUNDS} rounds of each side"


def comparison_page(comparison: SideComparison, sides: Sides) -> Page:
    """The page of a comparison of two sides or more, all of them with the first."""
    workload = next((tables.plain(s.workload) for one in sides for s in one.summaries), "")
    leading = _leading(comparison, sides)
    names = [tables.plain(one.name) for one in sides]
    rest = (
        *compared.of_parts(comparison, names, columns(sides)),
        *side_tables.batches(sides),
        *side_tables.rounds(sides),
        *side_tables.settings(sides),
    )
    return Page(
        title=_title(sides) + (f": {workload}" if workload else ""),
        verdicts=(
            *_judged(comparison, sides),
            *(_verdict(one, found) for one, found in zip(sides, comparison.reasons, strict=True)),
        ),
        lead=_lead(comparison, sides),
        tables=tuple(t for t in (*leading, *rest) if t.rows),
        warnings=tuple(_all_warnings(comparison, sides)),
        leading=len(leading),
    )


def _title(sides: Sides) -> str:
    first, *others = (tables.plain(one.name) for one in sides)
    return f"{others[0]} against {first}" if len(others) == 1 else f"{len(others)} sides against {first}"


def _verdict(one: Side, reasons: Sequence[Reason]) -> Verdict:
    sent = tables.counted(sum(s.requests for s in one.summaries), "request")
    loads = ", ".join(dict.fromkeys(tables.plain(s.load) for s in one.summaries))
    window_s = tables.number(sum(s.window_s for s in one.summaries))
    said = f"{loads}; {sent}, {tables.counted(len(one.runs), 'round')}, {window_s} s" if one.runs else "no runs"
    return Verdict(
        tables.plain(one.name),
        "INVALID" if reasons else "VALID",
        said,
        tuple(_once([(r.code, run_page.reason(r)) for r in reasons])),
    )


def _all_warnings(comparison: SideComparison, sides: Sides) -> Iterator[str]:
    left_out = comparison.left_out or [()] * len(sides)
    if comparison.rule is not None:
        names = [tables.plain(one.name) for one in sides]
        yield from (f"not alike: {line}" for line in under_test.lines(comparison.differing.not_alike))
        yield from verdicts.varying(comparison, names)
        yield from under_test.lines(comparison.differing.noted)
    for one, reasons in zip(sides, left_out, strict=True):
        texts = (*(tables.plain(reason.message) for reason in reasons), *_warnings(one))
        yield from (f"{tables.plain(one.name)}: {text}" for text in texts)


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
    if comparison.rule is not None:
        return verdicts.lead(comparison, [one.runs for one in sides])
    names = [tables.plain(one.name) for one in sides]
    if invalid := [name for name, found in zip(names, comparison.reasons, strict=True) if found]:
        are = "are" if len(invalid) > 1 else "is"
        return f"No conclusion: {_listed(invalid)} {are} INVALID. The numbers help to find out why and say nothing else."
    rows = [row for row in shown(comparison) if row.better and (not streamed(sides) or row.metric in IN_SHORT)]
    sentences = []
    for n, name in enumerate(names[1:]):
        said = [
            f"{tables.plain(row.metric)} {tables.change_in_short(row.changes[n])}" for row in rows if _differs(row.changes[n])
        ]
        if said:
            sentences.append(f"{name} against {names[0]}: {', '.join(said)}.")
    return " ".join(sentences)


def _differs(change: Estimate | None) -> bool:
    """Whether there is a change to be told: that neither side had errors is none."""
    return change is not None and (change.unit != "share" or change.value != 0)


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


def _judged(comparison: SideComparison, sides: Sides) -> Iterator[Verdict]:
    """How each side but the first does, where there is a rule to judge it by."""
    if comparison.rule is not None:
        yield from (verdicts.banner(comparison, tables.plain(one.name), n) for n, one in enumerate(sides[1:], 1))


def _leading(comparison: SideComparison, sides: Sides) -> list[Table]:
    """What has verdicts: a table for each side but the first. Else all sides in one, and how they differ from the first."""
    if comparison.rule is None:
        return [_two(comparison, sides)] if len(sides) == 2 else [_values(comparison, sides), _changes(comparison, sides)]
    first, classes = tables.plain(sides[0].name), columns(sides)
    return [
        verdicts.table(comparison, (first, tables.plain(one.name)), n, (classes[0], classes[n]))
        for n, one in enumerate(sides[1:], 1)
    ]


def _two(comparison: SideComparison, sides: Sides) -> Table:
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
        if any(map(_differs, row.changes)):
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
