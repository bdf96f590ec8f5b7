"""Two sides, each of several rounds: what each comes to, and how they differ, the round being the unit of replication."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np

from bench.analysis import distribution, stats, summary
from bench.analysis.estimate import Estimate, QuantileClaim, Reason, Resource
from bench.analysis.measured import Measured, measure
from bench.analysis.stats import Groups, Interval
from bench.analysis.validity import judge
from bench.record import Run
from bench.slo import quantile_name

Better = Literal["lower", "higher"] | None
QUANTILES = (0.5, 0.99)


@dataclass(frozen=True, slots=True)
class Row:
    """One metric of both sides; None where a side has not got it."""

    metric: str  # "P99 latency"
    base: Estimate | QuantileClaim | None
    new: Estimate | QuantileClaim | None
    change: Estimate | None  # new / base, unit "x"
    better: Better  # None where neither is

    @property
    def unit(self) -> str:
        """The unit of both sides; "" where neither has a value."""
        sides = (side.estimate if isinstance(side, QuantileClaim) else side for side in (self.base, self.new))
        return next((side.unit for side in sides if side), "")


@dataclass(frozen=True, slots=True)
class SideComparison:
    """Two sides, metric by metric; a side is valid when all its rounds are."""

    rows: tuple[Row, ...]
    base_reasons: tuple[Reason, ...]
    new_reasons: tuple[Reason, ...]

    @property
    def valid(self) -> bool:
        return not self.base_reasons and not self.new_reasons


@dataclass(frozen=True, slots=True)
class _Side:
    """The rounds of a side, their latencies in ns, all of these ascending, and what to take the scatter between."""

    rounds: list[Measured]
    latencies: list[np.ndarray]
    ordered: np.ndarray
    groups: Groups | None
    resources: list[tuple[Resource, ...]]


class _Sum(NamedTuple):
    """A metric of one side that is a sum over rounds divided by another, and the terms of both sums."""

    estimate: Estimate | None
    numerators: np.ndarray
    denominators: np.ndarray


def compare_sides(base: Sequence[Run], new: Sequence[Run]) -> SideComparison:
    """The metrics of the demo's table, in its order. Rounds at the same position are a pair where both sides have as many."""
    b, n = _side(base), _side(new)
    rows = (
        _row("mean latency", _mean(b), _mean(n), "lower"),
        *(_quantile_row(b, n, quantile) for quantile in QUANTILES),
        _row("throughput", _throughput(b), _throughput(n), "higher"),
        *_utilization_rows(b, n),
        _row("error rate", _errors(b), _errors(n), "lower"),
    )
    return SideComparison(rows, tuple(_reasons(b)), tuple(_reasons(n)))


def _side(runs: Sequence[Run]) -> _Side:
    rounds = [measure(run) for run in runs]
    latencies = [m.latency_ns() for m in rounds]
    ordered = distribution.pooled(latencies)
    return _Side(rounds, latencies, ordered, stats.groups_of(latencies), [summary.resources(run) for run in runs])


def _reasons(side: _Side) -> Iterator[Reason]:
    if not side.rounds:
        yield Reason("no_rounds", "there is no round of this side, so nothing can be compared; run it first")
    for n, m in enumerate(side.rounds, 1):
        for reason in judge(m)[0]:
            yield reason if len(side.rounds) == 1 else Reason(reason.code, f"round {n}: {reason.message}")


# ---------------------------------------------------------------- metrics of one side


def _mean(side: _Side) -> _Sum:
    terms = distribution.sums(side.latencies)
    return _Sum(distribution.mean(side.groups, side.ordered), *terms)


def _throughput(side: _Side) -> _Sum:
    completed = [m.completed_ns() for m in side.rounds]
    counts = np.array([len(c) for c in completed], np.float64)
    seconds = np.array([m.window_s for m in side.rounds], np.float64)
    if len(completed) != 1:
        return _over_rounds(counts, seconds, "req/s")
    of_one = summary.throughput(completed[0], side.rounds[0].run.window_ns, len(side.groups or ()))
    return _Sum(of_one, counts, seconds)


def _errors(side: _Side) -> _Sum:
    failed = np.array([100.0 * sum(m.errors.values()) for m in side.rounds])
    return _over_rounds(failed, np.array([m.requests for m in side.rounds], np.float64), "%")


def _over_rounds(numerators: np.ndarray, denominators: np.ndarray, unit: str) -> _Sum:
    if denominators.sum() <= 0:
        return _Sum(None, numerators, denominators)
    interval = stats.ratio_interval(numerators, denominators) if len(numerators) >= stats.MIN_ROUNDS else None
    value = float(numerators.sum() / denominators.sum())
    return _Sum(distribution.estimate(value, interval, unit), numerators, denominators)


# ---------------------------------------------------------------- rows of both


def _row(metric: str, base: _Sum, new: _Sum, better: Better) -> Row:
    b, n = base.estimate, new.estimate
    interval = None
    if b and n and min(b.value, n.value) > 0 and min(len(base.numerators), len(new.numerators)) >= stats.MIN_ROUNDS:
        errors = [stats.relative_errors(side.numerators, side.denominators) for side in (base, new)]
        interval = stats.around_ratio(n.value / b.value, *errors)
    return Row(metric, b, n, _change(b, n, interval), better)


def _quantile_row(base: _Side, new: _Side, quantile: float) -> Row:
    b, n = (distribution.claim(side.groups, side.ordered, quantile) for side in (base, new))
    interval = None
    replicated = min(len(base.rounds), len(new.rounds)) >= stats.MIN_ROUNDS
    if replicated and b.estimate and n.estimate and min(b.estimate.value, n.estimate.value) > 0:
        interval = stats.ratio_of_quantiles(base.latencies, new.latencies, (base.ordered, new.ordered), quantile)
    return Row(f"{quantile_name(quantile)} latency", b, n, _change(b.estimate, n.estimate, interval), "lower")


def _utilization_rows(base: _Side, new: _Side) -> Iterator[Row]:
    """Mean and peak of the GPUs; where no side has one, of the server's CPU, else of the machine's."""
    for device, metric, name in (
        ("gpu", "utilization", "GPU utilization"),
        ("server", "cpu_utilization", "server CPU utilization"),
        ("host", "cpu_utilization", "machine CPU utilization"),
    ):
        b, n = (_levels(side, device, metric) for side in (base, new))
        if any(b) or any(n):
            yield _row(f"mean {name}", _mean_level(b), _mean_level(n), None)
            peaks = _peak(b), _peak(n)
            yield Row(f"peak {name}", *peaks, _change(*peaks, None), None)
            return


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


def _change(base: Estimate | None, new: Estimate | None, interval: Interval | None) -> Estimate | None:
    if base is None or new is None or base.value <= 0:
        return None
    return distribution.estimate(new.value / base.value, interval, "x")
