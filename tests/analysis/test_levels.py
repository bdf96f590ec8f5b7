"""Where the level of a series changes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.analysis.levels import level_starts


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=40))
def test_levels_begin_one_after_the_other_and_last_two_runs_at_least(values: list[float]) -> None:
    """Whatever the series: the first begins with it, four there are at most."""
    starts = level_starts(np.array(values))
    assert starts[0] == 0
    assert len(starts) <= 4
    assert all(b - a >= 2 for a, b in zip(starts, [*starts[1:], len(values)], strict=True)) or len(values) == 1


@given(st.lists(st.floats(-0.02, 0.02), min_size=20, max_size=20), st.integers(3, 17), st.sampled_from([-0.5, 0.5]))
def test_a_step_far_above_the_noise_is_seen_where_it_is(noise: list[float], at: int, step: float) -> None:
    """Noise within ±2 %, a step of a half."""
    values = np.array(noise)
    values[at:] += step
    assert at in level_starts(values)


def test_a_rise_and_a_return_are_two_changes() -> None:
    """Runs 8 to 12 of 20 were slower."""
    values = np.tile([0.0, 0.01], 10)
    values[8:13] += 0.2
    assert level_starts(values) == [0, 8, 13]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 20])
def test_runs_that_are_all_alike_have_one_level(count: int) -> None:
    """No scatter at all, as of a simulation."""
    assert level_starts(np.full(count, 1.7)) == [0]


def test_one_run_out_of_line_is_no_level() -> None:
    """An outlier in the middle, and one at the end."""
    values = np.tile([0.0, 0.01], 10)
    for at in (9, 19):
        assert level_starts(np.where(np.arange(20) == at, 0.2, values)) == [0]
