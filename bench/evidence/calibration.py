"""How often the intervals of `bench.analysis` hold the truth, on simulated servers whose truth is known; printed as Markdown.

python -m bench.evidence.calibration [--replications 1000] [--output FILE]
"""

import argparse
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from typing import NamedTuple

import numpy as np

from bench.analysis import distribution, effect, stats
from bench.analysis.quantiles import order_statistic
from bench.analysis.validity.steady import trend
from bench.evidence import calibration_streams, page
from bench.evidence.coverage import Tally, percent, table

QUANTILES = (0.5, 0.99)
ROUNDS = ((6, 120), (12, 120), (10, 1000))  # (rounds, requests in each)
RUNS = (700, 5_000, 20_000)  # requests
LONGER = 1.05
SERVICE_NS = 10_000_000  # the mean service time
WARM_UP = 1500  # requests before a queue is taken for stationary
_TRUTH = (200, 20_000)
CHANGES = ("trend", "warm_up")  # what a run is said to have that it has not
_FIRST = ("server and load",)


class Rounds(NamedTuple):
    """Latencies and completions of simulated rounds in ns, int64 [rounds, requests]; each round starts at 0."""

    latency_ns: np.ndarray
    completed_ns: np.ndarray


class Truth(NamedTuple):
    """What the estimates are of: mean and quantiles in ns, requests a second."""

    mean: float
    quantiles: tuple[float, ...]
    rate_hz: float


@dataclass(frozen=True, slots=True)
class Scenario:
    """A server under a load: `simulate`(rng, rounds, requests, factor) with services `factor` times as long."""

    name: str
    simulate: Callable[[np.random.Generator, int, int, float], Rounds]
    truth: Truth | None = None  # where it is known without simulation


@cache
def truth_of(scenario: Scenario, factor: float = 1.0) -> Truth:
    """The truth, from the formula or from 4 million requests."""
    if scenario.truth is not None and factor == 1.0:
        return scenario.truth
    rounds = scenario.simulate(np.random.default_rng(0), *_TRUTH, factor)
    ordered = np.sort(rounds.latency_ns, axis=None)
    at = tuple(float(order_statistic(ordered, q)) for q in QUANTILES)
    return Truth(float(ordered.mean()), at, rounds.latency_ns.size / (rounds.completed_ns[:, -1].sum() / 1e9))


# ---------------------------------------------------------------- servers


def queue(load: float, cv: float) -> Callable[[np.random.Generator, int, int, float], Rounds]:
    """One FIFO server, Poisson arrivals; service exponential (`cv` 1) or lognormal with that coefficient of variation."""

    def simulate(rng: np.random.Generator, rounds: int, requests: int, factor: float) -> Rounds:
        shape = (rounds, requests + WARM_UP)
        arrivals = np.cumsum(rng.exponential(1 / load, shape), axis=1)
        service = factor * (rng.exponential(1.0, shape) if cv == 1 else lognormal(rng, cv, shape))
        leave = departures(arrivals, service)
        start = leave[:, WARM_UP - 1 : WARM_UP]
        return _rounds((leave - arrivals)[:, WARM_UP:], (leave - start)[:, WARM_UP:])

    return simulate


def departures(arrivals: np.ndarray, service: np.ndarray) -> np.ndarray:
    """When each request leaves one FIFO server, both [rounds, requests]."""
    # Lindley's recursion without a loop: a departure is the greatest of "arrival + all service from there on"
    total = np.cumsum(service, axis=1)
    return np.asarray(total + np.maximum.accumulate(arrivals - (total - service), axis=1))


