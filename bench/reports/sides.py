"""The sides of a comparison as reports have them: their runs, and what of them decides what is shown."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice

from bench.analysis.summary import Summary, summarize
from bench.record import Run
from bench.reports import run_page, tables


@dataclass(frozen=True, slots=True)
class Side:
    """One side: its runs, a round each, and what they come to."""

    name: str
    runs: tuple[Run, ...]
    summaries: tuple[Summary, ...]


Sides = tuple[Side, ...]


def side(name: str, runs: Sequence[Run]) -> Side:
    """The side `name` of these rounds."""
    return Side(name, tuple(runs), tuple(summarize(run) for run in runs))


def streamed(sides: Sides) -> bool:
    """Whether a side's replies were streamed."""
    return any(s.streaming is not None for one in sides for s in one.summaries)


def has_gpu(sides: Sides) -> bool:
    """Whether a GPU's utilization was sampled on a side."""
    return any(run_page.has_gpu(s.resources) for one in sides for s in one.summaries)


def claimable_everywhere(sides: Sides) -> float | None:
    """The highest quantile that every round of all sides may claim; None where there is none."""
    rounds = [{c.quantile for c in s.latency.quantiles if c.estimate is not None} for one in sides for s in one.summaries]
    common = set.intersection(*rounds) if rounds else set()
    return max((q for q in common if q > 0.5), default=None)


def columns(sides: Sides) -> tuple[str, ...]:
    """Which of `tables.SIDES` each side is."""
    return tuple(islice(cycle(tables.SIDES), len(sides)))
