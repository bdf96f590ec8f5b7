"""One user's connection and what comes of the calls on it, against a scripted server and beside the engine."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest

from bench import payloads
from bench.load.calls import Call, Caller, Ended
from bench.load.engine import Engine
from bench.load.phases import Phases
from bench.load.recorder import Recorder
from bench.load.traffic import BACKOFF_NS
from bench.record import AT_ONCE, CLOSED, CONNECT, CONNECTING, OK, QUEUED, TIMEOUT
from bench.slo import Nanoseconds
from bench.testing import MS, make_workload
from bench.workload import DataType, Generate, Input, Payload, Workload

LIMIT_S = 20.0  # a wait this long means that it will never come
MINUTE = Nanoseconds(60 * 10**9)
PROMPTS = Payload(generate=Generate(prompt_tokens=5, output_tokens=4), distinct=2)


class Made:
    """A caller for a workload, and the calls that it carried."""

    def __init__(self, requests: Any, workload: Workload) -> None:
        self.parted = 0
        self.caller = Caller(requests, workload.timeout_ns, self.part)
        self.calls: list[Call] = []

    def part(self) -> None:
        self.parted += 1

    def carry(self, intended: int | None = None) -> Ended:
        """One call more, by default meant for now."""
        number = len(self.calls)
        self.calls.append(Call(number, number % 2, time.perf_counter_ns() if intended is None else intended))
        return self.caller.carry(self.calls[-1])


@pytest.fixture
def make(plain: Any, pool: Any) -> Iterator[Callable[..., Made]]:
    """Makes a caller for an address."""
    with ExitStack() as stack:

        def made(address: tuple[str, int], **changes: Any) -> Made:
            workload = make_workload(**({"timeout_ns": MINUTE} | changes))
            caller = Made(pool(plain(address), workload, requests=payloads.make(workload)), workload)
            stack.callback(caller.caller.close)
            return caller

        yield made


def head(x: Any) -> None:
    x.send(b"HTTP/1.1 200 OK\r\nX-Request-Id: %016x\r\nTransfer-Encoding: chunked\r\n\r\n" % x.request.id)


def streams(x: Any) -> None:
    head(x)
    x.send(b"2\r\n4\n\r\n")
    x.send(b"4\r\nend\n\r\n0\r\n\r\n")


def breaks_off(x: Any) -> None:
    head(x)
    x.send(b"2\r\n2\n\r\n")
    x.close()


def falls_silent(x: Any) -> None:
    head(x)
    x.send(b"2\r\n1\n\r\n")
    x.wait()


def breaks_the_protocol(x: Any) -> None:
    head(x)
    x.send(b"2\r\n3\n\r\nxyz\r\n")


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


def test_calls_go_over_one_connection_with_their_ids_and_payloads(serve: Any, make: Callable[..., Made]) -> None:
    """The first has to connect; each ends when its reply was there, which is handed on."""
    server = serve(lambda x: x.reply())
    made = make(server.address)
    ended = [made.carry() for _ in range(5)]
    assert [request.id for request in server.requests] == list(range(5))
    assert [request.body for request in server.requests] == [e.answer.body for e in ended if e.answer]
    assert (server.connections, made.parted) == (1, 0)
    assert [call.waited for call in made.calls] == [CONNECTING] + [AT_ONCE] * 4
    for call, (end, status, verdict, _) in zip(made.calls, ended, strict=True):
        assert call.intended <= call.start <= end <= time.perf_counter_ns()
        assert (status, verdict.error) == (200, OK)


@pytest.mark.parametrize(
    ("script", "payload"),
    [
        *((script, None) for script in (closes, closes_within_a_reply, talks_garbage, is_unavailable, never_replies)),
        *((script, PROMPTS) for script in (streams, breaks_off, falls_silent, breaks_the_protocol, closes, is_unavailable)),
        (never_replies, PROMPTS),
    ],
)
def test_a_call_is_recorded_as_the_engine_records_it(
    script: Any, payload: Any, serve: Any, plain: Any, streaming: Any, pool: Any, written: Any
) -> None:
    """The same error with the same words, status, and pieces of a stream, whoever sends."""
    timeout_ns = Nanoseconds(100 * MS if script in (never_replies, falls_silent) else MINUTE)
    workload = make_workload(
        warmup_ns=Nanoseconds(0), requests=1, timeout_ns=timeout_ns, **({"payload": payload} if payload else {})
    )
    found = []
    for send in (by_engine, by_caller):
        target = (streaming if payload else plain)(serve(script).address)
        requests = pool(target, workload, requests=payloads.make(workload))
        recorder = Recorder(requests)
        send(requests, workload, recorder)
        kept = written(recorder)
        fields = [kept.records[name][0].item() for name in ("id", "payload", "items", "status", "error", "check")]
        found.append((fields, recorder.messages, [chunks.of_record(0)[1].tolist() for chunks in kept.chunks][:1]))
    assert found[0] == found[1]


def by_engine(requests: Any, workload: Workload, recorder: Recorder) -> None:
    """One request."""
    engine = Engine(requests, workload, recorder)
    engine.open_seat()
    engine.begin(Phases.of(workload, time.perf_counter_ns()))
    deadline = time.monotonic() + LIMIT_S
    while not engine.finished and time.monotonic() < deadline:
        time.sleep(0.001)
    engine.join()


def by_caller(requests: Any, workload: Workload, recorder: Recorder) -> None:
    """The same."""
    made = Made(requests, workload)
    ended = made.carry()
    (call,) = made.calls
    recorder.add(0, 0, (call.intended, call.start, ended.end), ended.status, ended.verdict, ended.answer, call.waited)
    recorder.hand_over()
    made.caller.close()


def test_a_server_that_is_down_is_not_hammered(nobody: tuple[str, int], make: Callable[..., Made]) -> None:
    """The call is an error "connect"; the user is to rest before the next."""
    made = make(nobody)
    ended = made.carry()
    assert (ended.verdict.error, ended.verdict.message) == (CONNECT, "Connection refused")
    assert made.calls[0].start == ended.end
    assert made.caller.rest_until == ended.end + BACKOFF_NS


@pytest.mark.parametrize("script", [closes, never_replies])
def test_a_user_rests_after_a_connection_that_brought_nothing(script: Any, serve: Any, make: Callable[..., Made]) -> None:
    """Unless it was the server's silence, which was rest enough."""
    made = make(serve(script).address, timeout_ns=Nanoseconds(50 * MS))
    ended = made.carry()
    assert ended.verdict.error == (CLOSED if script is closes else TIMEOUT)
    assert (made.caller.rest_until > ended.end) == (script is closes)


