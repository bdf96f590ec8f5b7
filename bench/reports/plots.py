"""Plots as SVG text: latency, throughput and utilization of one run or of two sides; colours are replaced by the page's own."""

import io
import math
import re
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from bench.reports.series import Curve

# what each colour is for; the page's style sheet has its own value of each for light and dark
COLOURS = {
    "ink": "#1d2530",
    "muted": "#66707d",
    "grid": "#e3e6ea",
    "first": "#b4530a",
    "second": "#1f5fbf",
    "third": "#5b7f3a",
    "bad": "#c01f2e",
    "shade": "#f1f2f4",
}
SIDES = (COLOURS["first"], COLOURS["second"])
_MUTED = COLOURS["muted"]
_WIDTH, _HEIGHT = 5.6, 2.75
_DASHES = (0, (4, 3))

_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "bench",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8.5,
    "text.color": COLOURS["ink"],
    "axes.edgecolor": COLOURS["grid"],
    "axes.labelcolor": _MUTED,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.unicode_minus": False,
    "axes.labelsize": 8.5,
    "figure.facecolor": "none",
    "grid.color": COLOURS["grid"],
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "legend.handlelength": 1.2,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
    "path.simplify": False,
    "text.usetex": False,
    "xtick.color": _MUTED,
    "ytick.color": _MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "text.parse_math": False,
}


Named = tuple[str, str, Curve]  # label, colour, points


class TimeAxis(NamedTuple):
    """What stands below a plot over time: from `first`, shaded up to `start`, where the window begins, to `end`."""

    label: str
    first: float
    start: float
    end: float
    rounds: bool = False


@contextmanager
def canvas(panels: int = 1, width: float = _WIDTH, height: float = _HEIGHT) -> Iterator[Figure]:
    """A figure with axes beside each other, in our style; nothing of pyplot is imported, and nothing of its state touched."""
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        # the text is drawn by the reader's browser, with the reader's fonts: what ours lack does not matter
        warnings.filterwarnings("ignore", "Glyph", UserWarning)
        figure = Figure(figsize=(width, height), layout="constrained")
        figure.subplots(1, panels)
        yield figure


def cdf(curves: Iterable[Named], claims: Iterable[tuple[float, float, str]], slo: tuple[str, float] | None) -> str:
    """Share of requests answered within a latency, on an axis even in nines.

    `curves` are (label, colour, (ms, share)); `claims` the (quantile, ms, colour) that may be claimed: beyond the highest of a
    colour its curve is dotted; `slo` a promise to mark, (label, ms).
    """
    drawn, marked = [c for c in curves if len(c[2].x)], list(claims)
    with canvas() as figure:
        axes = figure.axes[0]
        for label, colour, curve in drawn:
            _tail(axes, label, colour, curve, max((q for q, _, c in marked if c == colour), default=0.0))
        for q, value, colour in marked:
            axes.plot([value], [_nines(q)], "o", color=colour, markersize=4.5)
        if slo is not None:
            axes.axvline(slo[1], color=_MUTED, linewidth=1, linestyle=_DASHES, label=slo[0])
        _latency_scale(axes.xaxis, [c.x for _, _, c in drawn] + ([np.array([slo[1]])] if slo else []))
        _nines_scale(axes, [c.y for _, _, c in drawn])
        axes.set_xlabel("latency from the intended send, ms")
        _legend(axes, len(drawn) > 1 or slo is not None)
        return _svg(figure)


def latency_over_time(points: Iterable[Named], lines: Iterable[Named], failed: np.ndarray, time: TimeAxis) -> str:
    """Each request's latency at its intended send, and lines over them; a cross for each request that failed."""
    drawn = [p for p in points if len(p[2].x)]
    over = [line for line in lines if len(line[2].x)]
    with canvas() as figure:
        axes = figure.axes[0]
        for label, colour, curve in drawn:
            _scatter(axes, curve, colour, label)
        for label, colour, curve in over:
            axes.plot(curve.x, curve.y, color=colour, linewidth=1.2, label=_label(label))
        _latency_scale(axes.yaxis, [c.y for _, _, c in (*drawn, *over)])
        if len(failed):
            _failures(axes, failed)
        _time_axis(axes, time)
        axes.set_ylabel("latency, ms")
        _legend(axes, len(drawn) + len(over) > 1 or len(failed) > 0)
        return _svg(figure)


