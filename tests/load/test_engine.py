"""The engine, on its own thread, against a scripted server."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import pytest

from bench import arrivals, payloads
from bench.arrivals import Closed, Constant, Poisson, Rate
from bench.load import engine as engines
from bench.load import traffic
from bench.load.answers import Reference
from bench.load.connections import PIECE
from bench.load.engine import Engine
from bench.load.phases import Phases
from bench.load.pool import Member, Pool
from bench.load.recorder import Recorder
from bench.load.traffic import waited_for
from bench.record import AT_ONCE, CONNECTING, ERRORS, OK, QUEUED, SAME
from bench.slo import Nanoseconds
from bench.targets.base import Verdict
from bench.testing import MS, make_workload
from bench.wire.line import Reply, Varying
from bench.workload import Check, DataType, Input, Payload, Workload

LIMIT_S = 20.0  # a wait this long means that it will never come


@dataclass(slots=True)
class Ended:
    """An engine that has ended, and what it recorded, in the order of the ids."""

    engine: Engine
    phases: Phases
    recorder: Recorder
    records: np.ndarray

    def errors(self) -> list[str]:
        return [ERRORS[code] for code in self.records["error"]]


def workload(**changes: Any) -> Workload:
    """One user who sends five requests, without a warm-up."""
    fields: dict[str, Any] = {"warmup_ns": Nanoseconds(0), "requests": 5, "timeout_ns": Nanoseconds(60 * 10**9)}
    return make_workload(**(fields | changes))


def every(ms: float, users: int, requests: int = 5, **changes: Any) -> Workload:
    return workload(load=Constant(rate_hz=Rate(1000 / ms), users=users), requests=requests, **changes)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.001)


@pytest.fixture
def run(plain: Any, pool: Any, drained: Callable[..., np.ndarray]) -> Iterator[Callable[..., Ended]]:
    """Carries out a workload against an address; `meanwhile` is called once it has begun."""
    engines_made: list[Engine] = []

    def carry_out(address: tuple[str, int], workload: Workload, meanwhile: Callable[[Engine], None] | None = None) -> Ended:
        target, tensors = plain(address), payloads.make(workload)
        requests = pool(target, workload, {"x": np.stack([t["x"] for t in tensors])})
        recorder = Recorder(requests)
        engine = Engine(requests, workload, recorder)
        engines_made.append(engine)
        for _ in range(workload.load.connections):
            engine.open_seat()
        wait_for(engine.ready)
        phases = Phases.of(workload, time.perf_counter_ns() + 5 * MS)
        engine.begin(phases)
        if meanwhile is not None:
            meanwhile(engine)
        wait_for(lambda: engine.finished)
        engine.join()
        assert engine.failure is None
        records = drained(recorder)
        return Ended(engine, phases, recorder, np.sort(records, order="id"))

    yield carry_out
    for engine in engines_made:
        engine.stop() if not engine.finished else None
        engine.join()


def test_a_closed_loop_sends_again_when_the_reply_came(serve: Any, run: Any) -> None:
    """One user: each request begins no sooner than the last reply, on one connection, and no more than asked for."""
    server = serve(lambda x: x.reply())
    ended = run(server.address, workload())
    records = ended.records
    assert ended.errors() == [""] * 5
    assert np.all(records["start_ns"][1:] >= records["end_ns"][:-1])
    assert np.all(records["end_ns"] > records["start_ns"])
    assert np.all(records["start_ns"] >= records["intended_ns"])
    assert (server.connections, len(server.requests)) == (1, 5)
    assert set(records["status"]) == {200}


def test_a_target_may_say_that_the_server_keeps_no_connections(
    serve: Any, run: Any, plain: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each request then has a connection of its own, though the replies' heads promise more."""
    monkeypatch.setattr(plain, "keeps_connections", False, raising=False)
    server = serve(lambda x: x.reply())
    ended = run(server.address, workload())
    assert ended.errors() == [""] * 5
    assert [request.turn for request in server.requests] == [0] * 5


