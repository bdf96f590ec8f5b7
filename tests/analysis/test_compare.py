"""Two sides or more, metric by metric."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.analysis.compare import Row, SideComparison, compare_sides
from bench.analysis.estimate import Estimate, QuantileClaim
from bench.record import Run
from bench.slo import Nanoseconds, Slo
from bench.testing import Stream, make_run, make_stream_run, make_stream_workload, make_workload


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
        change = row(comparison, metric).changes[0]
        assert change is not None
        assert change.low is not None
        assert change.high is not None
        assert change.low < change.value < change.high
        assert change.value == pytest.approx(expected, rel=0.1)
        assert max(change.low, 1 / change.high) > 2 or min(change.high, 1 / change.low) < 0.5


def test_the_change_is_nearly_the_ratio_of_the_two_values_shown() -> None:
    """It is the rounds' own, one by one, which is the same but for what rounds differ by."""
    for r in compare_sides(rounds(3), rounds(4, factor=1.5)).rows:
        base, new = value(r.values[0]), value(r.values[1])
        if r.changes[0] is not None and r.metric != "error rate" and base is not None and new is not None:
            assert r.changes[0].value == pytest.approx(new / base, rel=0.03)


def test_rounds_too_short_for_a_p99_claim_one_together() -> None:
    """6 x 120 requests are more than 459 and 6 x 70 are fewer."""
    assert value(row(compare_sides(rounds(1), rounds(2)), "P99 latency").values[0]) is not None
    short = row(compare_sides(rounds(1), rounds(2, requests=70)), "P99 latency")
    assert short.values[1] == QuantileClaim(0.99, None, 459, 420)
    assert short.changes[0] is None


@pytest.mark.parametrize(("base", "new", "interval"), [(2, 6, False), (6, 2, False), (3, 3, True), (3, 5, True)])
def test_a_change_has_an_interval_where_both_sides_have_three_rounds(base: int, new: int, interval: bool) -> None:
    """Two rounds tell nothing about the scatter between rounds."""
    comparison = compare_sides(rounds(1, base, requests=300), rounds(2, new, requests=300))
    for metric in ("mean latency", "P50 latency", "P99 latency", "throughput"):
        change = row(comparison, metric).changes[0]
        assert change is not None
        assert (change.low is not None) == (change.high is not None) == interval


def test_a_single_run_a_side_has_intervals_from_blocks_and_a_change_without_one() -> None:
    """Two stored runs can be set side by side; what differs between two days is not known from one."""
    r = row(compare_sides(rounds(1, 1, requests=2000), rounds(2, 1, requests=2000)), "mean latency")
    assert isinstance(r.values[0], Estimate)
    assert r.values[0].low is not None
    assert r.changes[0] is not None
    assert r.changes[0].low is None


def test_paired_rounds_share_their_noise() -> None:
    """Rounds that are slow on both sides tell a change of 5 % that is lost when the pairs are broken up."""
    rng = np.random.default_rng(8)
    moods = np.exp(0.2 * rng.standard_normal(8))
    numbered = [make_workload(round=n) for n in range(1, 9)]
    base = [make_run(mood * rng.gamma(30.0, 1.0, 120), workload=w) for mood, w in zip(moods, numbered, strict=True)]
    new = [make_run(1.05 * mood * rng.gamma(30.0, 1.0, 120), workload=w) for mood, w in zip(moods, numbered, strict=True)]
    for metric in ("mean latency", "throughput"):
        paired, broken = (row(compare_sides(base, side), metric).changes[0] for side in (new, new[::-1]))
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
    assert [value(r.values[0]) for r in comparison.rows[4:6]] == [25.0, 40.0]
    assert [(r.values[1], r.changes[0], r.better) for r in comparison.rows[4:6]] == [(None, None, None)] * 2


def test_gpu_memory_and_energy_are_told_where_a_gpu_was_sampled() -> None:
    """Memory: the peaks of both GPUs together, at the mean of rounds. Energy: 100 W for 0.5 s, of 50 requests: 1 J each."""

    def side(peak: float, watts: float) -> list[Run]:
        samples = {
            ("gpu0", "utilization"): [(1, 50.0)],
            ("gpu0", "memory_bytes"): [(1, peak), (2, 1.0)],
            ("gpu1", "memory_bytes"): [(1, 5.0)],
            ("gpu0", "energy_j"): [(0, 7.0), (400, 7.0 + 0.4 * watts)],
        }
        return [make_run([10.0] * 50, samples=samples)] * 3

    comparison = compare_sides(side(10.0, 100.0), side(15.0, 150.0))
    memory, energy = row(comparison, "GPU memory"), row(comparison, "energy a request")
    assert [value(v) for v in memory.values] == [15.0, 20.0]
    assert [value(v) for v in energy.values] == [pytest.approx(1.0), pytest.approx(1.5)]
    assert energy.changes[0] is not None
    assert energy.changes[0].value == pytest.approx(1.5)
    assert not [r for r in compare_sides(rounds(1), rounds(2)).rows if r.metric in ("GPU memory", "energy a request")]


