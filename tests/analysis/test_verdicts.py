"""Verdicts, looks, and the rounds that would decide."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import t as student

from bench.analysis import effect
from bench.analysis.effect import Effect
from bench.analysis.verdicts import MOST_ROUNDS, Looks, needed_rounds, verdict

LOGS = st.floats(-0.5, 0.5)
DELTAS = st.sampled_from([0.0, 0.02, 0.05, 0.1])


def ratio(low: float, high: float) -> Effect:
    """A ratio with this interval."""
    return Effect(math.sqrt(low * high), low, high, 0.1, 10, 9, 0.05)


def difference(low: float, high: float) -> Effect:
    """A difference of shares with this interval."""
    return Effect((low + high) / 2, low, high, 0.1, 10, 9, 0.05, difference=True)


def noisy(value: float, scatter: float, rounds: int, alpha: float) -> Effect:
    """What so many pairs with this noise and this point value give."""
    half = student.isf(alpha / 2, rounds - 1) * scatter / math.sqrt(rounds)
    at = math.log(value)
    return Effect(value, math.exp(at - half), math.exp(at + half), scatter, rounds, rounds - 1, alpha)


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.96, 1.04, "SAME"),
        (1.01, 1.04, "SAME"),  # a difference, and too small to matter
        (0.9524, 1.05, "SAME"),
        (0.9523, 1.05, "UNKNOWN"),  # 1 / 1.05 is 0.95238
        (0.94, 1.04, "UNKNOWN"),
        (1.0, 1.2, "UNKNOWN"),
        (1.001, 1.2, "WORSE"),
        (0.8, 0.999, "BETTER"),
        (0.8, 1.3, "UNKNOWN"),
    ],
)
def test_the_whole_interval_decides(low: float, high: float, said: str) -> None:
    """Of a latency at a smallest change of 5 %."""
    assert verdict(ratio(low, high), 0.05, "lower") == said


def test_more_is_better_where_it_is() -> None:
    """A throughput that rose is better, one that fell is worse."""
    assert verdict(ratio(1.1, 1.2), 0.05, "higher") == "BETTER"
    assert verdict(ratio(0.8, 0.9), 0.05, "higher") == "WORSE"


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [(-0.009, 0.01, "SAME"), (-0.009, 0.011, "UNKNOWN"), (0.001, 0.02, "WORSE"), (-0.03, -0.001, "BETTER")],
)
def test_differences_of_shares_are_held_against_shares(low: float, high: float, said: str) -> None:
    """Of an error rate at a smallest change of one percentage point."""
    assert verdict(difference(low, high), 0.01, "lower") == said


@given(LOGS, LOGS, DELTAS)
def test_swapping_the_sides_turns_the_verdict_round(one: float, other: float, delta: float) -> None:
    """Better becomes worse, and the same and the unknown stay."""
    low, high = sorted((one, other))
    there, back = (ratio(math.exp(a), math.exp(b)) for a, b in ((low, high), (-high, -low)))
    turned = {"WORSE": "BETTER", "BETTER": "WORSE"}
    said = verdict(there, delta, "lower")
    assume(min(abs(abs(x) - math.log(1 + delta)) for x in (low, high)) > 1e-9)
    assert verdict(back, delta, "lower") == turned.get(said, said)
    assert verdict(there, delta, "higher") == turned.get(said, said)


def test_a_ratio_whose_lower_limit_is_0_is_unknown() -> None:
    """An interval without an end on one side does not trip over the logarithm."""
    assert verdict(Effect(1.0, 0.0, 2.0, 9.9, 3, 2, 0.05), 0.05, "lower") == "UNKNOWN"


# ---------------------------------------------------------------- looks


def test_the_error_is_split_over_looks_and_metrics() -> None:
    """The first look gets half the share of the later ones; together they are the error."""
    looks = Looks((5, 10, 20), 0.05, 3)
    assert [looks.alpha(n) for n in looks.rounds] == pytest.approx([0.05 / 15, 0.1 / 15, 0.1 / 15])


@given(st.lists(st.integers(3, 100), min_size=1, max_size=6, unique=True), st.integers(1, 6))
def test_the_alphas_of_all_looks_at_all_metrics_are_the_error(rounds: list[int], gated: int) -> None:
    """However many looks there are; a single one has all of it."""
    looks = Looks(tuple(sorted(rounds)), 0.05, gated)
    assert gated * sum(looks.alpha(n) for n in looks.rounds) == pytest.approx(0.05)


def test_rounds_between_two_looks_are_looked_at_as_at_the_next() -> None:
    """A comparison that ends early spends the look it was on the way to; beyond the last there is only the last."""
    looks = Looks((5, 10, 20))
    assert looks.alpha(3) == looks.alpha(5)
    assert looks.alpha(6) == looks.alpha(10)
    assert looks.alpha(25) == looks.alpha(20)


# ---------------------------------------------------------------- rounds needed


@given(st.floats(-0.2, 0.2), st.floats(0.02, 0.3), st.sampled_from([0.02, 0.05, 0.1]), st.sampled_from([0.05, 1 / 150]))
def test_the_rounds_needed_decide_and_one_fewer_does_not(shift: float, scatter: float, delta: float, alpha: float) -> None:
    """Where the noise and the point value are as they were at 5 rounds."""
    now = noisy(math.exp(shift), scatter, 5, 1 / 300)
    assume(verdict(now, delta, "lower") == "UNKNOWN")
    needed = needed_rounds(now, delta, alpha)
    assert needed is not None
    assert verdict(noisy(now.value, scatter, needed, alpha), delta, "lower") != "UNKNOWN"
    if needed > 6:
        assert verdict(noisy(now.value, scatter, needed - 1, alpha), delta, "lower") == "UNKNOWN"


def test_more_rounds_than_anyone_runs_are_not_foreseen() -> None:
    """Rounds that scatter by a factor of e^5 would take more than 10,000 to show 2 %."""
    assert needed_rounds(noisy(1.001, 5.0, 10, 0.05), 0.02, 0.05) is None
    assert (needed_rounds(noisy(1.001, 0.5, 10, 0.05), 0.02, 0.05) or 0) < MOST_ROUNDS


def test_no_failures_so_far_need_as_many_requests_as_their_exact_limit() -> None:
    """0 of 50 a round: the limit of n requests is 1 - (alpha / 2)^(1 / n), and 1 percentage point takes 368 of them."""
    counts = np.zeros(4), np.full(4, 50.0)
    found = effect.difference_of_rates(*counts, *counts, True, 0.05)
    assert found is not None
    assert needed_rounds(found, 0.01, 0.05) == 8 == math.ceil(math.log(0.025) / math.log(0.99) / 50)


# ---------------------------------------------------------------- how often they are right


@pytest.mark.parametrize(("shift", "said", "least", "most"), [(0.0, "WORSE", 0.0, 0.02), (0.2, "WORSE", 0.9, 1.0)])
def test_verdicts_of_noisy_rounds_are_right_as_often_as_planned(shift: float, said: str, least: float, most: float) -> None:
    """300 comparisons of 10 rounds whose P99s scatter by 7 %: no shift is never called, nearly, and 20 % nearly always."""
    rng, shape = np.random.default_rng(1), np.linspace(1e6, 2e6, 100)
    alpha, count = Looks().alpha(10), 0
    for _ in range(300):
        moods = np.exp(0.07 * rng.standard_normal((2, 10, 1))) * np.array([1.0, 1 + shift])[:, None, None]
        found = effect.ratio_of_quantiles(list(moods[0] * shape), list(moods[1] * shape), 0.99, True, alpha)
        assert found is not None
        count += verdict(found, 0.1, "lower") == said
    assert least <= count / 300 <= most
