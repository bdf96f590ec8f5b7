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
from typing import NamedTuple

import numpy as np
from scipy import special

from bench.analysis.quantiles import order_statistic

CONFIDENCE = 0.95
MIN_ROUNDS = 3  # two give a t factor of 12.7
MIN_BLOCKS, MAX_BLOCKS = 8, 20
BLOCK_LENGTH = 10  # of a block of one run, in integrated autocorrelation times
_POINTS = 1 << 17  # the dependence of a longer run is seen on means of neighbours
_TAILS = (1, 2, 4)

Groups = Sequence[np.ndarray]


class Interval(NamedTuple):
    """A 95 % interval."""

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
    return _within(value, _t(len(errors) - 1) * _standard_error(errors))


def around_ratio(value: float, base: np.ndarray, new: np.ndarray) -> Interval:
    """The same of new / base = `value`: of pairs of groups where both sides have as many, else of independent groups."""
    if len(base) == len(new):
        return around(value, new - base)
    error = math.hypot(_standard_error(base), _standard_error(new))
    return _within(value, _t(min(len(base), len(new)) - 1) * error)


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
    independent = _independent(groups, ordered, quantile)
    below, above = independent * quantile, independent * (1 - quantile)
    error = (1 - CONFIDENCE) / 2
    low = float(special.betaincinv(below, above + 1, error))
    high = float(special.betaincinv(below + 1, above, 1 - error))
    return Interval(float(order_statistic(ordered, low)), _high_quantile(ordered, high))


def ratio_of_quantiles(base: Groups, new: Groups, ordered: tuple[np.ndarray, np.ndarray], quantile: float) -> Interval:
    """The interval of new / base of a quantile > 0, of pairs of rounds where both have as many, else of independent rounds.

    Each side's interval gives its share (Zou and Donner 2008, "MOVER"), less what the rounds of a pair have in common.
    """
    at = [float(order_statistic(o, quantile)) for o in ordered]
    sides = [quantile_interval(g, o, quantile) for g, o in zip((base, new), ordered, strict=True)]
    down = [math.log(value / max(i.low, 1e-9 * value)) for value, i in zip(at, sides, strict=True)]
    up = [math.log(i.high / value) for value, i in zip(at, sides, strict=True)]
    common = _in_common(base, new, ordered, quantile)
    low, high = _together(down[1], up[0], common), _together(up[1], down[0], common)
    return Interval(at[1] / at[0] * math.exp(-low), at[1] / at[0] * math.exp(high))


def _together(a: float, b: float, common: float) -> float:
    return math.sqrt(max(0.0, a * a + b * b - 2 * common * a * b))


def _in_common(base: Groups, new: Groups, ordered: tuple[np.ndarray, np.ndarray], quantile: float) -> float:
    """The correlation, from 0 to 1, between the shares of both sides' rounds above a quantile with twice the tail."""
    if len(base) != len(new):
        return 0.0
    tail = 1 - _tails(quantile)[1]
    shares = [_counts_above(g, order_statistic(o, tail)) / _lengths(g) for g, o in zip((base, new), ordered, strict=True)]
    if min(share.std() for share in shares) == 0:
        return 0.0
    return max(0.0, float(np.corrcoef(*shares)[0, 1]))


def _independent(groups: Groups, ordered: np.ndarray, quantile: float) -> float:
    """How many independent requests would scatter about the quantile as the groups do, less what few groups leave unknown."""
    count, lengths = len(ordered), _lengths(groups)
    unevenness = 0.0
    for tail in _tails(quantile):
        above = _counts_above(groups, order_statistic(ordered, 1 - tail))
        share = above.sum() / count
        if 0 < share < 1:
            variance = ((above - share * lengths) ** 2).sum() * len(groups) / (len(groups) - 1)
            unevenness = max(unevenness, float(variance / (count * share * (1 - share))))
    unevenness *= (_t(len(groups) - 1) / _t(math.inf)) ** 2
    return count / max(unevenness, 1.0)


def _tails(quantile: float) -> list[float]:
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


def _counts_above(groups: Groups, threshold: float) -> np.ndarray:
    return np.array([np.count_nonzero(group > threshold) for group in groups], np.float64)


def _lengths(groups: Groups) -> np.ndarray:
    return np.array([len(group) for group in groups], np.float64)


def _t(freedom: float) -> float:
    """Student's factor of a two-sided interval."""
    quantile = (1 + CONFIDENCE) / 2
    return float(special.ndtri(quantile) if math.isinf(freedom) else special.stdtrit(freedom, quantile))
