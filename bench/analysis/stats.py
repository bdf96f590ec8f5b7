"""Intervals from groups of requests: rounds of an experiment, or blocks of one run that are longer than the dependence in it.

The requests of a run depend on each other through the queue, so the scatter is always taken between groups, never between
requests. `python -m bench.evidence.calibration` measures how often these intervals hold what they are meant to hold.

Tried and left, with their coverage of the P99 of 6 or 12 rounds of 120 requests in those scenarios: the bootstrap over rounds
(26 to 88 %), also expanded (28 to 90 %, Hesterberg 2015), which goes no higher than the largest value seen; the jackknife over
rounds (61 to 89 %); the scatter of the rounds' own P99s about the pooled one (73 to 94 %), and about their mean, which is
another quantity (0 to 85 %). Within a run, blocks of 20 rather than 10 autocorrelation times, or of 10 times its upper limit,
give fewer intervals and no truer ones.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import special

from bench.analysis.quantiles import order_statistic

CONFIDENCE = 0.95
ALPHA = 1 - CONFIDENCE
MIN_ROUNDS = 3  # two give a t factor of 12.7
MIN_BLOCKS, MAX_BLOCKS = 8, 20
BLOCK_LENGTH = 10  # of a block of one run, in integrated autocorrelation times
_POINTS = 1 << 17  # the dependence of a longer run is seen on means of neighbours
_TAILS = (1, 2, 4)

Groups = Sequence[np.ndarray]


class Interval(NamedTuple):
    """An interval; one of 95 % where nothing else is said."""

    low: float
    high: float


def groups_of(rounds: Groups) -> Groups | None:
    """What to take the scatter between: three rounds or more, or the blocks of a single one; None where neither will do."""
    if len(rounds) == 1:
        return blocks(rounds[0])
    return rounds if len(rounds) >= MIN_ROUNDS else None


def blocks(values: np.ndarray) -> Groups | None:
    """8 to 20 blocks of consecutive values, each longer than their dependence; None where the run is too short for 8."""
    length = math.ceil(BLOCK_LENGTH * dependence(values)) if len(values) else 1
    count = min(MAX_BLOCKS, len(values) // length)
    return np.array_split(values, count) if count >= MIN_BLOCKS else None


def dependence(values: np.ndarray) -> float:
    """The integrated autocorrelation time of `values` [n > 0], at least 1: n values say as much as n / this independent ones.

    1 + 2 x the sum of the autocorrelations up to a lag of five such times (Sokal 1997, "Monte Carlo methods in statistical
    mechanics", section 3).
    """
    step = math.ceil(len(values) / _POINTS)
    whole = len(values) // step * step
    x = values[:whole].reshape(-1, step).mean(axis=1)
    x -= x.mean()
    spectrum = np.fft.rfft(x, 1 << (2 * len(x) - 1).bit_length())
    correlation = np.fft.irfft(spectrum.real**2 + spectrum.imag**2)[: len(x)]
    if correlation[0] <= 0:
        return float(step)
    times = 2 * np.cumsum(correlation / correlation[0]) - 1
    settled = np.arange(len(x)) >= 5 * times
    return step * max(1.0, float(times[np.argmax(settled)]) if settled.any() else float(len(x)))


def ratio_interval(numerators: np.ndarray, denominators: np.ndarray) -> Interval | None:
    """The interval of sum(numerators) / sum(denominators), one of each a group; None where the ratio is not above 0."""
    value = float(numerators.sum() / denominators.sum())
    return around(value, relative_errors(numerators, denominators)) if value > 0 else None


def relative_errors(numerators: np.ndarray, denominators: np.ndarray) -> np.ndarray:
    """What each group does to sum(numerators) / sum(denominators) > 0, as a share of it; the mean is 0."""
    value = numerators.sum() / denominators.sum()
    return np.asarray((numerators - value * denominators) * (len(numerators) / numerators.sum()))


def around(value: float, errors: np.ndarray) -> Interval:
    """The t interval around `value` on a scale of logarithms, from the relative errors of its groups."""
    return _within(value, student(len(errors) - 1) * _standard_error(errors))


def _standard_error(errors: np.ndarray) -> float:
    return math.sqrt(float((errors**2).sum()) / (len(errors) * (len(errors) - 1)))


def _within(value: float, half: float) -> Interval:
    return Interval(value * math.exp(-half), value * math.exp(min(half, 700.0)))


def quantile_interval(groups: Groups, ordered: np.ndarray, quantile: float) -> Interval:
    """The interval of the quantile of the groups' values together, which are `ordered` ascending.

    How unevenly the groups lie above the quantile tells how many independent requests theirs are worth; Clopper and Pearson's
    limits for so many say between which order statistics the quantile lies (Korn and Graubard 1998, "Confidence intervals for
    proportions with small expected number of positive counts", with Woodruff's inversion of 1952). Few requests lie above a
    P99, so that their scatter is often small by chance: the greatest unevenness above it and above the quantiles with twice and
    four times its tail is taken. A limit beyond the largest value follows an exponential tail.
    """
    worth = _independent(groups, ordered, quantile)
    low, high = clopper_pearson(worth * quantile, worth * (1 - quantile))
    return Interval(float(order_statistic(ordered, low)), _high_quantile(ordered, high))


def clopper_pearson(counted: float, others: float, alpha: float = ALPHA) -> Interval:
    """The two-sided limits of a share of which so many were counted, and so many others, not necessarily whole numbers."""
    low = float(special.betaincinv(counted, others + 1, alpha / 2)) if counted > 0 else 0.0
    high = float(special.betaincinv(counted + 1, others, 1 - alpha / 2)) if others > 0 else 1.0
    return Interval(low, high)


def _independent(groups: Groups, ordered: np.ndarray, quantile: float) -> float:
    """How many independent requests would scatter about the quantile as the groups do, less what few groups leave unknown."""
    above = (counts_above(groups, order_statistic(ordered, 1 - tail)) for tail in tails(quantile))
    greatest = max(unevenness(counts, lengths(groups)) for counts in above)
    return independent(len(ordered), greatest, len(groups))


def unevenness(counts: np.ndarray, lengths: np.ndarray) -> float:
    """How much more the counts of groups of such lengths vary than those of independent requests: 1 is as much."""
    count, share = lengths.sum(), counts.sum() / lengths.sum()
    if not 0 < share < 1:
        return 0.0
    variance = ((counts - share * lengths) ** 2).sum() * len(counts) / (len(counts) - 1)
    return float(variance / (count * share * (1 - share)))


def independent(count: float, unevenness: float, groups: int, alpha: float = ALPHA) -> float:
    """How many independent requests `count` are worth, `count` at most, where so few groups told the unevenness."""
    unknown = (student(groups - 1, alpha) / student(math.inf, alpha)) ** 2
    return count / max(unevenness * float(unknown), 1.0)


def tails(quantile: float) -> list[float]:
    """The upper tail of a quantile, and two wider ones that tell its unevenness too."""
    return [min(m * (1 - quantile), max(1 - quantile, 0.5)) for m in _TAILS]


def _high_quantile(ordered: np.ndarray, quantile: float) -> float:
    """An order statistic; beyond the largest value, a quantile of the exponential tail fitted to the upper twentieth."""
    count = len(ordered)
    if quantile <= 1 - 1 / count:
        return float(order_statistic(ordered, quantile))
    upper = min(count - 1, max(5, count // 20))
    threshold = float(ordered[count - upper - 1])
    excess = float(np.mean(ordered[count - upper :])) - threshold
    beyond = threshold + excess * math.log(upper / count / max(1 - quantile, 1e-12))
    return max(beyond, float(ordered[-1]))


def counts_above(groups: Groups, threshold: float) -> np.ndarray:
    """How many values of each group are above."""
    return np.array([np.count_nonzero(group > threshold) for group in groups], np.float64)


def lengths(groups: Groups) -> np.ndarray:
    """How many values each group has."""
    return np.array([len(group) for group in groups], np.float64)


def student(freedom: Any, alpha: float = ALPHA) -> Any:
    """Student's factor of a two-sided interval at 1 - alpha, of one number of degrees of freedom or of an array of them."""
    return special.stdtrit(freedom, 1 - alpha / 2)
