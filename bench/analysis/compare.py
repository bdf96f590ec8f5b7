"""Two sides or more, each of several rounds: what each comes to, and how it differs from the first; the round is replicated."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np

from bench.analysis import distribution, stats, streaming, summary
from bench.analysis.distribution import Times
from bench.analysis.estimate import Estimate, QuantileClaim, Reason, Resource
from bench.analysis.measured import Measured, measure
from bench.analysis.stats import Interval
from bench.analysis.streaming import Streams
from bench.analysis.validity import judge
from bench.record import Run
from bench.slo import quantile_name

Better = Literal["lower", "higher"] | None
Value = Estimate | QuantileClaim | None
QUANTILES = (0.5, 0.99)
OF_STREAMS = (0.5, 0.9, 0.99)  # few requests claim no P99, and those of a slow model are few


@dataclass(frozen=True, slots=True)
class Row:
    """One metric of all sides; None where a side has not got it."""

    metric: str  # "P99 latency"
    values: tuple[Value, ...]
    changes: tuple[Estimate | None, ...]  # of each side but the first: its value / the first's, unit "x"
    better: Better  # None where neither is

    @property
    def unit(self) -> str:
        """The unit of all sides; "" where none has a value."""
        return next((e.unit for e in map(estimate_of, self.values) if e), "")


@dataclass(frozen=True, slots=True)
class Agreement:
    """How many of a side's kept answers, of those that the first side has too, are the same as there."""

    same: int
    compared: int


@dataclass(frozen=True, slots=True)
class SideComparison:
    """All sides, metric by metric; a side is valid when all its rounds are."""

    rows: tuple[Row, ...]
    reasons: tuple[tuple[Reason, ...], ...]  # of each side
    agreement: tuple[Agreement | None, ...] = ()  # of each side but the first; none where answers were not looked at
    parts: tuple[tuple[str, tuple[Row, ...]], ...] = ()  # (name, metrics) of each part of a mix

    @property
    def valid(self) -> bool:
        return not any(self.reasons)


def estimate_of(value: Value) -> Estimate | None:
    """The estimate in a value, if it has one."""
    return value.estimate if isinstance(value, QuantileClaim) else value


@dataclass(frozen=True, slots=True)
class _Side:
    """The rounds of a side and what was found in each."""

    rounds: list[Measured]
    streams: list[Streams]  # of each round; empty where replies were not streamed in every one
    resources: list[tuple[Resource, ...]]
    latency: "_Rounds"


class _Rounds(NamedTuple):
    """Times in ns of each round, and of all together."""

    each: list[np.ndarray]
    times: Times


class _Sum(NamedTuple):
    """A metric of one side that is a sum over rounds divided by another, and the terms of both sums."""

    estimate: Estimate | None
    numerators: np.ndarray
    denominators: np.ndarray


def compare_sides(*sides: Sequence[Run], agreement: Sequence[Agreement | None] = ()) -> SideComparison:
    """The metrics of the demo's table, in its order. Rounds at the same position are a pair where two sides have as many."""
    found = [_side(runs) for runs in sides]
    rows = (
        *(_stream_rows(found) if any(s.streams for s in found) else ()),
        *_latency_rows(found),
        *(_token_rows(found) if any(s.streams for s in found) else ()),
        _row("throughput", [_throughput(s) for s in found], "higher"),
        *_goodput_rows(found),
        *_utilization_rows(found),
        _row("error rate", [_errors(s) for s in found], "lower"),
    )
    return SideComparison(rows, tuple(tuple(_reasons(s)) for s in found), tuple(agreement), tuple(_parts(found)))


def _side(runs: Sequence[Run]) -> _Side:
    rounds = [measure(run) for run in runs]
    found = [s for m in rounds if (s := streaming.streams(m)) is not None]
    return _Side(
        rounds,
        found if len(found) == len(rounds) else [],
        [summary.resources(run) for run in runs],
        _rounds([m.latency_ns() for m in rounds]),
    )


