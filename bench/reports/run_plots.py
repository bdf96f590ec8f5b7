"""The plots of one run: (title, how to read it, SVG) each."""

from bench.analysis.measured import measure
from bench.analysis.summary import Summary
from bench.arrivals import Closed
from bench.record import Run
from bench.reports import plots, run_page, series
from bench.slo import quantile_name

_LINE = plots.COLOURS["second"]
_LEVELS = tuple(plots.COLOURS[name] for name in ("second", "first", "third", "muted"))


def figures(run: Run, summary: Summary) -> list[tuple[str, str, str]]:
    """Latency as a distribution and over time, throughput and utilization over time."""
    return [_cdf(run, summary), _latency(run), _throughput(run), _utilization(run, summary)]


def _cdf(run: Run, summary: Summary) -> tuple[str, str, str]:
    claims = [(c.quantile, c.estimate.value, _LINE) for c in summary.latency.quantiles if c.estimate is not None]
    slo = run.workload.slo
    promise = (f"promised {quantile_name(slo.quantile)}", slo.latency_ns / 1e6) if slo.latency_ns is not None else None
    svg = plots.cdf([("latency", _LINE, series.cdf(series.measured_ms(run)))], claims, promise)
    return (
        "How long requests take",
        "99%: one request in 100 took longer. Dots: may be claimed; dotted: too few requests to.",
        svg,
    )


def _latency(run: Run) -> tuple[str, str, str]:
    every = series.latencies(run)
    edges = series.edges(0.0, series.length_s(run), len(every.x))
    points = series.dots(*every)
    lines = [
        ("slowest", plots.COLOURS["muted"], series.slowest(*every)),
        ("median", plots.COLOURS["ink"], series.running_quantile(*every, 0.5, edges)),
    ]
    svg = plots.latency_over_time([("one request", _LINE, points)], lines, series.failures(run, 200), axis(run))
    some = f"{len(points.x):,} of {len(every.x):,} requests" if len(points.x) < len(every.x) else "Every request"
    return "Latency over time", f"{some}, at the intended send. Shaded: warm-up, not measured.", svg


def _throughput(run: Run) -> tuple[str, str, str]:
    completed = series.seconds(measure(run).completed_ns(), run)
    edges = series.edges(0.0, series.length_s(run), len(completed))
    curve = series.throughput(completed, edges)
    load = run.workload.load
    asked = None if isinstance(load, Closed) else (f"asked: {float(load.rate_hz):g}/s", float(load.rate_hz))
    svg = plots.steps_over_time([("answered", _LINE, curve)], asked, axis(run), "requests/s")
    return "Throughput over time", f"Correct replies a second, counted every {edges[1] - edges[0]:g} s.", svg


def _utilization(run: Run, summary: Summary) -> tuple[str, str, str]:
    levels = series.utilization(run)
    curves = [(level.label, colour, level.curve) for level, colour in zip(levels, _LEVELS * 8, strict=False)]
    svg = plots.steps_over_time(curves, None, axis(run), "%", top=105, steps=False)
    if not levels:
        return "Utilization over time", "Nothing was sampled.", svg
    if run_page.has_gpu(summary.resources):
        return "GPU utilization over time", "The share of time in which any kernel ran.", svg
    return "CPU utilization over time", "No GPU: CPU utilization shown. 100% is every core of the machine.", svg


def axis(run: Run) -> plots.TimeAxis:
    """Time from the first send, warm-up included, to the end of the window."""
    first = float(series.seconds(run.records["intended_ns"], run).min()) if len(run.records) else 0.0
    return plots.TimeAxis("time, s", min(first, 0.0), 0.0, series.length_s(run))
