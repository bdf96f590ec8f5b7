"""A load in virtual time: exact, and at once."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench import mix, words
from bench.arrivals import Closed, Constant, Rate, Step, Steps
from bench.load import Outcome, Plan
from bench.load.inline import InlineLoad
from bench.record import ERRORS, NOT_COMPARED, Run
from bench.slo import Nanoseconds
from bench.testing import MS, FakeClock, make_mix, make_workload
from bench.workload import Check, Model, Payload, Workload

Play = Callable[..., tuple[Run, Outcome]]
NOW = 1000 * MS


@pytest.fixture
def play(tmp_path: Path, stored: Callable[[Path, Workload], Run]) -> Play:
    """Carries out a workload against an echo:// word; gives the run that lies on the disk, and the outcome."""

    def carry_out(word: str, **changes: Any) -> tuple[Run, Outcome]:
        workload = make_workload(**({"warmup_ns": Nanoseconds(0), "requests": 20} | changes))
        load = InlineLoad(FakeClock(NOW))
        load.prepare(Plan(workload, words.parse(word), tmp_path))
        outcome = load.run(lambda start, window: None, lambda progress: None)
        load.close()
        return stored(tmp_path, workload), outcome

    return carry_out


def latency_ms(run: Run) -> list[float]:
    """Latencies in the order of the ids, from the intended sends."""
    records = np.sort(run.records, order="id")
    return list((records["end_ns"] - records["intended_ns"]) / MS)


def test_users_who_share_one_slot_wait_for_each_other(play: Play) -> None:
    """4 users, one slot, 5 ms: at first 5, 10, 15 and 20 ms, then each waits for all 4: 20 ms exactly."""
    run, outcome = play("echo://?service=5ms", load=Closed(4))
    assert latency_ms(run)[:20] == [5, 10, 15, *[20] * 17]
    assert outcome.window_ns == (NOW, NOW + 100 * MS)


def test_users_come_and_go_with_the_steps(play: Play) -> None:
    """10 ms each, as many slots as users: 1 user makes 2 replies in 20 ms, 3 users 6, and 2 users 4."""
    steps = tuple(Step(users, Nanoseconds(20 * MS)) for users in (1, 3, 2))
    load = Steps(steps)
    run, _ = play("echo://?service=10ms,slots=8", load=load, requests=None, duration_ns=Nanoseconds(load.duration_ns))
    begun = (np.sort(run.records["intended_ns"]) - NOW) // MS
    assert begun.tolist() == [0, 10, 20, 20, 20, 30, 30, 30, 40, 40, 50, 50]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
@given(users=st.integers(1, 8), slots=st.integers(1, 8))
def test_littles_law_holds_exactly(play: Play, users: int, slots: int) -> None:
    """In a closed loop of service s the U users take turns on S slots: the mean latency comes to max(U/S, 1) x s."""
    run, _ = play(f"echo://?service=6ms,slots={slots}", load=Closed(users), requests=users * slots * 5)
    full_turns = latency_ms(run)[users : users + users * slots]
    assert np.mean(full_turns) == pytest.approx(max(users / slots, 1) * 6)


def test_below_capacity_latency_is_the_service_time(play: Play) -> None:
    """One send every 10 ms to a slot that takes 5 ms: none waits, none is late."""
    run, outcome = play("echo://?service=5ms", load=Constant(rate_hz=Rate(100), users=1))
    assert latency_ms(run) == [5] * 20
    assert outcome.details["late_without_connection"] == 0
    assert outcome.window_ns == (NOW, NOW + 200 * MS)


@pytest.mark.parametrize(("users", "late"), [(64, 0), (1, 19)])
def test_above_capacity_latency_grows_with_every_request(play: Play, users: int, late: int) -> None:
    """One send every 4 ms, 5 ms each: request n waits n ms more, whether in the server's line or for a connection."""
    run, outcome = play("echo://?service=5ms", load=Constant(rate_hz=Rate(250), users=users))
    assert latency_ms(run) == [5 + n for n in range(20)]
    assert outcome.details["late_without_connection"] == late
    records = np.sort(run.records, order="id")
    lag = (records["start_ns"] - records["intended_ns"]) / MS
    assert list(lag) == ([0] * 20 if users == 64 else list(range(20)))


def test_late_sends_of_the_warm_up_are_not_counted(play: Play) -> None:
    """20 ms of warm-up at one send every 4 ms: request 0 is on time, 1 to 4 are late in the warm-up, 20 in the window."""
    load = Constant(rate_hz=Rate(250), users=1)
    run, outcome = play("echo://?service=5ms", load=load, warmup_ns=Nanoseconds(20 * MS))
    assert len(run.records) == 25
    assert outcome.details["late_without_connection"] == 20


def test_two_slots_carry_twice_the_rate(play: Play) -> None:
    """One send every 4 ms to two slots of 5 ms: none waits."""
    run, _ = play("echo://?service=5ms,slots=2", load=Constant(rate_hz=Rate(250), users=8))
    assert latency_ms(run) == [5] * 20


def test_refused_and_wrong_replies_come_as_often_as_asked(play: Play) -> None:
    """fail=5 and wrong=4: of requests 1 to 20 the 5th, 10th, 15th and 20th are refused, the other multiples of 4 wrong."""
    run, outcome = play("echo://?service=1ms,fail=5,wrong=4", load=Closed(1))
    errors = [ERRORS[code] for code in np.sort(run.records, order="id")["error"]]
    expected = ["status" if n % 5 == 0 else "answer" if n % 4 == 0 else "" for n in range(1, 21)]
    assert errors == expected
    assert sorted(outcome.details["messages"]) == ["answer", "status"]


def test_a_workload_without_a_reference_compares_nothing(play: Play) -> None:
    """check.reference = false holds in virtual time too."""
    run, _ = play("echo://?service=1ms,wrong=2", check=Check(every=1, reference=False))
    assert set(run.records["check"]) == {NOT_COMPARED}
    assert set(run.records["error"]) == {0}


def test_a_load_of_a_duration_sends_up_to_its_end(play: Play) -> None:
    """10 ms of warm-up and 50 ms measured, 5 ms a request: 2 and 10 requests; the clock ends where the last reply came."""
    run, outcome = play("echo://?service=5ms", requests=None, warmup_ns=Nanoseconds(10 * MS), duration_ns=Nanoseconds(50 * MS))
    assert len(run.records) == 12
    assert outcome.window_ns == (NOW + 10 * MS, NOW + 60 * MS)
    assert outcome.details["sent"] == 12


def test_each_part_of_a_mix_is_answered_with_what_it_sent(play: Play) -> None:
    """Records name the request whose turn it is, and hold it to its own part's answer."""
    mixed = make_mix({"a": (3, 2), "b": (1, 3)})
    run, _ = play("echo://?wrong=5", mix=mixed.mix, model=Model(""), payload=Payload(), requests=100)
    records, turns = np.sort(run.records, order="id"), mix.turns(mixed)
    assert records["payload"].tolist() == [turns[n] for n in range(100)]
    assert (records["error"] == ERRORS.index("answer")).tolist() == [(n + 1) % 5 == 0 for n in range(100)]
