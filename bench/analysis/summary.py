"""A run in numbers: what may be claimed about its latencies, throughput, errors and resources."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from bench import mix
from bench.analysis import distribution, stats, streaming
from bench.analysis.estimate import Distribution, Estimate, QuantileClaim, Reason, Resource, SloResult, Streaming
from bench.analysis.measured import Measured, measure
from bench.analysis.quantiles import QUANTILES, rank, requests_needed
from bench.analysis.streaming import Streams
from bench.analysis.validity import judge
from bench.arrivals import Closed, Gamma, Ramp, Steps, Trace
from bench.record import Run
from bench.slo import quantile_name

__all__ = [
    "UNITS",
    "Distribution",
    "Estimate",
    "PartSummary",
    "QuantileClaim",
    "Reason",
    "Resource",
    "SloResult",
    "Streaming",
    "Summary",
    "batches",
    "resources",
    "summarize",
]

UNITS = {
    "utilization": "%", "memory_utilization": "%", "cpu_utilization": "%", "memory_bytes": "bytes", "power_w": "W",
    "sm_clock_mhz": "MHz", "temperature_c": "C", "slowed_by_heat": "%", "slowed_by_hardware": "%", "slowed_by_power_cap": "%",
}  # fmt: skip
COUNTED = ("energy_j", "own_processes", "foreign_processes")  # of no use as a mean and a peak


@dataclass(frozen=True, slots=True)
class PartSummary:
    """What is told of one part of a mix; of the whole, `Summary` has the same and more."""

    name: str
    asked: float  # the share of the requests that its weight gives it
    share: float  # and of the measured ones, the share that it had
    requests: int
    errors: dict[str, int]
    compared: int
    throughput: Estimate
    latency: Distribution
    ttft: Distribution | None  # where replies are streamed
    slo: tuple[SloResult, ...]  # its own
    batches: dict[int, int]  # of its model

    @property
    def error_rate(self) -> float:
        return sum(self.errors.values()) / self.requests if self.requests else 0.0

    @property
    def kept(self) -> bool | None:
        """Whether it kept all of its own promises; None where none is known to be missed, and not all are known to be met."""
        met = [promise.met for promise in self.slo]
        return False if False in met else None if None in met else True


@dataclass(frozen=True, slots=True)
class Summary:
    """All that is printed about a run."""

    run_id: str
    workload: str
    target: str
    load: str  # "4 users, closed loop" or "Poisson 20/s over 64 connections"
    status: str  # complete, partial, running
    reasons: tuple[Reason, ...]  # INVALID when there is one
    warnings: tuple[Reason, ...]
    window_s: float
    requests: int  # measured, failed ones included
    errors: dict[str, int]  # kind -> count, only those that happened
    compared: int  # replies compared with the reference answers
    throughput: Estimate  # successful requests completed a second within the window
    latency: Distribution  # end - intended
    service: Distribution  # end - start
    lag: Distribution  # start - intended
    resources: tuple[Resource, ...]
    slo: tuple[SloResult, ...]
    streaming: Streaming | None = None  # where replies are streamed
    batches: dict[int, int] = field(default_factory=dict)  # executed batch size -> how often, read from the server; {} unknown
    parts: tuple[PartSummary, ...] = ()  # of a mix

    @property
    def valid(self) -> bool:
        return not self.reasons

    @property
    def error_rate(self) -> float:
        return sum(self.errors.values()) / self.requests if self.requests else 0.0


def summarize(run: Run) -> Summary:
    """The summary of one run. Distributions are of the measured requests that succeeded."""
    m = measure(run)
    streams = streaming.streams(m)
    reasons, warnings = judge(m, streams)
    quantiles = sorted({*QUANTILES, float(run.workload.slo.quantile)})
    latency_ns = m.latency_ns()
    slices = len(stats.blocks(latency_ns) or ())
    return Summary(
        run_id=run.id,
        workload=run.workload.name,
        target=next((str(run.target[key]) for key in ("name", "asked", "word") if run.target.get(key)), ""),
        load=_load(run) + _shared(run.load.get("workers")),
        status=run.status,
        reasons=reasons,
        warnings=warnings,
        window_s=m.window_s,
        requests=m.requests,
        errors=m.errors,
        compared=m.compared,
        throughput=distribution.rate(m.completed_ns(), run.window_ns, slices, "req/s"),
        latency=distribution.describe([latency_ns], quantiles),
        service=distribution.describe([m.service_ns()], quantiles),
        lag=distribution.describe([m.lag_ns()], quantiles),
        resources=resources(run),
        slo=tuple(_promises(m, latency_ns, streams)),
        streaming=None if streams is None else streaming.describe(m, streams, quantiles),
        batches={} if run.workload.mix else batches(run.load.get("batches")),
        parts=tuple(_part(one, m.requests, asked) for one, asked in zip(m.parts, mix.shares(run.workload), strict=False)),
    )


def _part(m: Measured, requests: int, asked: float) -> PartSummary:
    streams, latency_ns = streaming.streams(m), m.latency_ns()
    quantiles = sorted({*QUANTILES, float(m.workload.slo.quantile)})
    slices = len(stats.blocks(latency_ns) or ())
    counted = m.run.load.get("batches")
    return PartSummary(
        name=m.workload.name,
        asked=asked,
        share=m.requests / requests if requests else 0.0,
        requests=m.requests,
        errors=m.errors,
        compared=m.compared,
        throughput=distribution.rate(m.completed_ns(), m.run.window_ns, slices, "req/s"),
        latency=distribution.describe([latency_ns], quantiles),
        ttft=None if streams is None else distribution.describe([streams.ttft_ns()], quantiles),
        slo=tuple(_promises(m, latency_ns, streams)),
        batches=batches(counted.get(m.workload.name) if isinstance(counted, dict) else None),
    )


def batches(counted: object) -> dict[int, int]:
    """How often the server executed a batch of each size within the window, as it counted itself; {} where it does not say."""
    if not isinstance(counted, dict):
        return {}
    return dict(sorted((int(size), int(count)) for size, count in counted.items() if int(count) > 0))


def resources(run: Run) -> tuple[Resource, ...]:
    """Mean and peak of every device's metrics within the window, by device and metric."""
    series = sorted({(device, metric) for _, device, metric in run.samples.series})
    found = (_resource(run, device, metric) for device, metric in series if metric not in COUNTED)
    return tuple(r for r in found if r is not None)


