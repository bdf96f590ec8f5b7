"""When a load starts, measures and ends."""

from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from bench import arrivals
from bench.arrivals import Closed, Constant, Poisson, Rate
from bench.load.phases import NEVER, Phases
from bench.slo import Nanoseconds
from bench.testing import MS, make_workload


def test_a_load_of_a_duration_ends_after_warm_up_and_duration() -> None:
    """Start 1000, 20 ms of warm-up, 100 ms measured."""
    made = make_workload(warmup_ns=Nanoseconds(20 * MS), duration_ns=Nanoseconds(100 * MS))
    phases = Phases.of(made, 1000)
    assert (phases.start_ns, phases.window_ns, phases.end_ns) == (1000, 1000 + 20 * MS, 1000 + 120 * MS)
    phases.replied(phases.window_ns, phases.window_ns + 1)
    assert phases.end_ns == 1000 + 120 * MS


def test_a_closed_loop_that_counts_ends_with_the_last_reply_that_counts() -> None:
    """Replies to requests of the warm-up do not count, those of the window do; what comes later changes nothing."""
    phases = Phases.of(make_workload(warmup_ns=Nanoseconds(100), requests=2), 0)
    assert phases.end_ns == NEVER
    phases.replied(99, 150)
    phases.replied(100, 160)
    assert phases.end_ns == NEVER
    phases.replied(120, 170)
    assert phases.end_ns == 170
    phases.replied(120, 180)
    assert phases.end_ns == 170


def test_an_end_that_was_set_by_a_stop_is_not_put_off() -> None:
    """A reply that completes the count after the stop leaves the window where the stop put it."""
    phases = Phases.of(make_workload(warmup_ns=Nanoseconds(0), requests=1), 0)
    phases.end_ns = 50
    phases.replied(10, 90)
    assert phases.end_ns == 50


def test_a_schedule_that_counts_ends_where_one_send_more_would_fall() -> None:
    """Every 10 ms after a warm-up of 25 ms: sends at 30, 40, 50, and the next at 60 is outside."""
    made = make_workload(every_ms=10, warmup_ns=Nanoseconds(25 * MS), requests=3)
    phases = Phases.of(made, 7)
    assert (phases.window_ns, phases.end_ns) == (7 + 25 * MS, 7 + 60 * MS)


@given(requests=st.integers(1, 50), warmup_ms=st.integers(0, 50), seed=st.integers(1, 9), poisson=st.booleans())
def test_a_schedule_that_counts_has_as_many_sends_in_its_window(
    requests: int, warmup_ms: int, seed: int, poisson: bool
) -> None:
    """Of any schedule exactly `requests` sends lie in [window, end)."""
    load = (Poisson if poisson else Constant)(rate_hz=Rate(700))
    phases = Phases.of(make_workload(load=load, seed=seed, requests=requests, warmup_ns=Nanoseconds(warmup_ms * MS)), 0)
    offsets = islice(arrivals.offsets_ns(load, seed), 500)
    assert sum(phases.window_ns <= offset < phases.end_ns for offset in offsets) == requests


def test_users_do_not_move_the_phases() -> None:
    """A closed loop of many users has the phases of one."""
    assert Phases.of(make_workload(load=Closed(9)), 5) == Phases.of(make_workload(), 5)


def test_what_is_under_way_is_given_up_two_timeouts_after_the_end_but_streams_may_take_as_long_again_as_the_run() -> None:
    """A run of 100 ms: with a timeout of 20 ms, plain replies have 40 ms and streams 100; with one of 80 ms both have 160."""
    phases = Phases(start_ns=1000, window_ns=1000, end_ns=1000 + 100 * MS, requests=None)
    assert [phases.limit_ns(20 * MS, streams) - phases.end_ns for streams in (False, True)] == [40 * MS, 100 * MS]
    assert [phases.limit_ns(80 * MS, streams) - phases.end_ns for streams in (False, True)] == [160 * MS, 160 * MS]