def _parts(sides: list[_Side]) -> Iterator[tuple[str, tuple[Row, ...]]]:
    """The latency and throughput of each part of a mix, of sides that all have rounds of it."""
    rounds = [m for side in sides for m in side.rounds]
    if not all(side.rounds for side in sides):
        return
    for n, part in enumerate(rounds[0].parts):
        found = [_part([m.parts[n] for m in side.rounds]) for side in sides]
        yield part.workload.name, (*_latency_rows(found), _row("throughput", [_throughput(s) for s in found], "higher"))


def _part(rounds: list[Measured]) -> _Side:
    return _Side(rounds, [], [], _rounds([m.latency_ns() for m in rounds]))


def _rounds(each: list[np.ndarray]) -> _Rounds:
    return _Rounds(each, distribution.times(each))


def _reasons(side: _Side) -> Iterator[Reason]:
    if not side.rounds:
        yield Reason("no_rounds", "there is no round of this side, so nothing can be compared; run it first")
    for n, m in enumerate(side.rounds):
        for reason in judge(m, side.streams[n] if side.streams else None)[0]:
            yield reason if len(side.rounds) == 1 else replace(reason, message=f"round {n + 1}: {reason.message}")


# ---------------------------------------------------------------- rows


def _latency_rows(sides: list[_Side]) -> Iterator[Row]:
    yield _row("mean latency", [_mean(s.latency) for s in sides], "lower")
    quantiles = OF_STREAMS if any(s.streams for s in sides) else QUANTILES
    yield from (_quantile_row("latency", [s.latency for s in sides], q) for q in quantiles)


def _stream_rows(sides: list[_Side]) -> Iterator[Row]:
    ttft = [_rounds([r.ttft_ns() for r in s.streams]) for s in sides]
    yield _row("mean TTFT", [_mean(side) for side in ttft], "lower")
    yield from (_quantile_row("TTFT", ttft, q) for q in OF_STREAMS)
    itl = [_Rounds([r.gaps_ns for r in s.streams], streaming.gaps(s.streams)) for s in sides]
    yield from (_quantile_row("ITL", itl, q) for q in OF_STREAMS)
    longest = [streaming.worst(s.streams) for s in sides]
    yield Row("longest gap", tuple(longest), _changes(longest), "lower")
    tpot = [_rounds([r.tpot_ns() for r in s.streams]) for s in sides]
    yield _row("mean TPOT", [_mean(side) for side in tpot], "lower")


def _token_rows(sides: list[_Side]) -> Iterator[Row]:
    # no stream at all is no token a second; a side that was not streamed has no tokens to count
    found = [[streaming.token_times_ns(m.run) for m in s.rounds] if s.streams else [] for s in sides]
    yield _row("output tokens", [_rate(s, events, "tok/s") for s, events in zip(sides, found, strict=True)], "higher")


def _goodput_rows(sides: list[_Side]) -> Iterator[Row]:
    found = [[good for m in s.rounds if (good := streaming.good_ns(m.run)) is not None] for s in sides]
    if any(found):
        yield _row("goodput", [_rate(s, events, "req/s") for s, events in zip(sides, found, strict=True)], "higher")


def _utilization_rows(sides: list[_Side]) -> Iterator[Row]:
    """Mean and peak of the GPUs; where no side has one, of the server's CPU, else of the machine's."""
    for device, metric, name in (
        ("gpu", "utilization", "GPU utilization"),
        ("server", "cpu_utilization", "server CPU utilization"),
        ("host", "cpu_utilization", "machine CPU utilization"),
    ):
        levels = [_levels(side, device, metric) for side in sides]
        if any(any(of) for of in levels):
            yield _row(f"mean {name}", [_mean_level(of) for of in levels], None)
            peaks = [_peak(of) for of in levels]
            yield Row(f"peak {name}", tuple(peaks), _changes(peaks), None)
            return


def _row(metric: str, sides: list[_Sum], better: Better) -> Row:
    changes = tuple(_change(sides[0].estimate, s.estimate, _interval(sides[0], s)) for s in sides[1:])
    return Row(metric, tuple(s.estimate for s in sides), changes, better)


