"""A run in numbers: what may be claimed about its latencies, throughput, errors and resources."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bench.analysis import distribution, stats
from bench.analysis.estimate import Distribution, Estimate, QuantileClaim, Reason, Resource, SloResult
from bench.analysis.measured import Measured, measure
from bench.analysis.quantiles import QUANTILES, rank, requests_needed
from bench.analysis.validity import judge
from bench.arrivals import Closed, Load
from bench.record import Run
from bench.slo import quantile_name

__all__ = [
    "UNITS",
    "Distribution",
    "Estimate",
    "QuantileClaim",
    "Reason",
    "Resource",
    "SloResult",
    "Summary",
    "resources",
    "summarize",
    "throughput",
]

UNITS = {
    "utilization": "%", "memory_utilization": "%", "cpu_utilization": "%", "memory_bytes": "bytes", "power_w": "W",
    "sm_clock_mhz": "MHz", "temperature_c": "C",
}  # fmt: skip


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

    @property
    def valid(self) -> bool:
        return not self.reasons

    @property
    def error_rate(self) -> float:
        return sum(self.errors.values()) / self.requests if self.requests else 0.0


def summarize(run: Run) -> Summary:
    """The summary of one run. Distributions are of the measured requests that succeeded."""
    m = measure(run)
    reasons, warnings = judge(m)
    quantiles = sorted({*QUANTILES, float(run.workload.slo.quantile)})
    latency_ns = m.latency_ns()
    slices = len(stats.blocks(latency_ns) or ())
    return Summary(
        run_id=run.id,
        workload=run.workload.name,
        target=next((str(run.target[key]) for key in ("name", "asked", "word") if run.target.get(key)), ""),
        load=_load(run.workload.load),
        status=run.status,
        reasons=reasons,
        warnings=warnings,
        window_s=m.window_s,
        requests=m.requests,
        errors=m.errors,
        compared=m.compared,
        throughput=throughput(m.completed_ns(), run.window_ns, slices),
        latency=distribution.describe([latency_ns], quantiles),
        service=distribution.describe([m.service_ns()], quantiles),
        lag=distribution.describe([m.lag_ns()], quantiles),
        resources=resources(run),
        slo=_promises(m, latency_ns),
    )


def throughput(completed_ns: np.ndarray, window_ns: tuple[int, int], slices: int) -> Estimate:
    """Completions a second in the window, its interval from so many equal slices of time; from none there is no interval."""
    start, end = window_ns
    seconds = (end - start) / 1e9
    if seconds <= 0:
        return Estimate(0.0, None, None, "req/s")
    interval = None
    if slices >= stats.MIN_BLOCKS:
        edges = np.linspace(start, end, slices + 1)
        counts = np.diff(np.searchsorted(completed_ns, edges, side="right"))
        interval = stats.ratio_interval(counts.astype(np.float64), np.diff(edges) / 1e9)
    return distribution.estimate(len(completed_ns) / seconds, interval, "req/s")


def resources(run: Run) -> tuple[Resource, ...]:
    """Mean and peak of every device's metrics within the window, by device and metric."""
    series = sorted({(device, metric) for _, device, metric in run.samples.series})
    found = (_resource(run, device, metric) for device, metric in series if metric != "energy_j")
    return tuple(r for r in found if r is not None)


def _resource(run: Run, device: str, metric: str) -> Resource | None:
    _, values = _inside(run, device, metric)
    if not len(values):
        return None
    mean = float(values.mean())
    if metric == "power_w":
        mean = _mean_power(run, device) or mean
    return Resource(device, metric, mean, float(values.max()), UNITS.get(metric, ""), len(values))


def _mean_power(run: Run, device: str) -> float | None:
    """Joules over seconds, from the energy counter: it misses nothing between two samples, as samples of the power do."""
    t_ns, joules = _inside(run, device, "energy_j")
    return float((joules[-1] - joules[0]) / (t_ns[-1] - t_ns[0]) * 1e9) if len(joules) > 1 and t_ns[-1] > t_ns[0] else None


def _inside(run: Run, device: str, metric: str) -> tuple[np.ndarray, np.ndarray]:
    t_ns, values = run.samples.get(device, metric)
    start, end = run.window_ns
    inside = (t_ns >= start) & (t_ns < end)
    return t_ns[inside], values[inside]


def _promises(m: Measured, latency_ns: np.ndarray) -> tuple[SloResult, ...]:
    return (*_promised_latency(m, latency_ns), *_promised_errors(m))


def _promised_latency(m: Measured, latency_ns: np.ndarray) -> Iterator[SloResult]:
    """Missed where too many requests are over the bound; met only where LoadGen's count says that so few over it suffice.

    A request that timed out later than the bound is over it, though it has no latency.
    """
    slo = m.run.workload.slo
    if slo.latency_ns is None:
        return
    name, limit = f"{quantile_name(slo.quantile)} latency", slo.latency_ns / 1e6
    least = requests_needed(slo.quantile)
    if len(latency_ns) < least:
        yield SloResult(name, limit, None, "ms", None, least)
        return
    timeouts = m.errors.get("timeout", 0) if m.run.workload.timeout_ns >= slo.latency_ns else 0
    count, over = len(latency_ns) + timeouts, int(np.count_nonzero(latency_ns > slo.latency_ns)) + timeouts
    at = rank(len(latency_ns), slo.quantile) - 1
    actual = float(np.partition(latency_ns, at)[at]) / 1e6
    needs = requests_needed(slo.quantile, over)
    missed = over > count - rank(count, slo.quantile)
    met = False if missed else True if count >= needs else None
    yield SloResult(name, limit, actual, "ms", met, needs if met is None else None)


def _promised_errors(m: Measured) -> Iterator[SloResult]:
    limit = float(m.run.workload.slo.error_rate)
    if m.requests:
        yield SloResult("error rate", limit, m.error_rate, "share", m.error_rate <= limit)
    else:
        yield SloResult("error rate", limit, None, "share", None, 1)


def _load(load: Load) -> str:
    if isinstance(load, Closed):
        return f"{load.users} user{'s' if load.users > 1 else ''}, closed loop"
    return f"{type(load).__name__} {load.rate_hz:g}/s over {load.connections} connection{'s' if load.connections > 1 else ''}"