@pytest.mark.parametrize(("device", "name"), [("server", "server CPU"), ("host", "machine CPU")])
def test_cpu_utilization_stands_in_where_no_gpu_was_sampled(device: str, name: str) -> None:
    """The server's, or the machine's where the server's processes were not seen."""
    sides = [[make_run([10.0] * 50, samples={(device, "cpu_utilization"): [(1, level)]})] * 3 for level in (20.0, 60.0)]
    r = row(compare_sides(*sides), f"mean {name} utilization")
    assert (value(r.values[0]), value(r.values[1])) == (20.0, 60.0)
    assert r.changes[0] == Estimate(pytest.approx(3.0), pytest.approx(3.0), pytest.approx(3.0), "x", pytest.approx(0.95))


def test_error_rates_differ_by_a_share_of_all_requests() -> None:
    """5 % against nothing is not a number of times more: it is five of a hundred, give or take."""
    bad = rounds(2, requests=100, errors=dict.fromkeys(range(5), "status"))
    r = row(compare_sides(rounds(1, requests=100), bad), "error rate")
    assert (value(r.values[0]), value(r.values[1])) == (0.0, pytest.approx(5.0))
    change = r.changes[0]
    assert change is not None
    assert (change.value, change.unit) == (pytest.approx(0.05), "share")
    assert 0.02 < (change.low or 0) < 0.05 < (change.high or 0) < 0.08


def test_one_invalid_round_makes_a_side_invalid_and_is_named() -> None:
    """The reason says which round; the other side stays valid."""
    broken = [*rounds(2, 2), *rounds(3, 1, errors={0: "answer"})]
    comparison = compare_sides(rounds(1), broken)
    assert comparison.reasons[0] == ()
    assert [r.code for r in comparison.reasons[1]] == ["wrong_answers"]
    assert comparison.reasons[1][0].message.startswith("round 3: ")
    assert not comparison.valid
    assert compare_sides(rounds(1), rounds(2)).valid


def test_a_side_without_rounds_or_without_answers_is_no_exception() -> None:
    """It is INVALID, and its cells are empty."""
    for new in ([], [make_run([5.0] * 50, errors=dict.fromkeys(range(50), "connect"))] * 3, [make_run([])] * 3):
        comparison = compare_sides(rounds(1), new)
        assert comparison.reasons[1]
        assert row(comparison, "mean latency").values[1] is None
        assert row(comparison, "mean latency").changes[0] is None


@given(st.integers(0, 2**32 - 1))
def test_swapping_the_sides_inverts_every_change(seed: int) -> None:
    """A twice as fast as B is B half as fast as A, with the interval turned over."""
    a, b = rounds(seed, 4, requests=130), rounds(seed + 1, 4, 1.3, requests=130)
    for there, back in zip(compare_sides(a, b).rows, compare_sides(b, a).rows, strict=True):
        if there.changes[0] is not None and back.changes[0] is not None and there.changes[0].unit == "x":
            assert (there.changes[0].low, there.changes[0].high) == pytest.approx(
                (1 / back.changes[0].high, 1 / back.changes[0].low)
            )


def test_no_interval_of_a_utilization_goes_above_the_whole_machine():
    """Rounds of 80 and 100 % scatter widely, but there is no more than 100 %."""
    rounds = [make_run([10.0] * 100, samples={("server", "cpu_utilization"): [(500, share)]}) for share in (80.0, 100.0, 90.0)]
    row = next(r for r in compare_sides(rounds, rounds).rows if r.metric.startswith("mean server CPU"))
    assert isinstance(row.values[0], Estimate)
    assert row.values[0].high == 100.0


# ---------------------------------------------------------------- more sides than two, and streams


def stream_rounds(seed: int, count: int = 3, requests: int = 20, factor: float = 1.0, **fields: Any) -> list[Run]:
    """`count` runs of streams of 10 tokens, the first after about 100 ms, then one every 10 ms or so, all x `factor`."""
    rng = np.random.default_rng(seed)
    runs = []
    for _ in range(count):
        times = np.cumsum(
            np.concatenate([rng.gamma(30, 100 / 30, (requests, 1)), rng.gamma(30, 1 / 3, (requests, 9))], axis=1), axis=1
        )
        runs.append(make_stream_run([Stream(200.0 * n, (factor * t).tolist()) for n, t in enumerate(times)], **fields))
    return runs


