"""NVIDIA's own client over HTTP, against servers that do not answer as they should."""

import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench import payloads, words
from bench.record import ERRORS
from bench.slo import Nanoseconds
from bench.targets import open_target
from bench.targets.base import CallReply
from bench.testing import make_workload
from bench.workload import Workload

GOOD = b'{"id":"%016x","model_name":"made","model_version":"1","outputs":[]}'
WORKLOAD = make_workload(timeout_ns=Nanoseconds(20 * 10**9))


def replied(body: bytes, head: bytes = b"HTTP/1.1 200 OK") -> bytes:
    return head + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def one_after_another(*replies: bytes | None) -> Callable[[Any], None]:
    """Says these, one a request, and closes; a None is a reset."""
    left = iter(replies)

    def script(connection: socket.socket) -> None:
        while True:
            head = b""
            while b"\r\n\r\n" not in head:
                if not (piece := connection.recv(65536)):
                    return
                head += piece
            size = int(head.lower().partition(b"\r\ncontent-length: ")[2].partition(b"\r\n")[0])
            got = len(head.partition(b"\r\n\r\n")[2])
            while got < size:
                got += len(connection.recv(65536))
            if (reply := next(left)) is None:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return
            connection.sendall(reply)
            if reply.startswith(b"HTTP/1.1 200 OK\r\nContent-Length: 999") or not reply.startswith(b"HTTP"):
                return

    return script


def is_silent(connection: socket.socket) -> None:
    while connection.recv(65536):
        pass


@pytest.fixture
def call() -> Iterator[Callable[..., list[CallReply]]]:
    """Calls a server some times."""
    opened: list[Any] = []

    def calls(text: str, times: int, workload: Workload = WORKLOAD) -> list[CallReply]:
        target: Any = open_target(words.parse(f"{text}?client=tritonclient"), workload)
        opened.append(target)
        caller = target.caller(payloads.make(workload))
        return [caller(0, n) for n in range(times)]

    yield calls
    for target in opened:
        target.close()


@pytest.mark.parametrize(
    ("bad", "error", "status", "message"),
    [
        (b"", "closed", 0, "the connection was closed"),
        (None, "closed", 0, "the connection was closed"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{",
            "protocol",
            0,
            "no reply that tritonclient can read: HTTPParseError",
        ),
        (b"SSH-2.0-OpenSSH_9.9\r\n", "protocol", 0, "no reply that tritonclient can read: HTTPParseError"),
        (replied(b"{half"), "protocol", 0, "no reply that tritonclient can read"),
        (replied(b'{"error":"too busy"}', b"HTTP/1.1 503 No"), "status", 503, "HTTP 503: too busy"),
        (replied(b"<h1>No</h1>", b"HTTP/1.1 502 Bad Gateway"), "status", 502, "HTTP 502: <h1>No</h1>"),
        (replied(GOOD % 77), "protocol", 200, "carries the id 000000000000004d"),
    ],
)
def test_a_call_that_fails_is_told_by_its_kind_and_the_next_is_made(
    bad: bytes | None, error: str, status: int, message: str, listen: Any, call: Any
) -> None:
    """A reply without outputs is the good one here: it is read, and judged by its shape."""
    port = listen(one_after_another(bad, replied(GOOD % 1)))
    first, second = call(f"triton-http://127.0.0.1:{port}", 2)
    assert (ERRORS[first.verdict.error], first.status) == (error, status)
    assert message in first.verdict.message
    assert second.status == 200, second.verdict


def test_where_nothing_listens_or_nothing_is_said_a_call_ends(nobody: str, listen: Any, call: Any) -> None:
    """As `connect`, and after the workload's timeout."""
    (refused,) = call(f"triton-http://{nobody}", 1)
    assert (ERRORS[refused.verdict.error], refused.verdict.message) == ("connect", "Connection refused")
    quick = msgspec.structs.replace(WORKLOAD, timeout_ns=Nanoseconds(200_000_000))
    (silent,) = call(f"triton-http://127.0.0.1:{listen(is_silent)}", 1, quick)
    assert (ERRORS[silent.verdict.error], silent.verdict.message) == ("timeout", "no reply within 200ms")


def test_a_connection_over_tls_that_is_closed_is_no_error_of_connecting(listen: Any, certificates: Path) -> None:
    """Whether or not TLS was ended first."""
    port = listen(one_after_another(b""), "localhost")
    options = f"?ca={certificates / 'ca.pem'},client=tritonclient"
    target: Any = open_target(words.parse(f"triton-http://localhost:{port}{options}"), WORKLOAD)
    verdict = target.caller(payloads.make(WORKLOAD))(0, 0).verdict
    assert ERRORS[verdict.error] == "closed", verdict.message


def test_a_certificate_that_is_not_accepted_is_an_error_of_connecting(listen: Any, nobody: str) -> None:
    """In the words of bench's own client."""
    port = listen(lambda connection: None, "localhost")
    target: Any = open_target(words.parse(f"triton-http://localhost:{port}?tls=on,client=tritonclient"), WORKLOAD)
    verdict = target.caller(payloads.make(WORKLOAD))(0, 0).verdict
    assert ERRORS[verdict.error] == "connect"
    assert verdict.message == "its certificate is not accepted: unable to get local issuer certificate"
