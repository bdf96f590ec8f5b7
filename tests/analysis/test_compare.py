"""Two sides, metric by metric."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.analysis.compare import Row, SideComparison, compare_sides
from bench.analysis.estimate import Estimate, QuantileClaim
from bench.record import Run
from bench.testing import make_run


def rounds(seed: int, count: int = 6, factor: float = 1.0, requests: int = 120, **fields: Any) -> list[Run]:
    """`count` runs of a server whose latencies are about 30 ms x `factor`."""
    rng = np.random.default_rng(seed)
    return [make_run(factor * rng.gamma(30.0, 1.0, requests), **fields) for _ in range(count)]


def row(comparison: SideComparison, metric: str) -> Row:
    return next(r for r in comparison.rows if r.metric == metric)


def value(side: Estimate | QuantileClaim | None) -> float | None:
    """The value of a side, if it has one."""
    e = side.estimate if isinstance(side, QuantileClaim) else side
    return None if e is None else e.value


def test_the_rows_come_in_the_order_of_the_demos_table() -> None:
    """Latency first, errors last; where nothing was sampled there is no utilization."""
    metrics = [(r.metric, r.unit, r.better) for r in compare_sides(rounds(1), rounds(2)).rows]
    assert metrics == [
        ("mean latency", "ms", "lower"),
        ("P50 latency", "ms", "lower"),
        ("P99 latency", "ms", "lower"),
        ("throughput", "req/s", "higher"),
        ("error rate", "%", "lower"),
    ]


def test_a_side_three_times_as_fast_is_shown_as_a_third() -> None:
    """The change is new / base, its interval lies around it and far from 1; throughput goes the other way."""
    comparison = compare_sides(rounds(1, factor=3.0), rounds(2))
    for metric, expected in (("mean latency", 1 / 3), ("P50 latency", 1 / 3), ("P99 latency", 1 / 3), ("throughput", 3.0)):
        change = row(comparison, metric).change
        assert change is not None
        assert change.low is not None
        assert change.high is not None
        assert change.low < change.value < change.high
        assert change.value == pytest.approx(expected, rel=0.1)
        assert max(change.low, 1 / change.high) > 2 or min(change.high, 1 / change.low) < 0.5


def test_the_change_is_the_ratio_of_the_two_values_shown() -> None:
    """Nobody has to wonder why 20 against 30 is not 0.67."""
    for r in compare_sides(rounds(3), rounds(4, factor=1.5)).rows:
        base, new = value(r.base), value(r.new)
        if r.change is not None and base is not None and new is not None:
            assert r.change.value == pytest.approx(new / base)


def test_rounds_too_short_for_a_p99_claim_one_together() -> None:
    """6 x 120 requests are more than 459 and 6 x 70 are fewer."""
    assert value(row(compare_sides(rounds(1), rounds(2)), "P99 latency").base) is not None
    short = row(compare_sides(rounds(1), rounds(2, requests=70)), "P99 latency")
    assert short.new == QuantileClaim(0.99, None, 459, 420)
    assert short.change is None


@pytest.mark.parametrize(("base", "new", "interval"), [(2, 6, False), (6, 2, False), (3, 3, True), (3, 5, True)])
def test_a_change_has_an_interval_where_both_sides_have_three_rounds(base: int, new: int, interval: bool) -> None:
    """Two rounds tell nothing about the scatter between rounds."""
    comparison = compare_sides(rounds(1, base, requests=300), rounds(2, new, requests=300))
    for metric in ("mean latency", "P50 latency", "P99 latency", "throughput"):
        change = row(comparison, metric).change
        assert change is not None
        assert (change.low is not None) == (change.high is not None) == interval


def test_a_single_run_a_side_has_intervals_from_blocks_and_a_change_without_one() -> None:
    """Two stored runs can be set side by side; what differs between two days is not known from one."""
    r = row(compare_sides(rounds(1, 1, requests=2000), rounds(2, 1, requests=2000)), "mean latency")
    assert isinstance(r.base, Estimate)
    assert r.base.low is not None
    assert r.change is not None
    assert r.change.low is None


def test_paired_rounds_share_their_noise() -> None:
    """Rounds that are slow on both sides tell a change of 5 % that is lost when the pairs are broken up."""
    rng = np.random.default_rng(8)
    moods = np.exp(0.2 * rng.standard_normal(8))
    base = [make_run(mood * rng.gamma(30.0, 1.0, 120)) for mood in moods]
    new = [make_run(1.05 * mood * rng.gamma(30.0, 1.0, 120)) for mood in moods]
    for metric in ("mean latency", "throughput"):
        paired, broken = (row(compare_sides(base, side), metric).change for side in (new, new[::-1]))
        assert paired is not None
        assert broken is not None
        assert not (paired.low or 0) <= 1 <= (paired.high or 0)
        assert (broken.low or 0) <= 1 <= (broken.high or 0)


def test_gpu_utilization_is_shown_where_a_gpu_was_sampled() -> None:
    """Mean over rounds and GPUs: (10 + 30 + 20 + 40) / 4; peak: the highest of all."""
    samples = [{("gpu0", "utilization"): [(1, a)], ("gpu1", "utilization"): [(1, b)]} for a, b in ((10.0, 30.0), (20.0, 40.0))]
    base = [make_run([10.0] * 50, samples={**s, ("server", "cpu_utilization"): [(1, 99.0)]}) for s in samples]
    comparison = compare_sides(base, [make_run([10.0] * 50)] * 2)
    assert [r.metric for r in comparison.rows[4:6]] == ["mean GPU utilization", "peak GPU utilization"]
    assert [value(r.base) for r in comparison.rows[4:6]] == [25.0, 40.0]
    assert [(r.new, r.change, r.better) for r in comparison.rows[4:6]] == [(None, None, None)] * 2


@pytest.mark.parametrize(("device", "name"), [("server", "server CPU"), ("host", "machine CPU")])
def test_cpu_utilization_stands_in_where_no_gpu_was_sampled(device: str, name: str) -> None:
    """The server's, or the machine's where the server's processes were not seen."""
    sides = [[make_run([10.0] * 50, samples={(device, "cpu_utilization"): [(1, level)]})] * 3 for level in (20.0, 60.0)]
    r = row(compare_sides(*sides), f"mean {name} utilization")
    assert (value(r.base), value(r.new)) == (20.0, 60.0)
    assert r.change == Estimate(3.0, pytest.approx(3.0), pytest.approx(3.0), "x")


