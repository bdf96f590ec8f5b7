"""Asking every distinct request once."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from bench import words
from bench import workload as workloads
from bench.errors import RunError
from bench.load import once
from bench.record import BROKEN, STATUS
from bench.targets.base import FINE, CallReply, Streamed, Verdict, WireRequest
from bench.wire.http1 import Http1Line
from bench.workload import Workload

WORD = words.parse("triton-http://127.0.0.1:1")
GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def make_workload(payload: dict[str, Any], timeout: str = "1s") -> Workload:
    document = {"name": "w", "model": {"name": "m"}, "payload": {"distinct": 3} | payload, "load": {"arrivals": "closed"}}
    return workloads.from_builtins(document | {"timeout": timeout}, "w.toml")


TENSORS = make_workload({"inputs": {"x": {"datatype": "FP32", "shape": [2]}}})
PROMPTS = make_workload({"generate": {"prompt_tokens": 4, "output_tokens": 2}})


class Wire:
    """A target on a socket, whose replies are good as long as they are whole."""

    line = Http1Line

    def __init__(self, address: tuple[str, int]) -> None:
        self.address, self.closed, self.ids = address, False, list[bytes]()

    def probe(self) -> None: ...

    def requests(self, payloads: Any) -> list[WireRequest]:
        return [WireRequest(bytearray(b"id" + b"0" * 16 + b"\n"), 2, b"body") for _ in payloads]

    def judge(self, reply: Any, id_: bytes) -> Verdict:
        self.ids.append(id_)
        return FINE if reply.head.status == 200 else Verdict(STATUS, f"HTTP {reply.head.status}")

    def outputs(self, answer: Any) -> dict[str, np.ndarray]:
        return {"y": np.frombuffer(answer.body, np.uint8)}

    def close(self) -> None:
        self.closed = True


class Stream(Wire):
    """The same, streaming."""

    def streamed(self, answer: Any, prompt: Any) -> Streamed:
        verdict = Verdict(BROKEN, answer.ended) if answer.ended else FINE
        return Streamed([t for t, _ in answer.marks], [prompt.max_tokens], {"tokens": prompt.ids}, verdict)


class Call:
    """A target that is called; every reply from the second on is as `verdict` says."""

    def __init__(self, verdict: Verdict = FINE) -> None:
        self.verdict, self.closed = verdict, False

    def probe(self) -> None: ...

    def caller(self, payloads: Any) -> Callable[[int, int], CallReply]:
        return lambda payload, number: CallReply(0, self.verdict if payload else FINE, payloads[payload])

    def outputs(self, answer: Any) -> Any:
        return answer

    def close(self) -> None:
        self.closed = True


@contextmanager
def serving(*replies: bytes) -> Iterator[tuple[str, int]]:
    """Answers one connection after another, each with its reply, and closes it."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            for reply in replies:
                connection, _ = server.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(reply)

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[:2]
        thread.join()


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Asks a made-up target; what progress was told is in `told`."""

    def ask_(target: Any, workload: Workload, told: list[float] | None = None) -> Any:
        monkeypatch.setattr(once, "open_target", lambda word, workload, onnx: target)
        return once.ask_all(WORD, workload, None, lambda share, words: (told if told is not None else []).append(share))

    return ask_


def test_each_request_is_asked_once_in_order(ask: Callable[..., Any]) -> None:
    """Over a connection of its own, under its own id; progress is told."""
    told: list[float] = []
    with serving(GOOD, GOOD, GOOD) as address:
        target = Wire(address)
        answers = ask(target, TENSORS, told)
    assert {n: a["y"].tobytes() for n, a in answers.items()} == {0: b"ok", 1: b"ok", 2: b"ok"}
    assert target.ids == [b"%016x" % n for n in range(3)]
    assert told == [1 / 3, 2 / 3, 1.0]
    assert target.closed


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", r"\(status\): HTTP 500"),
        (GOOD[:-1], r"\(closed\): the connection was closed within a reply"),
        (b"", r"\(closed\): the connection was closed before"),
        (b"nonsense", r"\(closed\): not an HTTP/1.1 reply"),
    ],
)
def test_a_request_that_is_not_answered_well_ends_it(reply: bytes, message: str, ask: Callable[..., Any]) -> None:
    """Its number and what was wrong; what came before is not kept."""
    with serving(GOOD, reply) as address:
        target = Wire(address)
        with pytest.raises(RunError, match=rf"request 1 was not answered well {message}.*; nothing was recorded"):
            ask(target, TENSORS)
    assert target.closed


def test_where_nothing_listens_it_is_told(ask: Callable[..., Any]) -> None:
    """As the first request's failure."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        with pytest.raises(RunError, match=r"request 0 was not answered well \(closed\): Connection refused"):
            ask(Wire(reserved.getsockname()), TENSORS)


def test_a_server_that_says_nothing_is_given_up(ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """After the workload's timeout, or a minute, whichever is longer."""
    monkeypatch.setattr(once, "PATIENCE_NS", 10**7)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        workload = make_workload({"inputs": {"x": {"datatype": "FP32", "shape": [2]}}}, timeout="50ms")
        with pytest.raises(RunError, match=r"request 0 was not answered well .*: no reply within 50ms"):
            ask(Wire(silent.getsockname()[:2]), workload)


def test_streams_are_taken_apart(ask: Callable[..., Any]) -> None:
    """Their outputs are tokens; one that broke off is no answer."""
    with serving(GOOD, GOOD, GOOD) as address:
        answers = ask(Stream(address), PROMPTS)
    assert [list(a) for a in answers.values()] == [["tokens"]] * 3
    assert len({a["tokens"].tobytes() for a in answers.values()}) == 3
    with serving(GOOD[:-1]) as address, pytest.raises(RunError, match=r"request 0 was not answered well \(broken\)"):
        ask(Stream(address), PROMPTS)


def test_targets_that_are_called_are_asked_too(ask: Callable[..., Any]) -> None:
    """And what they say is wrong is told."""
    good = Call()
    answers = ask(good, TENSORS)
    assert len({a["x"].tobytes() for a in answers.values()}) == 3
    bad = Call(Verdict(STATUS, "gRPC INTERNAL: no"))
    with pytest.raises(RunError, match=r"request 1 was not answered well \(status\): gRPC INTERNAL: no; nothing was recorded"):
        ask(bad, TENSORS)
    assert good.closed
    assert bad.closed


class Garbled(Wire):
    """A target whose replies cannot be taken apart."""

    def outputs(self, answer: Any) -> dict[str, np.ndarray]:
        raise ValueError("a text is longer than what is left")


class GarbledStream(Stream):
    """The same, streaming."""

    def streamed(self, answer: Any, prompt: Any) -> Streamed:
        raise KeyError("token")


@pytest.mark.parametrize(
    ("target", "workload", "problem"),
    [(Garbled, TENSORS, "ValueError: a text"), (GarbledStream, PROMPTS, "KeyError: 'token'")],
)
def test_a_reply_that_cannot_be_taken_apart_is_not_answered_well(
    target: type[Wire], workload: Workload, problem: str, ask: Callable[..., Any]
) -> None:
    """Whatever a server sent, the request is named and nothing is a traceback."""
    message = rf"request 0 was not answered well \(answer\): its outputs cannot be read: {problem}.*; nothing was recorded"
    with serving(GOOD) as address, pytest.raises(RunError, match=message):
        ask(target(address), workload)