def test_a_connection_that_the_server_closed_between_calls_costs_none_of_them(serve: Any, make: Callable[..., Made]) -> None:
    """A server with a short patience for idle connections, and a user who thinks for longer."""

    def replies_and_closes(x: Any) -> None:
        x.reply()
        x.close()

    made = make(serve(replies_and_closes).address)
    errors = []
    for _ in range(3):
        errors.append(made.carry().verdict.error)
        closed = time.monotonic() + LIMIT_S
        while made.caller._kept is not None and made.caller._kept.stands():
            assert time.monotonic() < closed, "it never came"
    assert (errors, made.parted) == ([OK] * 3, 2)
    assert [call.waited for call in made.calls] == [CONNECTING] * 3


@pytest.mark.parametrize(("extra", "keeps"), [("Connection: close\r\n", True), ("", False)])
def test_a_connection_that_is_not_kept_is_made_anew(
    extra: str, keeps: bool, serve: Any, plain: Any, make: Callable[..., Made], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Because the reply says so, or the target does."""
    monkeypatch.setattr(plain, "keeps_connections", keeps, raising=False)
    server = serve(lambda x: x.reply(extra=extra))
    made = make(server.address)
    assert [made.carry().verdict.error for _ in range(3)] == [OK] * 3
    assert (server.connections, made.parted) == (3, 3)


def test_a_call_that_was_meant_for_before_the_last_one_ended_has_waited_for_it(serve: Any, make: Callable[..., Made]) -> None:
    """A user has one connection."""
    made = make(serve(lambda x: x.reply()).address)
    begun = time.perf_counter_ns()
    for _ in range(2):
        made.carry(intended=begun)
    made.carry()
    assert [call.waited for call in made.calls] == [CONNECTING, QUEUED, AT_ONCE]


def test_two_calls_at_the_same_time_have_a_connection_each(serve: Any, make: Callable[..., Made]) -> None:
    """A task may send from greenlets of its own: the second call finds none free, and one of the two is kept."""
    server = serve(lambda x: x.reply())
    made = make(server.address)
    made.carry()
    errors = []
    send = made.caller._send

    def send_another_first(call: Call, talk: Any) -> None:
        made.caller._send = send  # type: ignore[method-assign]
        errors.append(made.carry().verdict.error)
        send(call, talk)

    made.caller._send = send_another_first  # type: ignore[method-assign]
    errors.append(made.carry().verdict.error)
    assert errors == [OK, OK]
    assert (server.connections, made.parted) == (2, 1)


@pytest.mark.parametrize("where", ["send", "recv"])
def test_a_call_that_is_interrupted_can_be_gone_on_with(
    where: str, serve: Any, make: Callable[..., Made], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a greenlet is that is killed while it sends 5 MB, or while it waits: nothing is sent twice."""
    size = 5 * 2**20 // 4
    server = serve(lambda x: x.reply(body=x.request.body[:64]))
    made = make(server.address, payload=Payload({"x": Input(DataType("FP32"), (1, size))}, distinct=2))
    asked = [0]

    class Interrupted(BaseException):
        pass

    class Interrupting(socket.socket):
        """Is interrupted at the second piece that it sends, or at the first that it waits for."""

        def send(self, *args: Any) -> int:
            self.interrupt("send", 2)
            return super().send(args[0][:100_000])

        def recv(self, *args: Any) -> bytes:
            self.interrupt("recv", 1)
            return super().recv(*args)

        def interrupt(self, what: str, turn: int) -> None:
            asked[0] += what == where
            if what == where and asked[0] == turn:
                raise Interrupted

    def connect(address: tuple[str, int], timeout: float) -> socket.socket:
        connection = Interrupting()
        connection.settimeout(timeout)
        connection.connect(address)
        return connection

    monkeypatch.setattr(socket, "create_connection", connect)
    call = Call(0, 0, time.perf_counter_ns())
    with pytest.raises(Interrupted):
        made.caller.carry(call)
    start = call.start
    ended = made.caller.carry(call)
    assert (ended.verdict.error, call.start) == (OK, start)
    assert [len(request.body) for request in server.requests] == [4 * size]
    assert ended.answer is not None
    assert ended.answer.body == server.requests[0].body[:64]
    assert np.frombuffer(ended.answer.body, np.float32).size == 16