def test_an_error_rate_of_nothing_has_no_change() -> None:
    """5 % against nothing is not a number of times more."""
    bad = rounds(2, requests=100, errors=dict.fromkeys(range(5), "status"))
    r = row(compare_sides(rounds(1, requests=100), bad), "error rate")
    assert (value(r.base), value(r.new), r.change) == (0.0, pytest.approx(5.0), None)


def test_one_invalid_round_makes_a_side_invalid_and_is_named() -> None:
    """The reason says which round; the other side stays valid."""
    broken = [*rounds(2, 2), *rounds(3, 1, errors={0: "answer"})]
    comparison = compare_sides(rounds(1), broken)
    assert comparison.base_reasons == ()
    assert [r.code for r in comparison.new_reasons] == ["wrong_answers"]
    assert comparison.new_reasons[0].message.startswith("round 3: ")
    assert not comparison.valid
    assert compare_sides(rounds(1), rounds(2)).valid


def test_a_side_without_rounds_or_without_answers_is_no_exception() -> None:
    """It is INVALID, and its cells are empty."""
    for new in ([], [make_run([5.0] * 50, errors=dict.fromkeys(range(50), "connect"))] * 3, [make_run([])] * 3):
        comparison = compare_sides(rounds(1), new)
        assert comparison.new_reasons
        assert row(comparison, "mean latency").new is None
        assert row(comparison, "mean latency").change is None


@given(st.integers(0, 2**32 - 1))
def test_swapping_the_sides_inverts_every_change(seed: int) -> None:
    """A twice as fast as B is B half as fast as A, with the interval turned over."""
    a, b = rounds(seed, 4, requests=130), rounds(seed + 1, 4, 1.3, requests=130)
    for there, back in zip(compare_sides(a, b).rows, compare_sides(b, a).rows, strict=True):
        if there.change is not None and back.change is not None:
            assert (there.change.low, there.change.high) == pytest.approx((1 / back.change.high, 1 / back.change.low))


def test_no_interval_of_a_utilization_goes_above_the_whole_machine():
    """Rounds of 80 and 100 % scatter widely, but there is no more than 100 %."""
    rounds = [make_run([10.0] * 100, samples={("server", "cpu_utilization"): [(500, share)]}) for share in (80.0, 100.0, 90.0)]
    row = next(r for r in compare_sides(rounds, rounds).rows if r.metric.startswith("mean server CPU"))
    assert isinstance(row.base, Estimate)
    assert row.base.high == 100.0
