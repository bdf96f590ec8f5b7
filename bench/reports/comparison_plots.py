"""The plots of several sides: (title, how to read it, SVG, whether it takes the page's width) each."""

import numpy as np

from bench.analysis.compare import SideComparison
from bench.analysis.estimate import Estimate
from bench.analysis.summary import QuantileClaim, Summary
from bench.record import Run
from bench.reports import drawing, plots, series, tables
from bench.reports.run_plots import GAPS_LABEL, GAPS_SHARE, STREAMS, Figure
from bench.reports.series import Curve
from bench.reports.sides import Side, Sides, claimable_everywhere, has_gpu, streamed

NAN = float("nan")


def figures(comparison: SideComparison, sides: Sides) -> list[Figure]:
    """Distributions laid over each other, the rounds, latency and utilization over time; of streams first their tokens."""
    return [*_verdicts(comparison, sides), *_of_all(comparison, sides)]


def _verdicts(comparison: SideComparison, sides: Sides) -> list[Figure]:
    """The intervals that verdicts come from, of each side but the first."""
    named = _of_sides(sides)[1:]
    spans = [
        plots.Span(f"{name}: {row.metric}" if len(named) > 1 else row.metric, colour, *span)
        for n, (name, colour, _) in enumerate(named)
        for row in comparison.rows
        if row.judged and (span := _span(row.changes[n], row.judged[n].delta))
    ]
    explained = (
        f"Against {tables.plain(sides[0].name)}. Grey: what does not matter. SAME lies within it, WORSE and BETTER beside 0."
    )
    return [("What the verdicts come from", explained, plots.intervals(spans), False)] if spans else []


def _span(change: Estimate | None, delta: float) -> tuple[float, float, float, tuple[float, float]] | None:
    """(value, low, high, what does not matter) in percent, or in points."""
    if change is None or change.low is None or change.high is None:
        return None
    nothing, least = (0.0, -delta) if change.unit == "share" else (1.0, 1 / (1 + delta))
    most = nothing + delta
    value, low, high, least, most = (100 * (v - nothing) for v in (change.value, change.low, change.high, least, most))
    return value, low, high, (least, most)


def _of_all(comparison: SideComparison, sides: Sides) -> list[Figure]:
    """The plots that every comparison has."""
    if not streamed(sides):
        return [_cdf(comparison, sides), _latency(sides), _rounds(sides), *_utilization(sides)]
    tokens = [_timeline(sides), _ttft(comparison, sides), _gaps(comparison, sides), _prompts(sides)]
    return [*tokens, _latency(sides), _rounds(sides), *_utilization(sides)]


def _of_sides(sides: Sides) -> list[tuple[str, str, Side]]:
    """(name, colour, side) of each."""
    return [(tables.plain(side.name), c, side) for side, c in zip(sides, drawing.colours(len(sides)), strict=True)]


def _cdf(comparison: SideComparison, sides: Sides) -> Figure:
    curves = [(name, c, _pooled([series.measured_ms(run) for run in side.runs])) for name, c, side in _of_sides(sides)]
    svg = plots.cdf(curves, _claims(comparison, sides, "latency"), None)
    explained = "All rounds together. 99%: one request in 100 took longer. Dots: may be claimed; dotted: too few requests to."
    return "How long requests take", explained, svg, False


def _ttft(comparison: SideComparison, sides: Sides) -> Figure:
    curves = [(name, c, _pooled([series.ttft_ms(run) for run in side.runs])) for name, c, side in _of_sides(sides)]
    svg = plots.cdf(curves, _claims(comparison, sides, "TTFT"), None, "time to first token, ms")
    explained = "All rounds together. 90%: one request in 10 waited longer. Dots: may be claimed; dotted: too few requests to."
    return "How long requests wait for their first token", explained, svg, False


def _gaps(comparison: SideComparison, sides: Sides) -> Figure:
    curves = [(name, c, _pooled([series.gaps_ms(run) for run in side.runs])) for name, c, side in _of_sides(sides)]
    svg = plots.cdf(curves, _claims(comparison, sides, "ITL"), None, GAPS_LABEL, GAPS_SHARE)
    explained = "All rounds together. 90%: one gap in 10 was longer. Dots: may be claimed; dotted: too few requests to."
    return "How long the next token takes", explained, svg, False


def _pooled(values: list[np.ndarray]) -> Curve:
    return series.cdf(np.concatenate(values or [np.empty(0)]))


def _claims(comparison: SideComparison, sides: Sides, metric: str) -> list[tuple[float, float, str]]:
    """(quantile, ms, colour) of what may be claimed."""
    return [
        (claim.quantile, claim.estimate.value, colour)
        for row in comparison.rows
        if row.metric.endswith(f" {metric}")
        for claim, colour in zip(row.values, drawing.colours(len(sides)), strict=True)
        if isinstance(claim, QuantileClaim) and claim.estimate is not None
    ]