def test_requests_carry_their_ids_and_payloads_in_turn(serve: Any, run: Any) -> None:
    """Ids are 0, 1, 2, ... on the wire and in the records; request n carries payload n mod the number of distinct ones."""
    server = serve(lambda x: x.reply())
    made = workload(load=Closed(3), requests=20)
    records = run(server.address, made).records
    sent = {request.id: request.body for request in server.requests}
    assert sorted(sent) == list(range(len(records))) == list(records["id"])
    assert list(records["payload"]) == [n % 4 for n in range(len(records))]
    bodies = [tensors["x"].tobytes() for tensors in payloads.make(made)]
    assert all(sent[n] == bodies[n % 4] for n in sent)
    assert set(records["check"]) == {SAME}


def test_the_last_reply_that_counts_ends_the_window_and_what_is_under_way_is_recorded(serve: Any, run: Any) -> None:
    """With 3 users, 20 replies end the window at the 20th, and the 2 requests still under way are recorded too."""
    server = serve(lambda x: x.reply())
    ended = run(server.address, workload(load=Closed(3), requests=20))
    ends = np.sort(ended.records["end_ns"])
    assert ended.phases.end_ns == ends[19]
    assert 20 <= len(ends) <= 22
    assert len(ends) == len(server.requests) == ended.engine.sent
    assert ended.engine.unsent == 0


@pytest.mark.parametrize("load", [Constant(rate_hz=Rate(500), users=3), Poisson(rate_hz=Rate(500), users=3)])
def test_an_open_loop_intends_its_schedule_exactly(serve: Any, run: Any, load: Constant | Poisson) -> None:
    """Intended sends are the start plus the schedule's offsets, to the nanosecond, and nothing is sent before its time."""
    ended = run(serve(lambda x: x.reply()).address, workload(load=load, requests=30))
    intended = ended.records["intended_ns"]
    assert sorted(intended - ended.phases.start_ns) == list(islice(arrivals.offsets_ns(load, seed=1), 30))
    assert np.all(ended.records["start_ns"] >= intended)


def test_a_warm_up_is_recorded_before_the_window(serve: Any, run: Any) -> None:
    """One send every 5 ms: 20 ms of warm-up are 4 records before the window, and the 6 asked for lie in it."""
    ended = run(serve(lambda x: x.reply()).address, every(5, users=4, requests=6, warmup_ns=Nanoseconds(20 * MS)))
    intended, phases = ended.records["intended_ns"], ended.phases
    assert np.count_nonzero(intended < phases.window_ns) == 4
    assert np.count_nonzero((intended >= phases.window_ns) & (intended < phases.end_ns)) == 6
    assert len(intended) == 10


def test_a_send_that_finds_no_connection_free_is_late_and_its_latency_says_so(serve: Any, run: Any) -> None:
    """All five fall due while the only connection waits for the first reply: four wait in line, and wait from their time."""

    def script(x: Any) -> None:
        x.wait()
        x.reply()

    server = serve(script)

    def release(engine: Engine) -> None:
        wait_for(lambda: engine.late >= 4)
        server.gate.set()

    ended = run(server.address, every(2, users=1), release)
    records = ended.records
    assert ended.engine.late == 4
    waited = records[1:]
    assert np.all(waited["start_ns"] >= records["end_ns"][0])
    assert np.all(waited["start_ns"] > waited["intended_ns"])
    assert np.all(np.diff(records["intended_ns"]) == 2 * MS)


@pytest.mark.parametrize(
    ("released", "now", "waited"), [(1, 50, QUEUED), (40, 80, QUEUED), (40, 79, AT_ONCE), (0.9, 0.9, QUEUED)]
)
def test_a_send_is_late_for_what_took_longer(released: float, now: float, waited: int) -> None:
    """In ms; due at 0, released by the pacer, then given a connection: an engine that came late is not excused by the rest."""
    assert waited_for(QUEUED, 0, round(released * MS), round(now * MS)) == waited


def test_late_sends_of_the_warm_up_are_not_counted(serve: Any, run: Any) -> None:
    """Ten fall due while the only connection is held; the first was sent, of the others six belong to the warm-up."""

    def script(x: Any) -> None:
        x.wait()
        x.reply()

    server = serve(script)

    def release(engine: Engine) -> None:
        wait_for(lambda: engine.late >= 3 and engine.phases is not None and engine.phases.end_ns < time.perf_counter_ns())
        server.gate.set()

    ended = run(server.address, every(2, users=1, requests=3, warmup_ns=Nanoseconds(14 * MS)), release)
    assert len(ended.records) == 10
    assert ended.engine.late == 3