def _resource(run: Run, device: str, metric: str) -> Resource | None:
    _, values = _inside(run, device, metric)
    if not len(values) or (metric.startswith("slowed_by_") and not values.any()):
        return None
    mean = float(values.mean())
    if metric == "power_w":
        mean = _mean_power(run, device) or mean
    return Resource(device, metric, mean, float(values.max()), UNITS.get(metric, ""), len(values))


def energy_j(run: Run) -> float | None:
    """Joules that all GPUs took within the window, at their mean power; None where one has no counter, or there is none."""
    powers = [_mean_power(run, device) for device in run.samples.devices("utilization") if device.startswith("gpu")]
    start, end = run.window_ns
    return sum(w for w in powers if w) * (end - start) / 1e9 if powers and all(w is not None for w in powers) else None


def _mean_power(run: Run, device: str) -> float | None:
    """Joules over seconds, from the energy counter: it misses nothing between two samples, as samples of the power do."""
    t_ns, joules = _inside(run, device, "energy_j")
    return float((joules[-1] - joules[0]) / (t_ns[-1] - t_ns[0]) * 1e9) if len(joules) > 1 and t_ns[-1] > t_ns[0] else None


def _inside(run: Run, device: str, metric: str) -> tuple[np.ndarray, np.ndarray]:
    t_ns, values = run.samples.get(device, metric)
    start, end = run.window_ns
    inside = (t_ns >= start) & (t_ns < end)
    return t_ns[inside], values[inside]


