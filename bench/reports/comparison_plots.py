"""The plots of two sides: (title, how to read it, SVG, whether it takes the page's width) each."""

import numpy as np

from bench.analysis.compare import SideComparison
from bench.analysis.summary import QuantileClaim
from bench.record import Run
from bench.reports import comparison_page, plots, series, tables
from bench.reports.comparison_page import Side, Sides
from bench.reports.series import Curve

Figure = tuple[str, str, str, bool]


def figures(comparison: SideComparison, sides: Sides) -> list[Figure]:
    """Distributions laid over each other, the rounds in pairs, latency and utilization over time."""
    return [_cdf(comparison, sides), _latency(sides), _rounds(sides), *_utilization(sides)]


def _cdf(comparison: SideComparison, sides: Sides) -> Figure:
    pooled = [np.concatenate([series.measured_ms(run) for run in side.runs] or [np.empty(0)]) for side in sides]
    curves = [
        (tables.plain(side.name), colour, series.cdf(values))
        for side, colour, values in zip(sides, plots.SIDES, pooled, strict=True)
    ]
    claims = [
        (claim.quantile, claim.estimate.value, colour)
        for row in comparison.rows
        for claim, colour in zip((row.base, row.new), plots.SIDES, strict=True)
        if isinstance(claim, QuantileClaim) and claim.estimate is not None
    ]
    explained = "All rounds together. 99%: one request in 100 took longer. Dots: may be claimed; dotted: too few requests to."
    return "How long requests take", explained, plots.cdf(curves, claims, None), False


def _rounds(sides: Sides) -> Figure:
    quantile = comparison_page.claimable_everywhere(sides)
    base, new = sides
    panels = [("mean latency, ms", _means(base), _means(new))]
    if quantile is not None:
        panels.append((f"{tables.quantile(quantile)} latency, ms", _quantiles(base, quantile), _quantiles(new, quantile)))
    panels.append(("answered, requests/s", _throughputs(base), _throughputs(new)))
    names = (tables.plain(base.name), tables.plain(new.name))
    explained = "A line joins the two sides of a round."
    return "Round by round", explained, plots.rounds(panels, names), True


def _means(side: Side) -> list[float]:
    return [s.latency.mean.value if s.latency.mean else float("nan") for s in side.summaries]


def _quantiles(side: Side, quantile: float) -> list[float]:
    estimates = [s.latency.at(quantile).estimate for s in side.summaries]
    return [e.value if e else float("nan") for e in estimates]


def _throughputs(side: Side) -> list[float]:
    return [s.throughput.value for s in side.summaries]


def _latency(sides: Sides) -> Figure:
    points: list[plots.Named] = []
    lines: list[plots.Named] = []
    failed: list[np.ndarray] = []
    for n, (side, colour) in enumerate(zip(sides, plots.SIDES, strict=True)):
        limit = max(50, 2 * series.DOTS // max(1, len(side.runs)))
        every = [series.within(series.latencies(run), run) for run in side.runs]
        name = tables.plain(side.name)
        points.append((name, colour, series.in_rounds([series.dots(*one, limit) for one in every], side.runs, n)))
        if any(len(one.x) > limit for one in every):
            peaks = [series.slowest(*one, limit) for one in every]
            lines.append((f"{name}, slowest", colour, series.in_rounds(peaks, side.runs, n)))
        failed.append(
            series.in_rounds([_failed(run, max(10, 200 // max(1, len(side.runs)))) for run in side.runs], side.runs, n).x
        )
    crosses = np.concatenate(failed)
    svg = plots.latency_over_time(points, lines, crosses[np.isfinite(crosses)], _axis(sides))
    some = "Some of the requests and the slowest" if lines else "Every request"
    return (
        "Latency over time",
        f"{some}. Within each round the first side is drawn left, the second right; which was measured first alternates.",
        svg,
        False,
    )


def _failed(run: Run, limit: int) -> Curve:
    t = series.failures(run, limit)
    return series.within(Curve(t, np.zeros(len(t))), run)


def _utilization(sides: Sides) -> list[Figure]:
    gpu = comparison_page.has_gpu(sides)
    curves = []
    for n, (side, colour) in enumerate(zip(sides, plots.SIDES, strict=True)):
        levels = [_level(run, gpu, series.POINTS // max(1, len(side.runs))) for run in side.runs]
        curves.append((tables.plain(side.name), colour, series.in_rounds(levels, side.runs, n)))
    if not any(len(curve.x) for _, _, curve in curves):
        return []
    svg = plots.steps_over_time(curves, None, _axis(sides), "%", top=105, steps=False, wide=True)
    if gpu:
        return [
            ("GPU utilization over time", "The share of time in which any kernel ran; of several GPUs, their mean.", svg, True)
        ]
    return [
        (
            "CPU utilization over time",
            "No GPU: CPU utilization of each server shown. 100% is every core of the machine.",
            svg,
            True,
        )
    ]


def _level(run: Run, gpu: bool, points: int) -> Curve:
    return series.thinned(series.within(series.leading_level(run, gpu), run), max(points, 2))


def _axis(sides: Sides) -> plots.TimeAxis:
    return plots.TimeAxis("round", 0.5, 0.5, max(len(side.runs) for side in sides) + 0.5, rounds=True)
