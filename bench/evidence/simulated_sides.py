"""Two sides of a comparison, simulated: rounds of latencies whose difference is known."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bench.evidence.calibration import SCENARIOS, SERVICE_NS, WARM_UP, Rounds, closed, departures, lognormal


class Sides(NamedTuple):
    """Latencies in ns, int64 [rounds, requests] of each side, the rounds at the same position being a pair."""

    base: np.ndarray
    new: np.ndarray


@dataclass(frozen=True, slots=True)
class Pairs:
    """Sides to be had: `simulate`(rng, rounds, requests, factor), the new side with services `factor` times as long."""

    name: str
    simulate: Callable[[np.random.Generator, int, int, float], Sides]


def apart(
    simulate: Callable[[np.random.Generator, int, int, float], Rounds],
) -> Callable[[np.random.Generator, int, int, float], Sides]:
    """Sides that have nothing in common, of one server."""

    def sides(rng: np.random.Generator, rounds: int, requests: int, factor: float) -> Sides:
        return Sides(*(simulate(rng, rounds, requests, f).latency_ns for f in (1.0, factor)))

    return sides


def queue(load: float, shared: bool) -> Callable[[np.random.Generator, int, int, float], Sides]:
    """One FIFO server each, service with CV 15 %, Poisson arrivals: one schedule for both rounds of a pair, or one for each."""

    def sides(rng: np.random.Generator, rounds: int, requests: int, factor: float) -> Sides:
        shape = (rounds, requests + WARM_UP)
        schedules = [np.cumsum(rng.exponential(1 / load, shape), axis=1) for _ in range(1 if shared else 2)]
        both = zip((schedules[0], schedules[-1]), (1.0, factor), strict=True)
        return Sides(*(_queued(arrivals, f * lognormal(rng, 0.15, shape)) for arrivals, f in both))

    return sides


def _queued(arrivals: np.ndarray, service: np.ndarray) -> np.ndarray:
    latency = (departures(arrivals, service) - arrivals)[:, WARM_UP:]
    return np.asarray(latency * SERVICE_NS, np.int64)


def scattered(body: float, tail: float) -> Callable[[np.random.Generator, int, int, float], Sides]:
    """Rounds that are alike but for two lognormal factors, of all latencies and of the P99, with these standard deviations."""
    level = (np.arange(1, 201) - 0.5) / 200
    shape = np.where(level > 0.95, 2.0, 0.9 + 0.2 * level) * SERVICE_NS

    def side(rng: np.random.Generator, rounds: int) -> np.ndarray:
        all_of, rest = body * rng.standard_normal((rounds, 1)), math.sqrt(tail**2 - body**2) * rng.standard_normal((rounds, 1))
        return np.asarray(shape * np.exp(all_of + np.where(level > 0.95, rest, 0.0)))

    def sides(rng: np.random.Generator, rounds: int, _: int, factor: float) -> Sides:
        return Sides(side(rng, rounds).astype(np.int64), (factor * side(rng, rounds)).astype(np.int64))

    return sides


SERVERS = (
    *(Pairs(scenario.name, apart(scenario.simulate)) for scenario in SCENARIOS),
    Pairs("lognormal service, load 0.8, schedules shared", queue(0.8, shared=True)),
    Pairs("4 users, rounds differ by 7 %", apart(closed(mood=0.07))),
)