def _promises(m: Measured, latency_ns: np.ndarray, streams: Streams | None) -> Iterator[SloResult]:
    slo = m.workload.slo
    # a stream that stalled has no latency, and its longest gap is at least the timeout
    silent = ("timeout",) if streams is None else ("timeout", "stalled")
    yield from _promised(m, "latency", slo.latency_ns, latency_ns, silent)
    if streams is not None:
        never = int(np.count_nonzero(streams.tokens == 0))
        yield from _promised(m, "TTFT", slo.ttft_ns, streams.ttft_ns(), ("timeout",), never)
        yield from _promised(m, "TPOT", slo.tpot_ns, streams.tpot_ns(), ())
        yield from _promised(m, "longest gap", slo.itl_ns, streams.longest_ns(), ("stalled",))
    yield _promised_errors(m)


def _promised(
    m: Measured, what: str, limit_ns: int | None, times_ns: np.ndarray, silent: tuple[str, ...], never: int = 0
) -> Iterator[SloResult]:
    """Missed where too many requests are over the bound; met only where LoadGen's count says that so few over it suffice.

    A request that fell silent for longer than the bound, in one of the ways of `silent`, is over it, though it has no time; so
    are the `never` that ended without what is timed.
    """
    if limit_ns is None:
        return
    quantile = m.workload.slo.quantile
    name, limit = f"{quantile_name(quantile)} {what}", limit_ns / 1e6
    least = requests_needed(quantile)
    if len(times_ns) < least:
        yield SloResult(name, limit, None, "ms", None, least)
        return
    lost = sum(m.errors.get(kind, 0) for kind in silent) if m.run.workload.timeout_ns >= limit_ns else 0
    lost += never
    count, over = len(times_ns) + lost, int(np.count_nonzero(times_ns > limit_ns)) + lost
    at = rank(len(times_ns), quantile) - 1
    actual = float(np.partition(times_ns, at)[at]) / 1e6
    needs = requests_needed(quantile, over)
    missed = over > count - rank(count, quantile)
    met = False if missed else True if count >= needs else None
    yield SloResult(name, limit, actual, "ms", met, needs if met is None else None)


def _promised_errors(m: Measured) -> SloResult:
    limit = float(m.workload.slo.error_rate)
    if not m.requests:
        return SloResult("error rate", limit, None, "share", None, 1)
    return SloResult("error rate", limit, m.error_rate, "share", m.error_rate <= limit)


def _load(run: Run) -> str:
    if run.driver:
        users = run.load.get("users")  # of a run that died, nobody has counted them
        count = "" if users is None else f"{users} " if run.load.get("steady") else f"up to {users} "
        return f"{count}user{'s' if users != 1 else ''} of {run.driver}"
    load = run.workload.load
    match load:
        case Closed(users=users):
            return f"{users} user{'s' if users > 1 else ''}, closed loop"
        case Steps(steps=steps):
            return f"{', '.join(str(step.users) for step in steps)} users, step by step, closed loop"
        case Trace(file=file, speed=speed):
            what = f"trace {file.rpartition('/')[2]}" + (f" at {speed:g} times its speed" if speed != 1 else "")
        case Ramp(rate_hz=rate, stages=stages):
            what = f"ramp {', '.join(f'{r:g}/s' for r in (rate, *(stage.rate_hz for stage in stages)))}"
        case Gamma(rate_hz=rate, burstiness=burstiness):
            what = f"Gamma {rate:g}/s (burstiness {burstiness:g})"
        case _:
            what = f"{type(load).__name__} {load.rate_hz:g}/s"
    return f"{what} over {load.connections} connection{'s' if load.connections > 1 else ''}"


def _shared(workers: object) -> str:
    """That several workers made a load, in words."""
    return f", by {len(workers)} workers" if isinstance(workers, list) and len(workers) > 1 else ""
