"""Plots as SVG text: latency, tokens, throughput and utilization, of a run or of sides; a page puts its own colours in."""

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from bench.reports.drawing import (
    COLOURS,
    DASHES,
    HEIGHT,
    MUTED,
    WIDTH,
    Named,
    TimeAxis,
    across,
    canvas,
    colours,
    label_text,
    latency_scale,
    legend,
    scatter,
    short,
    svg,
    time_axis,
)  # fmt: skip
from bench.reports.series import Curve, Stream

_SPOTS = 1200  # that can be told apart over the width of a page


def cdf(
    curves: Iterable[Named], claims: Iterable[tuple[float, float, str]], slo: tuple[str, float] | None,
    label: str = "latency from the intended send, ms", share: str = "requests answered within",
) -> str:  # fmt: skip
    """Share of requests answered within a latency, on an axis even in nines.

    `curves` are (label, colour, (ms, share)); `claims` the (quantile, ms, colour) that may be claimed: beyond the highest of a
    colour its curve is dotted; `slo` a promise to mark, (label, ms).
    """
    drawn, marked = [c for c in curves if len(c[2].x)], list(claims)
    with canvas() as figure:
        axes = figure.axes[0]
        for name, colour, curve in drawn:
            _tail(axes, name, colour, curve, max((q for q, _, c in marked if c == colour), default=0.0))
        for q, value, colour in marked:
            axes.plot([value], [_nines(q)], "o", color=colour, markersize=4.5)
        if slo is not None:
            axes.axvline(slo[1], color=MUTED, linewidth=1, linestyle=DASHES, label=slo[0])
        latency_scale(axes.xaxis, [c.x for _, _, c in drawn] + ([np.array([slo[1]])] if slo else []))
        _nines_scale(axes, [c.y for _, _, c in drawn])
        axes.set_xlabel(label)
        axes.set_ylabel(share)
        legend(axes, len(drawn) > 1 or slo is not None)
        return svg(figure)


def latency_over_time(points: Iterable[Named], lines: Iterable[Named], failed: np.ndarray, time: TimeAxis) -> str:
    """Each request's latency at its intended send, and lines over them; a cross for each request that failed."""
    drawn = [p for p in points if len(p[2].x)]
    over = [line for line in lines if len(line[2].x)]
    with canvas() as figure:
        axes = figure.axes[0]
        for label, colour, curve in drawn:
            scatter(axes, curve, colour, label)
        for label, colour, curve in over:
            axes.plot(curve.x, curve.y, color=colour, linewidth=1.2, label=label_text(label))
        latency_scale(axes.yaxis, [c.y for _, _, c in (*drawn, *over)])
        if len(failed):
            _failures(axes, failed)
        time_axis(axes, time)
        axes.set_ylabel("latency, ms")
        legend(axes, len(drawn) + len(over) > 1 or len(failed) > 0)
        return svg(figure)


def steps_over_time(
    curves: Iterable[Named], asked: tuple[str, float] | None, time: TimeAxis, unit: str, *,
    top: float | None = None, steps: bool = True, wide: bool = False,
) -> str:  # fmt: skip
    """A quantity over time from zero upwards, as steps or as a line; `asked` marks a level, (label, value)."""
    drawn = [c for c in curves if len(c[2].x)]
    with canvas(width=2 * WIDTH if wide else WIDTH, height=2.1 if wide else HEIGHT) as figure:
        axes = figure.axes[0]
        for label, colour, curve in drawn:
            axes.plot(
                curve.x, curve.y, color=colour, label=label, drawstyle="steps-post" if steps else "default", linewidth=1.4
            )
        if asked is not None:
            axes.axhline(asked[1], color=MUTED, linewidth=1, linestyle=DASHES, label=asked[0])
        highest = max((float(np.nanmax(c.y)) for _, _, c in drawn if np.isfinite(c.y).any()), default=1.0)
        axes.set_ylim(0, top or 1.15 * max(highest, asked[1] if asked else 0.0, 1e-9))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_formatter(FuncFormatter(short))
        time_axis(axes, time)
        axes.set_ylabel(unit)
        legend(axes, len(drawn) > 1 or asked is not None)
        return svg(figure)


