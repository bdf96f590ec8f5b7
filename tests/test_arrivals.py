"""Schedules of sends."""

from itertools import islice, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest

from bench.arrivals import Closed, Constant, Gamma, Poisson, Ramp, Rate, Stage, Step, Steps, offsets_ns, parse_rate
from bench.slo import Nanoseconds

RATES = st.floats(0.01, 1e5).map(Rate)


def first(count: int, load: Constant | Poisson | Gamma | Ramp, seed: int = 1) -> np.ndarray:
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


@pytest.mark.parametrize("load", [Poisson(Rate(50)), Gamma(Rate(50), burstiness=0.5)])
def test_each_round_of_an_experiment_has_a_schedule_of_its_own(load: Poisson | Gamma) -> None:
    """The same one wherever it is asked for; round 0 is the schedule of a run that stands alone."""
    made = [tuple(islice(offsets_ns(load, 3, turn=n), 40)) for n in (0, 1, 2, 1)]
    assert made[0] == tuple(islice(offsets_ns(load, 3), 40))
    assert made[1] == made[3]
    assert len(set(made)) == 3


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


@pytest.mark.parametrize("shape", [0.25, 0.5, 1.0, 2.5, 40.0])
def test_the_gaps_of_a_gamma_schedule_have_its_distribution(shape: float) -> None:
    """Kolmogorov and Smirnov find nothing in 20,000 gaps; the mean is 1/rate, the squared variation 1/burstiness."""
    gaps = np.diff(first(20_001, Gamma(rate_hz=Rate(100), burstiness=shape))) / 1e7
    assert kstest(gaps * shape, "gamma", args=(shape,)).pvalue > 0.005
    assert gaps.mean() == pytest.approx(1.0, rel=4 / np.sqrt(20_000 * shape))
    assert gaps.var() == pytest.approx(1 / shape, rel=0.12)


def test_the_gaps_of_a_gamma_schedule_do_not_depend_on_each_other() -> None:
    """The correlation of 20,000 gaps with the next ones is that of chance: below 3 / sqrt(n)."""
    gaps = np.diff(first(20_001, Gamma(rate_hz=Rate(100), burstiness=0.5)))
    assert abs(np.corrcoef(gaps[:-1], gaps[1:])[0, 1]) < 3 / np.sqrt(20_000)


S = 10**9


def ramp(*stages: tuple[float, float], rate: float = 10, gaps: str = "constant") -> Ramp:
    """From `rate` on, each stage (rate, seconds)."""
    made = tuple(Stage(Rate(r), Nanoseconds(round(s * S))) for r, s in stages)
    return Ramp(Rate(rate), made, gaps)  # type: ignore[arg-type]


def test_a_ramp_sends_as_many_as_its_rate_adds_up_to() -> None:
    """10/s for 2 s while it warms up, to 30/s within 4 s, down to 10/s within 2 s, then 10/s: 20, 80, 40, 10 sends."""
    sends = np.array(list(islice(offsets_ns(ramp((30, 4), (10, 2)), 1, 2 * S), 151)))
    edges = np.searchsorted(sends, [2 * S, 6 * S, 8 * S, 9 * S])
    assert list(np.diff([0, *edges])) == [20, 80, 40, 10]
    # by hand: within the first stage 10 t + 2.5 t^2 = 10 after (-10 + sqrt(200)) / 5 s
    assert sends[30] == round((2 + (-10 + 200**0.5) / 5) * S)
    assert sends[150] == 9 * S


def test_a_ramp_that_jumps_is_stages_of_no_length() -> None:
    """From 10/s to 100/s at once, and on for a second: the eleventh send is 10 ms after the tenth."""
    sends = list(islice(offsets_ns(ramp((10, 1), (100, 1e-9), (100, 1)), 1), 13))
    assert sends[9:13] == [900_000_000, 1_000_000_000, 1_010_000_000, 1_020_000_000]


def test_the_counts_of_a_poisson_ramp_are_poisson_about_its_rate() -> None:
    """100 schedules of 200 expected sends in the first half and 400 in the second: means within 3 standard errors."""
    load = ramp((10, 20), (30, 20), rate=10, gaps="poisson")
    counts = [np.diff(np.searchsorted(first(900, load, seed), [0, 20 * S, 40 * S])) for seed in range(100)]
    mean, spread = np.mean(counts, axis=0), np.var(counts, axis=0)
    assert mean == pytest.approx([200, 400], abs=3 * 2)
    assert spread == pytest.approx([200, 400], rel=0.5)


@given(st.lists(st.tuples(st.floats(0.5, 500), st.floats(0.01, 5)), min_size=1, max_size=5), st.integers(0, 2**32))
def test_a_ramp_never_goes_back(stages: list[tuple[float, float]], seed: int) -> None:
    """Whatever its stages, also after the last."""
    sends = first(400, ramp(*stages, gaps="poisson"), seed)
    assert np.all(np.diff(sends) >= 0)


def test_loads_in_parts_last_as_long_as_their_parts() -> None:
    """Users are at most as many as the widest step has."""
    steps = Steps((Step(4, Nanoseconds(2 * S)), Step(9, Nanoseconds(3 * S))))
    assert (steps.connections, steps.duration_ns) == (9, 5 * S)
    assert ramp((30, 4), (10, 2)).duration_ns == 6 * S


def test_the_users_of_steps_are_those_of_the_step_that_is() -> None:
    """The first step's also while it warms up; the last one's also after the end."""
    steps = Steps((Step(4, Nanoseconds(2 * S)), Step(9, Nanoseconds(3 * S))))
    assert [steps.users_at(t) for t in (-S, 0, 2 * S - 1, 2 * S, 5 * S - 1, 5 * S)] == [4, 4, 4, 9, 9, 9]
