"""The engine over HTTP/2 and over TLS, against servers that do not answer as they should."""

import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.arrivals import Closed, Constant, Load, Rate
from bench.load.engine import Engine
from bench.load.null_server import Http2
from bench.load.phases import Phases
from bench.load.recorder import Recorder
from bench.record import ERRORS, STATUS
from bench.slo import Nanoseconds
from bench.targets.base import FINE, Verdict
from bench.testing import make_workload
from bench.wire import frames, grpc
from bench.wire.frames import frame
from bench.wire.http2 import Http2Line
from bench.wire.line import Reply, WireRequest

LIMIT_S, CLOSED = 20.0, Closed(1)
Run = Callable[..., tuple[list[str], dict[str, str]]]


class Calls:
    """A target whose requests are calls of gRPC, good where their status is."""

    line = Http2Line

    def __init__(self, address: tuple[str, int], tls: ssl.SSLContext | None) -> None:
        self.address, self.tls = address, tls

    def requests(self, payloads: Any) -> list[WireRequest]:
        block = frames.request_block("/made", "here", {}, self.tls is not None)
        return [WireRequest(bytearray(grpc.prefixed(b"0" * 16, 50_000)), 5, bytes(50_000), block) for _ in payloads]

    def judge(self, reply: Reply, id_: bytes) -> Verdict:
        return FINE if reply.head.status == grpc.OK and not reply.ended else Verdict(STATUS, grpc.problem(reply))

    def outputs(self, answer: Any) -> dict[str, np.ndarray]:
        return {}


@pytest.fixture
def run(pool: Any, drained: Callable[..., np.ndarray]) -> Run:
    """Three requests of one user: the kinds of error, and the first message of each."""

    def carry_out(
        port: int, tls: ssl.SSLContext | None = None, timeout_s: float = LIMIT_S, load: Load = CLOSED
    ) -> tuple[list[str], dict[str, str]]:
        timeout_ns = Nanoseconds(round(timeout_s * 1e9))
        workload = make_workload(warmup_ns=Nanoseconds(0), requests=3, timeout_ns=timeout_ns, load=load)
        requests = pool(Calls(("localhost", port), tls), workload)
        recorder = Recorder(requests)
        engine = Engine(requests, workload, recorder)
        engine.open_seat()
        limit = time.monotonic() + LIMIT_S
        while not engine.ready():
            assert time.monotonic() < limit
            time.sleep(0.005)
        engine.begin(Phases.of(workload, time.perf_counter_ns()))
        engine.join()
        assert engine.failure is None
        kinds = [ERRORS[code] for code in drained(recorder)["error"]]
        return kinds, {ERRORS[code]: message for code, message in recorder.messages.items()}

    return carry_out


