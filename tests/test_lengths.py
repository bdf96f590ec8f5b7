"""Lengths as distributions."""

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import lengths
from bench.lengths import Length, Lognormal, Uniform, Values

counts = st.integers(1, 500)
DISTRIBUTIONS = st.one_of(
    counts,
    st.tuples(counts, counts, st.integers(1, 64)).map(lambda t: Uniform(min(t[:2]), max(t[:2]), t[2])),
    st.builds(
        lambda median, sigma, ends, multiple: Lognormal(median, sigma, max(ends), min(ends), multiple),
        st.floats(0.1, 1000),
        st.floats(0, 10),
        st.tuples(counts, counts),
        st.integers(1, 64),
    ),
    st.builds(Values, st.lists(counts, min_size=1, max_size=9).map(tuple), st.integers(1, 64)),
)


@given(DISTRIBUTIONS, st.integers(0, 2**40), st.integers(1, 50))
def test_every_length_can_be_sent_and_none_is_above_the_most(length: Length, seed: int, count: int) -> None:
    """At least 1, at most what memory is planned for, and a multiple of what a service pads to."""
    drawn = lengths.draw(length, seed, "n", count)
    assert len(drawn) == count
    assert all(1 <= n <= lengths.most(length) for n in drawn)
    assert all(n % getattr(length, "multiple", 1) == 0 for n in drawn)


@given(DISTRIBUTIONS, st.integers(0, 2**40))
def test_the_first_lengths_do_not_depend_on_how_many_follow(length: Length, seed: int) -> None:
    """A longer pool begins with the shorter one; the same seed and name give the same."""
    assert lengths.draw(length, seed, "n", 5) == lengths.draw(length, seed, "n", 9)[:5]


def test_two_lengths_of_one_workload_are_drawn_apart() -> None:
    """Long prompts do not come with long outputs by themselves; nor does one seed repeat another's."""
    uniform = Uniform(1, 10**6)
    assert lengths.draw(uniform, 1, "prompt_tokens", 4) != lengths.draw(uniform, 1, "output_tokens", 4)
    assert lengths.draw(uniform, 1, "n", 4) != lengths.draw(uniform, 2, "n", 4)


def test_uniform_lengths_reach_both_ends_alike() -> None:
    """Of 8,000 lengths in 3 to 10, each comes 1,000 times, within 5 standard deviations."""
    seen = Counter(lengths.draw(Uniform(3, 10), 1, "n", 8000))
    assert set(seen) == set(range(3, 11))
    assert all(abs(n - 1000) < 5 * math.sqrt(8000 / 8 * 7 / 8) for n in seen.values())


def test_lognormal_lengths_have_the_stated_median_and_spread() -> None:
    """Half of 8,000 below the median, and 84 % below the median x exp(sigma), within 5 standard deviations."""
    drawn = lengths.draw(Lognormal(median=100, sigma=0.5, high=10_000), 1, "n", 8000)
    for bound, share in ((100, 0.5), (100 * math.exp(0.5), 0.8413)):
        assert abs(sum(n < bound for n in drawn) / 8000 - share) < 5 * math.sqrt(share * (1 - share) / 8000) + 0.005


def test_seen_lengths_come_as_often_as_they_were_seen() -> None:
    """A length that stands twice comes twice as often."""
    seen = Counter(lengths.draw(Values((4, 4, 9)), 1, "n", 9000))
    assert set(seen) == {4, 9}
    assert abs(seen[4] - 6000) < 5 * math.sqrt(2000)


def test_lengths_are_the_same_everywhere() -> None:
    """The values of 2026: other machines and versions of numpy must come to the same."""
    assert lengths.draw(Uniform(16, 64), 1, "prompt_tokens", 8) == [43, 39, 30, 51, 52, 23, 62, 48]
    assert lengths.draw(Lognormal(median=64, sigma=0.8, high=512), 1, "prompt_tokens", 8) == [72, 61, 43, 102, 106, 29, 226, 89]


@pytest.mark.parametrize("kind", [Uniform(9, 3), Lognormal(median=5, sigma=1, low=9, high=3)])
def test_a_range_upside_down_is_told(kind: Length) -> None:
    """With both of its ends."""
    assert lengths.problem(kind) == "expected low <= high, got low = 9 and high = 3"
    assert lengths.problem(Uniform(3, 3)) is None
