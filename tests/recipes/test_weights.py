"""Seeded weights."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bench.recipes.weights import WHOLE, Weight, seeded

shapes = st.lists(st.integers(1, 5), min_size=1, max_size=4).map(tuple)
names = st.text(min_size=1, max_size=20)


@given(names, shapes, st.integers(0, 2**32), st.floats(0, 10), st.floats(-10, 10))
def test_values_lie_within_the_uniform_range_of_the_mean_and_deviation(
    name: str, shape: tuple[int, ...], seed: int, std: float, mean: float
) -> None:
    """A uniform distribution of deviation s reaches sqrt(3) s from its mean and no further."""
    values = seeded(seed)(Weight(name, shape, std, mean), WHOLE)
    assert values.dtype == np.float32
    assert values.shape == shape
    assert np.abs(values - mean).max() <= std * 3**0.5 + 1e-5 * (abs(mean) + std)


def test_mean_and_deviation_are_those_asked_for() -> None:
    """100,000 values come within 1 % of the deviation asked for, and of it from the mean (0.3 % is one standard error)."""
    values = seeded(3)(Weight("w", (100_000,), std=2.0, mean=5.0), WHOLE)
    assert abs(values.mean(dtype=np.float64) - 5.0) < 0.02
    assert abs(values.std(dtype=np.float64) - 2.0) < 0.02


@given(st.integers(2, 8), st.integers(2, 40))
def test_centered_filters_sum_to_nothing(filters: int, size: int) -> None:
    """Each row of a centered tensor has mean 0, up to the rounding of float32, and is not itself 0."""
    values = seeded(1)(Weight("w", (filters, size, 3), std=1.0, centered=True), WHOLE).reshape(filters, -1)
    assert np.abs(values.mean(1, dtype=np.float64)).max() < 1e-6
    assert values.std(1).min() > 0.1


@given(names, names, st.integers(0, 9), st.integers(0, 9))
def test_values_follow_from_seed_and_name_alone(name: str, other: str, seed: int, other_seed: int) -> None:
    """Equal seeds and names give equal values, whatever was asked for before; others give others."""
    first, second = seeded(seed), seeded(other_seed)
    first(Weight("something else", (7,), std=1.0), WHOLE)
    same = np.array_equal(first(Weight(name, (32,), std=1.0), WHOLE), second(Weight(other, (32,), std=1.0), WHOLE))
    assert same == ((seed, name) == (other_seed, other))


def test_values_do_not_change_between_versions() -> None:
    """A model built last year has the weights of one built today: steps of 2**-23, taken by hand from PCG64's raw bits."""
    values = seeded(0)(Weight("fc.bias", (4,), std=3**-0.5), WHOLE)
    assert (values * 2**23).tolist() == [7_663_210, 7_063_300, -4_422_334, 5_354_642]


@given(st.sampled_from([3, 15, 255]), st.floats(0.1, 10), st.floats(-1, 1))
def test_values_of_so_many_levels_have_the_deviation_asked_for_too(levels: int, std: float, mean: float) -> None:
    """Equally far apart, each as likely, and the middle one is the mean."""
    values = seeded(2)(Weight("w", (100_000,), std, mean, levels=levels), WHOLE)
    assert abs(values.std(dtype=np.float64) - std) < 0.01 * std
    assert abs(values.mean(dtype=np.float64) - mean) < 0.02 * std
    found, counts = np.unique(values, return_counts=True)
    assert len(found) == levels
    np.testing.assert_allclose(np.diff(found), (found[-1] - found[0]) / (levels - 1), rtol=1e-3)
    assert abs(found[levels // 2] - mean) < 1e-6
    assert counts.max() < 2 * counts.min()


@given(shapes, st.booleans(), st.sampled_from([0, 15]), st.data())
def test_pieces_are_the_same_as_the_whole(shape: tuple[int, ...], centered: bool, levels: int, data: st.DataObject) -> None:
    """Whatever rows a weight is made in, put together they are what it is when it is made at once."""
    weight = Weight("w", shape, std=0.7, mean=0.1, centered=centered and len(shape) > 1, levels=levels)
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, shape[0] - 1)))) - {shape[0]})
    pieces = [seeded(5)(weight, slice(*ends)) for ends in zip([0, *cuts], [*cuts, shape[0]], strict=True)]
    assert np.concatenate(pieces).tobytes() == seeded(5)(weight, WHOLE).tobytes()
