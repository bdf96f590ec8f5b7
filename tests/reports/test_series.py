"""What plots are made of."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bench import payloads
from bench.reports import series
from bench.reports.series import Curve
from bench.testing import Stream, make_run, make_stream_run

VALUES = arrays(np.float64, st.integers(1, 3000), elements=st.floats(0, 1e6))


@given(VALUES)
def test_a_distribution_rises_from_the_smallest_value_and_stays_among_the_values(values: np.ndarray) -> None:
    """However many values there are, the curve has a few hundred points, each a latency that some request had."""
    curve = series.cdf(values)
    assert len(curve.x) <= series.POINTS
    assert curve.x[0] == values.min()
    assert np.isin(curve.x, values).all()
    assert (np.diff(curve.x) >= 0).all()
    assert (np.diff(curve.y) > 0).all()
    assert ((curve.y >= 0) & (curve.y < 1)).all()


def test_a_distribution_of_nothing_is_empty() -> None:
    """A run in which every request failed has no latency to draw."""
    assert len(series.cdf(np.empty(0)).x) == 0


@given(VALUES, st.integers(8, 400))
def test_dots_are_few_real_and_in_the_order_of_time(values: np.ndarray, limit: int) -> None:
    """What is drawn as a request was one."""
    t = np.arange(len(values), dtype=np.float64)[::-1]
    dots = series.dots(t, values, limit)
    assert len(dots.x) == min(limit, len(values))
    assert (np.diff(dots.x) > 0).all()
    assert set(zip(dots.x, dots.y, strict=True)) <= set(zip(t, values, strict=True))


@given(VALUES, st.integers(8, 400))
def test_the_slowest_request_is_never_lost(values: np.ndarray, limit: int) -> None:
    """A choice of requests that drops the worst would hide what the plot is looked at for."""
    t = np.arange(len(values), dtype=np.float64)[::-1]
    shown = np.concatenate([series.dots(t, values, limit).y, series.slowest(t, values, limit).y])
    assert shown.max() == values.max()
    assert len(shown) <= 2 * limit


def test_a_million_requests_become_a_few_thousand_dots() -> None:
    """A report of a long run can still be opened."""
    assert len(series.dots(np.arange(1e6), np.zeros((1e6).__int__())).x) <= series.DOTS


@given(st.floats(0.001, 1e5), st.integers(0, 10**7))
def test_bins_of_time_are_round_few_and_inside_the_window(length: float, events: int) -> None:
    """A rate counted over a part of a bin would look like a dip."""
    edges = series.edges(0.0, length, events)
    assert 2 <= len(edges) <= series.BINS + 1
    assert edges[-1] <= length * (1 + 1e-6) or len(edges) == 2
    width = float(f"{edges[1] - edges[0]:.6g}")
    assert f"{width:e}"[0] in "125"


def test_throughput_is_the_count_in_each_bin_over_its_length() -> None:
    """Three in the first half second and one in the second are 6/s and 2/s."""
    curve = series.throughput(np.array([0.1, 0.2, 0.3, 0.9]), np.array([0.0, 0.5, 1.0]))
    assert curve.y.tolist() == [6.0, 2.0, 2.0]


def test_a_running_median_has_a_gap_where_there_is_too_little() -> None:
    """Two requests are no median."""
    t = np.array([0.1, 0.2, 0.3, 1.1, 1.2])
    curve = series.running_quantile(t, np.array([1.0, 5.0, 3.0, 9.0, 9.0]), 0.5, np.array([0.0, 1.0, 2.0]), least=3)
    assert curve.x.tolist() == [0.5, 1.5]
    assert curve.y[0] == 3.0
    assert np.isnan(curve.y[1])


@given(arrays(np.float64, st.integers(1, 2000), elements=st.floats(0, 100)), st.integers(2, 50))
def test_thinning_keeps_the_mean_and_the_range(values: np.ndarray, points: int) -> None:
    """A thinned level says what the whole one said."""
    curve = series.thinned(Curve(np.arange(len(values), dtype=np.float64), values), points)
    assert len(curve.x) <= points
    assert curve.y.max() <= values.max() + 1e-9
    assert curve.y.min() >= values.min() - 1e-9


def test_utilization_is_the_gpus_where_there_are_some() -> None:
    """The server's CPU says little about a model that runs on a GPU."""
    samples = {
        ("gpu0", "utilization"): [(0, 50.0)],
        ("gpu1", "utilization"): [(0, 70.0)],
        ("server", "cpu_utilization"): [(0, 9.0)],
    }
    run = make_run([10.0], samples=samples)
    assert [level.label for level in series.utilization(run)] == ["GPU 0", "GPU 1"]
    assert series.leading_level(run, gpu=True).y.tolist() == [60.0]


