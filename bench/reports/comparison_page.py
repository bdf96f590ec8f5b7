"""What the report of two sides says: verdicts, the table that leads, how both were set up, and each round."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from bench.analysis.compare import SideComparison
from bench.analysis.estimate import Reason
from bench.analysis.summary import Summary, summarize
from bench.record import Run
from bench.reports import facts, run_page, tables
from bench.reports.tables import Cell, Page, Table, Verdict

_SIDES = ("", "first", "second", "")


@dataclass(frozen=True, slots=True)
class Side:
    """One side: its runs, a round each, and what they come to."""

    name: str
    runs: tuple[Run, ...]
    summaries: tuple[Summary, ...]


Sides = tuple[Side, Side]


def side(name: str, runs: Sequence[Run]) -> Side:
    """The side `name` of these rounds."""
    return Side(name, tuple(runs), tuple(summarize(run) for run in runs))


def comparison_page(comparison: SideComparison, sides: Sides) -> Page:
    """The page of a comparison of two sides."""
    base, new = sides
    workload = tables.plain(base.summaries[0].workload) if base.summaries else ""
    return Page(
        title=f"{tables.plain(new.name)} against {tables.plain(base.name)}" + (f": {workload}" if workload else ""),
        verdicts=(_verdict(base, comparison.base_reasons), _verdict(new, comparison.new_reasons)),
        lead=_lead(comparison, sides),
        tables=tuple(t for t in (_leading(comparison, sides), _rounds(sides), _settings(sides)) if t.rows),
        warnings=tuple(f"{tables.plain(one.name)}: {text}" for one in sides for text in _warnings(one)),
    )


def has_gpu(sides: Sides) -> bool:
    """Whether a GPU's utilization was sampled on a side."""
    return any(run_page.has_gpu(s.resources) for one in sides for s in one.summaries)


def claimable_everywhere(sides: Sides) -> float | None:
    """The highest quantile that every round of both sides may claim; None where there is none."""
    rounds = [{c.quantile for c in s.latency.quantiles if c.estimate is not None} for one in sides for s in one.summaries]
    common = set.intersection(*rounds) if rounds else set()
    return max((q for q in common if q > 0.5), default=None)


def side_by_side(sides: Sides) -> list[tuple[str, str, str]]:
    """(what, base, new) for each setting that is known of a side; several values in one side's runs stand beside each other."""
    servers = [[facts.settings(run) for run in one.runs] for one in sides]
    loads = [[facts.load_settings(run, s.load) for run, s in zip(one.runs, one.summaries, strict=True)] for one in sides]
    rows = []
    for of_base, of_new in (servers, loads):
        names = dict.fromkeys(name for run in (*of_base, *of_new) for name in run)
        rows += [(name, _values(of_base, name), _values(of_new, name)) for name in names]
    return rows


def _verdict(one: Side, reasons: Sequence[Reason]) -> Verdict:
    sent = tables.counted(sum(s.requests for s in one.summaries), "request")
    loads = ", ".join(dict.fromkeys(tables.plain(s.load) for s in one.summaries))
    window_s = tables.number(sum(s.window_s for s in one.summaries))
    said = f"{loads}; {sent}, {tables.counted(len(one.runs), 'round')}, {window_s} s" if one.runs else "no runs"
    return Verdict(tables.plain(one.name), not reasons, said, tuple(_once([(r.code, run_page.reason(r)) for r in reasons])))


def _warnings(one: Side) -> Iterator[str]:
    alone = len(one.summaries) == 1
    given = ((n, w) for n, s in enumerate(one.summaries, 1) for w in s.warnings)
    return _once([(w.code, run_page.reason(w) if alone else f"round {n}: {run_page.reason(w)}") for n, w in given])


def _once(given: Sequence[tuple[str, str]]) -> Iterator[str]:
    """The first text of each code, and in how many more rounds there was such."""
    for code in dict.fromkeys(code for code, _ in given):
        texts = [text for other, text in given if other == code]
        yield texts[0] + (f" (the like in {tables.counted(len(texts) - 1, 'more round')})" if len(texts) > 1 else "")


def _lead(comparison: SideComparison, sides: Sides) -> str:
    base, new = sides
    reasons = (comparison.base_reasons, comparison.new_reasons)
    if invalid := [tables.plain(one.name) for one, found in zip(sides, reasons, strict=True) if found]:
        are = "are" if len(invalid) > 1 else "is"
        return f"No conclusion: {' and '.join(invalid)} {are} INVALID. The numbers help to find out why and say nothing else."
    said = [
        f"{tables.plain(row.metric)} {tables.change_in_short(row.change)}"
        for row in comparison.rows
        if row.better and row.change
    ]
    return f"{tables.plain(new.name)} against {tables.plain(base.name)}: {', '.join(said)}." if said else ""


def _leading(comparison: SideComparison, sides: Sides) -> Table:
    changes = (
        tables.change(row.change, row.better) if comparison.valid else Cell("not compared", "muted") for row in comparison.rows
    )
    rows = tuple(
        (Cell(_name(row.metric)), Cell(tables.measure(row.base)), Cell(tables.measure(row.new)), changed)
        for row, changed in zip(comparison.rows, changes, strict=True)
    )
    note = run_page.utilization_note(tuple(r for one in sides for s in one.summaries for r in s.resources))
    return Table("In short", ("", *(tables.plain(one.name) for one in sides), "change"), rows, note, _SIDES)


def _name(metric: str) -> str:
    # the note below the table says that CPU is CPU utilization
    return tables.plain(metric).replace("CPU utilization", "CPU")


def _rounds(sides: Sides) -> Table:
    high = claimable_everywhere(sides)
    measures = [("mean", lambda s: tables.point(s.latency.mean))]
    if high is not None:
        measures.append((tables.quantile(high), lambda s: tables.point(s.latency.at(high))))
    measures.append(("answered", lambda s: tables.point(s.throughput)))
    names = [tables.plain(one.name) for one in sides]
    columns = ("round", *(f"{name} {what}" for what, _ in measures for name in names), "failed")
    count = max((len(one.summaries) for one in sides), default=0)
    rows = tuple(_round(sides, n, [of for _, of in measures]) for n in range(count))
    return Table("Round by round", columns, rows, sides=("", *_SIDES[1:3] * len(measures), ""))


def _round(sides: Sides, n: int, measures: Sequence[Callable[[Summary], str]]) -> tuple[Cell, ...]:
    pair = [one.summaries[n] if n < len(one.summaries) else None for one in sides]
    values = (Cell(tables.NONE if s is None else of(s)) for of in measures for s in pair)
    failed = sum(sum(s.errors.values()) for s in pair if s is not None)
    return Cell(str(n + 1)), *values, Cell(tables.count(failed), "bad" if failed else "")


def _settings(sides: Sides) -> Table:
    rows = tuple(
        (Cell(name), Cell(base), Cell(new), Cell("", "muted") if base == new else Cell("differs", "muted"))
        for name, base, new in side_by_side(sides)
    )
    return Table(
        "How each side was set up and driven", ("", *(tables.plain(one.name) for one in sides), ""), rows, sides=_SIDES
    )


def _values(runs: Sequence[facts.Facts], name: str) -> str:
    values = list(dict.fromkeys(run[name] for run in runs if name in run))
    return ", ".join(values[:3]) + (f" and {len(values) - 3} more" if len(values) > 3 else "") if values else "–"
