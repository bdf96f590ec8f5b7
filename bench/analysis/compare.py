"""Two sides or more, each of several rounds: how each differs from the first, metric by metric; the round is replicated."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from bench.analysis import side, stats, streaming
from bench.analysis.alike import ALIKE, Differences, differences
from bench.analysis.estimate import Estimate, Reason
from bench.analysis.judging import Better, Judge, Metric, Value, change_of, estimate_of, judged
from bench.analysis.pairs import ENDED, apart, paired
from bench.analysis.rule import Judgement, Rule
from bench.analysis.side import Point, Rounds, Side
from bench.analysis.validity import judge
from bench.record import Run
from bench.slo import quantile_name

QUANTILES = (0.5, 0.99)
OF_STREAMS = (0.5, 0.9, 0.99)  # few requests claim no P99, and those of a slow model are few
SHOWN = 1 - stats.CONFIDENCE  # of an interval that decides nothing


@dataclass(frozen=True, slots=True)
class Row:
    """One metric of all sides; None where a side has not got it."""

    metric: str  # "P99 latency"
    values: tuple[Value, ...]
    changes: tuple[Estimate | None, ...]  # of each side but the first: its value / the first's ("x"); of errors the difference
    better: Better  # None where neither is
    judged: tuple[Judgement, ...] = ()  # of each side but the first, where the metric has a verdict

    @property
    def unit(self) -> str:
        """The unit of all sides; "" where none has a value."""
        return next((e.unit for e in map(estimate_of, self.values) if e), "")


@dataclass(frozen=True, slots=True)
class Difference:
    """How far the answers of one model are apart."""

    part: str  # of a mix; else the workload
    greatest: float  # difference of two values, as a share of the largest value in the first side's output
    allowed: float


@dataclass(frozen=True, slots=True)
class Agreement:
    """How many of a side's kept answers, of those that the first side has too, are the same as there."""

    same: int
    compared: int
    differences: tuple[Difference, ...] = ()  # of each model that answers with numbers
    varying: int = 0  # requests that the first side itself answers now so, now so: they are not compared
    why: str = ""  # why nothing could be compared, though there are answers

    def judged(self) -> Judgement:
        """WORSE where an answer is another one."""
        if self.why:
            return Judgement("UNKNOWN", 0.0, why=self.why)
        return Judgement("SAME" if self.same == self.compared else "WORSE", 0.0)


@dataclass(frozen=True, slots=True)
class SideComparison:
    """All sides, metric by metric; a side is valid when all its rounds are."""

    rows: tuple[Row, ...]
    reasons: tuple[tuple[Reason, ...], ...]  # of each side
    agreement: tuple[Agreement | None, ...] = ()  # of each side but the first; none where answers were not looked at
    parts: tuple[tuple[str, tuple[Row, ...]], ...] = ()  # (name, metrics) of each part of a mix
    rule: Rule | None = None  # where metrics have verdicts
    left_out: tuple[tuple[Reason, ...], ...] = ()  # of each side: rounds that count for nothing
    differing: Differences = ALIKE  # what is under test, and what should have been alike
    pairs: tuple[bool, ...] = ()  # of each side but the first: whether its rounds and the first's are pairs
    apart: tuple[bool, ...] = ()  # of each side but the first: whether it and the first were measured one after the other

    @property
    def valid(self) -> bool:
        return not any(self.reasons)

    def judgements(self, n: int | None = None) -> list[Judgement]:
        """The verdicts on side `n`, or on all sides: those of metrics, then those on answers where there are any to compare."""
        at = range(len(self.reasons) - 1) if n is None else [n - 1]
        found = [row.judged[i] for i in at for row in self.rows if row.judged]
        answers = [self.agreement[i] for i in at] if self.rule and self.agreement else []
        return found + [a.judged() for a in answers if a is not None and (a.compared or a.why)]

    @property
    def ended(self) -> bool:
        """Whether a server ended while it was measured."""
        return any(reason.code == ENDED for reasons in self.left_out for reason in reasons)


def compare_sides(
    *sides: Sequence[Run],
    agreement: Sequence[Agreement | None] = (),
    rule: Rule | None = None,
    left_out: Sequence[tuple[Reason, ...]] = (),
) -> SideComparison:
    """The metrics of all sides, those that lead first; with a rule those that it names have verdicts.

    Where two sides have the same rounds of an experiment, those of one number are a pair.
    """
    found = [side.side(runs) for runs in sides]
    reasons = tuple(tuple(_reasons(s)) for s in found)
    pairs = tuple(paired(sides[0], other) for other in sides[1:])
    rounds = min((len(runs) for runs in sides), default=0)
    rows = (_row(metric, pairs, Judge(rule, rounds, reasons) if rule else None) for metric in _metrics(found))
    return SideComparison(
        tuple(rows),
        reasons,
        tuple(agreement),
        tuple(_parts(found, pairs)),
        rule,
        tuple(left_out),
        differences(sides),
        pairs,
        tuple(apart(sides[0], other) for other in sides[1:]),
    )


