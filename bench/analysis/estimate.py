"""What may be said of a measurement: values with their intervals, quantiles with their claims, reasons and promises."""

from dataclasses import dataclass
from typing import Literal

Claim = Literal["everything", "latency", "throughput", "tokens", "utilization"]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its interval; `low` and `high` are None where the data give no honest interval."""

    value: float
    low: float | None
    high: float | None
    unit: str  # "ms", "req/s", "tok/s", "%", "x"
    confidence: float = 0.95


@dataclass(frozen=True, slots=True)
class QuantileClaim:
    """A quantile, or what it would take to claim it: exactly one of `estimate` and `needs` is set."""

    quantile: float  # 0.99
    estimate: Estimate | None
    needs: int | None  # requests needed for the claim
    has: int  # requests there are


@dataclass(frozen=True, slots=True)
class Distribution:
    """Times in ms."""

    count: int
    mean: Estimate | None  # None when there is not one request
    minimum: float | None
    maximum: float | None
    quantiles: tuple[QuantileClaim, ...]  # P50 P90 P95 P99 P99.9, and the one that is promised

    def at(self, quantile: float) -> QuantileClaim:
        """The claim at one of the quantiles; KeyError where it was not asked for."""
        for claim in self.quantiles:
            if claim.quantile == quantile:
                return claim
        raise KeyError(quantile)


@dataclass(frozen=True, slots=True)
class Streaming:
    """What the tokens of streamed replies say; docs/metrics.md has the definitions."""

    ttft: Distribution  # until the first token, a request each
    tpot: Distribution  # mean time per output token, a request each
    itl: Distribution  # all gaps between tokens; a claim's `has` counts the requests they belong to
    longest: Distribution  # the longest gap, a request each
    tokens: Estimate  # output tokens that came a second within the window
    goodput: Estimate | None  # requests a second that kept every bound; None where none is stated
    output_tokens: int
    prompt_tokens: int
    pieces: int  # that held tokens
    largest_piece: int  # tokens

    @property
    def tokens_per_piece(self) -> float:
        return self.output_tokens / self.pieces if self.pieces else 0.0


@dataclass(frozen=True, slots=True)
class Resource:
    """Mean and peak of one sampled metric within the window."""

    device: str  # "gpu0", "host", "server", "load"
    metric: str  # "utilization", "memory_bytes", "power_w", ...
    mean: float
    peak: float
    unit: str
    samples: int


@dataclass(frozen=True, slots=True)
class Reason:
    """A reason for INVALID, or a warning: what was seen, why it matters, what to do."""

    code: str
    message: str
    spoils: Claim = "everything"  # what should not be believed because of it


@dataclass(frozen=True, slots=True)
class SloResult:
    """One promise against what was measured; `met` is None where too few requests decide it, `needs` then says how many do."""

    name: str  # "P99 latency", "error rate"
    limit: float
    actual: float | None
    unit: str  # "ms", or "share" of one
    met: bool | None
    needs: int | None = None
