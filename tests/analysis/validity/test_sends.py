"""Whether the generator sent what was asked, when it was asked."""

from typing import Any

import numpy as np
import pytest

from bench.analysis.validity import validity
from bench.arrivals import Constant, Ramp, Rate, Stage
from bench.record import AT_ONCE, CONNECTING, QUEUED, Run
from bench.slo import Nanoseconds
from bench.testing import Stream, make_run, make_stream_run, make_stream_workload, make_workload


def reasons(run: Run) -> list[str]:
    return [r.code for r in validity(run)[0]]


def warnings(run: Run) -> list[str]:
    return [w.code for w in validity(run)[1]]


def open_run(lag_ms: Any = 0.0, latency_ms: float = 20.0, count: int = 200, **fields: Any) -> Run:
    """200 requests, one every 10 ms, each answered after 20 ms; the window is as long as the schedule."""
    return make_run([latency_ms] * count, every_ms=10, lag_ms=lag_ms, window_ms=(0, 10 * count), **fields)


def late(*, of: int, sends: int, by_ms: float) -> np.ndarray:
    """The lag of `sends` sends of which `of` are late."""
    return np.where(np.arange(sends) < of, by_ms, 0.0)


@pytest.mark.parametrize(("unsent", "expected"), [(2, []), (3, ["rate_not_reached"])])
def test_a_schedule_of_which_more_than_one_in_a_hundred_was_not_sent_is_not_reached(unsent: int, expected: list[str]) -> None:
    """198 of 200 sends are 99 %; 198 of 201 are less."""
    assert reasons(open_run(count=198, load={"unsent": unsent})) == expected


def test_a_send_after_the_end_of_the_window_was_not_made_in_it() -> None:
    """The last three of 200 sends left when the window was over: 98.5 %, though none was left out."""
    lag = np.where(np.arange(200) >= 197, 100.0, 0.0)
    run = open_run(latency_ms=200.0, lag_ms=lag, waited=QUEUED)
    assert reasons(run) == ["rate_not_reached"]


@pytest.mark.parametrize(
    ("latency_ms", "lag_ms", "late_sends", "expected"),
    [
        (20.0, 1.9, 200, []),  # a tenth of the median latency
        (20.0, 2.1, 2, []),  # one in a hundred
        (20.0, 2.1, 3, ["generator_saturated"]),
        (5.0, 0.9, 200, []),  # below a millisecond
        (5.0, 1.1, 3, ["generator_saturated"]),
    ],
)
def test_late_sends_with_connections_free_are_the_generators_fault(
    latency_ms: float, lag_ms: float, late_sends: int, expected: list[str]
) -> None:
    """Late is what lags by more than 1 ms and a tenth of the median latency, in more than 1 % of the sends."""
    run = open_run(lag_ms=late(of=late_sends, sends=200, by_ms=lag_ms), latency_ms=latency_ms)
    assert reasons(run) == expected


def test_sends_that_waited_for_a_connection_warn_and_leave_the_run_valid() -> None:
    """Lateness for want of a connection is what callers with so many connections would see; one more is the engine's."""
    run = open_run(lag_ms=late(of=50, sends=200, by_ms=5.0), waited=[QUEUED] * 49 + [AT_ONCE] * 151)
    assert reasons(run) == []
    assert warnings(run) == ["connections_busy"]


def test_a_busy_engine_spoils_an_open_loop_and_bounds_a_closed_one() -> None:
    """1.7 s of CPU in a window of 2 s: what an open loop sends may be late, what a closed loop reaches may be its own limit."""
    busy = {"engine_cpu_s": 1.7}
    assert (reasons(open_run(load=busy)), warnings(open_run(load=busy))) == (["generator_saturated"], [])
    closed = make_run([10.0] * 200, load=busy)
    assert (reasons(closed), warnings(closed)) == ([], ["generator_bound"])
    assert reasons(open_run(load={"engine_cpu_s": 1.5})) == []


def test_a_closed_loop_owes_nothing_to_a_schedule() -> None:
    """Lag means nothing where the reply decides when the next request is sent."""
    assert validity(make_run([20.0] * 200, lag_ms=10.0)) == ((), ())


def test_requests_that_a_closed_loop_gave_up_are_not_passed_over() -> None:
    """They have no record, and what is left looks better than the server was; an interrupted run says what it is anyway."""
    assert reasons(make_run([20.0] * 200, load={"unsent": 1})) == ["given_up"]
    assert reasons(make_run([20.0] * 200, load={"unsent": 1}, status="partial")) == ["interrupted"]


