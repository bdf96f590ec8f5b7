"""Whether a side is worse, better or the same, when that is looked at, and how many rounds would tell."""

import math
from typing import Literal, NamedTuple

import numpy as np

from bench.analysis import stats
from bench.analysis.effect import Effect

Verdict = Literal["BETTER", "WORSE", "SAME", "UNKNOWN"]
MOST_ROUNDS = 10_000  # no more are foreseen


class Looks(NamedTuple):
    """When the rounds are looked at, planned before the first of them.

    The error is split over the looks and over the metrics that decide, so that whatever is called at whichever look, the chance
    of one false call among all of them is `error` at most. The first of several looks gets half the share of a later one: it is
    there for what is plain to see.
    """

    rounds: tuple[int, ...] = (5, 10, 20)
    error: float = 0.05
    gated: int = 3

    def alpha(self, rounds: int) -> float:
        """Of one metric's interval at the first look planned at so many rounds or more; beyond the last, of the last."""
        look = next((n for n, at in enumerate(self.rounds) if at >= rounds), len(self.rounds) - 1)
        shares = 2 * len(self.rounds) - 1
        return self.error / self.gated * (1 if look == 0 else 2) / shares


def verdict(effect: Effect, delta: float, better: Literal["lower", "higher"]) -> Verdict:
    """What the interval says where `delta`, a share of the base or a difference of shares, is the smallest change that matters.

    SAME: all of it lies within 1 / (1 + delta) and 1 + delta, or within -delta and delta. WORSE, BETTER: it excludes no change
    on that side. Else UNKNOWN.
    """
    low, high = _scale(effect, effect.low), _scale(effect, effect.high)
    if math.isnan(low) or math.isnan(high):
        return "UNKNOWN"
    if max(-low, high) <= _matters(effect, delta):
        return "SAME"
    if low <= 0 <= high:
        return "UNKNOWN"
    return "WORSE" if (low > 0) == (better == "lower") else "BETTER"


def needed_rounds(effect: Effect, delta: float, alpha: float) -> int | None:
    """How many rounds a side in all would decide, at `alpha`, if the value and the noise stayed; None beyond 10,000.

    The interval shrinks with the root of the rounds; that of no failures at all with their number.
    """
    rounds = np.arange(effect.rounds + 1, MOST_ROUNDS + 1)
    freedom = effect.freedom * (rounds - 1) / (effect.rounds - 1)
    shrink = effect.rounds / rounds
    if not (effect.difference and effect.value == effect.scatter == 0):
        shrink = np.sqrt(shrink) * stats.student(freedom, alpha) / stats.student(effect.freedom, effect.alpha)
    at = _scale(effect, effect.value)
    low, high = at - (at - _scale(effect, effect.low)) * shrink, at + (_scale(effect, effect.high) - at) * shrink
    decided = (np.maximum(-low, high) <= _matters(effect, delta)) | (low > 0) | (high < 0)
    return int(rounds[np.argmax(decided)]) if decided.any() else None


def _scale(effect: Effect, value: float) -> float:
    """Where no change is 0 and as much in either direction is as far away."""
    return value if effect.difference else math.log(value) if value > 0 else -math.inf


def _matters(effect: Effect, delta: float) -> float:
    return delta if effect.difference else math.log(1 + delta)
