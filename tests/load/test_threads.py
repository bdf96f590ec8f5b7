"""The engine for targets that are called, with a scripted target."""

import threading
import time
from collections.abc import Callable
from itertools import islice
from typing import Any

import numpy as np
import pytest

from bench import arrivals, payloads
from bench.arrivals import Closed, Constant, Rate
from bench.load import threads as engines
from bench.load.answers import Reference
from bench.load.phases import Phases
from bench.load.pool import Member, Pool
from bench.load.recorder import Recorder
from bench.load.threads import CallEngine
from bench.payloads import Prompt
from bench.record import ERRORS, SAME, STALLED
from bench.slo import Nanoseconds
from bench.targets.base import FINE, CallReply, Streamed, Verdict
from bench.testing import MS, make_workload
from bench.workload import Check, Generate, Payload, Workload

LIMIT_S = 20.0  # a wait this long means that it will never come


class Scripted:
    """Does with each call (payload, id) what `script` says, then answers the payload's tensors; remembers who called."""

    def __init__(self, script: Callable[[int, int], object] = lambda payload, number: None) -> None:
        self._script = script
        self.callers = 0
        self.calls: list[tuple[int, int]] = []

    def caller(self, payloads: Any) -> Callable[[int, int], CallReply]:
        self.callers += 1

        def call(payload: int, number: int) -> CallReply:
            self.calls.append((payload, number))
            self._script(payload, number)
            return CallReply(200, FINE, payloads[payload])

        return call

    def outputs(self, answer: Any) -> Any:
        return answer


def workload(**changes: Any) -> Workload:
    """One user who sends five requests, without a warm-up."""
    return make_workload(**({"warmup_ns": Nanoseconds(0), "requests": 5} | changes))


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.001)


def made_for(target: Scripted, workload: Workload) -> tuple[CallEngine, Recorder]:
    requests = payloads.make(workload)
    answers: dict[int, Any] = {} if workload.payload.generate else dict(enumerate(requests))
    pool = Pool([Member(workload, target, requests, Reference(Check(tolerance=1e-3), answers))])
    recorder = Recorder(pool)
    return CallEngine(pool, workload, recorder), recorder


def started(target: Scripted, workload: Workload) -> tuple[CallEngine, Recorder]:
    engine, recorder = made_for(target, workload)
    for _ in range(workload.load.connections):
        engine.open_seat()
    wait_for(engine.ready)
    engine.begin(Phases.of(workload, time.perf_counter_ns() + 5 * MS))
    return engine, recorder


def finish(engine: CallEngine) -> None:
    wait_for(lambda: engine.finished)
    engine.join()
    assert engine.failure is None


@pytest.fixture(autouse=True)
def no_thread_stays() -> Any:
    """Every thread that a test started has ended when it ends."""
    before = set(threading.enumerate())
    yield
    wait_for(lambda: set(threading.enumerate()) <= before)


def test_every_user_calls_again_when_the_reply_came(drained: Any) -> None:
    """Three users, each with a caller of its own, make at least the 20 calls asked for; ids and payloads go in turn."""
    target, made = Scripted(), workload(load=Closed(3), requests=20)
    engine, recorder = started(target, made)
    finish(engine)
    records = np.sort(drained(recorder), order="id")
    assert target.callers == 3
    assert 20 <= len(records) <= 22
    assert sorted(target.calls, key=lambda c: c[1]) == [(n % 4, n) for n in range(len(records))]
    assert list(records["id"]) == list(range(len(records)))
    assert list(records["payload"]) == [n % 4 for n in range(len(records))]
    assert set(records["check"]) == {SAME}
    assert engine.sent == len(records)


def test_a_schedule_is_intended_exactly(drained: Any) -> None:
    """Intended sends are the start plus the schedule's offsets, and no call begins before its time."""
    load = Constant(rate_hz=Rate(500), users=3)
    target, made = Scripted(), workload(load=load, requests=30)
    engine, recorder = started(target, made)
    finish(engine)
    records = np.sort(drained(recorder), order="intended_ns")
    assert engine.phases is not None
    assert list(records["intended_ns"] - engine.phases.start_ns) == list(islice(arrivals.offsets_ns(load, seed=1), 30))
    assert np.all(records["start_ns"] >= records["intended_ns"])


def test_sends_that_find_no_thread_free_are_late_but_in_the_warm_up(drained: Any) -> None:
    """Ten fall due while the only user is held: the six that wait and belong to the warm-up are not counted."""
    gate = threading.Event()
    made = workload(load=Constant(rate_hz=Rate(500), users=1), requests=3, warmup_ns=Nanoseconds(14 * MS))
    target = Scripted(lambda payload, number: gate.wait(LIMIT_S))
    engine, recorder = started(target, made)
    wait_for(lambda: engine.late >= 3 and engine.phases is not None and engine.phases.end_ns < time.perf_counter_ns())
    gate.set()
    finish(engine)
    records = np.sort(drained(recorder), order="id")
    assert engine.late == 3
    assert len(records) == 10
    assert np.all(records["start_ns"][1:] >= records["end_ns"][0])
    assert np.all(np.diff(records["intended_ns"]) == 2 * MS)


def test_a_call_that_raises_is_an_error_of_the_server(drained: Any) -> None:
    """The load goes on, and the message says what was raised."""

    def script(payload: int, number: int) -> None:
        if number == 1:
            raise ZeroDivisionError("by the server")

    target = Scripted(script)
    engine, recorder = started(target, workload())
    finish(engine)
    records = drained(recorder)
    assert [ERRORS[code] for code in records["error"]] == ["", "status", "", "", ""]
    assert recorder.messages == {ERRORS.index("status"): "ZeroDivisionError: by the server"}


