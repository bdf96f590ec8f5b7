"""Numbers with their units as text, and the cells, tables and pages every report is made of: the one place that rounds."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from bench.analysis.judging import estimate_of
from bench.analysis.summary import Estimate, QuantileClaim
from bench.slo import quantile_name

NONE = "n/a"

# "better" and "worse" colour a change, "bad" an error, "muted" what is secondary, "code" what is typed
Tone = Literal["", "better", "worse", "bad", "muted", "code"]
Better = Literal["lower", "higher"] | None
Word = Literal["VALID", "INVALID", "BETTER", "WORSE", "SAME", "UNKNOWN"]

_SUFFIX = {
    "ms": " ms", "req/s": "/s", "tok/s": " tokens/s", "%": "%", "x": "x", "W": " W", "C": " °C", "MHz": " MHz", "s": " s",
}  # fmt: skip
_SIZES = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3))
_SECONDS = 1000  # ms from which on a time is told in seconds

# the class of each side's columns, in the style sheet and among the colours of the plots; more sides begin again
SIDES = ("first", "second", "third", "fourth", "fifth", "sixth")


class Cell(NamedTuple):
    """One cell of a table; `tone` says how it may be set off, never what it says. A line break is one in a terminal only."""

    text: str
    tone: Tone = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells under column titles; the first column names the row."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    sides: tuple[str, ...] = ()  # which of SIDES each column belongs to, or ""; none where there are no sides


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether one run, or one side of a comparison, may be believed, or how it does against another; and if not well, why."""

    name: str
    word: Word
    summary: str  # what was run, or found, in one line
    reasons: tuple[str, ...]

    @property
    def tone(self) -> Tone:
        """How the word is set off."""
        return {"INVALID": "worse", "WORSE": "worse", "UNKNOWN": "muted"}.get(self.word, "better")  # type: ignore[return-value]


@dataclass(frozen=True, slots=True)
class Page:
    """All the words and numbers of one report in the order of reading; the first tables lead."""

    title: str
    verdicts: tuple[Verdict, ...]
    lead: str
    tables: tuple[Table, ...]
    warnings: tuple[str, ...]
    leading: int = 1  # of the tables


def plain(value: object) -> str:
    """Any text on one line, without control characters: names come from users and servers."""
    return "".join(c if c.isprintable() else " " for c in str(value)).strip()


def cell(value: object, tone: Tone = "") -> Cell:
    """A cell of text that came from elsewhere."""
    return Cell(plain(value), tone)


def number(value: float | None, decimals: int | None = None) -> str:
    """Three significant figures with thousands separated; `decimals` (may be negative) overrides how many are kept."""
    if value is None or not math.isfinite(value):
        return NONE
    keep = _decimals(value) if decimals is None else decimals
    smallest = 10.0**-keep
    if keep > 0 and 0 < value < smallest / 2:
        return f"<{smallest:.{keep}f}"
    return f"{round(value, keep) + 0.0:,.{max(keep, 0)}f}"


def amount(value: float | None, unit: str, like: float | None = None) -> str:
    """ "203 ms", "1.21 GB", "87.3%"; "n/a" where there is no number. The unit is scaled as it suits `like`, else the value."""
    if value is None or not math.isfinite(value):
        return NONE
    scale, suffix = _scale(value if like is None else like, unit)
    return number(value / scale) + suffix


def estimate(e: Estimate | None, like: float | None = None) -> str:
    """ "203 [197, 211] ms", with as many digits as it takes to see the interval; "203 ms" without one."""
    if e is None or not math.isfinite(e.value):
        return NONE
    value, interval, suffix = _parts(e, like)
    return f"{value} {interval}{suffix}" if interval else value + suffix


def stacked(value: Estimate | QuantileClaim | None, like: float | None = None) -> str:
    """The same in two lines: "203 ms", and below it "[197, 211]"; only "n/a" where it may not be claimed."""
    e = estimate_of(value)
    if e is None or not math.isfinite(e.value):
        return NONE
    shown, interval, suffix = _parts(e, like)
    return f"{shown}{suffix}\n{interval}" if interval else shown + suffix


def _parts(e: Estimate, like: float | None) -> tuple[str, str, str]:
    """The value, its interval in brackets where it has one, and the unit after both."""
    scale, suffix = _scale(e.value if like is None else like, e.unit)
    if e.low is None or e.high is None:
        return number(e.value / scale), "", suffix
    value, low, high = e.value / scale, e.low / scale, e.high / scale
    keep = _decimals_of_interval(value, low, high)
    return number(value, keep), f"[{number(low, keep)}, {number(high, keep)}]", suffix


def largest(values: Iterable[Estimate | QuantileClaim | None]) -> float | None:
    """The largest of some values, to scale them alike by."""
    return max((e.value for e in map(estimate_of, values) if e is not None and math.isfinite(e.value)), default=None)


def claim(c: QuantileClaim | None, like: float | None = None) -> str:
    """The quantile with its interval, or what it takes to claim it: "n/a (needs 459 requests, has 100)"."""
    if c is None:
        return NONE
    if c.estimate is None and c.needs is not None:
        return f"{NONE} (needs {c.needs:,} requests, has {c.has:,})"
    return estimate(c.estimate, like)


def measure(value: Estimate | QuantileClaim | None, like: float | None = None) -> str:
    """An estimate or a claim as text, with its interval."""
    return claim(value, like) if isinstance(value, QuantileClaim) else estimate(value, like)


def point(value: Estimate | QuantileClaim | None) -> str:
    """The same without its interval."""
    e = estimate_of(value)
    return NONE if e is None else amount(e.value, e.unit)


def pointed(value: Estimate | QuantileClaim | None, like: float | None = None) -> str:
    """A value without its interval, scaled as it suits `like`."""
    e = estimate_of(value)
    return NONE if e is None else amount(e.value, e.unit, like)


