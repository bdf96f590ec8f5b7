"""Intervals from rounds and blocks."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import lfilter
from scipy.stats import beta, binomtest

from bench.analysis import stats

T2 = 4.302652729911275  # Student's factor for two degrees of freedom

ROUNDS = st.integers(0, 2**32 - 1).map(
    lambda seed: list(np.random.default_rng(seed).gamma(3.0, 1e6, (6, 120)).astype(np.int64))
)


def autoregressive(phi: float, count: int) -> np.ndarray:
    """A series whose integrated autocorrelation time is (1 + phi) / (1 - phi)."""
    noise = np.random.default_rng(7).standard_normal(count)
    return np.asarray(lfilter([1.0], [1.0, -phi], noise))


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.9])
def test_the_dependence_of_an_autoregressive_series_is_what_theory_says(phi: float) -> None:
    """The integrated autocorrelation time of AR(1) is (1 + phi) / (1 - phi); found within 10 % in 100,000 values."""
    assert stats.dependence(autoregressive(phi, 100_000)) == pytest.approx((1 + phi) / (1 - phi), rel=0.1)


def test_the_dependence_of_a_long_run_is_seen_on_means_of_neighbours() -> None:
    """A run longer than the transform has points gives the same time, here 199, within 15 %."""
    assert stats.dependence(autoregressive(0.99, 1_000_000)) == pytest.approx(199, rel=0.15)


def test_values_that_never_change_are_taken_for_independent() -> None:
    """A constant series has no correlation to speak of and does not divide by zero."""
    assert stats.dependence(np.full(100, 5)) == 1.0


def test_a_run_is_cut_into_blocks_that_hold_all_its_values_in_order() -> None:
    """No value is lost or moved, and there are as many blocks as allowed where the values are independent."""
    values = np.random.default_rng(1).integers(0, 1000, 1003)
    blocks = stats.blocks(values)
    assert blocks is not None
    assert len(blocks) == stats.MAX_BLOCKS
    assert np.array_equal(np.concatenate(blocks), values)


def test_a_run_that_is_short_for_its_dependence_has_no_blocks() -> None:
    """Times of 19 make blocks of 190 and more: 1,000 values give fewer than 8 of them."""
    assert stats.blocks(autoregressive(0.9, 1000)) is None
    assert stats.blocks(autoregressive(0.9, 10_000)) is not None
    assert stats.blocks(np.empty(0)) is None


def test_two_rounds_give_nothing_to_take_the_scatter_between() -> None:
    """Three rounds are the least; a single round is cut into blocks."""
    rounds = list(np.random.default_rng(1).integers(0, 9, (3, 400)))
    assert stats.groups_of(rounds) is rounds
    assert stats.groups_of(rounds[:2]) is None
    assert len(stats.groups_of(rounds[:1]) or ()) == stats.MAX_BLOCKS


def test_the_interval_of_a_mean_is_students_between_rounds() -> None:
    """Rounds of means 9, 10 and 11: errors of -10, 0 and 10 %, standard error 10 % / sqrt(3), two degrees of freedom."""
    interval = stats.ratio_interval(np.array([90.0, 100.0, 110.0]), np.array([10.0, 10.0, 10.0]))
    half = T2 * 0.1 / math.sqrt(3)
    assert interval == pytest.approx((10 * math.exp(-half), 10 * math.exp(half)))


def test_a_ratio_of_nothing_has_no_interval() -> None:
    """No error in 300 requests does not show that there are none: 0 is given without an interval."""
    assert stats.ratio_interval(np.zeros(3), np.full(3, 100.0)) is None


def test_rounds_that_agree_give_the_exact_limits_of_clopper_and_pearson() -> None:
    """Twenty rounds of 0 to 49 each are as good as 1,000 independent requests, whose exact limits scipy knows."""
    groups = [np.arange(50) for _ in range(20)]
    exact = binomtest(900, 1000).proportion_ci(0.95, "exact")
    expected = (math.ceil(1000 * exact.low) - 1) // 20, (math.ceil(1000 * exact.high) - 1) // 20
    assert stats.quantile_interval(groups, np.sort(np.concatenate(groups)), 0.9) == expected == (43, 45)


def test_rounds_that_disagree_are_worth_fewer_requests() -> None:
    """Of 3 x 100 requests 40, 50 and 60 lie above the median: four times binomial, times (Student's 4.30 / 1.96)^2."""
    low, high = np.arange(150), np.arange(150, 300)
    groups = [np.concatenate(parts) for parts in zip(np.split(low, [60, 110]), np.split(high, [40, 90]), strict=True)]
    independent = 300 / (4 * (T2 / 1.959964) ** 2)
    limits = beta.ppf([0.025, 0.975], independent / 2 + np.array([0, 1]), independent / 2 + np.array([1, 0]))
    assert stats.quantile_interval(groups, np.arange(300), 0.5) == tuple(np.ceil(300 * limits) - 1)


def test_rounds_that_disagree_below_a_high_quantile_widen_its_interval() -> None:
    """Ten requests of each round lie above the P90; that those above the P80 are in five rounds says that this is chance."""
    rest, upper, top = np.split(np.arange(1000), [800, 900])
    alike = [np.arange(n, 1000, 10) for n in range(10)]
    parts = np.split(rest, np.cumsum([70] * 5 + [90] * 4))
    uppers = [*np.split(upper, 5), *[upper[:0]] * 5]
    unlike = [np.concatenate([parts[n], uppers[n], top[n::10]]) for n in range(10)]
    narrow, wide = (stats.quantile_interval(groups, np.arange(1000), 0.9) for groups in (alike, unlike))
    assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)


def test_rounds_that_disagree_widen_the_interval() -> None:
    """The same 720 latencies, sorted into rounds, are worth less than shuffled into rounds."""
    ordered = np.sort(np.random.default_rng(3).gamma(3.0, 1e6, 720))
    alike, unlike = np.split(np.random.default_rng(3).permutation(ordered), 6), np.split(ordered, 6)
    for quantile in (0.5, 0.9):
        narrow, wide = (stats.quantile_interval(g, ordered, quantile) for g in (alike, unlike))
        assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


def test_a_limit_beyond_the_largest_value_follows_the_tail() -> None:
    """With rounds that disagree about the P99 nobody has seen its upper limit: it lies above all that was seen."""
    groups = [np.arange(1.0, 121.0) * (1 + n / 2) for n in range(6)]
    ordered = np.sort(np.concatenate(groups))
    assert stats.quantile_interval(groups, ordered, 0.99).high > ordered[-1]


def test_latencies_that_are_all_the_same_have_an_interval_of_no_width() -> None:
    """A deterministic server is not given an uncertainty it has not got."""
    groups = [np.full(120, 7_000_000) for _ in range(6)]
    assert stats.quantile_interval(groups, np.sort(np.concatenate(groups)), 0.99) == (7_000_000, 7_000_000)


@given(ROUNDS, st.sampled_from([0.5, 0.9, 0.99]), st.integers(2, 1000), st.permutations(range(6)))
def test_intervals_follow_the_unit_and_ignore_the_order_of_rounds(
    rounds: list[np.ndarray], quantile: float, factor: int, order: list[int]
) -> None:
    """Times in another unit give the interval in that unit; naming the rounds differently changes nothing."""
    ordered = np.sort(np.concatenate(rounds))
    low, high = stats.quantile_interval(rounds, ordered, quantile)
    scaled = stats.quantile_interval([factor * rounds[n] for n in order], factor * ordered, quantile)
    assert low <= ordered[math.ceil(720 * quantile) - 1] <= high
    assert scaled == pytest.approx((factor * low, factor * high))
