"""What the report of a comparison says of its verdicts: a line for each side, a table of its metrics beside the first's."""

import math
from collections.abc import Iterator, Sequence

from bench.analysis.compare import Agreement, Row, SideComparison
from bench.analysis.rule import ERRORS, GATES, Judgement, worst
from bench.analysis.summary import summarize
from bench.record import Run
from bench.reports import compared, tables, under_test
from bench.reports.tables import Cell, Table, Tone, Verdict

ANSWERS = "answers"
NOT_IN_TURN = (
    "not measured in turn with the first side but one after the other: what differs between two sessions (other work on the "
    "machine, its heat, what was started anew) counts as a difference, and only sides that are measured in turn tell it from "
    "what is under test"
)
_TONES: dict[str, Tone] = {"WORSE": "worse", "BETTER": "better", "SAME": "better", "UNKNOWN": "muted"}


def in_short(run: Run) -> str:
    """A round in a few words, while the next is measured."""
    summary = summarize(run)
    valid = "" if summary.valid else f", INVALID: {', '.join(reason.code for reason in summary.reasons)}"
    if (s := summary.streaming) is not None:
        mean = f", mean TTFT {tables.point(s.ttft.mean)}" if s.ttft.mean else ""
        return f"{summary.requests} requests, {tables.number(s.tokens.value)} tokens/s{mean}{valid}"
    mean = f", mean {tables.point(summary.latency.mean)}" if summary.latency.mean else ""
    return f"{summary.requests} requests, {summary.throughput.value:.1f}/s{mean}{valid}"


def look(comparison: SideComparison) -> str:
    """The verdicts so far, in one line."""
    sides = range(1, len(comparison.reasons))
    return "; ".join(", ".join(f"{name} {j.verdict}" for name, j in named(comparison, n)) for n in sides)


def named(comparison: SideComparison, n: int) -> Iterator[tuple[str, Judgement]]:
    """(what it is on, the verdict) of side `n`."""
    judgements = iter(comparison.judgements(n))
    yield from ((row.metric, next(judgements)) for row in comparison.rows if row.judged)
    yield from ((ANSWERS, judgement) for judgement in judgements)


def varying(comparison: SideComparison, names: Sequence[str]) -> Iterator[str]:
    """A warning where the first side does not always give the same answers."""
    most = max((a.varying for a in comparison.agreement if a is not None), default=0)
    if most:
        yield (
            f"{names[0]} answers {tables.counted(most, 'request')} now so, now so, from round to round: the answers to such "
            "requests are not compared"
        )


def lead(comparison: SideComparison, sides: Sequence[Sequence[Run]]) -> str:
    """What is under test, on how many rounds, and where each server came from."""
    said = [f"Under test: {under_test.title(comparison.differing)}."]
    counts = [len(runs) for runs in sides]
    if comparison.pairs and all(comparison.pairs):
        said.append(f"{tables.counted(counts[0], 'pair')} of rounds, each with a schedule and an order of requests of its own.")
    elif len(set(counts)) == 1:
        said.append(f"{tables.counted(counts[0], 'round')} of each side, each by itself.")
    else:
        said.append(f"{', '.join(map(str, counts[:-1]))} and {counts[-1]} rounds, each by itself.")
    origins = dict.fromkeys(under_test.origin(runs[0]) for runs in sides if runs)
    return " ".join([*said, *(f"{one[0].upper()}{one[1:]}." for one in origins)])


def banner(comparison: SideComparison, name: str, n: int) -> Verdict:
    """What the verdicts on side `n`, which is called `name`, come to, and what each UNKNOWN lacks."""
    found = list(named(comparison, n))
    said = ", ".join(f"{_short(metric)} {judgement.verdict}" for metric, judgement in found)
    reasons = [f"{_short(metric)} is not known: {lacks(metric, j)}" for metric, j in found if j.verdict == "UNKNOWN"]
    if any(comparison.apart[n - 1 : n]):
        reasons.append(NOT_IN_TURN)
    return Verdict(name, worst([judgement for _, judgement in found]), said, tuple(reasons))