def test_all_sides_are_compared_with_the_first() -> None:
    """10, 20 and 40 ms: twice and four times the first, not twice the one before."""
    sides = [[make_run([ms] * 50)] * 3 for ms in (10.0, 20.0, 40.0)]
    r = row(compare_sides(*sides), "mean latency")
    assert [value(v) for v in r.values] == [10.0, 20.0, 40.0]
    assert [c and c.value for c in r.changes] == [pytest.approx(2.0), pytest.approx(4.0)]


@given(st.integers(0, 2**32 - 1), st.integers(2, 5))
def test_a_side_differs_from_the_first_alike_in_whatever_company(seed: int, count: int) -> None:
    """The comparison of several is the comparisons of two, side by side."""
    sides = [rounds(seed + n, 3, 1 + 0.1 * n, requests=60) for n in range(count)]
    together = compare_sides(*sides)
    for n, new in enumerate(sides[1:]):
        for mine, alone in zip(together.rows, compare_sides(sides[0], new).rows, strict=True):
            assert (mine.values[n + 1], mine.changes[n]) == (alone.values[1], alone.changes[0])


def test_streams_have_the_rows_of_their_tokens() -> None:
    """First what is waited for, then how fast it goes on, then the whole; goodput where a bound is stated."""
    workload = make_stream_workload(slo=Slo(ttft_ns=Nanoseconds(10**9)))
    metrics = [(r.metric, r.unit, r.better) for r in compare_sides(*(stream_rounds(n, workload=workload) for n in (1, 2))).rows]
    times = [
        "mean TTFT", "P50 TTFT", "P90 TTFT", "P99 TTFT", "P50 ITL", "P90 ITL", "P99 ITL", "longest gap", "mean TPOT",
        "mean latency", "P50 latency", "P90 latency", "P99 latency",
    ]  # fmt: skip
    rates = [("output tokens", "tok/s"), ("throughput", "req/s"), ("goodput", "req/s")]
    claimed = [(m, "" if m.startswith("P99") else "ms", "lower") for m in times]
    assert metrics == [*claimed, *((m, unit, "higher") for m, unit in rates), ("error rate", "%", "lower")]


def test_streams_twice_as_slow_are_shown_so() -> None:
    """TTFT, gaps and TPOT double; every change has its interval around it, from three rounds."""
    comparison = compare_sides(stream_rounds(1), stream_rounds(2, factor=2.0))
    for metric in ("mean TTFT", "P50 TTFT", "P90 TTFT", "P50 ITL", "P90 ITL", "mean TPOT", "mean latency"):
        change = row(comparison, metric).changes[0]
        assert change is not None
        assert change.low is not None
        assert change.high is not None
        assert change.low < change.value < change.high
        assert change.value == pytest.approx(2.0, rel=0.2)
    longest = row(comparison, "longest gap").changes[0]
    assert longest is not None
    assert longest.low is None


def test_tokens_of_all_rounds_are_counted_over_all_windows() -> None:
    """3 tokens in 30 ms and 3 in 60: 6 in 90."""
    side = [make_stream_run([Stream(0, [ms, 2 * ms, 3 * ms])]) for ms in (10, 20)]
    r = row(compare_sides(side, side), "output tokens")
    assert value(r.values[0]) == pytest.approx(6 / 0.09)


def test_a_side_that_was_not_streamed_has_no_tokens() -> None:
    """Its cells are empty, and the others' stand."""
    comparison = compare_sides([make_run([10.0] * 50)], stream_rounds(1, 1))
    for metric in ("mean TTFT", "P50 ITL", "longest gap", "mean TPOT", "output tokens"):
        r = row(comparison, metric)
        assert value(r.values[0]) is None
        assert value(r.values[1]) is not None or metric == "P99 ITL"
        assert r.changes == (None,)


def test_a_side_of_streams_without_rounds_or_answers_is_no_exception() -> None:
    """It is INVALID, and its cells are empty."""
    dead = make_stream_run([Stream(0, [], error="connect", end_ms=1)] * 50)
    single = make_stream_run([Stream(0, [10])] * 50)
    for new in ([], [dead] * 3, [make_stream_run([])] * 3, [single, *stream_rounds(3, 2)]):
        comparison = compare_sides(stream_rounds(1), new, stream_rounds(2))
        assert bool(comparison.reasons[1]) == (not new or new[0] is not single)
        assert not comparison.reasons[2]