def in_two(x: Any) -> None:
    from_server = b"HTTP/1.1 200 OK\r\nX-Request-Id: %016x\r\nContent-Length: 16\r\n\r\n" % x.request.id + x.request.body
    for at in range(0, len(from_server), 10):
        x.send(from_server[at : at + 10])


def slowly(x: Any) -> None:
    time.sleep(0.02)
    x.reply()


def chunked(x: Any) -> None:
    x.send(b"HTTP/1.1 200 OK\r\nX-Request-Id: %016x\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n" % x.request.id)
    x.send(x.request.body + b"\r\n0\r\n\r\n")


def until_closed(x: Any) -> None:
    x.send(b"HTTP/1.1 200 OK\r\nX-Request-Id: %016x\r\n\r\n" % x.request.id + x.request.body)
    x.close()


@pytest.mark.parametrize("script", [in_two, slowly, chunked, until_closed])
def test_a_reply_in_any_form_is_one_good_reply(serve: Any, run: Any, script: Any) -> None:
    """In many segments, slow, chunked or ended by closing, its content is that of the request."""
    ended = run(serve(script).address, workload())
    assert ended.errors() == [""] * 5
    assert set(ended.records["check"]) == {SAME}


def test_a_connection_that_the_server_ends_politely_costs_no_request(serve: Any, run: Any) -> None:
    """After "Connection: close" the user goes on over a new one."""

    def script(x: Any) -> None:
        x.reply(extra="Connection: close\r\n")
        x.close()

    server = serve(script)
    ended = run(server.address, workload())
    assert ended.errors() == [""] * 5
    assert ended.engine.reconnects == 5
    assert [request.turn for request in server.requests] == [0] * 5


def closes(x: Any) -> None:
    x.close()


def closes_within_a_reply(x: Any) -> None:
    x.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf")
    x.close()


def talks_garbage(x: Any) -> None:
    x.send(b"SSH-2.0-OpenSSH_9.9\r\n")


def is_unavailable(x: Any) -> None:
    x.reply(status="503 Service Unavailable", body=b"busy")


def never_replies(x: Any) -> None:
    x.wait()


@pytest.mark.parametrize(
    ("script", "error", "status", "words"),
    [
        (closes, "closed", 0, "before the reply began"),
        (closes_within_a_reply, "closed", 0, "after 4 bytes of its body"),
        (talks_garbage, "protocol", 0, "not an HTTP/1.1 reply: it begins with b'SSH-2.0"),
        (is_unavailable, "status", 503, "HTTP 503"),
        (never_replies, "timeout", 0, "no reply within 100ms"),
    ],
)
def test_a_request_that_fails_is_recorded_with_its_kind(
    serve: Any, run: Any, script: Any, error: str, status: int, words: str
) -> None:
    """Each of three requests ends as the same kind of error, the first of which says what was seen; the user goes on."""
    timeout_ns = Nanoseconds(100 * MS if error == "timeout" else 60 * 10**9)
    ended = run(serve(script).address, workload(requests=3, timeout_ns=timeout_ns))
    assert ended.errors() == [error] * 3
    assert list(ended.records["status"]) == [status] * 3
    assert words in ended.recorder.messages[ERRORS.index(error)]
    assert ended.recorder.errors == ended.recorder.done == 3


def test_a_timeout_is_no_shorter_than_it_was_set(serve: Any, run: Any) -> None:
    """A request is not given up before its time."""
    ended = run(serve(never_replies).address, workload(requests=2, timeout_ns=Nanoseconds(60 * MS)))
    assert np.all(ended.records["end_ns"] - ended.records["start_ns"] >= 60 * MS)


def test_a_server_that_is_down_is_not_hammered(nobody: tuple[str, int], run: Any) -> None:
    """Every try of a closed-loop user is an error "connect", and a rest lies between two of them."""
    ended = run(nobody, workload(requests=3))
    assert ended.errors() == ["connect"] * 3
    assert np.all(np.diff(ended.records["intended_ns"]) >= traffic.BACKOFF_NS)
    assert ended.engine.sent == 0


def test_every_scheduled_send_to_a_server_that_is_down_is_an_error(nobody: tuple[str, int], run: Any) -> None:
    """An open loop owes each of its sends an outcome: nothing is dropped because nobody listens."""
    ended = run(nobody, every(5, users=2, requests=12))
    assert ended.errors() == ["connect"] * 12
    assert sorted(ended.records["intended_ns"] - ended.phases.start_ns) == [n * 5 * MS for n in range(12)]
    assert ended.engine.unsent == 0