def _timeline(sides: Sides) -> Figure:
    shown = [(name, c, series.first_streams(side.runs[0], STREAMS) if side.runs else []) for name, c, side in _of_sides(sides)]
    explained = (
        f"The first {STREAMS} measured requests of each side's first round: a line from the intended send to the end, "
        "a dot for each piece with tokens."
    )
    return "When each token came", explained, plots.tokens_over_time(shown), True


def _prompts(sides: Sides) -> Figure:
    points = []
    for name, c, side in _of_sides(sides):
        limit = max(50, 2 * series.DOTS // max(1, len(side.runs) * len(sides)))
        found = [series.ttft_of_prompts(run, limit) for run in side.runs]
        curve = Curve(*(np.concatenate([getattr(one, axis) for one in found] or [np.empty(0)]) for axis in ("x", "y")))
        points.append((name, c, curve))
    return "TTFT against the length of the prompt", "A dot a request.", plots.of_prompts(points), False


def _rounds(sides: Sides) -> Figure:
    if streamed(sides):
        measures = [("mean TTFT, ms", _ttft_of), ("output tokens/s", _tokens_of)]
    else:
        quantile = claimable_everywhere(sides)
        measures = [("mean latency, ms", lambda s: s.latency.mean.value if s.latency.mean else NAN)]
        if quantile is not None:
            measures.append((f"{tables.quantile(quantile)} latency, ms", lambda s: _quantile_of(s, quantile)))
        measures.append(("answered, requests/s", lambda s: s.throughput.value))
    panels = [(title, [[of(s) for s in side.summaries] for side in sides]) for title, of in measures]
    explained = "A line joins the sides of a round." if len(sides) > 2 else "A line joins the two sides of a round."
    return "Round by round", explained, plots.rounds(panels, [tables.plain(side.name) for side in sides]), True


def _ttft_of(s: Summary) -> float:
    return s.streaming.ttft.mean.value if s.streaming and s.streaming.ttft.mean else NAN


def _tokens_of(s: Summary) -> float:
    return s.streaming.tokens.value if s.streaming else NAN


def _quantile_of(s: Summary, quantile: float) -> float:
    found = s.latency.at(quantile).estimate
    return found.value if found else NAN


def _latency(sides: Sides) -> Figure:
    points: list[drawing.Named] = []
    lines: list[drawing.Named] = []
    failed: list[np.ndarray] = []
    for n, (name, colour, side) in enumerate(_of_sides(sides)):
        limit = max(50, 4 * series.DOTS // max(1, len(side.runs) * len(sides)))
        every = [series.within(series.latencies(run), run) for run in side.runs]
        points.append((name, colour, series.in_rounds([series.dots(*one, limit) for one in every], side.runs, n, len(sides))))
        if any(len(one.x) > limit for one in every):
            peaks = [series.slowest(*one, limit) for one in every]
            lines.append((f"{name}, slowest", colour, series.in_rounds(peaks, side.runs, n, len(sides))))
        crosses = [_failed(run, max(10, 200 // max(1, len(side.runs)))) for run in side.runs]
        failed.append(series.in_rounds(crosses, side.runs, n, len(sides)).x)
    found = np.concatenate(failed)
    svg = plots.latency_over_time(points, lines, found[np.isfinite(found)], _axis(sides))
    some = "Some of the requests and the slowest" if lines else "Every request"
    drawn = "the first side is drawn left, the second right" if len(sides) == 2 else "the sides are drawn from left to right"
    return (
        "Latency over time", f"{some}. Within each round {drawn}; which was measured first alternates.", svg, False
    )  # fmt: skip


def _failed(run: Run, limit: int) -> Curve:
    t = series.failures(run, limit)
    return series.within(Curve(t, np.zeros(len(t))), run)


def _utilization(sides: Sides) -> list[Figure]:
    gpu = has_gpu(sides)
    curves = []
    for n, (name, colour, side) in enumerate(_of_sides(sides)):
        levels = [_level(run, gpu, series.POINTS // max(1, len(side.runs))) for run in side.runs]
        curves.append((name, colour, series.in_rounds(levels, side.runs, n, len(sides))))
    if not any(len(curve.x) for _, _, curve in curves):
        return []
    svg = plots.steps_over_time(curves, None, _axis(sides), "%", top=105, steps=False, wide=True)
    title, explained = (
        ("GPU utilization over time", "The share of time in which any kernel ran; of several GPUs, their mean.")
        if gpu
        else ("CPU utilization over time", "No GPU: CPU utilization of each server shown. 100% is every core of the machine.")
    )
    return [(title, explained, svg, True)]


def _level(run: Run, gpu: bool, points: int) -> Curve:
    return series.thinned(series.within(series.leading_level(run, gpu), run), max(points, 2))


def _axis(sides: Sides) -> drawing.TimeAxis:
    return drawing.TimeAxis("round", 0.5, 0.5, max(len(side.runs) for side in sides) + 0.5, rounds=True)
