"""How far two sides are apart, from their rounds: the ratio or the difference, and the interval that decides about it.

The round is the unit: each gives one value, and the interval is Student's over the rounds' values, or over those of pairs,
which are the rounds at the same position of two sides that have as many.
`python -m bench.evidence.verdicts` shows how often this calls a difference where there is none, and beside it what was tried
for a P99 and left: the pooled quantile with bootstraps over rounds, with the scatter of the rounds' own, and with Korn and
Graubard's limits.
"""

import itertools
import math
from typing import NamedTuple

import numpy as np

from bench.analysis import stats
from bench.analysis.stats import MIN_ROUNDS, Groups

Sums = tuple[np.ndarray, np.ndarray]


class Effect(NamedTuple):
    """new / base, or new - base of shares of one, with its two-sided interval at 1 - alpha."""

    value: float
    low: float
    high: float
    scatter: float  # standard deviation of what one round (pair) says, on the scale of logarithms or of shares
    rounds: int  # of the side that has fewer; pairs
    freedom: float  # degrees of freedom of the scatter
    alpha: float
    difference: bool = False  # of shares, where no change is 0; else a ratio, where it is 1


def ratio_of_sums(base: Sums, new: Sums, paired: bool, alpha: float) -> Effect | None:
    """Of numerator / denominator, one of each a round: a mean latency from sums and counts, a throughput, a utilization.

    The value is the geometric mean of the rounds' ratios, which differs from the ratio of the sums where rounds differ much.
    None where a side has fewer than three rounds or a term is not above 0.
    """
    terms = (*base, *new)
    if not all(len(of) >= MIN_ROUNDS and (of > 0).all() for of in terms):
        return None
    logs = [np.log(of.astype(np.float64)) for of in terms]
    return _of_logs(logs[0] - logs[1], logs[2] - logs[3], paired, alpha)


def ratio_of_quantiles(base: Groups, new: Groups, quantile: float, paired: bool, alpha: float) -> Effect | None:
    """Of a quantile of times in ns, int64 [n] of each round in the order of completion.

    The value is the geometric mean of the rounds' own ratios, which differs from that of the pooled quantiles where rounds
    differ much. What to expect of a round's own P99 depends on how many requests it has, the more so the more they depend on
    each other: of the longer round of a pair only as many are taken as the other has, and without pairs of every round as many
    as the shortest has. None where a side has fewer than three rounds, a round fewer than `least_requests`, or a quantile is 0.
    """
    shortest = min((len(times) for times in (*base, *new)), default=0)
    if min(len(base), len(new)) < MIN_ROUNDS or shortest < least_requests(quantile):
        return None
    counts = [min(len(b), len(n)) for b, n in zip(base, new, strict=True)] if paired else itertools.repeat(shortest)
    values = [
        np.array([own_quantile(times[:count], quantile) for times, count in zip(side, counts, strict=False)])
        for side in (base, new)
    ]
    if not all((of > 0).all() for of in values):
        return None
    return _of_logs(np.log(values[0]), np.log(values[1]), paired, alpha)


def least_requests(quantile: float) -> int:
    """The fewest requests of a round that has a quantile of its own: half of what its upper tail takes, 33 for a P99.

    From 67 on a round's own P99 is one; that of 33 is its largest value, nearer a P98.
    """
    return max(1, math.ceil(0.33 / (1 - quantile) - 1e-9))


def own_quantile(times: np.ndarray, quantile: float) -> float:
    """The median-unbiased quantile of n > 0 times (Hyndman and Fan 1996, "Sample quantiles in statistical packages", type 8).

    The plain order statistic is the P98 of 100 requests and the P99 of 99, however many such rounds there are.
    """
    count = len(times)
    position = min(max((count + 1 / 3) * quantile + 1 / 3, 1.0), float(count)) - 1
    at = int(position)
    after = min(at + 1, count - 1)
    parted = np.partition(times, (at, after))
    return float(parted[at] + (position - at) * (parted[after] - parted[at]))


def difference_of_rates(
    base_failed: np.ndarray, base_total: np.ndarray, new_failed: np.ndarray, new_total: np.ndarray, paired: bool, alpha: float
) -> Effect | None:
    """Of failed / total, one of each a round, as a share of one.

    Clopper and Pearson's limits of each side, for as many requests as its own are worth whose failures come in bursts (as in
    `stats.quantile_interval`; the burstier side counts for both, as one without failures does not show how they would come),
    joined by MOVER (Zou and Donner 2008). What pairs have in common is not taken off: failures are too few to know it.
    None where a side has fewer than three rounds or no request.
    """
    base, new = (base_failed, base_total), (new_failed, new_total)
    if min(len(base_failed), len(new_failed)) < MIN_ROUNDS or min(base_total.sum(), new_total.sum()) <= 0:
        return None
    unevenness = max(stats.unevenness(*side) for side in (base, new))
    b, n = (side[0].sum() / side[1].sum() for side in (base, new))
    of_base, of_new = (_limits(side, unevenness, alpha) for side in (base, new))
    value = float(n - b)
    low = value - math.hypot(n - of_new.low, of_base.high - b)
    high = value + math.hypot(of_new.high - n, b - of_base.low)
    rates = [side[0] / np.maximum(side[1], 1) for side in (base, new)]
    error, rounds, freedom = _standard_error(rates[0], rates[1], paired)
    return Effect(value, low, high, error * math.sqrt(rounds), rounds, freedom, alpha, difference=True)


def _limits(side: Sums, unevenness: float, alpha: float) -> stats.Interval:
    failed, total = (float(of.sum()) for of in side)
    independent = stats.independent(total, unevenness, len(side[0]), alpha)
    return stats.clopper_pearson(independent * failed / total, independent * (1 - failed / total), alpha)


def _of_logs(base: np.ndarray, new: np.ndarray, paired: bool, alpha: float) -> Effect:
    error, rounds, freedom = _standard_error(base, new, paired)
    log, half = float(new.mean() - base.mean()), stats.student(freedom, alpha) * error
    low, high = math.exp(log - half), math.exp(min(log + half, 700.0))
    return Effect(math.exp(log), low, high, error * math.sqrt(rounds), rounds, freedom, alpha)


def _standard_error(base: np.ndarray, new: np.ndarray, paired: bool) -> tuple[float, int, float]:
    """Of the difference of the means: itself, the rounds, and its degrees of freedom (Welch's where not paired)."""
    rounds = min(len(base), len(new))
    if paired:
        return float(np.std(new - base, ddof=1)) / math.sqrt(rounds), rounds, rounds - 1
    b, n = float(base.var(ddof=1)) / len(base), float(new.var(ddof=1)) / len(new)
    if b + n == 0:
        return 0.0, rounds, rounds - 1
    freedom = (b + n) ** 2 / (b * b / (len(base) - 1) + n * n / (len(new) - 1))
    return math.sqrt(b + n), rounds, freedom