def answers(change: Callable[[bytes, int], list[bytes]] = lambda reply, stream: [reply]) -> Callable[[Any], None]:
    """Answers each call well but for a change: (the frames of the answer, its stream) -> pieces; an empty one closes."""

    def script(connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        speaker, stream = Http2(), 1
        while data := connection.recv(65536):
            said = speaker.hear(memoryview(data))
            begin = said.find(bytes([frames.HEADERS, frames.END_HEADERS]) + stream.to_bytes(4, "big")) - 3
            if begin < 0:
                connection.sendall(said)
                continue
            connection.sendall(said[:begin])
            for piece in change(said[begin:], stream):
                if not piece:
                    return
                connection.sendall(piece)
            stream += 2

    return script


def literal(*fields: tuple[bytes, bytes]) -> bytes:
    return b"".join(b"\0" + bytes([len(k)]) + k + bytes([len(v)]) + v for k, v in fields)


def headers(stream: int, *fields: tuple[bytes, bytes], end: bool = True) -> bytes:
    return frame(frames.HEADERS, frames.END_HEADERS | (frames.END_STREAM if end else 0), stream, literal(*fields))


def in_pieces(reply: bytes, stream: int) -> list[bytes]:
    return [reply[at : at + 3] for at in range(0, len(reply), 3)]


def cut_short(reply: bytes, stream: int) -> list[bytes]:
    return [reply[:-10], b""]


def refuses(reply: bytes, stream: int) -> list[bytes]:
    return [headers(stream, (b":status", b"200"), (b"grpc-status", b"8"), (b"grpc-message", b"too%20busy"))]


def is_no_grpc(reply: bytes, stream: int) -> list[bytes]:
    return [headers(stream, (b":status", b"502"), end=False) + frame(frames.DATA, frames.END_STREAM, stream, b"bad gateway")]


def resets(reply: bytes, stream: int) -> list[bytes]:
    return [frame(frames.RST_STREAM, 0, stream, (7).to_bytes(4, "big"))]


def goes_away(reply: bytes, stream: int) -> list[bytes]:
    return [frame(frames.GOAWAY, 0, 0, (0).to_bytes(4, "big") + (11).to_bytes(4, "big") + b"slower"), b""]


def breaks_the_protocol(reply: bytes, stream: int) -> list[bytes]:
    return [frame(frames.DATA, 0, stream, b"x"), b""]


def says(data: bytes) -> Callable[[Any], None]:
    def script(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(data)
        while data and connection.recv(65536):
            pass

    return script


def is_silent(connection: socket.socket) -> None:
    while connection.recv(65536):
        pass


BAD = [
    (answers(), "", ""),
    (answers(in_pieces), "", ""),
    (answers(cut_short), "closed", "the connection was closed within a reply"),
    (answers(refuses), "status", "gRPC RESOURCE_EXHAUSTED: too busy"),
    (answers(is_no_grpc), "status", "HTTP 502 in place of a gRPC status (UNAVAILABLE): bad gateway"),
    (answers(resets), "status", "gRPC UNAVAILABLE: the server reset the stream: REFUSED_STREAM"),
    (answers(goes_away), "status", "the server takes no more requests on this connection: ENHANCE_YOUR_CALM slower"),
    (answers(breaks_the_protocol), "protocol", "data before the head of a reply"),
    (says(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "protocol", "not an HTTP/2 server: it begins with b'HTTP/1.1 400"),
    (says(b"\x15\x03\x01\x00\x02\x02\x46" * 2), "protocol", "not an HTTP/2 server"),
    (says(b""), "closed", ""),
    (is_silent, "timeout", "no reply within 150ms"),
]


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize(("script", "error", "message"), BAD)
def test_a_call_that_fails_is_recorded_with_its_kind(
    script: Any, error: str, message: str, secure: bool, listen: Any, run: Run, certificates: Path
) -> None:
    """In plain text and over TLS: three calls, three errors of a kind, and the user goes on to the next."""
    context = ssl.create_default_context(cafile=certificates / "ca.pem") if secure else None
    port = listen(script, "localhost" if secure else "")
    kinds, messages = run(port, context, 0.15 if script is is_silent else LIMIT_S)
    assert kinds == [error] * 3
    assert message in messages.get(error, "")


@pytest.mark.parametrize(
    ("certificate", "script", "message"),
    [
        ("expired", is_silent, "its certificate is not accepted: certificate has expired"),
        ("elsewhere", is_silent, "its certificate is not accepted: Hostname mismatch"),
        ("selfsigned", is_silent, "its certificate is not accepted: self-signed certificate"),
        ("", says(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "does the server speak TLS at this port?"),
        ("", says(b""), "TLS failed: unexpected eof"),
    ],
)
def test_tls_that_does_not_come_about_is_an_error_of_connecting(
    certificate: str, script: Any, message: str, listen: Any, run: Run, certificates: Path
) -> None:
    """Said in words, and tried again by the next request."""
    kinds, messages = run(listen(script, certificate), ssl.create_default_context(cafile=certificates / "ca.pem"))
    assert kinds == ["connect"] * 3
    assert message in messages["connect"]


def test_a_handshake_that_never_ends_is_given_up(listen: Any, run: Run) -> None:
    """After the workload's timeout, as a connection that is not there."""
    kinds, messages = run(listen(is_silent), ssl.create_default_context(), 0.15, Constant(Rate(50.0), users=1))
    assert set(kinds) == {"timeout"}
    assert messages["timeout"] == "no connection within 150ms"
