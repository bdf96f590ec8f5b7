"""What plots are drawn with: a canvas in our style, colours that a page replaces by its own, scales, marks and legends."""

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle, islice
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from bench.reports import tables
from bench.reports.series import Curve

# what each colour is for; the page's style sheet has its own value of each for light and dark
COLOURS = {
    "ink": "#1d2530",
    "muted": "#66707d",
    "grid": "#e3e6ea",
    "first": "#b4530a",
    "second": "#1f5fbf",
    "third": "#5b7f3a",
    "fourth": "#7a3fa0",
    "fifth": "#0f7f7a",
    "sixth": "#8a6d1d",
    "bad": "#c01f2e",
    "shade": "#f1f2f4",
}
SIDES = tuple(COLOURS[name] for name in tables.SIDES)
MUTED = COLOURS["muted"]
WIDTH, HEIGHT = 5.6, 2.75
DASHES = (0, (4, 3))
_LETTERS = 70  # of a legend, that fit above a plot

_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "bench",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8.5,
    "text.color": COLOURS["ink"],
    "axes.edgecolor": COLOURS["grid"],
    "axes.labelcolor": MUTED,
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
    "xtick.color": MUTED,
    "ytick.color": MUTED,
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
def canvas(panels: int = 1, width: float = WIDTH, height: float = HEIGHT) -> Iterator[Figure]:
    """A figure with axes beside each other, in our style; nothing of pyplot is imported, and nothing of its state touched."""
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        # the text is drawn by the reader's browser, with the reader's fonts: what ours lack does not matter
        warnings.filterwarnings("ignore", "Glyph", UserWarning)
        figure = Figure(figsize=(width, height), layout="constrained")
        figure.subplots(1, panels)
        yield figure


def colours(sides: int) -> list[str]:
    """A colour for each side; of more than there are colours, the first again."""
    return list(islice(cycle(SIDES), sides))


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


def svg(figure: Figure) -> str:
    """The figure as SVG text, the same for the same figure."""
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Creator": None, "Date": None, "Format": None, "Type": None})
    # three decimals of a point are finer than any screen
    return re.sub(r' d="[^"]*"', lambda path: re.sub(r"(\.\d\d)\d+", r"\1", path[0]), out.getvalue())


def label_text(text: str) -> str:
    """A label that a legend shows, whatever it begins with."""
    # a legend leaves out what begins with an underscore
    return f" {text}" if text.startswith("_") else text


def latency_scale(axis: Any, values: list[np.ndarray]) -> None:
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
        axis.set_major_formatter(FuncFormatter(short))
        return
    getattr(axis.axes, f"set_{name}scale")("log")
    getattr(axis.axes, f"set_{name}lim")(every.min() / 1.25, high * 1.25)
    axis.set_major_locator(LogLocator(10, subs=(1, 2, 5) if high / low < 2000 else (1,), numticks=12))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())
    axis.set_major_formatter(FuncFormatter(short))


def short(value: float, _: int = 0) -> str:
    """A tick's number: thousands separated, no zeros at the end."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:g}"


def scatter(axes: Axes, curve: Curve, colour: str, label: str, width: float = 2.2, alpha: float = 0.45) -> None:
    """A dot for each point."""
    # one path of points without length and round ends: a tenth of the bytes of a marker each
    seen = np.isfinite(curve.y)
    spots = np.repeat(np.column_stack([curve.x[seen], curve.y[seen]]), 2, axis=0)
    codes = np.tile([Path.MOVETO, Path.LINETO], len(spots) // 2)
    if len(spots):
        path = Path(spots, codes)
        axes.add_patch(PathPatch(path, fill=False, edgecolor=colour, linewidth=width, alpha=alpha, capstyle="round"))
        if label:
            axes.plot([], [], "o", color=colour, markersize=4, label=label_text(label))


def time_axis(axes: Axes, time: TimeAxis) -> None:
    """Time below a plot, the warm-up shaded, a line between two rounds."""
    if time.first < time.start:
        axes.axvspan(time.first, time.start, color=COLOURS["shade"], linewidth=0, zorder=0)
    axes.set_xlim(time.first, max(time.end, time.first + 1e-9))
    axes.grid(visible=False, axis="x")
    axes.xaxis.set_major_locator(MaxNLocator(10 if time.rounds else 8, integer=time.rounds))
    axes.xaxis.set_major_formatter(FuncFormatter(short))
    axes.set_xlabel(time.label)
    if time.rounds and time.end - time.first <= 30:
        for at in np.arange(time.first + 1, time.end):
            axes.axvline(at, color=COLOURS["grid"], linewidth=0.8, zorder=0)


def legend(axes: Axes, shown: bool) -> None:
    """The legend above a plot, where there is something to tell apart."""
    handles, labels = axes.get_legend_handles_labels()
    if shown and handles:
        columns, above = across(labels), (-0.01, 0.99)
        axes.legend(handles, labels, loc="lower left", bbox_to_anchor=above, borderpad=0, ncols=columns, columnspacing=1.4)


def across(labels: Sequence[str]) -> int:
    """How many labels of a legend stand beside each other: all, or two where they are many and long."""
    return len(labels) if len("".join(labels)) < _LETTERS else 2