def _parts(sides: list[Side], pairs: tuple[bool, ...]) -> Iterator[tuple[str, tuple[Row, ...]]]:
    """The latency and throughput of each part of a mix, of sides that all have rounds of it."""
    if not all(s.rounds for s in sides):
        return
    for n, part in enumerate(sides[0].rounds[0].parts if sides else ()):
        found = [side.part(s, n) for s in sides]
        metrics = (*_latencies(found), Metric("throughput", [side.throughput(s) for s in found], "higher"))
        yield part.workload.name, tuple(_row(metric, pairs, None) for metric in metrics)


def _reasons(one: Side) -> Iterator[Reason]:
    if not one.rounds:
        yield Reason("no_rounds", "there is no round of this side, so nothing can be compared; run it first")
    for n, m in enumerate(one.rounds):
        for reason in judge(m, one.streams[n] if one.streams else None)[0]:
            number = m.run.workload.round or n + 1
            yield reason if len(one.rounds) == 1 else replace(reason, message=f"round {number}: {reason.message}")


# ---------------------------------------------------------------- metrics


def _metrics(sides: list[Side]) -> Iterator[Metric]:
    streamed = any(s.streams for s in sides)
    yield from _of_streams(sides) if streamed else ()
    yield from _latencies(sides)
    yield from _of_tokens(sides) if streamed else ()
    yield Metric("throughput", [side.throughput(s) for s in sides], "higher")
    yield from _goodput(sides)
    yield from _utilization(sides)
    for name, of in (
        ("GPU memory", [side.memory(side.levels(s, "gpu", "memory_bytes")) for s in sides]),
        ("energy a request", [side.energy(s) for s in sides]),
        ("time to ready", [side.ready(s) for s in sides]),
    ):
        if any(one.value for one in of):
            yield Metric(name, of, "lower")
    yield Metric("error rate", [side.failures(s) for s in sides], "lower")


def _latencies(sides: list[Side]) -> Iterator[Metric]:
    yield Metric("mean latency", [side.mean(s.latency) for s in sides], "lower")
    for q in OF_STREAMS if any(s.streams for s in sides) else QUANTILES:
        yield _quantile("latency", [s.latency for s in sides], q)


def _of_streams(sides: list[Side]) -> Iterator[Metric]:
    ttft = [side.rounds_of([r.ttft_ns() for r in s.streams]) for s in sides]
    yield Metric("mean TTFT", [side.mean(one) for one in ttft], "lower")
    yield from (_quantile("TTFT", ttft, q) for q in OF_STREAMS)
    itl = [Rounds([r.gaps_ns for r in s.streams], streaming.gaps(s.streams)) for s in sides]
    yield from (_quantile("ITL", itl, q) for q in OF_STREAMS)
    yield Metric("longest gap", [Point(streaming.worst(s.streams)) for s in sides], "lower")
    yield Metric("mean TPOT", [side.mean(side.rounds_of([r.tpot_ns() for r in s.streams])) for s in sides], "lower")


def _of_tokens(sides: list[Side]) -> Iterator[Metric]:
    # no stream at all is no token a second; a side that was not streamed has no tokens to count
    found = [[streaming.token_times_ns(m.run) for m in s.rounds] if s.streams else [] for s in sides]
    yield Metric("output tokens", [side.rate(s, e, "tok/s") for s, e in zip(sides, found, strict=True)], "higher")


def _goodput(sides: list[Side]) -> Iterator[Metric]:
    found = [[good for m in s.rounds if (good := streaming.good_ns(m.run)) is not None] for s in sides]
    if any(found):
        yield Metric("goodput", [side.rate(s, e, "req/s") for s, e in zip(sides, found, strict=True)], "higher")


def _utilization(sides: list[Side]) -> Iterator[Metric]:
    """Mean and peak of the GPUs; where no side has one, of the server's CPU, else of the machine's."""
    for device, metric, name in (
        ("gpu", "utilization", "GPU utilization"),
        ("server", "cpu_utilization", "server CPU utilization"),
        ("host", "cpu_utilization", "machine CPU utilization"),
    ):
        levels = [side.levels(s, device, metric) for s in sides]
        if any(any(of) for of in levels):
            yield Metric(f"mean {name}", [side.mean_level(of) for of in levels], None)
            yield Metric(f"peak {name}", [side.peak(of) for of in levels], None)
            return


def _quantile(what: str, sides: list[Rounds], quantile: float) -> Metric:
    return Metric(f"{quantile_name(quantile)} {what}", [side.tail(one, quantile) for one in sides], "lower")


# ---------------------------------------------------------------- rows


def _row(metric: Metric, pairs: tuple[bool, ...], judge_by: Judge | None) -> Row:
    delta = judge_by.rule.delta_of(metric.name) if judge_by else None
    made = tuple(one.value for one in metric.of)
    if delta is None or judge_by is None:
        changes = tuple(change_of(metric, n, pair, SHOWN)[0] for n, pair in enumerate(pairs, 1))
        return Row(metric.name, made, changes, metric.better)
    alpha = judge_by.rule.alpha(judge_by.rounds)
    both = [change_of(metric, n, pair, alpha) for n, pair in enumerate(pairs, 1)]
    found = tuple(judged(metric, n, effect, delta, judge_by) for n, (_, effect) in enumerate(both, 1))
    return Row(metric.name, made, tuple(change for change, _ in both), metric.better, found)
