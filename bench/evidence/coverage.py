"""How often intervals held the truth: the counts of a calibration, and its tables in Markdown."""

import math
from collections.abc import Iterable, Iterator, Sequence


class Tally:
    """Counts, by name, how often an interval was given and how often it held the truth."""

    def __init__(self) -> None:
        self.tried: dict[str, int] = {}
        self.given: dict[str, int] = {}
        self.held: dict[str, int] = {}

    def add(self, name: str, low: float | None, high: float | None, truth: float) -> None:
        """One estimate; without an interval `low` and `high` are None."""
        self.tried[name] = self.tried.get(name, 0) + 1
        if low is not None and high is not None:
            self.given[name] = self.given.get(name, 0) + 1
            self.held[name] = self.held.get(name, 0) + (low <= truth <= high)

    def coverage(self, name: str) -> float:
        """The share of the intervals given that held the truth; NaN where none was."""
        return self.held.get(name, 0) / self.given[name] if self.given.get(name) else math.nan

    def share_given(self, name: str) -> float:
        return self.given.get(name, 0) / self.tried[name]

    def share_wrong(self, name: str) -> float:
        """The share of all estimates that came with an interval that did not hold the truth."""
        return (self.given.get(name, 0) - self.held.get(name, 0)) / self.tried[name]


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """The lines of a table under its title, a row as soon as it is known."""
    yield from ("", f"**{title}**", "", _line(columns), _line(["---"] * len(columns)))
    yield from map(_line, rows)


def percent(share: float) -> str:
    """ "95%"; a dash where there is none."""
    return "–" if math.isnan(share) else f"{share:.0%}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