def _interval(base: _Sum, new: _Sum) -> Interval | None:
    b, n = base.estimate, new.estimate
    if not (b and n and min(b.value, n.value) > 0 and min(len(base.numerators), len(new.numerators)) >= stats.MIN_ROUNDS):
        return None
    errors = [stats.relative_errors(side.numerators, side.denominators) for side in (base, new)]
    return stats.around_ratio(n.value / b.value, *errors)


def _quantile_row(what: str, sides: list[_Rounds], quantile: float) -> Row:
    claims = [distribution.claim(s.times, quantile) for s in sides]
    changes = tuple(
        _change(claims[0].estimate, mine.estimate, _interval_of_quantiles(sides[0], s, quantile, claims[0], mine))
        for s, mine in zip(sides[1:], claims[1:], strict=True)
    )
    return Row(f"{quantile_name(quantile)} {what}", tuple(claims), changes, "lower")


def _interval_of_quantiles(base: _Rounds, new: _Rounds, quantile: float, b: QuantileClaim, n: QuantileClaim) -> Interval | None:
    replicated = min(len(base.each), len(new.each)) >= stats.MIN_ROUNDS and all(map(len, (*base.each, *new.each)))
    if not (replicated and b.estimate and n.estimate and min(b.estimate.value, n.estimate.value) > 0):
        return None
    return stats.ratio_of_quantiles(base.each, new.each, (base.times.ordered, new.times.ordered), quantile)


def _changes(values: Sequence[Estimate | None]) -> tuple[Estimate | None, ...]:
    return tuple(_change(values[0], value, None) for value in values[1:])


def _change(base: Estimate | None, new: Estimate | None, interval: Interval | None) -> Estimate | None:
    if base is None or new is None or base.value <= 0:
        return None
    return distribution.estimate(new.value / base.value, interval, "x")


# ---------------------------------------------------------------- metrics of one side


def _mean(side: _Rounds) -> _Sum:
    return _Sum(distribution.mean(side.times), *distribution.sums(side.each))


def _throughput(side: _Side) -> _Sum:
    return _rate(side, [m.completed_ns() for m in side.rounds], "req/s")


def _rate(side: _Side, events: list[np.ndarray], unit: str) -> _Sum:
    """Events a second in all windows together, of the times of each round's."""
    counts = np.array([len(of_one) for of_one in events], np.float64)
    seconds = np.array([m.window_s for m in side.rounds[: len(events)]], np.float64)
    if len(events) != 1:
        return _over_rounds(counts, seconds, unit)
    slices = len(side.latency.times.groups or ())
    return _Sum(distribution.rate(events[0], side.rounds[0].run.window_ns, slices, unit), counts, seconds)


def _errors(side: _Side) -> _Sum:
    failed = np.array([100.0 * sum(m.errors.values()) for m in side.rounds])
    return _over_rounds(failed, np.array([m.requests for m in side.rounds], np.float64), "%")


def _over_rounds(numerators: np.ndarray, denominators: np.ndarray, unit: str) -> _Sum:
    if denominators.sum() <= 0:
        return _Sum(None, numerators, denominators)
    interval = stats.ratio_interval(numerators, denominators) if len(numerators) >= stats.MIN_ROUNDS else None
    value = float(numerators.sum() / denominators.sum())
    return _Sum(distribution.estimate(value, interval, unit), numerators, denominators)


def _levels(side: _Side, device: str, metric: str) -> list[list[Resource]]:
    """The metric of each such device, by round."""
    return [[r for r in found if r.device.startswith(device) and r.metric == metric] for found in side.resources]


def _mean_level(levels: list[list[Resource]]) -> _Sum:
    means = np.array([np.mean([r.mean for r in devices]) for devices in levels if devices])
    level = _over_rounds(means, np.ones(len(means)), "%")
    if level.estimate is not None and level.estimate.high is not None:  # no share of a machine is above all of it
        return level._replace(estimate=replace(level.estimate, high=min(level.estimate.high, 100.0)))
    return level


def _peak(levels: list[list[Resource]]) -> Estimate | None:
    peaks = [r.peak for devices in levels for r in devices]
    return Estimate(max(peaks), None, None, "%") if peaks else None