def closed(mood: float = 0.0, pauses: float = 0.0) -> Callable[[np.random.Generator, int, int, float], Rounds]:
    """Four users of one FIFO server with lognormal service (CV 15 %), without think time: a latency is four services.

    `mood` is the standard deviation of the logarithm of a factor that each round has for itself, `pauses` the share of services
    that take eight times as long.
    """

    def simulate(rng: np.random.Generator, rounds: int, requests: int, factor: float) -> Rounds:
        shape = (rounds, requests + 3)
        service = factor * lognormal(rng, 0.15, shape) * np.where(rng.random(shape) < pauses, 8.0, 1.0)
        service *= np.exp(mood * rng.standard_normal((rounds, 1)))
        latency = service[:, 3:] + service[:, 2:-1] + service[:, 1:-2] + service[:, :-3]
        return _rounds(latency, np.cumsum(service[:, 3:], axis=1))

    return simulate


def lognormal(rng: np.random.Generator, cv: float, shape: tuple[int, int]) -> np.ndarray:
    sigma = math.sqrt(math.log(1 + cv * cv))
    return rng.lognormal(-sigma * sigma / 2, sigma, shape)


def _rounds(latency: np.ndarray, completed: np.ndarray) -> Rounds:
    return Rounds((latency * SERVICE_NS).astype(np.int64), (completed * SERVICE_NS).astype(np.int64))


def _mm1(load: float) -> Truth:
    """Sojourn times of an M/M/1 queue are exponential with mean service / (1 - load)."""
    mean = SERVICE_NS / (1 - load)
    return Truth(mean, tuple(-math.log(1 - q) * mean for q in QUANTILES), load / SERVICE_NS * 1e9)


SCENARIOS = (
    Scenario("M/M/1, load 0.5", queue(0.5, 1), _mm1(0.5)),
    Scenario("M/M/1, load 0.8", queue(0.8, 1), _mm1(0.8)),
    Scenario("lognormal service, load 0.5", queue(0.5, 0.15)),
    Scenario("lognormal service, load 0.8", queue(0.8, 0.15)),
    Scenario("closed loop, 4 users", closed()),
    Scenario("4 users, rounds differ by 3 %", closed(mood=0.03)),
    Scenario("4 users, 0.5 % pauses", closed(pauses=0.005)),
)


# ---------------------------------------------------------------- coverage


NAMES = ("mean", "P50", "P99", "throughput")


def over_rounds(scenario: Scenario, rounds: int, requests: int, replications: int, seed: int = 1) -> Tally:
    """Intervals over `rounds` rounds of `requests` requests."""
    rng, tally = np.random.default_rng(seed), Tally()
    truth = truth_of(scenario)
    for _ in range(replications):
        made = scenario.simulate(rng, rounds, requests, 1.0)
        _add_times(tally, list(made.latency_ns), truth)
        interval = stats.ratio_interval(np.full(rounds, float(requests)), made.completed_ns[:, -1] / 1e9)
        assert interval is not None
        tally.add("throughput", interval.low, interval.high, truth.rate_hz)
    return tally


def within_run(scenario: Scenario, requests: int, replications: int, seed: int = 1) -> Tally:
    """Intervals from the blocks of one run, and how often it is said to have a trend that it has not."""
    rng, tally = np.random.default_rng(seed), Tally()
    truth = truth_of(scenario)
    for _ in range(replications):
        made = scenario.simulate(rng, 1, requests, 1.0)
        latency_ns, completed_ns = made.latency_ns[0], made.completed_ns[0]
        _add_times(tally, [latency_ns], truth)
        rate = distribution.rate(completed_ns, (0, int(completed_ns[-1])), len(stats.blocks(latency_ns) or ()), "req/s")
        tally.add("throughput", rate.low, rate.high, truth.rate_hz)
        for code in CHANGES:
            said = 0.0 if any(reason.code == code for reason in trend(latency_ns)) else None
            tally.add(code, said, said, 0.0)
    return tally


