"""A request before the measurement, against a server of a few lines."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest

from bench import words
from bench.errors import RunError
from bench.targets import trial
from bench.targets.base import WireRequest
from bench.wire.http1 import Http1Line

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
WHOLE = HEAD + b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"

Serve = Callable[[bytes, bool], tuple[str, int]]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a server that answers one request with the given bytes, and closes the connection or keeps it."""
    with contextlib.ExitStack() as stack:

        def start(answer: bytes, closes: bool) -> tuple[str, int]:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

            def answer_one() -> None:
                connection = stack.enter_context(listener.accept()[0])
                connection.recv(65536)
                connection.sendall(answer)
                if closes:
                    connection.close()

            thread = threading.Thread(target=answer_one)
            thread.start()
            stack.callback(thread.join)
            host, port = listener.getsockname()
            return host, port

        yield start


def tried(address: tuple[str, int], timeout_ns: int = 10**9) -> trial.Trial:
    request = WireRequest(bytearray(b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n"), 0, b"")
    target = SimpleNamespace(address=address, line=Http1Line)
    return trial.send(words.parse("openai://{}:{}".format(*address)), target, request, timeout_ns)


@pytest.mark.parametrize("closes", [True, False])
def test_it_is_seen_whether_the_server_keeps_the_connection(serve: Serve, closes: bool) -> None:
    """A server that closes after each stream, and does not say so, would break every second request of a run."""
    found = tried(serve(WHOLE, closes))
    assert found.reply.body == b"onetwo"
    assert found.reply.marks[-1][1] == 6
    assert found.kept is not closes


def test_a_server_that_says_it_closes_is_believed(serve: Serve) -> None:
    """What stands in the head needs no waiting."""
    closing = WHOLE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1)
    assert not tried(serve(closing, True)).kept


def test_a_stream_that_breaks_off_is_handed_on_with_what_came(serve: Serve) -> None:
    """What it means is for the target to say."""
    found = tried(serve(HEAD + b"3\r\none\r\n3\r\nt", True))
    assert found.reply.body == b"onet"
    assert "closed within a reply" in found.reply.ended
    assert not found.kept


@pytest.mark.parametrize(
    ("answer", "reason"), [(b"", "closed before the reply began"), (b"SSH-2.0\r\n", "not an HTTP/1.1 reply")]
)
def test_no_reply_is_one_clear_error(serve: Serve, answer: bytes, reason: str) -> None:
    """The user hears which target, and what came instead."""
    with pytest.raises(RunError, match=rf"target openai://127.0.0.1:\d+: a trial request got no reply: .*{reason}"):
        tried(serve(answer, True))


def test_a_server_that_says_nothing_is_not_waited_for_without_end(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message has how long was waited."""
    monkeypatch.setattr(trial, "_PATIENCE_NS", 10**8)
    with pytest.raises(RunError, match="no reply to a trial request within 100ms"):
        tried(serve(b"", False), timeout_ns=10**7)