def change(ratio: Estimate | None, better: Better = None) -> Cell:
    """What `ratio` = new / base says in words: "3.1x lower [2.9, 3.3]", "5% higher [3, 7]", or that it shows no change."""
    if ratio is not None and ratio.unit == "share" and ratio.value:
        shown = ratio.low is not None and ratio.high is not None and not ratio.low <= 0 <= ratio.high
        return Cell(
            difference(ratio), "muted" if not shown else "better" if (ratio.value < 0) == (better == "lower") else "worse"
        )
    if ratio is None or not math.isfinite(ratio.value) or ratio.value <= 0:
        return Cell("–", "muted")
    if ratio.low is None or ratio.high is None:
        return Cell("the same" if ratio.value == 1 else f"{_times(ratio.value)} (no interval)", "muted")
    if ratio.low <= 1 <= ratio.high:
        return Cell(f"no change shown [{ratio.low:.2f}x, {ratio.high:.2f}x]", "muted")
    small = _small(ratio.value)
    least, most = sorted(_change(end, small) for end in (ratio.low, ratio.high))
    keep = _change_decimals(_change(ratio.value, small), least, most, 0.0 if small else 1.0)
    tone: Tone = "" if better is None else "better" if (better == "lower") == (ratio.value < 1) else "worse"
    return Cell(f"{_times(ratio.value, keep)} [{_end(least, keep)}, {_end(most, keep)}]", tone)


def difference(change: Estimate | None) -> str:
    """ "+5.2% [3.1, 7.4]"; "3.1x [2.9, 3.3]" from a factor of two on; of shares of all requests in percentage points."""
    if change is None or not math.isfinite(change.value):
        return "–"
    if change.unit == "share":
        value, low, high = (None if v is None else 100 * v for v in (change.value, change.low, change.high))
        unit = " pp"
    elif 0.5 < change.value < 2:
        value, low, high = (None if v is None else 100 * (v - 1) for v in (change.value, change.low, change.high))
        unit = "%"
    else:
        value, low, high = change.value, change.low, change.high
        return f"{value:.3g}x" + ("" if low is None or high is None else f" [{low:.3g}, {high:.3g}]")
    assert value is not None
    if low is None or high is None:
        return f"{_signed(value, 1)}{unit}"
    keep = 1 if high - low >= 1 else 2
    return f"{_signed(value, keep)}{unit} [{_signed(low, keep)}, {_signed(high, keep)}]"


def _signed(value: float, decimals: int) -> str:
    text = f"{value:+,.{decimals}f}"
    return text.replace("-", "−") if float(text.replace(",", "")) else f"{0:.{decimals}f}"


def change_in_short(ratio: Estimate | None) -> str:
    """The same without the interval."""
    return change(ratio).text.partition(" [")[0]


def share(value: float | None) -> str:
    """A share of one in percent, two significant figures: "0.14%"; 0 is "0%"."""
    if value is None or not math.isfinite(value):
        return NONE
    percent = 100 * value
    if percent == 0:
        return "0%"
    return "<0.001%" if 0 < percent < 0.001 else f"{round(percent, max(1 - math.floor(math.log10(abs(percent))), 0)):g}%"


def count(n: int) -> str:
    """ "1,234"."""
    return f"{n:,}"


def counted(n: int, noun: str) -> str:
    """ "1 request", "2 requests"."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def quantile(q: float) -> str:
    """ "P99"; the name people say."""
    return "median (P50)" if q == 0.5 else quantile_name(q)


def _decimals(value: float) -> int:
    """Decimals that leave three significant figures, but nothing finer than a thousandth: a microsecond, in ms."""
    if value == 0:
        return 0
    return min(2 - math.floor(math.log10(abs(value))), 3)


def _decimals_of_interval(value: float, low: float, high: float) -> int:
    half = (high - low) / 2
    needed = -math.floor(math.log10(half)) if half > 0 and math.isfinite(half) else -99
    return min(max(_decimals(value), needed), 3)


def _scale(value: float, unit: str) -> tuple[float, str]:
    if unit == "ms" and abs(value) >= _SECONDS:
        return 1000.0, " s"
    if unit in ("bytes", "B"):
        return next(((size, f" {name}") for name, size in _SIZES if abs(value) >= size), (1.0, " B"))
    return 1.0, _SUFFIX.get(unit, f" {unit}" if unit else "")


def _small(ratio: float) -> bool:
    """Whether a change reads better in percent than in times."""
    return 1 / 1.2 < ratio < 1.2


def _change(ratio: float, small: bool) -> float:
    """How far a ratio is from 1, in whichever direction: in percent, or as a factor: 4 of a quarter as of 4."""
    if small:
        return abs(100 * (ratio - 1))
    if ratio <= 0:
        return math.inf
    return ratio if ratio >= 1 else 1 / ratio


def _change_decimals(value: float, least: float, most: float, nothing: float) -> int:
    """Two figures, or as many as keep the ends of the interval apart, and the lesser apart from `nothing`, no change at all."""
    keep = min(max(1 - math.floor(math.log10(value)), 0), 2) if value > 0 else 0
    while keep < 3 and (round(least, keep) <= nothing < least or (least < most and round(least, keep) == round(most, keep))):
        keep += 1
    return keep


def _end(value: float, decimals: int) -> str:
    return f"{value:,.{decimals}f}" if math.isfinite(value) else "∞"


def _times(ratio: float, decimals: int | None = None) -> str:
    small = _small(ratio)
    value = _change(ratio, small)
    keep = _change_decimals(value, value, value, 0.0) if decimals is None else decimals
    return f"{_end(value, keep)}{'%' if small else 'x'} {'lower' if ratio < 1 else 'higher'}"
