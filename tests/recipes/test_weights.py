"""Seeded weights."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bench.recipes.weights import Weight, seeded

shapes = st.lists(st.integers(1, 5), min_size=1, max_size=4).map(tuple)
names = st.text(min_size=1, max_size=20)


@given(names, shapes, st.integers(0, 2**32), st.floats(0, 10), st.floats(-10, 10))
def test_values_lie_within_the_uniform_range_of_the_mean_and_deviation(
    name: str, shape: tuple[int, ...], seed: int, std: float, mean: float
) -> None:
    """A uniform distribution of deviation s reaches sqrt(3) s from its mean and no further."""
    values = seeded(seed)(Weight(name, shape, std, mean))
    assert values.dtype == np.float32
    assert values.shape == shape
    assert np.abs(values - mean).max() <= std * 3**0.5 + 1e-5 * (abs(mean) + std)


def test_mean_and_deviation_are_those_asked_for() -> None:
    """100,000 values come within 1 % of the deviation asked for, and of it from the mean (0.3 % is one standard error)."""
    values = seeded(3)(Weight("w", (100_000,), std=2.0, mean=5.0))
    assert abs(values.mean(dtype=np.float64) - 5.0) < 0.02
    assert abs(values.std(dtype=np.float64) - 2.0) < 0.02


@given(st.integers(2, 8), st.integers(2, 40))
def test_centered_filters_sum_to_nothing(filters: int, size: int) -> None:
    """Each row of a centered tensor has mean 0, up to the rounding of float32, and is not itself 0."""
    values = seeded(1)(Weight("w", (filters, size, 3), std=1.0, centered=True)).reshape(filters, -1)
    assert np.abs(values.mean(1, dtype=np.float64)).max() < 1e-6
    assert values.std(1).min() > 0.1


@given(names, names, st.integers(0, 9), st.integers(0, 9))
def test_values_follow_from_seed_and_name_alone(name: str, other: str, seed: int, other_seed: int) -> None:
    """Equal seeds and names give equal values, whatever was asked for before; others give others."""
    first, second = seeded(seed), seeded(other_seed)
    first(Weight("something else", (7,), std=1.0))
    same = np.array_equal(first(Weight(name, (32,), std=1.0)), second(Weight(other, (32,), std=1.0)))
    assert same == ((seed, name) == (other_seed, other))


def test_values_do_not_change_between_versions() -> None:
    """A model built last year has the weights of one built today: steps of 2**-23, taken by hand from PCG64's raw bits."""
    values = seeded(0)(Weight("fc.bias", (4,), std=3**-0.5))
    assert (values * 2**23).tolist() == [7_663_210, 7_063_300, -4_422_334, 5_354_642]
