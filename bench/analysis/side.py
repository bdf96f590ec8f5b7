"""One side of a comparison: its rounds, and each metric of them together as something that can be held to another side's."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from bench.analysis import distribution, effect, stats, streaming, summary
from bench.analysis.distribution import Times
from bench.analysis.effect import Effect
from bench.analysis.estimate import Estimate, QuantileClaim, Resource
from bench.analysis.measured import Measured, measure
from bench.analysis.streaming import Streams
from bench.record import Run


@dataclass(frozen=True, slots=True)
class Side:
    """The rounds of a side and what was found in each."""

    rounds: list[Measured]
    streams: list[Streams]  # of each round; empty where replies were not streamed in every one
    resources: list[tuple[Resource, ...]]
    latency: "Rounds"


class Rounds(NamedTuple):
    """Times in ns of each round, and of all together."""

    each: list[np.ndarray]
    times: Times


@dataclass(frozen=True, slots=True)
class Sum:
    """A metric that is a sum over rounds divided by another, and the terms of both sums."""

    value: Estimate | None
    numerators: np.ndarray  # NaN of a round that has not got it
    denominators: np.ndarray
    uneven: bool = False  # not one of each a round

    def effect(self, base: "Sum", paired: bool, alpha: float) -> Effect | None:
        """This side's value / the base's."""
        if not (_above_0(base.value) and _above_0(self.value)):
            return None
        paired = paired and not (self.uneven or base.uneven)
        has = [np.isfinite(side.numerators) for side in (base, self)]
        b, n = [has[0] & has[1]] * 2 if paired else has
        return effect.ratio_of_sums(
            (base.numerators[b], base.denominators[b]), (self.numerators[n], self.denominators[n]), paired, alpha
        )


@dataclass(frozen=True, slots=True)
class Failures(Sum):
    """The share of requests that failed, in %; two sides differ by percentage points, for often both have none."""

    def effect(self, base: Sum, paired: bool, alpha: float) -> Effect | None:
        """This side's share - the base's, as shares of one."""
        if base.value is None or self.value is None:
            return None
        b, n = base.numerators / 100, self.numerators / 100
        return effect.difference_of_rates(b, base.denominators, n, self.denominators, paired, alpha)


@dataclass(frozen=True, slots=True)
class Tail:
    """A quantile of all rounds together."""

    value: QuantileClaim
    rounds: Rounds

    def effect(self, base: "Tail", paired: bool, alpha: float) -> Effect | None:
        """This side's quantile / the base's."""
        if not (_above_0(base.value.estimate) and _above_0(self.value.estimate)):
            return None
        return effect.ratio_of_quantiles(base.rounds.each, self.rounds.each, self.value.quantile, paired, alpha)

    def too_short(self) -> str:
        """What a round lacks that has too few requests for a quantile of its own; "" where none does."""
        least, shortest = effect.least_requests(self.value.quantile), min(map(len, self.rounds.each), default=0)
        return f"needs {least:,} requests in every round, one has {shortest:,}" if shortest < least else ""


@dataclass(frozen=True, slots=True)
class Point:
    """A value without terms that would tell its scatter."""

    value: Estimate | None

    def effect(self, base: "Point", paired: bool, alpha: float) -> Effect | None:
        return None


def _above_0(value: Estimate | None) -> bool:
    return value is not None and value.value > 0


def side(runs: Sequence[Run]) -> Side:
    """What was found in the rounds of a side."""
    rounds = [measure(run) for run in runs]
    found = [s for m in rounds if (s := streaming.streams(m)) is not None]
    return Side(
        rounds,
        found if len(found) == len(rounds) else [],
        [summary.resources(run) for run in runs],
        rounds_of([m.latency_ns() for m in rounds]),
    )


def part(whole: Side, n: int) -> Side:
    """The same of the n-th part of a mix."""
    rounds = [m.parts[n] for m in whole.rounds]
    return Side(rounds, [], [], rounds_of([m.latency_ns() for m in rounds]))


def rounds_of(each: list[np.ndarray]) -> Rounds:
    """Times of rounds, each int64 [n] in the order of completion."""
    return Rounds(each, distribution.times(each))


# ---------------------------------------------------------------- metrics


def mean(rounds: Rounds) -> Sum:
    """The mean of times."""
    return Sum(distribution.mean(rounds.times), *distribution.sums(rounds.each))


def tail(rounds: Rounds, quantile: float) -> Tail:
    """A quantile of times."""
    return Tail(distribution.claim(rounds.times, quantile), rounds)


def rate(of: Side, events: list[np.ndarray], unit: str) -> Sum:
    """Events a second in all windows together, of the times of each round's."""
    counts = np.array([len(of_one) for of_one in events], np.float64)
    seconds = np.array([m.window_s for m in of.rounds[: len(events)]], np.float64)
    if len(events) != 1:
        return over_rounds(counts, seconds, unit)
    slices = len(of.latency.times.groups or ())
    return Sum(distribution.rate(events[0], of.rounds[0].run.window_ns, slices, unit), counts, seconds)


