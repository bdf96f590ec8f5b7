"""Rounding, units and wording."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.analysis.estimate import Estimate, QuantileClaim
from bench.reports import tables

FINITE = st.floats(1e-6, 1e12)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (203.4, "203"),
        (12.345, "12.3"),
        (1234.5, "1,230"),
        (0.0621, "0.062"),
        (0.0004, "<0.001"),
        (0.0, "0"),
        (-0.0004, "0.000"),
        (float("nan"), "n/a"),
        (float("inf"), "n/a"),
        (None, "n/a"),
    ],
)
def test_a_number_has_three_significant_figures_and_nothing_below_a_thousandth(value: float | None, text: str) -> None:
    """One rule for every number, so that the same value never reads differently in two places."""
    assert tables.number(value) == text


@given(FINITE)
def test_rounding_never_moves_a_number_by_more_than_half_a_percent(value: float) -> None:
    """What is printed is what was measured, to three figures or to a thousandth."""
    text = tables.number(value)
    if not text.startswith("<"):
        assert math.isclose(float(text.replace(",", "")), value, rel_tol=0.0051, abs_tol=0.00051)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (203.4, "ms", "203 ms"),
        (1.21e9, "bytes", "1.21 GB"),
        (999.0, "bytes", "999 B"),
        (87.34, "%", "87.3%"),
        (27.1, "req/s", "27.1/s"),
        (75.0, "W", "75.0 W"),
        (12.0, "", "12.0"),
        (12.0, "furlong", "12.0 furlong"),
        (None, "ms", "n/a"),
    ],
)
def test_an_amount_carries_its_unit(value: float | None, unit: str, text: str) -> None:
    """A unit nobody thought of is printed as it is, and nothing is made of no number."""
    assert tables.amount(value, unit) == text


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        (Estimate(203.4, 197.2, 211.4, "ms"), "203 [197, 211] ms"),
        (Estimate(203.4, None, None, "ms"), "203 ms"),
        (Estimate(1234.0, 1228.0, 1240.0, "ms"), "1.234 [1.228, 1.240] s"),
        (Estimate(1234.0, 1228.0, 1240.0, "req/s"), "1,234 [1,228, 1,240]/s"),
        (Estimate(203.4, 202.9, 203.8, "ms"), "203.4 [202.9, 203.8] ms"),
        (Estimate(1.21e9, 1.1e9, 1.3e9, "bytes"), "1.21 [1.10, 1.30] GB"),
        (Estimate(5.0, 5.0, 5.0, "ms"), "5.00 [5.00, 5.00] ms"),
        (Estimate(float("nan"), None, None, "ms"), "n/a"),
        (None, "n/a"),
    ],
)
def test_an_estimate_shows_as_many_digits_as_its_interval_needs(estimate: Estimate | None, text: str) -> None:
    """An interval that rounding hides would look like certainty."""
    assert tables.estimate(estimate) == text


def test_a_quantile_without_a_claim_says_what_it_takes() -> None:
    """A P99 of too few requests is never printed as a number."""
    assert tables.claim(QuantileClaim(0.99, None, 459, 100)) == "n/a (needs 459 requests, has 100)"
    assert tables.claim(QuantileClaim(0.99, Estimate(203.0, 197.0, 211.0, "ms"), None, 700)) == "203 [197, 211] ms"
    assert tables.point(QuantileClaim(0.99, None, 459, 100)) == tables.claim(None) == "n/a"


@pytest.mark.parametrize(
    ("ratio", "better", "text", "tone"),
    [
        ((1 / 3.1, 1 / 3.3, 1 / 2.9), "lower", "3.1x lower [2.9, 3.3]", "better"),
        ((2.4, 2.3, 2.5), "higher", "2.4x higher [2.3, 2.5]", "better"),
        ((2.4, 2.3, 2.5), "lower", "2.4x higher [2.3, 2.5]", "worse"),
        ((2.4, 2.3, 2.5), None, "2.4x higher [2.3, 2.5]", ""),
        ((1.05, 1.03, 1.07), "lower", "5.0% higher [3.0, 7.0]", "worse"),
        ((12.3, 11.9, 12.7), "higher", "12x higher [12, 13]", "better"),
        ((2.414, 2.411, 2.417), "higher", "2.41x higher [2.41, 2.42]", "better"),
        ((1 / 1.4, 1 / 2.0, 1 / 1.02), "lower", "1.40x lower [1.02, 2.00]", "better"),
        ((1.05, 1.0004, 1.1), "lower", "5.00% higher [0.04, 10.00]", "worse"),
        ((1.02, 0.97, 1.07), "lower", "no change shown [0.97x, 1.07x]", "muted"),
        ((0.5, 0.0, 0.9), "lower", "2.0x lower [1.1, ∞]", "better"),
        ((2.4, None, None), "lower", "2.4x higher (no interval)", "muted"),
        ((1.0, None, None), None, "the same", "muted"),
        ((0.0, None, None), "lower", "–", "muted"),
        ((float("nan"), 1.0, 2.0), "lower", "–", "muted"),
    ],
)
def test_a_ratio_is_said_in_words(
    ratio: tuple[float, float | None, float | None], better: tables.Better, text: str, tone: str
) -> None:
    """Which way, how much and how surely; nobody has to invert a ratio in the head."""
    assert tables.change(Estimate(*ratio, "x"), better) == tables.Cell(text, tone)  # type: ignore[arg-type]


@given(st.floats(0.01, 100), st.floats(1.0001, 3))
def test_a_change_is_claimed_exactly_when_its_interval_leaves_out_one(value: float, spread: float) -> None:
    """An interval that holds 1 shows no change, and any other says the direction of the value."""
    text = tables.change(Estimate(value, value / spread, value * spread, "x")).text
    if value / spread <= 1 <= value * spread:
        assert text.startswith("no change shown")
    else:
        assert ("lower" if value < 1 else "higher") in text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0%"), (0.01, "1%"), (0.00137, "0.14%"), (0.5, "50%"), (1.0, "100%"), (1e-7, "<0.001%"), (None, "n/a")],
)
def test_a_share_is_in_percent(value: float | None, text: str) -> None:
    """An error that happened is never rounded to none."""
    assert tables.share(value) == text


@given(st.text())
def test_plain_text_is_one_line_without_control_characters(text: str) -> None:
    """A name can neither break a table nor drive a terminal."""
    assert tables.plain(text).isprintable()
    if text.isprintable():
        assert tables.plain(text) == text.strip()
