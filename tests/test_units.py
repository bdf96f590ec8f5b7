"""Quantities as people write them."""

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import units

DURATIONS = [
    ("250ms", 250_000_000),
    ("1.5 s", 1_500_000_000),
    (" 2min ", 120 * 10**9),
    ("1h", 3600 * 10**9),
    ("3us", 3000),
    ("3µs", 3000),
]


@pytest.mark.parametrize(("text", "ns"), [*DURATIONS, ("0ns", 0), ("0.1ms", 100_000), ("1.0000000001s", 10**9)])
def test_durations_are_read_in_nanoseconds(text: str, ns: int) -> None:
    """Every unit, with and without a blank, and to the nearest nanosecond."""
    assert units.duration_ns(text) == ns


@pytest.mark.parametrize(
    ("text", "size"), [("602 kB", 602_000), ("64MiB", 2**26), ("1.5GB", 1_500_000_000), ("7 B", 7), ("1 KB", 1000)]
)
def test_sizes_are_read_in_bytes(text: str, size: int) -> None:
    """Decimal and binary units keep apart."""
    assert units.size_bytes(text) == size


@pytest.mark.parametrize(("text", "rate"), [("20/s", 20.0), ("90 / min", 1.5), ("3600/h", 1.0), ("0.5/s", 0.5)])
def test_rates_are_read_in_events_a_second(text: str, rate: float) -> None:
    """Per second, minute and hour."""
    assert units.rate_hz(text) == rate


@pytest.mark.parametrize(
    ("text", "value"), [("1%", 0.01), ("0.1 %", 0.001), (0.01, 0.01), ("0.25", 0.25), (0, 0.0), (1, 1.0), ("100%", 1.0)]
)
def test_shares_are_read_as_parts_of_one(text: object, value: float) -> None:
    """As percent, as text and as a number."""
    assert units.share(text) == value


@given(st.integers(0, 2**62))
def test_a_duration_is_written_so_that_it_reads_back_exactly(ns: int) -> None:
    """What is stored in a run's workload loses no nanosecond."""
    assert units.duration_ns(units.format_exact_duration(ns)) == ns


@given(st.integers(0, 2**62))
def test_a_size_is_written_so_that_it_reads_back_exactly(size: int) -> None:
    """What is stored in a run's workload loses no byte."""
    assert units.size_bytes(units.format_exact_size(size)) == size


@pytest.mark.parametrize(
    ("ns", "text"), [(90 * 10**9, "90s"), (120 * 10**9, "2min"), (1_500_000, "1500us"), (7, "7ns"), (0, "0ns")]
)
def test_a_duration_is_written_in_the_largest_unit_that_keeps_it_whole(ns: int, text: str) -> None:
    """People read "2min", not a row of zeros."""
    assert units.format_exact_duration(ns) == text


def test_a_size_is_written_in_the_largest_unit_that_keeps_it_whole() -> None:
    """602,000 bytes are "602 kB", 602,112 are not."""
    assert [units.format_exact_size(n) for n in (602_000, 602_112, 5 * 10**9, 0)] == ["602 kB", "602112 B", "5 GB", "0 B"]


BAD = ["", "ms", "5", "5 parsecs", "-5ms", "1e3ms", "5 ms ms", "1,5ms", ".5ms", "5.ms", None, 5, True, ["5ms"]]


@pytest.mark.parametrize("text", BAD)
@pytest.mark.parametrize(
    ("read", "expected"),
    [(units.duration_ns, "a duration such as"), (units.size_bytes, "a size such as"), (units.rate_hz, "a rate such as")],
)
def test_what_is_no_quantity_is_refused_with_what_was_expected(
    read: Callable[[object], object], expected: str, text: object
) -> None:
    """The message says what was expected, by example, and what was got."""
    with pytest.raises(ValueError, match=re.escape(expected)) as refused:
        read(text)
    assert str(refused.value).endswith(f"got {text!r}")


@pytest.mark.parametrize("text", ["0/s", "20/d", "/s", "20/", "20 per s", "-1/s", "20/s/s"])
def test_a_rate_of_nothing_or_per_something_else_is_refused(text: str) -> None:
    """A rate is above 0 and per second, minute or hour."""
    with pytest.raises(ValueError, match=re.escape(f"got {text!r}")):
        units.rate_hz(text)


@pytest.mark.parametrize("text", ["101%", 1.01, -0.01, "one", True, None, "1 %%"])
def test_a_share_outside_0_and_1_is_refused(text: object) -> None:
    """More than everything and less than nothing are no shares; True is no number."""
    with pytest.raises(ValueError, match=re.escape(f"got {text!r}")):
        units.share(text)


@given(st.text())
def test_any_text_gives_a_quantity_or_one_refusal(text: str) -> None:
    """No text makes anything but a ValueError that says what was expected."""
    for read in (units.duration_ns, units.size_bytes, units.rate_hz, units.share):
        try:
            assert read(text) >= 0
        except ValueError as error:
            refused = str(error)
        else:
            refused = "expected nothing else"
        assert refused.startswith("expected ")
