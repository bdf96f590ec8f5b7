"""How often a run is judged rightly by its history, and a change of level seen, on simulated series; printed as Markdown.

python -m bench.evidence.history [--replications 2000] [--output FILE]
"""

import argparse
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from bench.analysis.history import ERROR, against
from bench.analysis.levels import level_starts
from bench.analysis.verdicts import verdict
from bench.evidence import page

RUNS = 20  # of a history
GATED = 3
FALSE, FOUND = 0.05, 0.95  # what is held: at most, at least
_BEFORE = 50  # values of a series that are thrown away, until it is stationary
_RATES = ("runs scatter by", "autocorrelation", "change")


class Series(NamedTuple):
    """Values of runs one after the other: lognormal, each depending on the one before, then all higher by a share."""

    scatter: float  # standard deviation of the logarithms
    autocorrelation: float
    change: float

    def draw(self, rng: np.random.Generator, count: int, at: int) -> np.ndarray:
        """float [count], those from position `at` on changed."""
        noise, values = rng.standard_normal(_BEFORE + count), np.zeros(_BEFORE + count)
        for n in range(1, len(noise)):
            values[n] = self.autocorrelation * values[n - 1] + math.sqrt(1 - self.autocorrelation**2) * noise[n]
        made = np.exp(self.scatter * values[_BEFORE:])
        made[at:] *= 1 + self.change
        return made

    def cells(self) -> tuple[str, ...]:
        change = f"{self.change:.0%}" if self.change else "none"
        return f"{100 * self.scatter:.2g}%", f"{self.autocorrelation:g}", change


SCATTER = (0.01, 0.026, 0.07)
QUIET = [Series(scatter, rho, 0.0) for scatter in SCATTER for rho in (0.0, 0.3)]
CHANGED = [Series(scatter, rho, change) for scatter in SCATTER for rho in (0.0, 0.3) for change in (0.1, 0.2)]


def judged(series: Series, delta: float, replications: int, seed: int = 1) -> dict[str, float]:
    """The share of each verdict on a run after 20 others, changed as the series says."""
    rng = np.random.default_rng(seed)
    effects = (against(series.draw(rng, RUNS + 1, RUNS), ERROR / GATED) for _ in range(replications))
    found = [verdict(effect, delta, "lower") for effect in effects]
    return {word: found.count(word) / replications for word in ("WORSE", "BETTER", "SAME", "UNKNOWN")}


def seen(series: Series, replications: int, seed: int = 1) -> tuple[float, float]:
    """The shares of series, changed in the middle, in which a change is seen, and in which just one, within a run of it."""
    rng, middle = np.random.default_rng(seed), RUNS // 2
    found = [level_starts(np.log(series.draw(rng, RUNS, middle)))[1:] for _ in range(replications)]
    near = [starts for starts in found if len(starts) == 1 and abs(starts[0] - middle) <= 1]
    return sum(map(bool, found)) / replications, len(near) / replications


def report(replications: int, held: list[bool]) -> Iterator[str]:
    """The lines of the page; whether what is asked was held goes to `held`."""
    yield from page.heading("How often a history is read rightly", "make verify-history")
    yield from page.prose(
        f"Series of lognormal values, one a run, {replications:,} of each row. An autocorrelation of 0.3 is that of a run with "
        "the next: machines have moods. `bench compare --against-history` judges by the first table and points by the second."
    )
    yield from (f"**A run after {RUNS} others, as one of {GATED} metrics with a verdict**", "")
    columns = (*_RATES, "δ", "WORSE", "BETTER", "SAME", "UNKNOWN")
    yield from page.table(columns, _judged_rows(replications))
    yield from ("", f"**A series of {RUNS} runs, changed in the middle**", "")
    yield from page.table((*_RATES, "a change seen", "just one, within a run of it", "held"), _seen_rows(replications, held))
    yield ""
    yield from page.prose(
        f"Held: a change is seen in at most {FALSE:.0%} of series without one, and in at least {FOUND:.0%} of those "
        "with one of 10% whose runs scatter by 2.6% or less."
    )


def _judged_rows(replications: int) -> Iterator[Sequence[str]]:
    for series in (*QUIET, *CHANGED):
        delta = 0.05 if series.scatter < 0.05 else 0.1
        rates = judged(series, delta, replications)
        yield *series.cells(), f"{delta:.0%}", *(_percent(rate) for rate in rates.values())


def _seen_rows(replications: int, held: list[bool]) -> Iterator[Sequence[str]]:
    for series in (*QUIET, *CHANGED):
        any_, near = seen(series, replications)
        asked = not series.change or (series.change == 0.1 and series.scatter <= 0.026)
        good = any_ >= FOUND if series.change else any_ <= FALSE
        if asked:
            held.append(good)
        yield *series.cells(), _percent(any_), _percent(near) if series.change else "", page.verdict(good) if asked else ""


def make(options: argparse.Namespace, say: Callable[[str], None]) -> tuple[Iterable[str], bool]:
    """The page, and whether what is asked was held."""
    held: list[bool] = []
    lines = list(report(options.replications, held))
    return lines, all(held)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the page; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.evidence.history", description=__doc__)
    parser.add_argument("--replications", type=int, default=2000, help="series of each row (default: 2000)")
    return page.main(parser, make, arguments)


def _percent(share: float) -> str:
    return f"{share:.1%}"


if __name__ == "__main__":
    sys.exit(main())
