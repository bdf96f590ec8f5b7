"""What a comparison is to decide, laid down before it begins: which metrics have a verdict, and what difference matters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from bench.analysis.verdicts import Looks, Verdict


class Gate(NamedTuple):
    """A metric that can have a verdict, and the smallest difference in it that matters unless a user says otherwise."""

    metric: str  # as its row is called
    delta: float  # a share of the first side's value; of errors a share of all requests


GATES = {
    "mean": Gate("mean latency", 0.05),
    "p50": Gate("P50 latency", 0.05),
    "p99": Gate("P99 latency", 0.10),
    "throughput": Gate("throughput", 0.05),
    "errors": Gate("error rate", 0.01),
    "ttft": Gate("mean TTFT", 0.05),
    "tpot": Gate("mean TPOT", 0.05),
    "tokens": Gate("output tokens", 0.05),
}
ERRORS = "errors"  # the one whose difference is not a share of the first side's
DEFAULT = ("mean", "p99", ERRORS)
OF_STREAMS = ("ttft", "tpot")  # the latency of a stream is first of all its length, and so few requests say nothing of errors
STREAMED = ("ttft", "tpot", "tokens")


@dataclass(frozen=True, slots=True)
class Rule:
    """The metrics that have a verdict, each with the smallest difference that matters; the rounds after which is looked."""

    deltas: Mapping[str, float]  # of GATES
    looks: Looks

    def check(self) -> None:
        """ValueError where it is no rule by which anything could be judged."""
        if unknown := [name for name in self.deltas if name not in GATES]:
            raise ValueError(f"rule: unknown metric {unknown[0]!r}; there are: {', '.join(GATES)}")
        if not self.deltas or not all(0 < delta <= 1 for delta in self.deltas.values()):
            raise ValueError("rule: expected differences above 0 and at most 1")
        rounds = list(self.looks.rounds)
        if not rounds or rounds[0] < 1 or rounds != sorted(set(rounds)):
            raise ValueError(f"rule: expected looks after rising numbers of rounds, got {rounds}")
        if not 0 < self.looks.error < 1 or self.looks.gated < len(self.deltas):
            raise ValueError(f"rule: expected an error between 0 and 1, shared by all metrics, got {self.looks}")

    def delta_of(self, metric: str) -> float | None:
        """The smallest difference that matters in the metric of a row; None where it has no verdict."""
        return next((delta for name, delta in self.deltas.items() if GATES[name].metric == metric), None)

    def alpha(self, rounds: int) -> float:
        """The error that a verdict after so many rounds may have."""
        return self.looks.alpha(rounds)


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict on one metric of a side against the first."""

    verdict: Verdict
    delta: float
    needed: int | None = None  # of an UNKNOWN: the rounds of each side, in all, that would decide at this noise
    why: str = ""  # of an UNKNOWN that has no interval, or one that may not be believed
    waits: bool = False  # an UNKNOWN that the rounds which are still planned may decide


def worst(judgements: Sequence[Judgement]) -> Verdict:
    """What several verdicts come to: WORSE where one is, else UNKNOWN where one is, else BETTER where one is, else SAME."""
    found = {judgement.verdict for judgement in judgements}
    ranked: tuple[Verdict, ...] = ("WORSE", "UNKNOWN", "BETTER", "SAME")
    return next((verdict for verdict in ranked if verdict in found), "UNKNOWN")