def steps_over_time(
    curves: Iterable[Named], asked: tuple[str, float] | None, time: TimeAxis, unit: str, *,
    top: float | None = None, steps: bool = True, wide: bool = False,
) -> str:  # fmt: skip
    """A quantity over time from zero upwards, as steps or as a line; `asked` marks a level, (label, value)."""
    drawn = [c for c in curves if len(c[2].x)]
    with canvas(width=2 * _WIDTH if wide else _WIDTH, height=2.1 if wide else _HEIGHT) as figure:
        axes = figure.axes[0]
        for label, colour, curve in drawn:
            axes.plot(
                curve.x, curve.y, color=colour, label=label, drawstyle="steps-post" if steps else "default", linewidth=1.4
            )
        if asked is not None:
            axes.axhline(asked[1], color=_MUTED, linewidth=1, linestyle=_DASHES, label=asked[0])
        highest = max((float(np.nanmax(c.y)) for _, _, c in drawn if np.isfinite(c.y).any()), default=1.0)
        axes.set_ylim(0, top or 1.15 * max(highest, asked[1] if asked else 0.0, 1e-9))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_formatter(FuncFormatter(_short))
        _time_axis(axes, time)
        axes.set_ylabel(unit)
        _legend(axes, len(drawn) > 1 or asked is not None)
        return _svg(figure)


def rounds(panels: Iterable[tuple[str, list[float], list[float]]], names: tuple[str, str]) -> str:
    """Paired rounds: in each panel (title, values of the first side, of the second), a line joins the two of a round."""
    shown = list(panels)
    with canvas(len(shown), width=2 * _WIDTH) as figure:
        for axes, (title, first, second) in zip(figure.axes, shown, strict=True):
            numbers = np.arange(1, max(len(first), len(second)) + 1)
            for n, a, b in zip(numbers, first, second, strict=False):
                axes.plot([n, n], [a, b], color=COLOURS["grid"], linewidth=3, zorder=1)
            for name, colour, values in zip(names, SIDES, (first, second), strict=True):
                axes.plot(numbers[: len(values)], values, "o", color=colour, markersize=5.5, label=_label(name))
            finite = [v for v in (*first, *second) if math.isfinite(v)]
            axes.set_ylim(0, 1.15 * max(finite, default=1.0) or 1.0)
            axes.set_xlim(0.4, len(numbers) + 0.6)
            axes.yaxis.set_major_formatter(FuncFormatter(_short))
            axes.xaxis.set_major_locator(MaxNLocator(10, integer=True))
            axes.grid(visible=False, axis="x")
            axes.set_title(title, loc="left", fontsize=8.5, color=_MUTED)
            axes.set_xlabel("round")
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", borderpad=0, ncols=2, columnspacing=1.4)
        return _svg(figure)


def themed(svg: str, prefix: str) -> str:
    """The same plot for a page: the style sheet's colours, ids of its own, no XML prologue."""
    return re.sub(r"<[^>]*>", lambda tag: _themed_tag(tag[0], prefix), svg[svg.index("<svg") :])


def _themed_tag(tag: str, prefix: str) -> str:
    if tag.startswith("<svg"):
        box = re.search(r'viewBox="[^"]*"', tag)
        return f'<svg {box[0] if box else ""} aria-hidden="true">'
    for name, colour in COLOURS.items():
        tag = tag.replace(colour, f"var(--{name}, {colour})")
    tag = re.sub(r'\bid="([^"]*)"', rf'id="{prefix}-\1"', tag)
    return re.sub(r'(href="#|url\(#)', rf"\1{prefix}-", tag)


def _svg(figure: Figure) -> str:
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Creator": None, "Date": None, "Format": None, "Type": None})
    # three decimals of a point are finer than any screen
    return re.sub(r' d="[^"]*"', lambda path: re.sub(r"(\.\d\d)\d+", r"\1", path[0]), out.getvalue())


def _label(text: str) -> str:
    # a legend leaves out what begins with an underscore
    return f" {text}" if text.startswith("_") else text


def _nines(q: np.ndarray | float) -> Any:
    return -np.log10(1 - np.asarray(q))