def test_a_stream_is_sent_late_by_the_measure_of_its_first_token() -> None:
    """20 ms of lag are nothing to a reply of 2 s, but a fifth of a TTFT of 100 ms."""
    workload = make_stream_workload(load=Constant(rate_hz=Rate(100.0)))
    made = [Stream(10.0 * n, [100, 2000], lag_ms=20.0) for n in range(200)]
    assert reasons(make_stream_run(made, window_ms=(0, 2000), workload=workload)) == ["generator_saturated"]
    punctual = [s._replace(lag_ms=5.0) for s in made]
    assert reasons(make_stream_run(punctual, window_ms=(0, 2000), workload=workload)) == []


@pytest.mark.parametrize("first", [0, 40])
def test_sends_that_had_to_connect_first_are_not_the_engines_fault(first: int) -> None:
    """3 late sends of 200 are too many; 40 that waited for a new connection are warned of and leave the run valid."""
    lag = late(of=first + 3, sends=200, by_ms=5.0)
    found = open_run(lag_ms=lag, waited=[CONNECTING] * first + [AT_ONCE] * (200 - first))
    assert (reasons(found), warnings(found)) == (["generator_saturated"], ["connecting"] * bool(first))
    assert reasons(open_run(lag_ms=lag, waited=CONNECTING)) == []


@pytest.mark.parametrize(("ceiling_hz", "expected"), [(140.0, ["generator_saturated"]), (144.0, [])])
def test_an_open_loop_above_seven_tenths_of_the_ceiling_is_invalid(ceiling_hz: float, expected: list[str]) -> None:
    """100/s are 71 % of 140/s and 69 % of 144/s; the latency is spoiled, not what was asked for."""
    run = open_run(load={"ceiling": {"rate_hz": ceiling_hz}})
    assert reasons(run) == expected
    if expected:
        (reason,) = validity(run)[0]
        assert reason.spoils == "latency"
        assert "took 100 requests a second of a generator that reaches 140/s here" in reason.message


def test_a_closed_loop_near_the_ceiling_is_bound_by_the_generator() -> None:
    """100 requests of 10 ms, one after the other: 100/s."""
    run = make_run([10.0] * 100, load={"ceiling": {"rate_hz": 120.0}})
    assert (reasons(run), warnings(run)) == ([], ["generator_bound"])
    assert validity(run)[1][0].spoils == "throughput"
    assert warnings(make_run([10.0] * 100, load={"ceiling": {"rate_hz": 1200.0}})) == []


def test_late_sends_are_said_before_a_ceiling() -> None:
    """What happened is worth more than what might have."""
    run = open_run(lag_ms=5.0, load={"ceiling": {"rate_hz": 101.0}})
    (reason,) = validity(run)[0]
    assert "200 of 200 requests were sent more than 2 ms late" in reason.message


def test_a_load_that_changes_is_held_to_its_busiest_part() -> None:
    """100/s for 1 s, then nothing for 1 s: above the ceiling of 120/s while it lasts, though 50/s on average."""
    stages = (Stage(Rate(100.0), Nanoseconds(10**9)), Stage(Rate(1.0), Nanoseconds(10**9)))
    ramp = make_workload(load=Ramp(rate_hz=Rate(100.0), stages=stages))
    run = make_run([5.0] * 100, every_ms=10, window_ms=(0, 2000), workload=ramp, load={"ceiling": {"rate_hz": 120.0}})
    assert reasons(run) == ["generator_saturated"]
    assert "took 102 requests a second" in validity(run)[0][0].message


LOCUST = {"driver": "mine.py (Locust 2.47.0)"}


def test_the_load_of_a_users_own_locust_file_owes_nothing_to_the_schedule_of_the_workload() -> None:
    """The workload asks for 100/s; sends that were late, or that a schedule would have made besides, say nothing."""
    run = open_run(lag_ms=late(of=50, sends=200, by_ms=5.0), load=LOCUST)
    assert validity(run) == ((), ())
    assert reasons(open_run(load=LOCUST | {"unsent": 3})) == ["given_up"]


@pytest.mark.parametrize(("busy_s", "expected"), [(1.5, []), (1.7, [("generator_bound", "latency")])])
def test_users_on_greenlets_that_wait_for_one_another_spoil_the_latency(busy_s: float, expected: list[Any]) -> None:
    """In 1.7 s of a window of 2 s one of them had the thread, and the others could not look at their replies."""
    run = make_run([10.0] * 200, load=LOCUST | {"engine_cpu_s": busy_s})
    assert [(w.code, w.spoils) for w in validity(run)[1]] == expected
