"""How far two sides are apart."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, ttest_ind, ttest_rel

from bench.analysis import effect
from bench.analysis.effect import Effect

SEEDS = st.integers(0, 2**32 - 1)
ALPHAS = st.sampled_from([0.05, 1 / 150])
PAIRED = st.booleans()


def made(seed: int, rounds: int = 6, requests: int = 120) -> list[np.ndarray]:
    """Rounds of positive times in ns."""
    return list(1 + np.random.default_rng(seed).gamma(3.0, 1e6, (rounds, requests)).astype(np.int64))


def sums(side: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([of.sum() for of in side], np.float64), np.array([len(of) for of in side], np.float64)


def of(found: Effect | None) -> Effect:
    assert found is not None
    return found


def test_the_ratio_of_paired_means_is_students_over_the_pairs() -> None:
    """Pairs of means a factor e^0.1, e^0.2 and e^0.3 apart: e^(0.2 +- 4.3027 x 0.1 / sqrt(3)), two degrees of freedom."""
    base, count = np.array([90.0, 100.0, 130.0]), np.array([10.0, 10.0, 10.0])
    found = of(effect.ratio_of_sums((base, count), (base * np.exp([0.1, 0.2, 0.3]), count), True, 0.05))
    half = 4.302652729911275 * 0.1 / math.sqrt(3)
    assert found[:3] == pytest.approx([math.exp(0.2 + d) for d in (0, -half, half)])
    assert found.scatter == pytest.approx(0.1)
    assert found[4:] == (3, 2, 0.05, False)


@given(SEEDS, SEEDS, ALPHAS)
def test_the_intervals_are_those_of_students_tests(a: int, b: int, alpha: float) -> None:
    """Paired, and of unequal numbers of rounds Welch's, each on the logarithms of the rounds' means, as scipy has them."""
    base, new = made(a, 4), made(b, 7)
    logs = [np.log([times.mean() for times in side]) for side in (base, new)]
    welch = ttest_ind(logs[1], logs[0], equal_var=False).confidence_interval(1 - alpha)
    pairs = ttest_rel(logs[1][:4], logs[0]).confidence_interval(1 - alpha)
    assert of(effect.ratio_of_sums(sums(base), sums(new), False, alpha))[1:3] == pytest.approx(np.exp(welch))
    assert of(effect.ratio_of_sums(sums(base), sums(new[:4]), True, alpha))[1:3] == pytest.approx(np.exp(pairs))


@given(SEEDS, SEEDS, st.integers(2, 1000), PAIRED)
def test_the_unit_of_times_changes_nothing(a: int, b: int, factor: int, paired: bool) -> None:
    """Both sides' times in another unit are the same ratio."""
    base, new = made(a), made(b)
    scaled = [times * factor for times in base], [times * factor for times in new]
    for quantile in (0.5, 0.99):
        there = of(effect.ratio_of_quantiles(base, new, quantile, paired, 0.05))
        assert of(effect.ratio_of_quantiles(*scaled, quantile, paired, 0.05)) == pytest.approx(there)
    assert of(effect.ratio_of_sums(*map(sums, scaled), paired, 0.05)) == pytest.approx(
        of(effect.ratio_of_sums(sums(base), sums(new), paired, 0.05))
    )


@given(SEEDS, SEEDS, PAIRED, ALPHAS)
def test_swapping_the_sides_inverts_the_effect(a: int, b: int, paired: bool, alpha: float) -> None:
    """new / base and base / new say the same, and so do the differences of error rates."""
    base, new = made(a), made(b)
    there = of(effect.ratio_of_quantiles(base, new, 0.99, paired, alpha))
    back = of(effect.ratio_of_quantiles(new, base, 0.99, paired, alpha))
    assert there[:3] == pytest.approx((1 / back.value, 1 / back.high, 1 / back.low))
    failed = [(np.random.default_rng(seed).binomial(100, 0.03, 6).astype(float), np.full(6, 100.0)) for seed in (a, b)]
    there, back = (of(effect.difference_of_rates(*a, *b, paired, alpha)) for a, b in (failed, failed[::-1]))
    assert there[:3] == pytest.approx((-back.value, -back.high, -back.low))
    assert there.scatter == pytest.approx(back.scatter)


def test_times_that_are_all_longer_by_a_tenth_are_found_exactly() -> None:
    """Paired rounds that differ by nothing but a factor leave no scatter, whatever the rounds do."""
    base = made(1)
    found = of(effect.ratio_of_quantiles(base, [1.1 * times for times in base], 0.99, True, 0.001))
    assert found[:3] == pytest.approx((1.1, 1.1, 1.1))


def test_what_pairs_have_in_common_leaves_the_effect() -> None:
    """Rounds that move together by 30 % tell a P50 more than four times as exactly when they are paired."""
    rng = np.random.default_rng(5)
    moods = np.exp(0.3 * rng.standard_normal(10))
    base, new = ([mood * rng.gamma(50.0, 1e5, 300) for mood in moods] for _ in range(2))
    paired, unpaired = (of(effect.ratio_of_quantiles(base, new, 0.5, p, 0.05)) for p in (True, False))
    assert math.log(paired.high / paired.low) < math.log(unpaired.high / unpaired.low) / 4