def test_a_stop_ends_a_schedule_whose_next_send_is_far_away(drained: Any) -> None:
    """One send an hour: stopped after the first, all threads end, the pacer's too."""
    target = Scripted()
    engine, recorder = started(target, workload(load=Constant(rate_hz=Rate(1 / 3600), users=2), requests=3))
    wait_for(lambda: recorder.done == 1)
    engine.stop()
    finish(engine)
    assert len(drained(recorder)) == 1
    assert (engine.sent, engine.unsent) == (1, 0)


def test_a_stop_counts_what_was_due_and_never_sent(drained: Any) -> None:
    """Four sends wait for the only user when the stop comes; the one under way is still recorded."""
    gate = threading.Event()
    target = Scripted(lambda payload, number: gate.wait(LIMIT_S))
    engine, recorder = started(target, workload(load=Constant(rate_hz=Rate(500), users=1)))
    wait_for(lambda: engine.late == 4)
    engine.stop()
    gate.set()
    finish(engine)
    assert len(drained(recorder)) == 1
    assert (engine.sent, engine.unsent) == (1, 4)


def test_a_call_that_never_returns_is_given_up_after_a_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    """The run ends without it."""
    monkeypatch.setattr(engines, "GRACE_S", 0.03)
    gate = threading.Event()
    target = Scripted(lambda payload, number: gate.wait(LIMIT_S))
    engine, recorder = started(target, workload())
    wait_for(lambda: engine.sent == 1)
    assert not engine.finished
    engine.stop()
    wait_for(lambda: engine.finished)
    assert recorder.done == 0
    gate.set()


@pytest.mark.parametrize("load", [Closed(2), Constant(rate_hz=Rate(500), users=2)])
def test_a_stop_before_the_start_sends_nothing(load: Any) -> None:
    """Users who wait for the start end when told to stop instead."""
    target, made = Scripted(), workload(load=load)
    engine, _ = made_for(target, made)
    for _ in range(2):
        engine.open_seat()
    wait_for(engine.ready)
    engine.stop()
    finish(engine)
    assert target.calls == []


def test_a_call_that_takes_longer_than_the_timeout_is_an_error_though_it_answers(drained: Any) -> None:
    """A target in process cannot be cut short, but what comes too late is no success."""
    target = Scripted(lambda payload, number: time.sleep(0.02))
    engine, recorder = started(target, workload(requests=2, timeout_ns=Nanoseconds(10 * MS)))
    finish(engine)
    records = drained(recorder)
    assert {ERRORS[code] for code in records["error"]} == {"timeout"}


def test_a_backlog_is_given_up_two_timeouts_after_the_end(drained: Any) -> None:
    """An overloaded schedule ends, and what was never sent is counted."""
    load = Constant(rate_hz=Rate(1000), users=1)
    made = make_workload(
        load=load, warmup_ns=Nanoseconds(0), duration_ns=Nanoseconds(200 * MS), timeout_ns=Nanoseconds(50 * MS)
    )
    target = Scripted(lambda payload, number: time.sleep(0.02))
    engine, recorder = started(target, made)
    finish(engine)
    records = drained(recorder)
    assert len(records) + engine.unsent == 200
    assert engine.unsent >= 100
    assert np.all(records["start_ns"] <= engine.phases.end_ns + 2 * 50 * MS + 20 * MS + 10**9)  # type: ignore[union-attr]


class Streaming(Scripted):
    """Answers with a stream of two tokens, and takes longer than the timeout for it."""

    def caller(self, payloads: Any) -> Callable[[int, int], CallReply]:
        call = super().caller(payloads)

        def stream(payload: int, number: int) -> CallReply:
            call(payload, number)
            began = time.perf_counter_ns()
            time.sleep(0.02)
            verdict = FINE if number != 1 else Verdict(STALLED, "it fell silent")
            return CallReply(0, verdict, [began, time.perf_counter_ns()][: 2 - (number == 1)])

        return stream

    def streamed(self, answer: list[int], prompt: Prompt) -> Streamed:
        return Streamed(answer, [1] * len(answer), {"tokens": np.zeros(len(answer), np.int64)}, FINE)


def test_the_answer_of_a_call_that_streams_is_taken_apart(written: Any) -> None:
    """One stream fell silent and keeps the piece that came; to take longer than the timeout is no error of a stream."""
    made = workload(payload=Payload(generate=Generate(prompt_tokens=3, output_tokens=2)), timeout_ns=Nanoseconds(10 * MS))
    engine, recorder = made_for(Streaming(), made)
    engine.open_seat()
    wait_for(engine.ready)
    engine.begin(Phases.of(made, time.perf_counter_ns() + 5 * MS))
    finish(engine)
    kept = written(recorder)
    assert [ERRORS[code] for code in kept.records["error"]] == ["", "stalled", "", "", ""]
    assert [tokens for _, tokens in kept.streams().values()] == [[1, 1], [1], [1, 1], [1, 1], [1, 1]]
    assert recorder.messages == {STALLED: "it fell silent"}


def test_a_stream_that_goes_on_for_ever_is_given_up_and_counted() -> None:
    """It never falls silent, so nothing else would end the run."""
    gate = threading.Event()
    made = workload(
        payload=Payload(generate=Generate(prompt_tokens=3, output_tokens=2)),
        requests=None, duration_ns=Nanoseconds(30 * MS), timeout_ns=Nanoseconds(10 * MS),
    )  # fmt: skip
    engine, _ = made_for(Streaming(lambda payload, number: gate.wait(LIMIT_S)), made)
    engine.open_seat()
    wait_for(engine.ready)
    engine.begin(Phases.of(made, time.perf_counter_ns() + 5 * MS))
    wait_for(lambda: engine.finished)
    engine.join()
    gate.set()
    assert (engine.sent, engine.unsent) == (1, 1)