def test_utilization_without_a_gpu_is_the_cpus() -> None:
    """A GPU that is not there has no utilization, not even zero."""
    run = make_run([10.0], samples={("host", "cpu_utilization"): [(0, 70.0)], ("server", "cpu_utilization"): [(0, 60.0)]})
    assert [level.label for level in series.utilization(run)] == ["server", "whole machine"]
    assert series.leading_level(run, gpu=False).y.tolist() == [60.0]
    assert len(series.leading_level(run, gpu=True).x) == 0
    assert len(series.leading_level(make_run([10.0]), gpu=False).x) == 0


def test_the_level_of_the_load_generator_never_stands_for_the_server() -> None:
    """Where only the generator was sampled there is nothing to show of the target."""
    run = make_run([10.0], samples={("load", "cpu_utilization"): [(0, 3.0)]})
    assert len(series.leading_level(run, gpu=False).x) == 0


def test_rounds_stand_side_by_side_in_their_slots() -> None:
    """Round n fills n - 0.5 to n + 0.5, the first side its left half and the second its right, a gap after each."""
    runs = [make_run([1000.0]), make_run([2000.0])]
    whole = [Curve(np.array([0.0, 1.0]), np.array([1.0, 2.0])), Curve(np.array([0.0, 2.0]), np.array([3.0, 4.0]))]
    left, right = (series.in_rounds(whole, runs, n) for n in (0, 1))
    assert left.x[[0, 1, 3, 4]].tolist() == pytest.approx([0.53, 0.97, 1.53, 1.97])
    assert right.x[[0, 1]].tolist() == pytest.approx([1.03, 1.47])
    assert np.isnan(left.y[[2, 5]]).all()


def test_failures_are_thinned_evenly() -> None:
    """A run in which everything fails still has a small page."""
    run = make_run(np.full(5000, 1.0), errors=dict.fromkeys(range(5000), "status"))
    assert 200 <= len(series.failures(run, 200)) <= 201


def test_the_timeline_of_a_run_has_the_request_with_the_longest_gap_among_its_neighbours() -> None:
    """Of 20 requests sent in turn the 14th stalls: 10th to 17th, with every piece that held tokens."""
    made = [Stream(10.0 * n, [1, 2, 3], [0, 1, 2]) for n in range(20)]
    made[13] = Stream(130.0, [1, 2, 500])
    found = series.streams_around_longest_gap(make_stream_run(made), 8)
    assert [round(s.sent, 3) for s in found] == [round(0.01 * n, 3) for n in range(9, 17)]
    assert found[0].t.tolist() == pytest.approx([0.092, 0.093])
    assert found[0].tokens.tolist() == [1, 2]


@pytest.mark.parametrize("worst", [0, 4])
def test_a_timeline_at_the_edge_of_a_run_is_as_long_as_any(worst: int) -> None:
    """Five requests, of which the first or the last is the slowest; three are shown."""
    made = [Stream(10.0 * n, [1, 50 if n == worst else 2]) for n in range(5)]
    found = series.streams_around_longest_gap(make_stream_run(made), 3)
    assert [round(s.sent * 100) for s in found] == ([0, 1, 2] if worst == 0 else [2, 3, 4])


def test_the_first_streams_are_the_first_that_were_sent_and_succeeded() -> None:
    """Not the first that were answered; what was sent before the window, or failed, is no part of it."""
    made = [Stream(-5, [1]), Stream(0, [100]), Stream(1, [1], error="broken"), Stream(2, [1]), Stream(3, [1])]
    run = make_stream_run(made, window_ms=(0, 200))
    assert [round(1000 * s.sent) for s in series.first_streams(run, 2)] == [0, 2]


def test_streams_are_points_of_their_prompts() -> None:
    """A request without a token has no TTFT to show."""
    run = make_stream_run([Stream(0, [10]), Stream(0, [20]), Stream(0, [], end_ms=5)])
    lengths = payloads.prompt_lengths(run.workload)
    curve = series.ttft_of_prompts(run)
    assert sorted(zip(curve.x.tolist(), curve.y.tolist(), strict=True)) == sorted([(lengths[0], 10.0), (lengths[1], 20.0)])


def test_a_run_without_streams_has_no_points_of_them() -> None:
    """And is no exception."""
    run = make_run([1.0, 2.0])
    assert (
        not len(series.ttft_ms(run)) + len(series.gaps_ms(run)) + len(series.tokens_s(run)) + len(series.ttft_of_prompts(run).x)
    )
    assert series.first_streams(run, 8) == series.streams_around_longest_gap(run, 8) == []


@pytest.mark.parametrize("sides", [2, 3, 5])
def test_each_side_has_its_part_of_a_round(sides: int) -> None:
    """From left to right, one after the other, within half a round of the round's number."""
    run = make_run([10.0] * 10)
    curve = series.Curve(np.array([0.0, 0.1]), np.array([1.0, 1.0]))
    drawn = [series.in_rounds([curve], [run], n, sides).x[:2] for n in range(sides)]
    edges = np.concatenate(drawn)
    assert (np.diff(edges) > 0).all()
    assert edges[0] >= 0.5
    assert edges[-1] <= 1.5