def test_the_alpha_is_that_of_the_interval() -> None:
    """Half as wide an alpha widens the interval around the same value, and is remembered."""
    wide, narrow = (of(effect.ratio_of_quantiles(made(1), made(2), 0.99, True, alpha)) for alpha in (0.025, 0.05))
    assert wide.value == narrow.value
    assert wide.low < narrow.low < narrow.high < wide.high
    assert (wide.alpha, narrow.alpha) == (0.025, 0.05)


@pytest.mark.parametrize(("count", "position"), [(67, 67), (100, 99.6633), (200, 198.6633), (60, 60)])
def test_a_rounds_own_p99_is_the_median_unbiased_one(count: int, position: float) -> None:
    """Of the times 1 to n it is (n + 1/3) 0.99 + 1/3, as numpy has it too; of fewer than 67 it is the largest."""
    times = np.random.default_rng(1).permutation(np.arange(1, count + 1))
    assert effect.own_quantile(times, 0.99) == pytest.approx(min(position, (count + 1 / 3) * 0.99 + 1 / 3), abs=1e-3)
    assert effect.own_quantile(times, 0.99) == pytest.approx(np.quantile(times, 0.99, method="median_unbiased"))


def test_rounds_of_unequal_length_are_compared_at_the_length_of_the_shortest() -> None:
    """What the longer rounds have beyond it changes nothing, or their P99 would be longer for their length alone."""
    base, new = made(1), made(2)
    longer = [np.concatenate([times, 1000 * times]) for times in new]
    assert effect.ratio_of_quantiles(base, longer, 0.99, True, 0.05) == effect.ratio_of_quantiles(base, new, 0.99, True, 0.05)


def test_there_is_no_effect_of_too_few_rounds_or_requests() -> None:
    """Three rounds of 33 requests are the least for a P99; a side without requests has no error rate."""
    assert effect.ratio_of_quantiles(made(1, 3, 33), made(2, 3, 33), 0.99, True, 0.05) is not None
    assert effect.ratio_of_quantiles(made(1, 3, 32), made(2, 3, 32), 0.99, True, 0.05) is None
    assert effect.ratio_of_quantiles(made(1, 2), made(2, 3), 0.99, False, 0.05) is None
    assert effect.ratio_of_quantiles([], [], 0.99, True, 0.05) is None
    assert effect.ratio_of_sums(sums(made(1, 2)), sums(made(2, 3)), False, 0.05) is None
    nothing = np.zeros(3)
    assert effect.difference_of_rates(nothing, nothing, nothing, nothing, True, 0.05) is None
    assert effect.difference_of_rates(nothing[:2], nothing[:2] + 9, nothing, nothing + 9, False, 0.05) is None


def test_a_round_that_has_nothing_has_no_ratio() -> None:
    """A throughput of 0 in one round, or times of 0, cannot be said on a scale of logarithms."""
    one = np.ones(3)
    assert effect.ratio_of_sums((np.array([1.0, 0.0, 1.0]), one), (one, one), True, 0.05) is None
    assert effect.ratio_of_quantiles([np.zeros(40, np.int64)] * 3, made(1, 3), 0.5, True, 0.05) is None


def test_no_failure_on_either_side_leaves_the_exact_limits() -> None:
    """0 of 700 against 0 of 700: Clopper and Pearson's upper limit in either direction, below one percentage point."""
    nothing, total = np.zeros(5), np.full(5, 140.0)
    found = of(effect.difference_of_rates(nothing, total, nothing, total, True, 0.05))
    limit = binomtest(0, 700).proportion_ci(0.95, "exact").high
    assert found[:3] == pytest.approx((0.0, -limit, limit))
    assert limit < 0.01


def test_failures_as_even_as_chance_leave_the_limits_of_both_sides_together() -> None:
    """Many rounds with two failures each of 100, against four: each side's exact limits, joined at right angles."""
    total = np.full(10_000, 100.0)
    found = of(effect.difference_of_rates(total / 50, total, total / 25, total, True, 0.05))
    base, new = (binomtest(count, 1_000_000).proportion_ci(0.95, "exact") for count in (20_000, 40_000))
    assert found.value == pytest.approx(0.02)
    assert found.low == pytest.approx(0.02 - math.hypot(0.04 - new.low, base.high - 0.02))
    assert found.high == pytest.approx(0.02 + math.hypot(new.high - 0.04, 0.02 - base.low))


def test_failures_in_bursts_are_worth_fewer_requests_on_both_sides() -> None:
    """30 failures of 1,000 in three of ten rounds are no difference to none at all; one by one they are."""
    nothing, total = np.zeros(10), np.full(10, 100.0)
    bursts, evenly = np.array([10.0, 10.0, 10.0] + [0.0] * 7), np.full(10, 3.0)
    assert of(effect.difference_of_rates(nothing, total, bursts, total, True, 0.05)).low < 0
    assert of(effect.difference_of_rates(nothing, total, evenly, total, True, 0.05)).low > 0


def test_the_longer_round_of_a_pair_is_cut_to_the_other() -> None:
    """Latencies that rise alike have the same P99 as far as both go; what only one has says nothing of the other."""
    long, short = np.arange(1, 401) * 1000, np.arange(1, 201) * 1000
    base, new = [long, short, long, short], [short, short, short, long]
    found = effect.ratio_of_quantiles(base, new, 0.99, paired=True, alpha=0.05)
    assert found is not None
    assert (found.value, found.low, found.high) == (pytest.approx(1.0), pytest.approx(1.0), pytest.approx(1.0))
