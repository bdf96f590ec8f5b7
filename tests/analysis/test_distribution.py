"""Distributions and their claims."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.analysis.distribution import describe

MS = 1_000_000


def test_a_distribution_of_known_times_is_exact() -> None:
    """1 to 1,000 ms: mean 500.5, P50 the 500th, P99 the 990th; P99.9 needs 4,603 requests."""
    found = describe([np.arange(1, 1001) * MS])
    assert (found.count, found.minimum, found.maximum) == (1000, 1.0, 1000.0)
    assert found.mean is not None
    assert found.mean.value == pytest.approx(500.5)
    assert [c.estimate and c.estimate.value for c in found.quantiles] == pytest.approx([500, 900, 950, 990, None])
    assert (found.at(0.999).needs, found.at(0.999).has) == (4603, 1000)


def test_no_request_makes_no_claim() -> None:
    """An empty distribution has no mean and says of each quantile what it needs."""
    found = describe([np.empty(0, np.int64)])
    assert (found.count, found.mean, found.minimum, found.maximum) == (0, None, None, None)
    assert [(c.estimate, c.needs, c.has) for c in found.quantiles][:2] == [(None, 7, 0), (None, 44, 0)]
    with pytest.raises(KeyError):
        found.at(0.42)


@pytest.mark.parametrize(("count", "claimed"), [(458, False), (459, True)])
def test_a_p99_is_claimed_from_459_requests_on(count: int, claimed: bool) -> None:
    """One request fewer than LoadGen asks for, and there is no P99; rounds are counted together."""
    whole = np.full(count, 5 * MS)
    for rounds in ([whole], np.array_split(whole, 6)):
        claim = describe(rounds).at(0.99)
        assert (claim.estimate is not None) == claimed
        assert (claim.needs is None) == claimed


def test_a_run_too_short_for_its_dependence_has_values_without_intervals() -> None:
    """A slow drift through 600 requests: each quantile has its value, none an interval."""
    found = describe([np.arange(600) * MS])
    claims = [c.estimate for c in found.quantiles if c.estimate]
    assert len(claims) == 4
    assert {(e.low, e.high) for e in (found.mean, *claims) if e} == {(None, None)}


@given(st.integers(0, 2**32 - 1), st.integers(1, 7))
def test_every_interval_holds_its_value(seed: int, rounds: int) -> None:
    """The value lies between low and high, and both stand or neither does."""
    times = np.random.default_rng(seed).gamma(2.0, 5 * MS, 1400).astype(np.int64)
    found = describe(np.array_split(times, rounds))
    for e in (found.mean, *(c.estimate for c in found.quantiles)):
        if e is not None:
            assert (e.low is None) == (e.high is None) == (rounds == 2)
            assert e.low is None or e.high is None or e.low <= e.value <= e.high