def test_requests_after_an_error_are_good_again(serve: Any, run: Any) -> None:
    """A server that closes each connection after two replies costs the third request on it, and only that."""
    server = serve(lambda x: x.reply() if x.request.turn < 2 else x.close())
    ended = run(server.address, workload(requests=7))
    assert ended.errors() == ["", "", "closed", "", "", "closed", ""]
    assert server.connections == 3


def test_a_large_request_arrives_whole(serve: Any, run: Any) -> None:
    """5 MB, more than any socket's buffer takes at once, to a server that is slow to read."""
    size = 5 * 2**20 // 4
    payload = Payload({"x": Input(DataType("FP32"), (1, size))}, distinct=2)
    server = serve(lambda x: x.reply(body=b""))
    made = workload(payload=payload, requests=4, load=Closed(2))
    ended = run(server.address, made)
    bodies = [tensors["x"].tobytes() for tensors in payloads.make(made)]
    assert all(request.body == bodies[request.id % 2] for request in server.requests)
    assert len(server.requests) == len(ended.records) >= 4


def test_an_unasked_for_reply_is_not_taken_for_the_next_one(serve: Any, run: Any) -> None:
    """What comes on a connection that waits for nothing ends that connection; the new one carries one request at a time."""
    last_is_due = threading.Event()

    def script(x: Any) -> None:
        if x.request.id == 1:
            last_is_due.wait(LIMIT_S)
        x.reply()
        if x.request.id == 0:
            x.wait()
            x.reply()

    server = serve(script)

    def release(engine: Engine) -> None:
        wait_for(lambda: engine._recorder.done == 1)
        server.gate.set()
        wait_for(lambda: engine.reconnects == 1)
        wait_for(lambda: engine.late == 1 or engine.sent == 3)
        last_is_due.set()

    ended = run(server.address, every(200, users=1, requests=3), release)
    assert ended.errors() == [""] * 3
    assert set(ended.records["check"]) == {SAME}


