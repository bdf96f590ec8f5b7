"""Schedules of sends."""

from itertools import islice, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest

from bench.arrivals import Closed, Constant, Poisson, Rate, offsets_ns, parse_rate

RATES = st.floats(0.01, 1e5).map(Rate)


def first(count: int, load: Constant | Poisson, seed: int = 1) -> np.ndarray:
    return np.array(list(islice(offsets_ns(load, seed), count)))


def test_a_constant_schedule_keeps_its_beat() -> None:
    """20/s is a send every 50 ms from 0 on."""
    assert list(first(4, Constant(rate_hz=Rate(20)))) == [0, 50_000_000, 100_000_000, 150_000_000]


@given(RATES, st.integers(1, 10**6))
def test_a_constant_schedule_never_drifts(rate: Rate, n: int) -> None:
    """The n-th send is within half a nanosecond of n / rate, however many came before: rounding does not add up."""
    gaps = first(200, Constant(rate_hz=rate))
    assert np.max(np.abs(gaps - np.arange(200) * 1e9 / rate)) <= 0.5 + 1e-6 * gaps[-1] / 200


def test_the_gaps_of_a_poisson_schedule_are_exponential() -> None:
    """Kolmogorov and Smirnov find nothing in 20,000 gaps of a fixed seed, and their mean is 1/rate within 3 %."""
    gaps = np.diff(first(20_001, Poisson(rate_hz=Rate(100)))) / 1e7
    assert kstest(gaps, "expon").pvalue > 0.01
    assert gaps.mean() == pytest.approx(1.0, rel=0.03)


def test_the_gaps_of_a_poisson_schedule_do_not_depend_on_each_other() -> None:
    """The correlation of 20,000 gaps with the next ones is that of chance: below 3 / sqrt(n)."""
    gaps = np.diff(first(20_001, Poisson(rate_hz=Rate(100))))
    assert abs(np.corrcoef(gaps[:-1], gaps[1:])[0, 1]) < 3 / np.sqrt(20_000)


@given(RATES, st.integers(0, 2**32 - 1), st.sampled_from([Constant, Poisson]))
def test_a_schedule_never_goes_back_and_starts_at_0_or_later(
    rate: Rate, seed: int, kind: type[Constant] | type[Poisson]
) -> None:
    """Intended sends are whole nanoseconds in the order of time, across the batches they are drawn in."""
    sends = list(islice(offsets_ns(kind(rate_hz=rate), seed), 2100))
    assert sends[0] >= 0
    assert all(isinstance(send, int) for send in sends)
    assert all(a <= b for a, b in pairwise(sends))


@given(RATES, st.integers(0, 2**32 - 1))
def test_the_same_seed_gives_the_same_schedule_and_another_seed_another(rate: Rate, seed: int) -> None:
    """Two sides of a comparison can be sent the same schedule."""
    load = Poisson(rate_hz=rate)
    assert np.array_equal(first(50, load, seed), first(50, load, seed))
    assert not np.array_equal(first(50, load, seed), first(50, load, seed + 1))


def test_a_poisson_schedule_is_the_same_on_every_machine() -> None:
    """The first sends of seed 1 at 1/s, which no version of numpy may move."""
    assert list(first(3, Poisson(rate_hz=Rate(1)))) == [693_510_787, 1_196_617_525, 3_510_110_218]


def test_a_poisson_schedule_scales_with_its_rate() -> None:
    """Ten times the rate sends the same requests in a tenth of the time, to the nanosecond."""
    slow, fast = first(500, Poisson(rate_hz=Rate(10))), first(500, Poisson(rate_hz=Rate(100)))
    assert np.max(np.abs(slow / 10 - fast)) <= 1


def test_every_user_of_a_closed_loop_has_a_connection() -> None:
    """Closed loops have as many connections as users, schedules as many as were asked for."""
    assert (Closed(7).connections, Poisson(rate_hz=Rate(5)).connections, Constant(rate_hz=Rate(5), users=3).connections) == (
        7,
        64,
        3,
    )


def test_a_rate_is_read_from_text() -> None:
    """ "90/min" is 1.5 a second; what is no rate is refused."""
    assert parse_rate("90/min") == Rate(1.5)
    with pytest.raises(ValueError, match="expected a rate such as"):
        parse_rate("fast")
