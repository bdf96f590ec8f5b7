"""The stand-ins that are shipped for tests."""

from datetime import timedelta

import numpy as np
import pytest

from bench.testing import START, FakeClock, Stream, make_run, make_stream_run


def test_the_fake_clock_moves_only_when_it_is_told_to() -> None:
    """Reading it takes no time; sleeping and advancing do."""
    clock = FakeClock(5)
    assert (clock.now_ns(), clock.now_ns()) == (5, 5)
    clock.sleep_until(2_000_000)
    clock.advance(1_000_000)
    assert clock.now_ns() == 3_000_000
    assert clock.wall() - START == timedelta(milliseconds=3)


def test_sleeping_until_a_time_that_has_passed_takes_no_time() -> None:
    """The fake clock never goes back."""
    clock = FakeClock(100)
    clock.sleep_until(50)
    assert clock.now_ns() == 100


def test_a_made_run_of_one_user_sends_each_request_when_the_last_reply_came() -> None:
    """10, 20 and 30 ms one after the other fill a window of 60 ms."""
    run = make_run([10.0, 20.0, 30.0])
    assert list(run.records["intended_ns"] // 1_000_000) == [0, 10, 30]
    assert run.window_ns == (0, 60_000_000)
    assert len(run.measured()) == 3


def test_a_made_run_with_a_schedule_keeps_to_it_and_orders_records_by_completion() -> None:
    """Sends every 10 ms, the first answered last."""
    run = make_run([100.0, 5.0, 5.0], every_ms=10, lag_ms=[0.0, 1.0, 2.0], errors={1: "closed"})
    assert list(run.records["id"]) == [1, 2, 0]
    assert list((run.records["start_ns"] - run.records["intended_ns"]) // 1_000_000) == [1, 2, 0]
    assert list(np.flatnonzero(run.records["error"])) == [0]


def test_made_samples_come_in_the_order_of_time() -> None:
    """Two series, interleaved as a sampler writes them."""
    run = make_run([50.0], samples={("gpu0", "power_w"): [(20, 2.0), (0, 1.0)], ("host", "cpu_utilization"): [(10, 9.0)]})
    assert list(run.samples.t_ns // 1_000_000) == [0, 10, 20]
    assert run.samples.get("gpu0", "power_w")[1].tolist() == [1.0, 2.0]
    assert run.samples.devices("cpu_utilization") == ["host"]


def test_a_kind_of_error_that_does_not_exist_is_refused() -> None:
    """A test that misspells a kind fails where it stands."""
    with pytest.raises(ValueError, match="timed-out"):
        make_run([1.0], errors={0: "timed-out"})


def test_a_made_run_of_streams_has_the_pieces_of_each_record() -> None:
    """Records are in the order of completion, and their pieces with them; a piece holds one token where none is said."""
    run = make_stream_run(
        [Stream(10, [5, 30]), Stream(0, [1, 2], [0, 3], lag_ms=0.5), Stream(0, [], error="timeout", end_ms=50)]
    )
    assert run.chunks is not None
    assert list(run.records["id"]) == [1, 0, 2]
    assert [[column.tolist() for column in run.chunks.of_record(n)] for n in range(3)] == [
        [[1_000_000, 2_000_000], [0, 3]], [[15_000_000, 40_000_000], [1, 1]], [[], []],
    ]  # fmt: skip
    assert list(run.records["start_ns"] - run.records["intended_ns"]) == [500_000, 0, 0]
    assert run.window_ns == (0, 50_000_000)
    with pytest.raises(ValueError, match="brokn"):
        make_stream_run([Stream(0, [1], error="brokn")])
