"""The distribution of times: mean and quantiles of rounds or of one run, each with its interval or with what it needs."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bench.analysis import stats
from bench.analysis.estimate import Distribution, Estimate, QuantileClaim
from bench.analysis.quantiles import QUANTILES, order_statistic, requests_needed
from bench.analysis.stats import Groups, Interval

MS = 1e-6


class Times(NamedTuple):
    """Times in ns, ascending; what to take their scatter between; and how many requests they are of."""

    ordered: np.ndarray
    groups: Groups | None
    requests: int


def times(rounds: Sequence[np.ndarray]) -> Times:
    """Of rounds with one time a request, each int64 [n] in the order of completion."""
    ordered = pooled(rounds)
    return Times(ordered, stats.groups_of(rounds), len(ordered))


def describe(rounds: Sequence[np.ndarray], quantiles: Sequence[float] = QUANTILES) -> Distribution:
    """The distribution of the times in ns of all rounds together, each round int64 [n] in the order of completion."""
    return describe_times(times(rounds), quantiles)


def describe_times(t: Times, quantiles: Sequence[float] = QUANTILES) -> Distribution:
    """The distribution of times in ns."""
    claims = tuple(claim(t, quantile) for quantile in quantiles)
    least, most = (float(t.ordered[0]) * MS, float(t.ordered[-1]) * MS) if len(t.ordered) else (None, None)
    return Distribution(len(t.ordered), mean(t), least, most, claims)


def mean(t: Times) -> Estimate | None:
    """The mean of times in ns; None where there is none."""
    if not len(t.ordered):
        return None
    interval = stats.ratio_interval(*sums(t.groups)) if t.groups else None
    return estimate(float(t.ordered.mean()), interval, "ms", MS)


def pooled(rounds: Sequence[np.ndarray]) -> np.ndarray:
    """The values of all rounds, ascending."""
    values = np.concatenate(rounds) if rounds else np.empty(0, np.int64)
    values.sort()
    return values


def sums(groups: Groups) -> tuple[np.ndarray, np.ndarray]:
    """(sum, length) of each group."""
    return np.array([g.sum() for g in groups], np.float64), np.array([len(g) for g in groups], np.float64)


def claim(t: Times, quantile: float) -> QuantileClaim:
    """The claim at a quantile of times in ns."""
    needs = requests_needed(quantile)
    if t.requests < needs:
        return QuantileClaim(quantile, None, needs, t.requests)
    interval = stats.quantile_interval(t.groups, t.ordered, quantile) if t.groups else None
    value = float(order_statistic(t.ordered, quantile))
    return QuantileClaim(quantile, estimate(value, interval, "ms", MS), None, t.requests)


def rate(events_ns: np.ndarray, window_ns: tuple[int, int], slices: int, unit: str) -> Estimate:
    """Events a second in the window, of ascending times, with an interval from so many equal slices of it; from few, none."""
    start, end = window_ns
    seconds = (end - start) / 1e9
    if seconds <= 0:
        return Estimate(0.0, None, None, unit)
    interval = None
    if slices >= stats.MIN_BLOCKS:
        edges = np.linspace(start, end, slices + 1)
        counts = np.diff(np.searchsorted(events_ns, edges, side="right"))
        interval = stats.ratio_interval(counts.astype(np.float64), np.diff(edges) / 1e9)
    return estimate(len(events_ns) / seconds, interval, unit)


def estimate(value: float, interval: Interval | None, unit: str, scale: float = 1.0) -> Estimate:
    """An `Estimate` of both times `scale`."""
    low, high = (None, None) if interval is None else (interval.low * scale, interval.high * scale)
    return Estimate(value * scale, low, high, unit, stats.CONFIDENCE)