def _add_times(tally: Tally, rounds: Sequence[np.ndarray], truth: Truth) -> None:
    found = distribution.describe(rounds, QUANTILES)
    estimates = (found.mean, *(claim.estimate for claim in found.quantiles))
    for name, e, true in zip(NAMES, estimates, (truth.mean, *truth.quantiles), strict=False):
        assert e is not None
        low, high = (None, None) if e.low is None or e.high is None else (e.low / distribution.MS, e.high / distribution.MS)
        tally.add(name, low, high, true)


def of_changes(scenario: Scenario, factor: float, rounds: int, requests: int, replications: int, seed: int = 1) -> Tally:
    """Intervals of the change between two sides, the second with services `factor` times as long."""
    rng, tally = np.random.default_rng(seed), Tally()
    base, new = truth_of(scenario), truth_of(scenario, factor)
    for _ in range(replications):
        sides = [list(scenario.simulate(rng, rounds, requests, f).latency_ns) for f in (1.0, factor)]
        first, second = map(distribution.sums, sides)
        mean = effect.ratio_of_sums(first, second, paired=False, alpha=stats.ALPHA)
        assert mean is not None
        tally.add("mean", mean.low, mean.high, new.mean / base.mean)
        for at, quantile in enumerate(QUANTILES):
            found = effect.ratio_of_quantiles(sides[0], sides[1], quantile, paired=False, alpha=stats.ALPHA)
            assert found is not None
            tally.add(NAMES[1 + at], found.low, found.high, new.quantiles[at] / base.quantiles[at])
    return tally


# ---------------------------------------------------------------- the tables


def report(replications: int) -> Iterator[str]:
    """The lines of the Markdown tables."""
    yield f"Real coverage of nominal 95 % intervals, {replications:,} replications of each row."
    yield from table("Over rounds", (*_FIRST, "rounds x requests", *NAMES), _rounds_rows(replications))
    extra = ("no interval", "P99 interval given and wrong", "trend warned of", "INVALID for a warm-up")
    yield from table("Within one run, of the intervals given", (*_FIRST, "requests", *NAMES, *extra), _run_rows(replications))
    title = f"Change between two sides, the second with services {LONGER - 1:.0%} longer"
    yield from table(title, (*_FIRST, "rounds x requests", *NAMES[:3]), _change_rows(replications))
    yield from calibration_streams.report(max(1, replications // 2))


def _rounds_rows(replications: int) -> Iterator[list[str]]:
    for scenario in SCENARIOS:
        for rounds, requests in ROUNDS:
            tally = over_rounds(scenario, rounds, requests, replications)
            yield [scenario.name, f"{rounds} x {requests:,}", *(percent(tally.coverage(name)) for name in NAMES)]


def _run_rows(replications: int) -> Iterator[list[str]]:
    for scenario in SCENARIOS:
        for requests in RUNS:
            tally = within_run(scenario, requests, replications)
            held = (percent(tally.coverage(name)) for name in NAMES)
            rest = 1 - tally.share_given("mean"), tally.share_wrong("P99"), *map(tally.share_given, CHANGES)
            yield [scenario.name, f"{requests:,}", *held, *map(percent, rest)]


def _change_rows(replications: int) -> Iterator[list[str]]:
    for scenario in SCENARIOS:
        for rounds, requests in ROUNDS:
            tally = of_changes(scenario, LONGER, rounds, requests, replications)
            yield [scenario.name, f"{rounds} x {requests:,}", *(percent(tally.coverage(name)) for name in NAMES[:3])]


def _make(options: argparse.Namespace, say: Callable[[str], None]) -> tuple[Iterator[str], bool]:
    heading = page.heading("How often the intervals are right", "make verify-calibration")
    return chain(heading, report(options.replications)), True  # it shows what is so, and asks nothing of it


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables, a row as soon as it is known."""
    parser = argparse.ArgumentParser(prog="python -m bench.evidence.calibration", description=__doc__)
    parser.add_argument("--replications", type=int, default=1000)
    return page.main(parser, _make, arguments)


if __name__ == "__main__":
    sys.exit(main())
