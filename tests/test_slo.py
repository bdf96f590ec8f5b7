"""Promises to the callers of a model."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.slo import Nanoseconds, Quantile, Share, Slo, parse_quantile, parse_slo, quantile_name


@pytest.mark.parametrize(
    ("text", "quantile"), [("P99", 0.99), ("p99.9", 0.999), ("P50", 0.5), ("p5", 0.05), ("P99.999", 0.99999)]
)
def test_quantiles_are_read_as_people_name_them(text: str, quantile: float) -> None:
    """A capital P or not, with decimals or without."""
    assert parse_quantile(text) == quantile


@given(st.integers(1, 99_999))
def test_the_name_of_a_quantile_reads_back_exactly(thousandths: int) -> None:
    """From P0.001 to P99.999: what is stored in a run's workload is what was promised."""
    quantile = Quantile(round(thousandths / 100_000, 8))
    assert parse_quantile(quantile_name(quantile)) == quantile


@pytest.mark.parametrize("text", ["P0", "P100", "99", "P", "P99%", "P-1", "Q99", "P99.", "", None, 99])
def test_what_is_no_quantile_is_refused(text: object) -> None:
    """The message says what was expected, by example, and what was got."""
    with pytest.raises(ValueError, match=r'expected a quantile such as "P99" or "P99\.9", got ' + re.escape(repr(text))):
        parse_quantile(text)


@pytest.mark.parametrize(
    ("text", "slo"),
    [
        ("p99<250ms", Slo(latency_ns=Nanoseconds(250_000_000))),
        ("P95 <= 1.5s", Slo(latency_ns=Nanoseconds(1_500_000_000), quantile=Quantile(0.95))),
        ("p99.9<2s,errors<0.1%", Slo(latency_ns=Nanoseconds(2 * 10**9), quantile=Quantile(0.999), error_rate=Share(0.001))),
        ("errors<5%", Slo(error_rate=Share(0.05))),
        ("ttft<1s", Slo(ttft_ns=Nanoseconds(10**9))),
        (
            "p90<2s,ttft<1s,tpot<=200ms,itl<0.5s,errors<1%",
            Slo(
                Nanoseconds(2 * 10**9),
                Quantile(0.9),
                Share(0.01),
                Nanoseconds(10**9),
                Nanoseconds(200_000_000),
                Nanoseconds(500_000_000),
            ),
        ),
    ],
)
def test_promises_are_read_from_the_command_line(text: str, slo: Slo) -> None:
    """Latency, errors or both; what is not said keeps its default."""
    assert parse_slo(text) == slo


@pytest.mark.parametrize(
    "text",
    [
        "p99",
        "250ms",
        "",
        "p99>250ms",
        "p99<250ms,",
        "<250ms",
        "p99<fast",
        "errors<2",
        "latency<5ms",
        "ttft>1s",
        "ttft<1s,ttft<2s",
        "p99<1s,p90<1s",
    ],
)
def test_what_is_no_promise_is_refused(text: str) -> None:
    """A ValueError says what was expected; nothing is guessed."""
    with pytest.raises(ValueError, match=r"expected (an SLO|a duration|a share|a quantile)"):
        parse_slo(text)


def test_what_only_streams_have_cannot_be_promised_of_other_replies() -> None:
    """An image has no first token; a latency has everything."""
    assert parse_slo("p99<1s,tpot<1ms").problem(generates=False) == (
        "tpot: only a workload that generates ([payload.generate]) has one"
    )
    assert parse_slo("p99<1s,tpot<1ms").problem(generates=True) is None
    assert parse_slo("p99<1s").problem(generates=False) is None
