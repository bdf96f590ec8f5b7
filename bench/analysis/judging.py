"""What a metric of one side says beside the first's: the change, and the verdict on it, or what it lacks for one."""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

from bench.analysis import stats, verdicts
from bench.analysis.effect import Effect
from bench.analysis.estimate import Claim, Estimate, QuantileClaim, Reason
from bench.analysis.rule import Judgement, Rule
from bench.analysis.side import Failures, Point, Sum, Tail

Better = Literal["lower", "higher"] | None
Value = Estimate | QuantileClaim | None

# what a reason for INVALID has to spoil for a metric to have no verdict
_CLAIMS: dict[str, tuple[Claim, ...]] = {"throughput": ("everything", "throughput"), "output tokens": ("everything", "tokens")}
# failed requests are what these reasons are about: the share of them stands all the more
FAILED = ("errors", "wrong_answers")


class Metric(NamedTuple):
    """One metric of all sides, ready to be compared."""

    name: str
    of: Sequence[Sum] | Sequence[Tail] | Sequence[Point]
    better: Better


def estimate_of(value: Value) -> Estimate | None:
    """The estimate in a value, if it has one."""
    return value.estimate if isinstance(value, QuantileClaim) else value


class Judge(NamedTuple):
    """What verdicts are made by."""

    rule: Rule
    rounds: int
    reasons: tuple[tuple[Reason, ...], ...]

    def spoiled(self, metric: str, n: int) -> Reason | None:
        """Why the metric of the first side, or of side `n`, may not be believed."""
        for reason in (*self.reasons[0], *self.reasons[n]):
            about_failures = metric == "error rate" and reason.code in FAILED
            if not about_failures and reason.spoils in _CLAIMS.get(metric, ("everything", "latency")):
                return reason
        return None


def change_of(metric: Metric, n: int, pair: bool, alpha: float) -> tuple[Estimate | None, Effect | None]:
    """Side `n` against the first; without an interval where the rounds give none."""
    base, new = metric.of[0], metric.of[n]
    b, m = estimate_of(base.value), estimate_of(new.value)
    found = new.effect(base, pair, alpha)  # type: ignore[arg-type]  # both are of one kind
    if b is None or m is None or (b.value <= 0 and not isinstance(new, Failures)):
        return None, None
    if isinstance(new, Failures):
        value, low, high = (found.value, found.low, found.high) if found else ((m.value - b.value) / 100, None, None)
        return Estimate(value, low, high, "share", 1 - alpha), found
    if found is None:
        return Estimate(m.value / b.value, None, None, "x", 1 - alpha), None
    return Estimate(found.value, found.low, found.high, "x", 1 - alpha), found


def judged(metric: Metric, n: int, effect: Effect | None, delta: float, judge_by: Judge) -> Judgement:
    """The verdict on a metric of side `n`, of which `change_of` has found the effect."""
    if (reason := judge_by.spoiled(metric.name, n)) is not None:
        return Judgement("UNKNOWN", delta, why=f"INVALID: {reason.code}")
    if effect is None:
        return _lacking(metric, n, delta, judge_by)
    found = verdicts.verdict(effect, delta, metric.better or "lower")
    if found != "UNKNOWN":
        return Judgement(found, delta)
    last = judge_by.rule.looks.rounds[-1]
    needed = verdicts.needed_rounds(effect, delta, judge_by.rule.alpha(last))
    # how far the interval of no failures at all reaches is known beforehand; all others may be luckier than they look
    certain = effect.difference and effect.value == effect.scatter == 0
    return Judgement(found, delta, needed, waits=not certain or (needed is not None and needed <= last))


def _lacking(metric: Metric, n: int, delta: float, judge_by: Judge) -> Judgement:
    """What it takes for there to be an interval at all."""
    rounds, of = judge_by.rounds, (metric.of[0], metric.of[n])
    for value in (one.value for one in of):
        if isinstance(value, QuantileClaim) and value.needs is not None:
            why = f"needs {value.needs:,} requests of each side, has {value.has:,}"
            needed = math.ceil(value.needs / value.has * rounds) if value.has else None
            return Judgement(
                "UNKNOWN", delta, needed, why, waits=needed is not None and needed <= judge_by.rule.looks.rounds[-1]
            )
    if rounds < stats.MIN_ROUNDS:
        why = f"needs {stats.MIN_ROUNDS} rounds of each side, has {rounds}"
        return Judgement("UNKNOWN", delta, why=why, waits=True)
    if (why := next((one.too_short() for one in of if isinstance(one, Tail) and one.too_short()), "")) or not all(
        estimate_of(one.value) for one in of
    ):
        return Judgement("UNKNOWN", delta, why=why or "not measured on both sides")
    return Judgement("UNKNOWN", delta, why="a round has none of it")
