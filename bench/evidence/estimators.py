"""Intervals for the ratio of two sides' P99s, that of `bench.analysis` and those it was chosen from, to be held beside it.

Each is of times [rounds, requests] of the base and the new side, the rounds at the same position being a pair, on a scale of
logarithms.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import special

from bench.analysis import effect, stats
from bench.analysis.quantiles import order_statistic, rank
from bench.analysis.stats import Groups, Interval

QUANTILE = 0.99
ALPHA = stats.ALPHA
NAMES = (
    "own P99s",
    "own, order statistic",
    "own, Harrell-Davis",
    "pooled, scatter of own",
    "pooled, bootstrap percentile",
    "pooled, BCa",
    "pooled, bootstrap error",
    "pooled, Korn-Graubard",
)
_RESAMPLES = 500
_TAIL = 0.15  # of the pooled values, where nearly every resample's P99 lies


class Logs(NamedTuple):
    """An interval on a scale of logarithms, where 0 is no change."""

    low: float
    high: float


def intervals(base: np.ndarray, new: np.ndarray, rng: np.random.Generator) -> dict[str, Logs]:
    """The interval of each estimator, by name."""
    found = effect.ratio_of_quantiles(list(base), list(new), QUANTILE, paired=True, alpha=ALPHA)
    assert found is not None
    plain, smooth = (_own(of, base, new) for of in (_order_statistics, _harrell_davis))
    pooled = _pooled(new) - _pooled(base)
    resampled = _log_ratios(base, new, rng.multinomial(len(base), np.full(len(base), 1 / len(base)), _RESAMPLES))
    ordered = np.sort(base, axis=None), np.sort(new, axis=None)
    between = ratio_of_pooled(list(base), list(new), ordered, QUANTILE)
    rows = (
        Logs(math.log(found.low), math.log(found.high)),
        _student(float(plain.mean()), plain),
        _student(float(smooth.mean()), smooth),
        _student(pooled, plain),
        Logs(*np.quantile(resampled, [ALPHA / 2, 1 - ALPHA / 2])),
        _bca(pooled, resampled, _log_ratios(base, new, 1 - np.eye(len(base), dtype=np.int64))),
        _around(pooled, float(resampled.std()), len(base)),
        Logs(math.log(between.low), math.log(between.high)),
    )
    return dict(zip(NAMES, rows, strict=True))


def _own(of: Callable[[np.ndarray], np.ndarray], base: np.ndarray, new: np.ndarray) -> np.ndarray:
    return np.asarray(np.log(of(new)) - np.log(of(base)))


def _order_statistics(rounds: np.ndarray) -> np.ndarray:
    at = rank(rounds.shape[1], QUANTILE) - 1
    return np.asarray(np.partition(rounds, at, axis=1)[:, at])


def _harrell_davis(rounds: np.ndarray) -> np.ndarray:
    """Harrell and Davis 1982, "A new distribution-free quantile estimator"."""
    count = rounds.shape[1]
    edges = special.betainc((count + 1) * QUANTILE, (count + 1) * (1 - QUANTILE), np.arange(count + 1) / count)
    return np.asarray(np.sort(rounds, axis=1) @ np.diff(edges))


def _student(value: float, pairs: np.ndarray) -> Logs:
    return _around(value, float(pairs.std(ddof=1)) / math.sqrt(len(pairs)), len(pairs))


def _around(value: float, error: float, rounds: int) -> Logs:
    half = float(stats.student(rounds - 1, ALPHA)) * error
    return Logs(value - half, value + half)


def _pooled(rounds: np.ndarray) -> float:
    return math.log(order_statistic(np.sort(rounds, axis=None), QUANTILE))


def _log_ratios(base: np.ndarray, new: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The log ratio of the pooled P99s for each row of `weights` [resamples, rounds]: how often a pair of rounds is in it."""
    return np.asarray(_resampled(new, weights) - _resampled(base, weights))


def _resampled(rounds: np.ndarray, weights: np.ndarray) -> np.ndarray:
    length, values = rounds.shape[1], rounds.ravel()
    drawn = int(weights[0].sum()) * length
    wanted = drawn - rank(drawn, QUANTILE) + 1  # counted from the largest
    downwards = np.argsort(-values, kind="stable")
    for some in (math.ceil(_TAIL * len(values)), len(values)):
        largest = downwards[:some]
        counted = np.cumsum(weights[:, largest // length].astype(np.int32), axis=1)
        if (counted[:, -1] >= wanted).all():
            break
    return np.asarray(np.log(values[largest[np.argmax(counted >= wanted, axis=1)]]))


def _bca(value: float, resampled: np.ndarray, left_out: np.ndarray) -> Logs:
    """Efron 1987, "Better bootstrap confidence intervals"; `left_out` are the values without one pair each."""
    below = ((resampled < value).mean() + (resampled <= value).mean()) / 2
    bias = special.ndtri(min(max(below, 1 / _RESAMPLES), 1 - 1 / _RESAMPLES))
    away = left_out.mean() - left_out
    square = (away**2).sum()
    skew = (away**3).sum() / (6 * square**1.5) if square > 0 else 0.0
    at = bias + special.ndtri([ALPHA / 2, 1 - ALPHA / 2])
    return Logs(*np.quantile(resampled, special.ndtr(bias + at / (1 - skew * at))))


def ratio_of_pooled(base: Groups, new: Groups, ordered: tuple[np.ndarray, np.ndarray], quantile: float) -> Interval:
    """The interval of new / base of a quantile > 0, of pairs of rounds where both have as many, else of independent rounds.

    Each side's interval gives its share (Zou and Donner 2008, "MOVER"), less what the rounds of a pair have in common.
    """
    at = [float(order_statistic(o, quantile)) for o in ordered]
    sides = [stats.quantile_interval(g, o, quantile) for g, o in zip((base, new), ordered, strict=True)]
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
    tail = 1 - stats.tails(quantile)[1]
    shares = [
        stats.counts_above(g, order_statistic(o, tail)) / stats.lengths(g) for g, o in zip((base, new), ordered, strict=True)
    ]
    if min(share.std() for share in shares) == 0:
        return 0.0
    return max(0.0, float(np.corrcoef(*shares)[0, 1]))
