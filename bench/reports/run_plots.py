"""The plots of one run: (title, how to read it, SVG, whether it takes the page's width) each."""

from bench.analysis.measured import Measured, measure
from bench.analysis.summary import PartSummary, Streaming, Summary
from bench.arrivals import Constant, Gamma, Poisson
from bench.record import Run
from bench.reports import drawing, plots, run_page, series, tables
from bench.slo import quantile_name

GAPS_LABEL, GAPS_SHARE = "gap between two tokens, ms", "gaps no longer"
STREAMS = 8  # that a timeline shows
_LINE, _MUTED = drawing.COLOURS["second"], drawing.COLOURS["muted"]
_LEVELS = tuple(drawing.COLOURS[name] for name in ("second", "first", "third", "muted"))


Figure = tuple[str, str, str, bool]  # the last: whether it takes the page's width


def figures(run: Run, summary: Summary) -> list[Figure]:
    """Latency as a distribution and over time, throughput and utilization over time; of streams also their tokens."""
    if summary.streaming is None:
        found = [_cdf(run, summary), _latency(run, summary), _throughput(run), _utilization(run, summary)]
    else:
        found = [
            _cdf(run, summary), _gaps(run, summary.streaming), _prompts(run), _latency(run, summary), _tokens(run),
            _utilization(run, summary),
        ]  # fmt: skip
    wide = [] if summary.streaming is None else [(*_timeline(run), True)]
    return [*wide, *((*one, False) for one in found)]


def _cdf(run: Run, summary: Summary) -> tuple[str, str, str]:
    name, colour = ("all parts", drawing.COLOURS["ink"]) if summary.parts else ("latency", _LINE)
    slo, of = run.workload.slo, [(name, colour, series.measured_ms(run), summary.latency)]
    for colour, part, m in _parts(run, summary):
        of.append((tables.plain(part.name), colour, m.latency_ns() / 1e6, part.latency))
    if summary.streaming is not None and not summary.parts:
        of.append(("until the first token", _LEVELS[1], series.ttft_ms(run), summary.streaming.ttft))
    claims = [(c.quantile, c.estimate.value, colour) for _, colour, _, d in of for c in d.quantiles if c.estimate is not None]
    promise = (f"promised {quantile_name(slo.quantile)}", slo.latency_ns / 1e6) if slo.latency_ns is not None else None
    svg = plots.cdf([(name, colour, series.cdf(values)) for name, colour, values, _ in of], claims, promise)
    return (
        "How long requests take",
        "99%: one request in 100 took longer. Dots: may be claimed; dotted: too few requests to.",
        svg,
    )


def _parts(run: Run, summary: Summary) -> list[tuple[str, PartSummary, Measured]]:
    """(colour, part, its requests) of each part of a mix."""
    return list(zip(drawing.colours(len(summary.parts)), summary.parts, measure(run).parts, strict=True))


def _gaps(run: Run, s: Streaming) -> tuple[str, str, str]:
    claims = [(c.quantile, c.estimate.value, _LINE) for c in s.itl.quantiles if c.estimate is not None]
    svg = plots.cdf([("gaps", _LINE, series.cdf(series.gaps_ms(run)))], claims, None, GAPS_LABEL, GAPS_SHARE)
    explained = "99%: one gap in 100 was longer. Dots: may be claimed; dotted: too few requests to."
    return "How long the next token takes", explained, svg


def _timeline(run: Run) -> tuple[str, str, str]:
    streams = series.streams_around_longest_gap(run, STREAMS)
    svg = plots.tokens_over_time([("", _LINE, streams)])
    sent = f"{len(streams)} requests sent one after another, among them the one with the longest gap of all"
    return "When each token came", f"{sent}: a line from the intended send to the end, a dot for each piece with tokens.", svg


def _prompts(run: Run) -> tuple[str, str, str]:
    svg = plots.of_prompts([("one request", _LINE, series.ttft_of_prompts(run))])
    return "TTFT against the length of the prompt", "A dot a request, at most 1,500 of them.", svg


def _tokens(run: Run) -> tuple[str, str, str]:
    came = series.tokens_s(run)
    edges = series.edges(0.0, series.length_s(run), len(came), per_bin=60)
    svg = plots.steps_over_time([("tokens", _LINE, series.throughput(came, edges))], None, axis(run), "tokens/s")
    return "Output tokens over time", f"Tokens of correct replies a second, counted every {edges[1] - edges[0]:g} s.", svg


def _latency(run: Run, summary: Summary) -> tuple[str, str, str]:
    every = series.latencies(run)
    edges = series.edges(0.0, series.length_s(run), len(every.x))
    points, lines = [("one request", _LINE, series.dots(*every))], [("slowest", _MUTED, series.slowest(*every))]
    if summary.parts:
        limit = series.DOTS // len(summary.parts)
        points = [
            (tables.plain(part.name), colour, series.dots(*series.latencies(run, m), limit))
            for colour, part, m in _parts(run, summary)
        ]
    else:
        lines.append(("median", drawing.COLOURS["ink"], series.running_quantile(*every, 0.5, edges)))
    svg = plots.latency_over_time(points, lines, series.failures(run, 200), axis(run))
    shown = sum(len(curve.x) for _, _, curve in points)
    some = f"{shown:,} of {len(every.x):,} requests" if shown < len(every.x) else "Every request"
    return "Latency over time", f"{some}, at the intended send. Shaded: warm-up, not measured.", svg


def _throughput(run: Run) -> tuple[str, str, str]:
    completed = series.seconds(measure(run).completed_ns(), run)
    edges = series.edges(0.0, series.length_s(run), len(completed))
    curve = series.throughput(completed, edges)
    load = run.workload.load
    rate = load.rate_hz if run.scheduled and isinstance(load, Constant | Poisson | Gamma) else None
    asked = None if rate is None else (f"asked: {float(rate):g}/s", float(rate))
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


def axis(run: Run) -> drawing.TimeAxis:
    """Time from the first send, warm-up included, to the end of the window."""
    first = float(series.seconds(run.records["intended_ns"].min(), run)) if len(run.records) else 0.0
    return drawing.TimeAxis("time, s", min(first, 0.0), 0.0, series.length_s(run))
