"""What is promised to the callers of a model: latencies at a quantile, and how many requests may fail."""

import re
from decimal import Decimal

import msgspec

from bench import units


class Nanoseconds(int):
    """A duration; in files "250ms"."""


class Quantile(float):
    """A share of requests; in files "P99"."""


class Share(float):
    """A share of one; in files "1%"."""


class Slo(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """At `quantile` of the requests each stated time is at most so long; failed requests are at most `error_rate`.

    Every time is one of a single request, so that the promise and the goodput count alike; see docs/metrics.md.
    """

    latency_ns: Nanoseconds | None = msgspec.field(name="latency", default=None)
    quantile: Quantile = Quantile(0.99)
    error_rate: Share = Share(0.01)
    ttft_ns: Nanoseconds | None = msgspec.field(name="ttft", default=None)  # of a stream: until its first token
    tpot_ns: Nanoseconds | None = msgspec.field(name="tpot", default=None)  # its mean time per output token
    itl_ns: Nanoseconds | None = msgspec.field(name="itl", default=None)  # its longest gap between two tokens

    def problem(self, generates: bool) -> str | None:
        """What cannot be promised of such replies, if anything."""
        stated = [name for name in STREAMED if getattr(self, f"{name}_ns") is not None]
        if stated and not generates:
            return f"{stated[0]}: only a workload that generates ([payload.generate]) has one"
        return None


STREAMED = ("ttft", "tpot", "itl")


def parse_quantile(text: object) -> Quantile:
    """`Quantile` of "P99" or "p99.9"; ValueError names what was expected."""
    match = re.fullmatch(r"[Pp](\d{1,2}(?:\.\d+)?)", text) if isinstance(text, str) else None
    if match is None or not 0 < float(match[1]) < 100:
        raise ValueError(f'expected a quantile such as "P99" or "P99.9", got {text!r}')
    quantile = Quantile(round(float(match[1]) / 100, 8))
    if not 0 < quantile < 1:
        raise ValueError(f'expected a quantile such as "P99" or "P99.9", got {text!r}')
    return quantile


def quantile_name(quantile: float) -> str:
    """ "P99" of 0.99, "P99.9" of 0.999."""
    return f"P{Decimal(repr(round(quantile * 100, 6))).normalize():f}"


def parse_slo(text: str) -> Slo:
    """An `Slo` of "p99<250ms" or "p99<2s,ttft<1s,tpot<200ms,errors<1%"; ValueError names what was expected."""
    fields: dict[str, object] = {}
    for clause in text.split(","):
        name, sign, limit = (part.strip() for part in clause.replace("<=", "<").partition("<"))
        if not sign:
            raise ValueError(f'expected an SLO such as "p99<250ms" or "p99<2s,ttft<1s,tpot<200ms,errors<1%", got {text!r}')
        stated: dict[str, object]
        if name == "errors":
            stated = {"error_rate": Share(units.share(limit))}
        elif name in STREAMED:
            stated = {f"{name}_ns": Nanoseconds(units.duration_ns(limit))}
        else:
            stated = {"quantile": parse_quantile(name), "latency_ns": Nanoseconds(units.duration_ns(limit))}
        if again := fields.keys() & stated.keys():
            raise ValueError(f"expected an SLO that states each bound once, got {', '.join(sorted(again))} twice in {text!r}")
        fields |= stated
    return Slo(**fields)  # type: ignore[arg-type]