def test_a_stop_ends_what_never_replies_after_a_moment(serve: Any, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread ends; what was given up counts as asked for and not answered."""
    monkeypatch.setattr(engines, "GRACE_NS", 30 * MS)

    def stop(engine: Engine) -> None:
        wait_for(lambda: engine.sent == 2)
        engine.stop()

    ended = run(serve(never_replies).address, workload(load=Closed(2), requests=100), stop)
    assert ended.engine.unsent == 2
    assert len(ended.records) == 0
    assert ended.phases.end_ns <= time.perf_counter_ns()
    assert "engine" not in {thread.name for thread in threading.enumerate()}


def test_a_stop_waits_for_what_is_under_way(serve: Any, run: Any) -> None:
    """A reply that comes after the stop, within its grace, is recorded."""
    server = serve(lambda x: (x.wait(), x.reply()))

    def stop(engine: Engine) -> None:
        wait_for(lambda: engine.sent == 1)
        engine.stop()
        wait_for(lambda: engine.phases is not None and engine.phases.end_ns <= time.perf_counter_ns())
        server.gate.set()

    ended = run(server.address, workload(requests=100), stop)
    assert ended.errors() == [""]
    assert ended.engine.unsent == 0


def test_a_stop_before_the_start_sends_nothing(serve: Any, plain: Any, pool: Any) -> None:
    """An engine that was told to stop while it waited for the start ends at once."""
    server = serve(lambda x: x.reply())
    made = workload()
    requests = pool(plain(server.address), made)
    engine = Engine(requests, made, Recorder(requests))
    engine.open_seat()
    wait_for(engine.ready)
    engine.stop()
    wait_for(lambda: engine.finished)
    engine.join()
    assert (engine.failure, engine.sent, server.requests) == (None, 0, [])


def test_a_user_who_leaves_takes_the_connection_along(serve: Any, run: Any) -> None:
    """Two of three users leave while they wait for replies: theirs are recorded, and one user goes on."""

    def script(x: Any) -> None:
        if x.request.turn == 0:
            x.wait()
        x.reply()

    server = serve(script)

    def leave(engine: Engine) -> None:
        wait_for(lambda: engine.sent == 3)
        engine.close_seat()
        engine.close_seat()
        wait_for(lambda: engine._traffic._leaving == 2)
        server.gate.set()

    ended = run(server.address, workload(load=Closed(3), requests=10), leave)
    assert ended.errors() == [""] * len(ended.records)
    assert sorted(request.turn for request in server.requests)[:4] == [0, 0, 0, 1]
    assert max(request.turn for request in server.requests) >= 7


def test_a_user_who_comes_later_sends_at_once(serve: Any, run: Any) -> None:
    """The second user's first request is answered while the first user still waits for the first reply."""
    server = serve(lambda x: (x.wait() if x.request.id == 0 else None, x.reply()))

    def come(engine: Engine) -> None:
        wait_for(lambda: engine.sent == 1)
        engine.open_seat()
        wait_for(lambda: engine._recorder.done >= 3)
        server.gate.set()

    assert run(server.address, workload(requests=4), come).errors()[0] == ""


def test_what_a_send_waited_for_is_recorded(serve: Any, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first waits for its connection to stand, those that find it busy for it to be free, the last for nothing."""
    monkeypatch.setattr(traffic, "LATE_NS", 1 << 62)  # however late the engine is on this machine
    server = serve(lambda x: (x.wait() if x.request.id == 0 else None, x.reply()))

    def release(engine: Engine) -> None:
        wait_for(lambda: engine.late >= 2)
        server.gate.set()

    ended = run(server.address, every(40, users=1, requests=8), release)
    waited = list(ended.records["waited"])
    assert waited[0] == CONNECTING
    assert waited[1:3] == [QUEUED] * 2
    assert waited[-1] == AT_ONCE


def test_a_server_that_accepts_and_closes_is_not_hammered(serve: Any, run: Any) -> None:
    """A connection that brought nothing is as good as refused: the user rests before the next."""
    server = serve(lambda x: x.close())
    ended = run(server.address, workload(requests=3))
    assert ended.errors() == ["closed"] * 3
    starts = ended.records["intended_ns"]
    assert np.all(np.diff(starts) >= traffic.BACKOFF_NS)


class Knowing:
    """What the stand-in target has besides: where its replies vary, and a count of those that it judged."""

    judged: int
    rooms: set[int]  # for what is read at once, of the connections at the end

    def varying(self, reply: Reply, id_: bytes) -> Varying:
        """The id is in the head, so many bytes before the body; all of that is contents."""
        behind = f"\r\nContent-Length: {len(reply.body)}\r\n\r\n"
        return Varying(-16 - len(behind), ((0, len(reply.body)),))


@pytest.fixture
def knowing(plain: Any, monkeypatch: pytest.MonkeyPatch) -> type:
    """The stand-in target, whose replies may be known by their bytes."""

    class Target(Knowing, plain):  # type: ignore[misc]
        def judge(self, reply: Reply, id_: bytes) -> Verdict:
            Knowing.judged += 1
            verdict: Verdict = super().judge(reply, id_)
            return verdict

    Knowing.judged = 0
    return Target


@pytest.fixture
def run_knowing(knowing: type, pool: Any, drained: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """Carries out a workload; its records in the order of the ids."""

    def carry_out(address: tuple[str, int], workload: Workload) -> np.ndarray:
        tensors = payloads.make(workload)
        recorder = Recorder(requests := pool(knowing(address), workload, {"x": np.stack([t["x"] for t in tensors])}))
        engine = Engine(requests, workload, recorder)
        for _ in range(workload.load.connections):
            engine.open_seat()
        wait_for(engine.ready)
        engine.begin(Phases.of(workload, time.perf_counter_ns() + 5 * MS))
        wait_for(lambda: engine.finished)
        engine.join()
        assert engine.failure is None
        Knowing.rooms = {seat.room for seat in engine._traffic.connections.seats.values()}
        return np.sort(drained(recorder), order="id")

    return carry_out


@pytest.mark.parametrize("load", [Closed(2), Constant(rate_hz=Rate(500), users=2)])
def test_a_reply_that_repeats_a_good_one_is_recorded_as_that_without_being_judged(
    serve: Any, run_knowing: Callable[..., np.ndarray], load: Any
) -> None:
    """But for the first on each connection, the first to each payload, and those that are compared."""
    server = serve(lambda x: x.reply())
    records = run_knowing(server.address, workload(load=load, requests=60, check=Check(every=20)))
    assert set(records["error"]) == {OK}
    assert set(records["status"]) == {200}
    assert sorted(records["id"]) == list(range(len(records)))
    assert np.all(records["end_ns"] > records["start_ns"])
    assert set(records["id"][records["check"] == SAME]) == {0, 1, 2, 3, 20, 40, 60} & set(records["id"])
    assert 4 <= Knowing.judged < 20


def test_a_small_reply_that_repeats_is_read_into_a_small_place(serve: Any, run_knowing: Callable[..., np.ndarray]) -> None:
    """With room for one byte more, which would show that it is not all."""
    run_knowing(serve(lambda x: x.reply()).address, workload(requests=20, check=Check(every=1000)))
    (room,) = Knowing.rooms
    assert 80 < room < 100


def test_a_reply_that_comes_in_parts_leaves_large_reads_as_they_are(serve: Any, run_knowing: Callable[..., np.ndarray]) -> None:
    """Its last part is small, and says nothing of the next reply."""

    def reply(x: Any) -> None:
        whole = f"HTTP/1.1 200 OK\r\nX-Request-Id: {x.request.id:016x}\r\nContent-Length: {len(x.request.body)}\r\n\r\n"
        x.send(whole.encode() + x.request.body[:-4])
        time.sleep(0.005)
        x.send(x.request.body[-4:])

    records = run_knowing(serve(reply).address, workload(requests=10, check=Check(every=1000)))
    assert set(records["error"]) == {OK}
    assert Knowing.rooms == {PIECE}


def test_a_large_reply_among_small_ones_makes_reads_large_again(serve: Any, run_knowing: Callable[..., np.ndarray]) -> None:
    """The small place is full at once, and that is the last time."""

    def reply(x: Any) -> None:
        large = x.request.id == 15
        x.reply(body=bytes(50_000) if large else x.request.body)

    records = run_knowing(serve(reply).address, workload(requests=30, check=Check(every=1000)))
    assert set(records["error"]) == {OK}
    assert Knowing.rooms == {PIECE}


def test_replies_to_several_models_are_each_judged_by_their_own(serve: Any, knowing: Any, drained: Any) -> None:
    """What is good for one model may be none for another, though the bytes are the same."""
    server, made = serve(lambda x: x.reply()), workload(requests=20, check=Check(every=1000))
    member = Member(made, knowing(server.address), payloads.make(made), Reference(made.check, {}))
    engine = Engine(pool := Pool([member, member]), made, recorder := Recorder(pool))
    engine.open_seat()
    wait_for(engine.ready)
    engine.begin(Phases.of(made, time.perf_counter_ns() + 5 * MS))
    wait_for(lambda: engine.finished)
    engine.join()
    assert Knowing.judged == len(drained(recorder))


def test_a_bad_reply_among_those_that_repeat_is_found(serve: Any, run_knowing: Callable[..., np.ndarray]) -> None:
    """Another id, another status, another length: each is one error, and those after it are good again."""

    def reply(x: Any) -> None:
        match x.request.id:
            case 20:
                head = f"HTTP/1.1 200 OK\r\nX-Request-Id: {21:016x}\r\nContent-Length: {len(x.request.body)}\r\n\r\n"
                x.send(head.encode() + x.request.body)
            case 25:
                x.reply(status="503 Busy")
            case 30:
                x.reply(body=x.request.body[:-1])
            case _:
                x.reply()

    records = run_knowing(serve(reply).address, workload(requests=40, check=Check(every=1000)))
    assert [ERRORS[code] for code in records["error"][[19, 20, 21, 25, 26]]] == ["", "protocol", "", "status", ""]
    assert set(np.flatnonzero(records["error"])) == {20, 25}
    assert Knowing.judged < 20


def test_a_reply_that_nobody_asked_for_is_no_repetition(serve: Any, run_knowing: Callable[..., np.ndarray]) -> None:
    """Though its bytes are those of the one before it."""
    sent_twice = threading.Event()

    def reply(x: Any) -> None:
        x.reply()
        if x.request.id == 10:
            time.sleep(0.02)  # until that reply was taken for itself
            with contextlib.suppress(OSError):
                x.reply()
            sent_twice.set()

    made = workload(load=Constant(rate_hz=Rate(20), users=1), requests=13, check=Check(every=1000))
    records = run_knowing(serve(reply).address, made)
    assert sent_twice.is_set()
    assert len(records) == 13
    assert set(records["error"]) == {OK}