def rounds(panels: Iterable[tuple[str, list[list[float]]]], names: Sequence[str]) -> str:
    """Rounds of all sides: in each panel (title, values of each side), a line joins what belongs to a round."""
    shown = list(panels)
    with canvas(len(shown), width=2 * WIDTH) as figure:
        for axes, (title, sides) in zip(figure.axes, shown, strict=True):
            numbers = np.arange(1, max(map(len, sides), default=0) + 1)
            for n in numbers:
                of_round = [values[n - 1] for values in sides if len(values) >= n]
                axes.plot([n] * len(of_round), of_round, color=COLOURS["grid"], linewidth=3, zorder=1)
            for name, colour, values in zip(names, colours(len(sides)), sides, strict=True):
                axes.plot(numbers[: len(values)], values, "o", color=colour, markersize=5.5, label=label_text(name))
            finite = [v for values in sides for v in values if math.isfinite(v)]
            axes.set_ylim(0, 1.15 * max(finite, default=1.0) or 1.0)
            axes.set_xlim(0.4, len(numbers) + 0.6)
            axes.yaxis.set_major_formatter(FuncFormatter(short))
            axes.xaxis.set_major_locator(MaxNLocator(10, integer=True))
            axes.grid(visible=False, axis="x")
            axes.set_title(title, loc="left", fontsize=8.5, color=MUTED)
            axes.set_xlabel("round")
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", borderpad=0, ncols=across(labels), columnspacing=1.4)
        return svg(figure)


class Span(NamedTuple):
    """An interval of a change, in percent or points, and how much of a change does not matter."""

    name: str
    colour: str
    value: float
    low: float
    high: float
    delta: tuple[float, float]


def intervals(spans: Sequence[Span]) -> str:
    """Each span on a line of its own, over the stretch that does not matter; what is wider than the plot ends in an arrow."""
    limit = max((1.6 * max(map(abs, (*s.delta, s.value))) for s in spans), default=1.0)
    with canvas(height=0.65 + 0.34 * max(len(spans), 1)) as figure:
        axes = figure.axes[0]
        for n, s in enumerate(spans):
            axes.barh(n, s.delta[1] - s.delta[0], left=s.delta[0], height=0.72, color=COLOURS["grid"], zorder=1)
            axes.plot([max(s.low, -limit), min(s.high, limit)], [n, n], color=s.colour, linewidth=2.2, zorder=3)
            for end, marker in ((s.low, "<"), (s.high, ">")):
                if abs(end) > limit:  # it goes on
                    axes.plot([math.copysign(limit, end)], [n], marker, color=s.colour, markersize=7, zorder=4, clip_on=False)
            axes.plot([s.value], [n], "o", color=s.colour, markersize=5.5, zorder=4)
        axes.axvline(0, color=MUTED, linewidth=1, zorder=2)
        axes.set_yticks(range(len(spans)), [label_text(s.name) for s in spans])
        axes.set_ylim(len(spans) - 0.4, -0.6)
        axes.set_xlim(-limit, limit)
        axes.grid(visible=False, axis="y")
        axes.xaxis.set_major_locator(MaxNLocator(7))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:+g}" if value else "0"))
        axes.set_xlabel("change, % (of errors percentage points)")
        return svg(figure)


