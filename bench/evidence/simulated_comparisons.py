"""Simulated comparisons: what `bench compare` says of simulated sides at each look, and how often."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from bench.analysis import effect
from bench.analysis.verdicts import Looks, Verdict, verdict
from bench.evidence.simulated_sides import Sides, queue

LOOKS = Looks()
MOST = LOOKS.rounds[-1]
DELTAS = {"mean": 0.05, "P50": 0.05, "P99": 0.10, "errors": 0.01}  # the smallest change that matters
GATED = ("mean", "P99", "errors")
MOST_NEEDED = 500  # rounds that are tried
_ENOUGH = 0.95  # of the comparisons, for a number of rounds to be enough


class Called(NamedTuple):
    """What was said of one metric at each look, and the change found at the last."""

    at: tuple[Verdict, ...]
    change: float

    def by(self, rounds: int, what: Verdict) -> bool:
        """Whether the first look that decided was one of the first so many rounds and said so."""
        seen = (said for n, said in zip(LOOKS.rounds, self.at, strict=True) if n <= rounds and said != "UNKNOWN")
        return next(seen, None) == what

    @property
    def ever(self) -> bool:
        """Whether a difference was called at any look."""
        return "WORSE" in self.at or "BETTER" in self.at


Judged = dict[str, Called]


def judged(sides: Sides, failed: Sides, metrics: Sequence[str], deltas: dict[str, float]) -> Judged:
    """What is said of the metrics of 20 rounds at the looks; `failed` are counts of failures, [rounds] of each side."""
    return {metric: _called(sides, failed, metric, deltas[metric]) for metric in metrics}


def _called(sides: Sides, failed: Sides, metric: str, delta: float) -> Called:
    found = [_effect(sides, failed, metric, rounds) for rounds in LOOKS.rounds]
    return Called(tuple(verdict(e, delta, "lower") for e in found), found[-1].value)


def _effect(sides: Sides, failed: Sides, metric: str, rounds: int) -> effect.Effect:
    base, new = (side[:rounds] for side in sides)
    counts, alpha = np.full(rounds, float(base.shape[1])), LOOKS.alpha(rounds)
    if metric == "errors":
        b, n = (side[:rounds] for side in failed)
        found = effect.difference_of_rates(b, counts, n, counts, True, alpha)
    elif metric == "mean":
        found = effect.ratio_of_sums((base.sum(axis=1), counts), (new.sum(axis=1), counts), True, alpha)
    else:
        found = effect.ratio_of_quantiles(list(base), list(new), {"P50": 0.5, "P99": 0.99}[metric], True, alpha)
    assert found is not None
    return found


def failures(rng: np.random.Generator, requests: int) -> Sides:
    """Of both sides alike: one request in 500, and in one round in twenty 5 % more."""
    share = np.where(rng.random((2, MOST)) < 0.05, 0.052, 0.002)
    return Sides(*rng.binomial(requests, share).astype(np.float64))


def comparisons(
    simulate: Callable[[np.random.Generator, int, int, float], Sides],
    requests: int,
    factor: float,
    replications: int,
    metrics: Sequence[str] = GATED,
    deltas: dict[str, float] = DELTAS,
) -> list[Judged]:
    """Comparisons of sides of 20 rounds, each looked at as planned."""
    rng, made = np.random.default_rng(1), []
    for _ in range(replications):
        sides = simulate(rng, MOST, requests, factor)
        made.append(judged(sides, failures(rng, sides.base.shape[1]), metrics, deltas))
    return made


def share(made: list[Judged], metric: str, rounds: int, what: Verdict) -> float:
    """Of the comparisons, how many said so by that many rounds."""
    return sum(j[metric].by(rounds, what) for j in made) / len(made)


def false_alarms(made: list[Judged]) -> float:
    """The share of comparisons in which any metric was called different at any look."""
    return sum(any(called.ever for called in j.values()) for j in made) / len(made)


class Queue(NamedTuple):
    """What a queue's schedules, shared or not, give on the P99 where services are 5 % longer, δ = 2 %."""

    load: float
    shared: bool
    scatter: float  # of the log ratio of a pair's P99s
    worse: tuple[float, ...]  # by each look
    needed: int | None  # rounds a side, for one look at them to find it in 95 %
    false: float


def of_queue(load: float, shared: bool, replications: int) -> Queue:
    """2,000 requests a round, service CV 15 %."""
    simulate, deltas = queue(load, shared), {"P99": 0.02}
    alike, longer = (comparisons(simulate, 2000, f, replications, ("P99",), deltas) for f in (1.0, 1.05))
    logs = _own_log_ratios(simulate, np.random.default_rng(2), 10 * replications)
    worse = tuple(share(longer, "P99", rounds, "WORSE") for rounds in LOOKS.rounds)
    return Queue(load, shared, float(logs.std()), worse, _needed(logs), false_alarms(alike))


def _own_log_ratios(simulate: Callable[..., Sides], rng: np.random.Generator, pairs: int) -> np.ndarray:
    made = (simulate(rng, 1, 2000, 1.05) for _ in range(pairs))
    return np.array([math.log(effect.own_quantile(s.new[0], 0.99) / effect.own_quantile(s.base[0], 0.99)) for s in made])


def _needed(logs: np.ndarray) -> int | None:
    """The fewest rounds with which 95 % of 1,000 comparisons, drawn from these pairs, call WORSE."""
    rng = np.random.default_rng(3)
    return next((n for n in range(3, MOST_NEEDED) if _found(rng.choice(logs, (1000, n))) >= _ENOUGH), None)


def _found(draws: np.ndarray) -> float:
    rounds = draws.shape[1]
    one = np.ones(rounds)
    found = (effect.ratio_of_sums((one, one), (np.exp(d), one), True, LOOKS.alpha(MOST)) for d in draws)
    return sum(e is not None and verdict(e, 0.02, "lower") == "WORSE" for e in found) / len(draws)
