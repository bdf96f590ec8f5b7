"""The distribution of times: mean and quantiles of rounds or of one run, each with its interval or with what it needs."""

from collections.abc import Sequence

import numpy as np

from bench.analysis import stats
from bench.analysis.estimate import Distribution, Estimate, QuantileClaim
from bench.analysis.quantiles import QUANTILES, order_statistic, requests_needed
from bench.analysis.stats import Groups, Interval

MS = 1e-6


def describe(rounds: Sequence[np.ndarray], quantiles: Sequence[float] = QUANTILES) -> Distribution:
    """The distribution of the times in ns of all rounds together, each round int64 [n] in the order of completion."""
    groups = stats.groups_of(rounds)
    ordered = pooled(rounds)
    claims = tuple(claim(groups, ordered, quantile) for quantile in quantiles)
    least, most = (float(ordered[0]) * MS, float(ordered[-1]) * MS) if len(ordered) else (None, None)
    return Distribution(len(ordered), mean(groups, ordered), least, most, claims)


def mean(groups: Groups | None, ordered: np.ndarray) -> Estimate | None:
    """The mean of times in ns; None where there is none."""
    if not len(ordered):
        return None
    interval = stats.ratio_interval(*sums(groups)) if groups else None
    return estimate(float(ordered.mean()), interval, "ms", MS)


def pooled(rounds: Sequence[np.ndarray]) -> np.ndarray:
    """The values of all rounds, ascending."""
    values = np.concatenate(rounds) if rounds else np.empty(0, np.int64)
    values.sort()
    return values


def sums(groups: Groups) -> tuple[np.ndarray, np.ndarray]:
    """(sum, length) of each group."""
    return np.array([g.sum() for g in groups], np.float64), np.array([len(g) for g in groups], np.float64)


def claim(groups: Groups | None, ordered: np.ndarray, quantile: float) -> QuantileClaim:
    """The claim at a quantile of ascending times in ns."""
    needs = requests_needed(quantile)
    if len(ordered) < needs:
        return QuantileClaim(quantile, None, needs, len(ordered))
    interval = stats.quantile_interval(groups, ordered, quantile) if groups else None
    value = float(order_statistic(ordered, quantile))
    return QuantileClaim(quantile, estimate(value, interval, "ms", MS), None, len(ordered))


def estimate(value: float, interval: Interval | None, unit: str, scale: float = 1.0) -> Estimate:
    """An `Estimate` of both times `scale`."""
    low, high = (None, None) if interval is None else (interval.low * scale, interval.high * scale)
    return Estimate(value * scale, low, high, unit, stats.CONFIDENCE)