def tokens_over_time(sides: Sequence[tuple[str, str, Sequence[Stream]]]) -> str:
    """Streams of each side (name, colour, streams) in lines below each other: from the send to the end, a dot for each piece.

    Time runs from the first send of each side, and is the same for all.
    """
    drawn = [side for side in sides if side[2]]
    lines = sum(len(streams) + 1 for _, _, streams in drawn)
    with canvas(width=2 * WIDTH, height=0.55 + 0.16 * lines) as figure:
        axes, at, names = figure.axes[0], 0, []
        longest = max((s.end - _begin(streams) for _, _, streams in drawn for s in streams), default=0.0)
        for name, colour, streams in drawn:
            names.append((at, name))
            for s in streams:
                at += 1
                _draw_stream(axes, s, _begin(streams), at, colour, longest / _SPOTS)
            at += 1
        axes.set_ylim(at - 0.3, -0.8)
        axes.set_xlim(0, 1.02 * longest or 1.0)
        axes.yaxis.set_major_locator(NullLocator())
        axes.grid(visible=False, axis="y")
        axes.xaxis.set_major_formatter(FuncFormatter(short))
        axes.set_xlabel("time since the first of these requests should have been sent, s")
        for line, name in names:
            axes.text(0, line + 0.15, name, color=COLOURS["ink"], fontsize=8.5, verticalalignment="center")
        return svg(figure)


def _begin(streams: Sequence[Stream]) -> float:
    return min(s.sent for s in streams)


def _draw_stream(axes: Axes, s: Stream, begin: float, line: int, colour: str, apart: float) -> None:
    axes.plot([s.sent - begin, s.end - begin], [line, line], color=COLOURS["grid"], linewidth=1.2, zorder=1)
    axes.plot([s.sent - begin], [line], "|", color=MUTED, markersize=7, markeredgewidth=1.2, zorder=2)
    # pieces that come nearer to each other than an eye can tell are one dot
    seen = np.unique(np.floor((s.t - begin) / max(apart, 1e-9)), return_index=True)[1]
    scatter(axes, Curve(s.t[seen] - begin, np.full(len(seen), float(line))), colour, "", width=3.2, alpha=0.75)


def of_prompts(points: Sequence[Named]) -> str:
    """The time to the first token against the length of the prompt, a dot a request."""
    drawn = [p for p in points if len(p[2].x)]
    with canvas() as figure:
        axes = figure.axes[0]
        for label, colour, curve in drawn:
            scatter(axes, curve, colour, label, width=3.0, alpha=0.6)
        latency_scale(axes.yaxis, [c.y for _, _, c in drawn])
        longest = max((float(c.x.max()) for _, _, c in drawn), default=1.0)
        axes.set_xlim(0, 1.05 * longest)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.xaxis.set_major_formatter(FuncFormatter(short))
        axes.set_xlabel("tokens in the prompt")
        axes.set_ylabel("TTFT, ms")
        legend(axes, len(drawn) > 1)
        return svg(figure)


def _nines(q: np.ndarray | float) -> Any:
    return -np.log10(1 - np.asarray(q))


def _tail(axes: Axes, label: str, colour: str, curve: Curve, claimable: float) -> None:
    solid = curve.y <= claimable + 1e-12 if claimable else np.ones(len(curve.y), bool)
    upto = int(solid.sum())
    y = _nines(curve.y)
    axes.plot(curve.x[:upto], y[:upto], color=colour, label=label_text(label))
    if upto < len(y):
        axes.plot(curve.x[max(upto - 1, 0) :], y[max(upto - 1, 0) :], color=colour, linewidth=1.2, linestyle=(0, (1, 2)))


def _nines_scale(axes: Axes, shares: list[np.ndarray]) -> None:
    highest = max((float(s[-1]) for s in shares if len(s)), default=0.9)
    ticks = [q for q in (0.0, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999, 0.999999) if q <= max(highest, 0.9) + 1e-12]
    ticks = ticks[1:] if highest > 0.9999 else ticks  # 0% and 50% would print over each other
    axes.yaxis.set_major_locator(FixedLocator([float(_nines(q)) for q in ticks]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda nines, _: f"{100 * (1 - 10.0**-nines):.6g}%"))
    axes.set_ylim(0, float(_nines(max(highest, 0.9))) * 1.04)


def _failures(axes: Axes, t: np.ndarray) -> None:
    axes.plot(
        t, np.full(len(t), 0.97), "x", color=COLOURS["bad"], markersize=4, transform=axes.get_xaxis_transform(), label="failed"
    )
