"""Order statistics and the counts that a claim needs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from bench.analysis.quantiles import order_statistic, rank, requests_needed


@pytest.mark.parametrize(
    ("quantile", "over", "needed"),
    [
        (0.99, 0, 459),
        (0.99, 1, 662),
        (0.99, 10, 2010),
        (0.9, 0, 44),
        (0.9, 1, 64),
        (0.999, 0, 4603),
        (0.999, 1, 6636),
        (0.5, 0, 7),
    ],
)
def test_a_claim_needs_as_many_requests_as_loadgen_says(quantile: float, over: int, needed: int) -> None:
    """The counts are those of MLPerf LoadGen's early stopping at 99 % confidence."""
    assert requests_needed(quantile, over) == needed


@given(st.sampled_from([0.5, 0.9, 0.95, 0.99]), st.integers(0, 40), st.sampled_from([0.9, 0.95, 0.99]))
def test_the_requests_needed_are_the_fewest_that_show_the_claim(quantile: float, over: int, confidence: float) -> None:
    """At the count the chance of so few requests over the bound is at most 1 - confidence, and one request fewer is too few."""
    count = requests_needed(quantile, over, confidence)
    assert binom.cdf(over, count, 1 - quantile) <= 1 - confidence
    assert binom.cdf(over, count - 1, 1 - quantile) > 1 - confidence


@pytest.mark.parametrize(
    ("count", "quantile", "expected"), [(100, 0.99, 99), (101, 0.99, 100), (100, 0.07, 7), (1, 0.99, 1), (4, 0.5, 2)]
)
def test_the_rank_is_the_count_times_the_quantile_rounded_up(count: int, quantile: float, expected: int) -> None:
    """The rank is exact where floating point is not: 0.07 x 100 is 7."""
    assert rank(count, quantile) == expected


@given(st.lists(st.integers(0, 20), min_size=1, max_size=300), st.sampled_from([0.5, 0.9, 0.95, 0.99]), st.integers(0, 20))
def test_a_quantile_is_over_a_bound_exactly_when_too_many_requests_are(values: list[int], quantile: float, bound: int) -> None:
    """The value of a quantile and the count of requests over a promised bound never contradict each other."""
    over = sum(value > bound for value in values)
    assert (order_statistic(np.sort(values), quantile) > bound) == (over > len(values) - rank(len(values), quantile))