def _short(metric: str) -> str:
    return compared.name(metric)


def lacks(metric: str, judgement: Judgement) -> str:
    """What it would take to know."""
    if judgement.why and judgement.needed is None:
        return judgement.why
    rounds = "" if judgement.needed is None else f"some {judgement.needed:,} rounds of each side, in all, would decide"
    if judgement.why:
        return f"{judgement.why}: {rounds}"
    said = f"its interval is neither within {matters(metric, judgement.delta)} nor on one side of no change"
    return f"{said}; {rounds} at this noise" if rounds else f"{said}, and no number of rounds in sight would decide"


def table(comparison: SideComparison, names: tuple[str, str], n: int, columns: tuple[str, str]) -> Table:
    """The metrics of side `n` against the first; `columns` are their classes."""
    rows = [_row(row, n) for row in comparison.rows if _told(row, n)]
    found = comparison.agreement[n - 1] if len(comparison.agreement) >= n else None
    if found is not None and (found.compared or found.why):
        rows.append(_answers(found))
    return Table(
        f"{names[1]} against {names[0]}",
        ("", *names, "change", "verdict"),
        tuple(rows),
        note(comparison),
        ("", *columns, "", ""),
    )


def note(comparison: SideComparison) -> str:
    """How the verdicts were come to."""
    rule = comparison.rule
    intervals = {row.changes[n].confidence for row in comparison.rows for n, _ in enumerate(row.judged) if row.changes[n]}  # type: ignore[union-attr]
    if rule is None or not intervals:
        return ""
    deltas = ", ".join(
        f"{_short(row.metric)} {matters(row.metric, row.judged[0].delta)}" for row in comparison.rows if row.judged
    )
    looks = rule.looks.rounds
    when = f"looks after {', '.join(map(str, looks))} rounds" if len(looks) > 1 else "one look"
    return (
        f"SAME: the interval lies within what does not matter ({deltas}); WORSE, BETTER: on one side of no change. "
        f"Where there is a verdict the interval is one of {100 * min(intervals):.3g}%: with {when} and "
        f"{tables.counted(rule.looks.gated, 'verdict')} a false one has a chance of {_percent(rule.looks.error)} at most"
        f"{', if nothing but what is under test differs between the sessions' if any(comparison.apart) else ''}."
    )


def _told(row: Row, n: int) -> bool:
    """Whether a row says something: a verdict, or values that could be compared."""
    values = (row.values[0], row.values[n])
    return bool(row.judged) or all(tables.point(value) != tables.NONE for value in values)


def _row(row: Row, n: int) -> tuple[Cell, ...]:
    like = tables.largest(row.values)
    values = (Cell(tables.pointed(value, like)) for value in (row.values[0], row.values[n]))
    change = Cell(tables.difference(row.changes[n - 1]), "" if row.judged else "muted")
    return Cell(_short(row.metric)), *values, change, _verdict(row.judged[n - 1]) if row.judged else Cell("")


def _verdict(judgement: Judgement) -> Cell:
    return Cell(judgement.verdict, _TONES[judgement.verdict])


def _answers(found: Agreement) -> tuple[Cell, ...]:
    most = max(found.differences, key=lambda d: d.greatest / d.allowed if d.allowed else d.greatest, default=None)
    apart = "" if most is None else f"{tables.share(most.greatest)} apart"
    if most is not None and math.isinf(most.greatest):
        apart = "no numbers"
    return (
        Cell(ANSWERS),
        Cell("–", "muted"),
        Cell(f"{found.same} of {found.compared} same" if found.compared else tables.NONE),
        Cell(apart),
        _verdict(found.judged()),
    )


def matters(metric: str, delta: float) -> str:
    """How far a metric may be off without its mattering."""
    return f"±{100 * delta:.3g} pp" if metric == GATES[ERRORS].metric else f"±{_percent(delta)}"


def _percent(share: float) -> str:
    return f"{100 * share:.3g}%"
