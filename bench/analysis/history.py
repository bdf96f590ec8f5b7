"""One run against those of its kind before it: is it as they were, and between which two of them did a level change."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np

from bench import workload as workloads
from bench.analysis import stats, verdicts
from bench.analysis.alike import Difference, differences
from bench.analysis.effect import Effect
from bench.analysis.estimate import Estimate, QuantileClaim, Reason
from bench.analysis.fingerprint import PACKAGE, fingerprint
from bench.analysis.judging import FAILED, Value, estimate_of
from bench.analysis.levels import level_starts
from bench.analysis.rule import ERRORS, GATES, Judgement, worst
from bench.analysis.summary import Summary
from bench.analysis.target import MODEL_HASH, repositories, word
from bench.analysis.verdicts import Verdict
from bench.record import Run

Better = Literal["lower", "higher"]

MIN_RUNS = 5  # before a run is judged by them
ERROR = 0.05  # the chance of a false verdict, over all metrics that have one
_HIGHER = ("throughput", "tokens")  # is better

# what may be another in a history, for it is there to find what these did; of versions of packages and models as well
_MAY_CHANGE = ("bench version", "Python", "operating system", "kernel", "glibc", "driver", "CUDA")

_OF: dict[str, Callable[[Summary], Value]] = {
    "mean": lambda s: s.latency.mean,
    "p50": lambda s: s.latency.at(0.5),
    "p99": lambda s: s.latency.at(0.99),
    "throughput": lambda s: s.throughput,
    ERRORS: lambda s: Estimate(100 * s.error_rate, None, None, "%") if s.requests else None,
    "ttft": lambda s: s.streaming.ttft.mean if s.streaming else None,
    "tpot": lambda s: s.streaming.tpot.mean if s.streaming else None,
    "tokens": lambda s: s.streaming.tokens if s.streaming else None,
}


class Point(NamedTuple):
    """A run of the series: what its record says, with or without the requests, and what they come to."""

    run: Run
    summary: Summary


@dataclass(frozen=True, slots=True)
class Shift:
    """From one run on a metric has another level."""

    at: int  # the run's position in the series
    metric: str
    before: Estimate
    after: Estimate


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric over the series, and the verdict on its last run."""

    name: str  # "mean latency"
    better: Better
    values: tuple[Value, ...]  # of each run, the judged one's last
    unit: str
    mean: Estimate | None  # of the runs before it: geometric, but of the share of errors
    change: Estimate | None  # the run / that mean; of errors the difference, as a share of one
    judgement: Judgement
    shifts: tuple[Shift, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """What changed from one run of the series to the next, and what differs in the records of the two."""

    at: int
    shifts: tuple[Shift, ...]
    differences: tuple[Difference, ...]


@dataclass(frozen=True, slots=True)
class History:
    """A run and those before it, metric by metric."""

    points: tuple[Point, ...]  # oldest first, the judged run last
    metrics: tuple[Metric, ...]
    steps: tuple[Step, ...]

    @property
    def judged(self) -> Point:
        return self.points[-1]

    @property
    def verdict(self) -> Verdict:
        return worst([metric.judgement for metric in self.metrics])


def comparable(run: Run, other: Run) -> bool:
    """Whether two runs belong to one series: the same workload and target, on a like machine; versions may differ.

    A fact that only one of the two records has, because another version of bench made it, does not part them.
    """
    if workloads.essence(run.workload) != workloads.essence(other.workload) or _target(run) != _target(other):
        return False
    one, two = fingerprint(run), fingerprint(other)
    return all(one[name] == two[name] for name in one.keys() & two.keys() if not _may_change(name))


def _target(run: Run) -> tuple[object, ...]:
    """The target as it was asked for, whichever version of it."""
    return replace(word(run, "asked"), version=""), tuple(repositories(run).values())


def _may_change(name: str) -> bool:
    return name in _MAY_CHANGE or name.endswith(PACKAGE) or name.startswith(MODEL_HASH)


def judge(earlier: Sequence[Point], judged: Point, deltas: dict[str, float]) -> History:
    """The verdict on a run by those before it, oldest first; `deltas` are the smallest differences that matter, of GATES."""
    points = (*earlier, judged)
    alpha = ERROR / len(deltas)
    metrics = tuple(_metric(name, points, delta, alpha) for name, delta in deltas.items())
    return History(points, metrics, tuple(_steps(points, metrics)))


def _steps(points: Sequence[Point], metrics: Iterable[Metric]) -> Iterator[Step]:
    shifts = [shift for metric in metrics for shift in metric.shifts]
    for at in sorted({shift.at for shift in shifts}):
        found = differences([[points[at - 1].run], [points[at].run]])
        yield Step(
            at,
            tuple(shift for shift in shifts if shift.at == at),
            (*found.under_test, *found.not_alike, *found.noted),
        )


# ---------------------------------------------------------------- one metric


def _metric(name: str, points: Sequence[Point], delta: float, alpha: float) -> Metric:
    values = tuple(_OF[name](point.summary) for point in points)
    at = [n for n, value in enumerate(values) if _usable(value, name)]
    numbers, unit = np.array([_estimate(values[n]).value for n in at]), _estimate(values[at[0]]).unit if at else ""
    last, judged = len(points) - 1, points[-1].summary
    past = len(at) - (last in at)
    mean = _level(name, numbers[:past], unit) if past else None
    effect = None
    if last in at and past >= MIN_RUNS:
        effect = _of_errors([points[n].summary for n in at], alpha) if name == ERRORS else against(numbers, alpha)
    shifts = () if name == ERRORS else tuple(_shifts(name, numbers if judged.valid else numbers[:past], at, unit))
    since = last - max((shift.at for shift in shifts), default=0)
    judgement = _judgement(name, effect, delta, values[-1], past, since if shifts else 0, judged.reasons)
    if mean is not None and name != ERRORS and judgement.verdict in ("WORSE", "BETTER") and not shifts:
        shifts = (Shift(last, GATES[name].metric, mean, _estimate(values[-1])),)
    return Metric(GATES[name].metric, _better(name), values, unit, mean, _change(effect, alpha), judgement, shifts)


def _better(name: str) -> Better:
    return "higher" if name in _HIGHER else "lower"


def _estimate(value: Value) -> Estimate:
    found = estimate_of(value)
    assert found is not None
    return found


def _usable(value: Value, name: str) -> bool:
    e = estimate_of(value)
    return e is not None and math.isfinite(e.value) and (e.value > 0 or name == ERRORS)


def _level(name: str, numbers: np.ndarray, unit: str) -> Estimate:
    mean = numbers.mean() if name == ERRORS else np.exp(np.log(numbers).mean())
    return Estimate(float(mean), None, None, unit)


def against(values: np.ndarray, alpha: float) -> Effect:
    """The last of some values above 0 / the geometric mean of the n >= 2 before it.

    The interval is Student's on the scale of logarithms, for one value more of those that scatter as the n do: n - 1 degrees of
    freedom, and the mean of n is itself not known.
    """
    logs = np.log(values)
    past, rounds = logs[:-1], len(logs) - 1
    log, scatter = float(logs[-1] - past.mean()), float(past.std(ddof=1))
    half = float(stats.student(rounds - 1, alpha)) * scatter * math.sqrt(1 + 1 / rounds)
    low, high = math.exp(log - half), math.exp(min(log + half, 700.0))
    return Effect(math.exp(log), low, high, scatter, rounds, rounds - 1, alpha)


def _of_errors(summaries: Sequence[Summary], alpha: float) -> Effect:
    """The last run's share of failed requests - that of all before it, as shares of one.

    Clopper and Pearson's limits of each, for as many requests as its own are worth where failures come in bursts, as they did
    in the runs before; joined by MOVER, as in `effect.difference_of_rates`.
    """
    total = np.array([s.requests for s in summaries], np.float64)
    failed = np.array([sum(s.errors.values()) for s in summaries], np.float64)
    rounds = len(summaries) - 1
    unevenness = stats.unevenness(failed[:-1], total[:-1])
    shares, limits = [], []
    for count, of in ((failed[:-1].sum(), total[:-1].sum()), (failed[-1], total[-1])):
        share, independent = float(count / of), stats.independent(float(of), unevenness, rounds, alpha)
        shares.append(share)
        limits.append(stats.clopper_pearson(independent * share, independent * (1 - share), alpha))
    (b, n), (base, new) = shares, limits
    low, high = n - b - math.hypot(n - new.low, base.high - b), n - b + math.hypot(new.high - n, b - base.low)
    scatter = float((failed[:-1] / total[:-1]).std(ddof=1))
    return Effect(n - b, low, high, scatter, rounds, rounds - 1, alpha, difference=True)


def _change(effect: Effect | None, alpha: float) -> Estimate | None:
    if effect is None:
        return None
    return Estimate(effect.value, effect.low, effect.high, "share" if effect.difference else "x", 1 - alpha)


def _judgement(
    name: str, effect: Effect | None, delta: float, judged: Value, past: int, since: int, reasons: Sequence[Reason]
) -> Judgement:
    spoiled = [reason for reason in reasons if not (name == ERRORS and reason.code in FAILED)]
    if spoiled:
        return Judgement("UNKNOWN", delta, why=f"this run is INVALID: {spoiled[0].code}")
    if isinstance(judged, QuantileClaim) and judged.needs is not None:
        return Judgement("UNKNOWN", delta, why=f"needs {judged.needs:,} requests in this run, has {judged.has:,}")
    if past < MIN_RUNS:
        return Judgement("UNKNOWN", delta, why=f"needs {MIN_RUNS} earlier runs that have it, has {past}")
    if effect is None:
        return Judgement("UNKNOWN", delta, why="not measured in this run")
    found = verdicts.verdict(effect, delta, _better(name))
    return Judgement(found, delta, why=_undecided(effect, since) if found == "UNKNOWN" else "")


def _undecided(effect: Effect, since: int) -> str:
    """Why there is no verdict; `since` is how many runs before it have its level, where that changed among them, else 0."""
    said = "its interval is neither within what does not matter nor on one side of no change"
    if effect.difference:
        return f"{said}; runs of more requests would narrow it"
    said += f", for the runs before it scatter by {100 * effect.scatter:.2g}%"
    if since >= MIN_RUNS:
        return f"{said}: their level changed; --last {since} judges it by those since"
    return f"{said}; longer runs would scatter less"


# ---------------------------------------------------------------- where a level changed


def _shifts(name: str, numbers: np.ndarray, at: Sequence[int], unit: str) -> Iterator[Shift]:
    """The changes among some numbers, each of the run at that position of the series."""
    if not len(numbers):
        return
    starts = level_starts(np.log(numbers))
    levels = [_level(name, part, unit) for part in np.split(numbers, starts[1:])]
    for (before, after), start in zip(pairwise(levels), starts[1:], strict=True):
        yield Shift(at[start], GATES[name].metric, before, after)