def _tail(axes: Axes, label: str, colour: str, curve: Curve, claimable: float) -> None:
    solid = curve.y <= claimable + 1e-12 if claimable else np.ones(len(curve.y), bool)
    upto = int(solid.sum())
    y = _nines(curve.y)
    axes.plot(curve.x[:upto], y[:upto], color=colour, label=_label(label))
    if upto < len(y):
        axes.plot(curve.x[max(upto - 1, 0) :], y[max(upto - 1, 0) :], color=colour, linewidth=1.2, linestyle=(0, (1, 2)))


def _nines_scale(axes: Axes, shares: list[np.ndarray]) -> None:
    highest = max((float(s[-1]) for s in shares if len(s)), default=0.9)
    ticks = [q for q in (0.0, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999, 0.999999) if q <= max(highest, 0.9) + 1e-12]
    ticks = ticks[1:] if highest > 0.9999 else ticks  # 0% and 50% would print over each other
    axes.yaxis.set_major_locator(FixedLocator([float(_nines(q)) for q in ticks]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda nines, _: f"{100 * (1 - 10.0**-nines):.6g}%"))
    axes.set_ylim(0, float(_nines(max(highest, 0.9))) * 1.04)
    axes.set_ylabel("requests answered within")


def _latency_scale(axis: Any, values: list[np.ndarray]) -> None:
    """From zero, or logarithmic where the values differ so much that the small ones would not be seen."""
    every = np.concatenate(values) if values else np.empty(0)
    every = every[np.isfinite(every) & (every > 0)]
    if not len(every):
        return
    low, high = np.quantile(every, 0.01, method="lower"), every.max()
    name = axis.axis_name
    if high / low < 30:
        getattr(axis.axes, f"set_{name}lim")(0, 1.06 * high)
        axis.set_major_locator(MaxNLocator(6))
        axis.set_major_formatter(FuncFormatter(_short))
        return
    getattr(axis.axes, f"set_{name}scale")("log")
    getattr(axis.axes, f"set_{name}lim")(every.min() / 1.25, high * 1.25)
    axis.set_major_locator(LogLocator(10, subs=(1, 2, 5) if high / low < 2000 else (1,), numticks=12))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())
    axis.set_major_formatter(FuncFormatter(_short))


def _short(value: float, _: int = 0) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:g}"


def _scatter(axes: Axes, curve: Curve, colour: str, label: str) -> None:
    # one path of points without length and round ends: a tenth of the bytes of a marker each
    seen = np.isfinite(curve.y)
    spots = np.repeat(np.column_stack([curve.x[seen], curve.y[seen]]), 2, axis=0)
    codes = np.tile([Path.MOVETO, Path.LINETO], len(spots) // 2)
    if len(spots):
        axes.add_patch(PathPatch(Path(spots, codes), fill=False, edgecolor=colour, linewidth=2.2, alpha=0.45, capstyle="round"))
        axes.plot([], [], "o", color=colour, markersize=4, label=_label(label))


def _failures(axes: Axes, t: np.ndarray) -> None:
    axes.plot(
        t, np.full(len(t), 0.97), "x", color=COLOURS["bad"], markersize=4, transform=axes.get_xaxis_transform(), label="failed"
    )


def _time_axis(axes: Axes, time: TimeAxis) -> None:
    if time.first < time.start:
        axes.axvspan(time.first, time.start, color=COLOURS["shade"], linewidth=0, zorder=0)
    axes.set_xlim(time.first, max(time.end, time.first + 1e-9))
    axes.grid(visible=False, axis="x")
    axes.xaxis.set_major_locator(MaxNLocator(10 if time.rounds else 8, integer=time.rounds))
    axes.xaxis.set_major_formatter(FuncFormatter(_short))
    axes.set_xlabel(time.label)
    if time.rounds and time.end - time.first <= 30:
        for at in np.arange(time.first + 1, time.end):
            axes.axvline(at, color=COLOURS["grid"], linewidth=0.8, zorder=0)


def _legend(axes: Axes, shown: bool) -> None:
    handles, labels = axes.get_legend_handles_labels()
    if shown and handles:
        axes.legend(
            handles, labels, loc="lower left", bbox_to_anchor=(-0.01, 0.99), borderpad=0, ncols=len(handles), columnspacing=1.4
        )