def throughput(of: Side) -> Sum:
    """Requests answered a second."""
    return rate(of, [m.completed_ns() for m in of.rounds], "req/s")


def failures(of: Side) -> Failures:
    """The share of requests that failed."""
    failed = np.array([100.0 * sum(m.errors.values()) for m in of.rounds])
    found = over_rounds(failed, np.array([m.requests for m in of.rounds], np.float64), "%")
    return Failures(found.value, found.numerators, found.denominators)


def over_rounds(numerators: np.ndarray, denominators: np.ndarray, unit: str) -> Sum:
    """The sum of the one over that of the other, of the rounds that have it."""
    has = np.isfinite(numerators)
    n, d = numerators[has], denominators[has]
    if d.sum() <= 0:
        return Sum(None, numerators, denominators)
    interval = stats.ratio_interval(n, d) if len(n) >= stats.MIN_ROUNDS else None
    return Sum(distribution.estimate(float(n.sum() / d.sum()), interval, unit), numerators, denominators)


def levels(of: Side, device: str, metric: str) -> list[list[Resource]]:
    """The metric of each such device, by round."""
    return [[r for r in found if r.device.startswith(device) and r.metric == metric] for found in of.resources]


def mean_level(found: list[list[Resource]]) -> Sum:
    """The mean of a utilization over devices and rounds."""
    means = np.array([np.mean([r.mean for r in devices]) if devices else np.nan for devices in found], np.float64)
    level = over_rounds(means, np.ones(len(means)), "%")
    if level.value is not None and level.value.high is not None:  # no share of a machine is above all of it
        return replace(level, value=replace(level.value, high=min(level.value.high, 100.0)))
    return level


def peak(found: list[list[Resource]]) -> Point:
    """The highest utilization of any device in any round."""
    peaks = [r.peak for devices in found for r in devices]
    return Point(Estimate(max(peaks), None, None, "%") if peaks else None)


def memory(found: list[list[Resource]]) -> Sum:
    """The most memory that was taken in a round, all devices together; of several rounds, their mean."""
    peaks = np.array([sum(r.peak for r in devices) if devices else np.nan for devices in found], np.float64)
    return over_rounds(peaks, np.ones(len(peaks)), "bytes")


def energy(of: Side) -> Sum:
    """Joules of all GPUs a successful request, of the rounds that have an energy counter."""
    joules = np.array([np.nan if (j := summary.energy_j(m.run)) is None else j for m in of.rounds], np.float64)
    return over_rounds(joules, np.array([m.successes for m in of.rounds], np.float64), "J")


def ready(of: Side) -> Sum:
    """How long the servers of its rounds took to start and load their models, each start counted once."""
    servers = [server for m in of.rounds if isinstance(server := m.run.target.get("server"), dict)]
    # a server that serves several rounds was started once, and its record says the same each time
    seconds = list(dict.fromkeys(float(s["ready_s"]) for s in servers if s.get("ready_s") is not None))
    return replace(over_rounds(np.array(seconds, np.float64), np.ones(len(seconds)), "s"), uneven=True)
