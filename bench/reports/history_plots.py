"""The plots of a run against its history: each metric over the runs, its levels, and where they changed."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from bench.analysis.history import History, Metric
from bench.analysis.judging import estimate_of
from bench.reports import compared
from bench.reports.drawing import COLOURS, DASHES, MUTED, canvas, legend, short, svg

Drawn = tuple[str, str, str]  # title, how to read it, SVG

EXPLAINED = "each dot is a run, oldest first, the last the one that is judged; lines are levels, dashed ones where they changed"


def figures(history: History) -> Iterator[Drawn]:
    """A plot of each metric that some run has."""
    for metric in history.metrics:
        values = np.array([np.nan if e is None else e.value for e in map(estimate_of, metric.values)])
        if np.isfinite(values).any():
            yield f"{compared.name(metric.name)}, {metric.unit}", EXPLAINED, _over_runs(metric, values)


def _over_runs(metric: Metric, values: np.ndarray) -> str:
    numbers = np.arange(1, len(values) + 1)
    with canvas() as figure:
        axes = figure.axes[0]
        axes.plot(numbers[:-1], values[:-1], "o", color=COLOURS["first"], markersize=4.5, label="before it")
        axes.plot(numbers[-1:], values[-1:], "o", color=COLOURS["second"], markersize=7, label="this run")
        _levels(axes, metric, len(values))
        axes.set_xlim(0.4, len(values) + 0.6)
        axes.set_ylim(0, 1.15 * float(np.nanmax(values)) or 1.0)
        axes.xaxis.set_major_locator(MaxNLocator(10, integer=True))
        axes.yaxis.set_major_formatter(FuncFormatter(short))
        axes.grid(visible=False, axis="x")
        axes.set_xlabel("run")
        axes.set_ylabel(metric.unit)
        legend(axes, shown=True)
        return svg(figure)


def _levels(axes: Axes, metric: Metric, runs: int) -> None:
    if not metric.shifts:
        if metric.mean is not None:
            axes.hlines(metric.mean.value, 0.5, runs - 0.5, color=COLOURS["first"], linewidth=1)
        return
    edges = [0.5, *(shift.at + 0.5 for shift in metric.shifts), runs + 0.5]
    levels = [metric.shifts[0].before, *(shift.after for shift in metric.shifts)]
    for level, (start, end) in zip(levels, pairwise(edges), strict=True):
        axes.hlines(level.value, start, end, color=COLOURS["first"], linewidth=1)
    for edge in edges[1:-1]:
        axes.axvline(edge, color=MUTED, linewidth=1, linestyle=DASHES)
