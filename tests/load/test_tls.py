"""TLS on a socket that never blocks."""

import contextlib
import select
import socket
import ssl
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import payloads
from bench.load.engine import Engine
from bench.load.phases import Phases
from bench.load.recorder import Recorder
from bench.load.tls import TlsSocket
from bench.record import CONNECT, OK
from bench.slo import Nanoseconds
from bench.testing import make_workload

LIMIT_S = 20.0


def echoes(connection: ssl.SSLSocket) -> None:
    while data := connection.recv(65536):
        connection.sendall(data)


def trusting(certificates: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=certificates / "ca.pem")


def connect(port: int, context: ssl.SSLContext, host: str = "localhost") -> TlsSocket:
    """A connection whose handshake is done, driven by what it asks for."""
    plain = socket.create_connection(("127.0.0.1", port))
    plain.setblocking(False)
    made = TlsSocket(plain, context, host)
    try:
        while wanted := made.handshake():
            wait(made, wanted)
    except OSError:
        made.close()
        raise
    return made


def wait(made: TlsSocket, events: int) -> None:
    with select.epoll() as epoll:
        epoll.register(made.fileno(), events)
        assert epoll.poll(LIMIT_S)


def test_what_is_sent_in_many_buffers_comes_back(listen: Any, certificates: Path) -> None:
    """Three megabytes, more than is taken at once; whatever is decrypted and not yet taken is said to be pending."""
    made = connect(listen(echoes, "localhost"), trusting(certificates))
    data = np.random.default_rng(1).bytes(3_000_000)
    left, back = [memoryview(data)[at : at + 100_000] for at in range(0, len(data), 100_000)], bytearray()
    while len(back) < len(data):
        try:
            taken = made.sendmsg(left) if left else 0
            while left and taken >= len(left[0]):
                taken -= len(left.pop(0))
            if left:
                left[0] = left[0][taken:]
        except BlockingIOError:
            pass
        try:
            back += made.recv(1000)
            assert made.pending() >= 0
        except BlockingIOError:
            if not left:
                wait(made, select.EPOLLIN)
    made.close()
    assert bytes(back) == data


def received(made: TlsSocket) -> bytes:
    """What comes next; the server's session tickets wake a reader too."""
    while True:
        try:
            return made.recv(10)
        except BlockingIOError:
            wait(made, select.EPOLLIN)


@pytest.mark.parametrize("politely", [True, False])
def test_the_end_of_a_connection_is_an_empty_piece(certificates: Path, politely: bool) -> None:
    """As a socket says it, whether or not TLS was ended first."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "localhost.pem")
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            with context.wrap_socket(listener.accept()[0], server_side=True) as secure:
                secure.sendall(b"x")
                with contextlib.suppress(OSError):  # of a client that does not say goodbye in its turn
                    if politely:
                        secure.unwrap()

        thread = threading.Thread(target=answer)
        thread.start()
        made = connect(listener.getsockname()[1], trusting(certificates))
        assert received(made) == b"x"
        assert received(made) == b""
        made.close()
        thread.join()


@pytest.mark.parametrize(
    ("trusted", "host", "message"),
    [
        (False, "localhost", "its certificate is not accepted: unable to get local issuer"),
        (True, "other", "not accepted: Hostname mismatch"),
    ],
)
def test_a_certificate_that_is_not_accepted_is_said_to_be(
    listen: Any, certificates: Path, trusted: bool, host: str, message: str
) -> None:
    """Unknown issuer, other host."""
    context = trusting(certificates) if trusted else ssl.create_default_context()
    with pytest.raises(OSError, match=message):
        connect(listen(echoes, "localhost"), context, host)


def test_a_server_that_speaks_no_tls_is_asked_about() -> None:
    """Plain HTTP on the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            connection.recv(1000)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            connection.close()

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(OSError, match="does the server speak TLS at this port"):
            connect(listener.getsockname()[1], ssl.create_default_context())
        thread.join()


@pytest.mark.parametrize("trusted", [True, False])
def test_the_engine_talks_over_it(certificates: Path, plain: Any, pool: Any, drained: Any, trusted: bool) -> None:
    """Twenty good replies where the certificate is accepted; else the requests fail to connect, and say why."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "localhost.pem")
    listener = socket.create_server(("127.0.0.1", 0))

    def converse(connection: socket.socket) -> None:
        try:
            with context.wrap_socket(connection, server_side=True) as secure, secure.makefile("rb") as stream:
                while stream.readline():
                    headers = {}
                    while line := stream.readline().strip():
                        name, _, value = line.partition(b": ")
                        headers[name.lower()] = value
                    body = stream.read(int(headers[b"content-length"]))
                    head = b"HTTP/1.1 200 OK\r\nX-Request-Id: %s\r\n" % headers[b"x-request-id"]
                    secure.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        except OSError:
            connection.close()

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=converse, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    target = plain(("localhost", listener.getsockname()[1]))
    target.tls = trusting(certificates) if trusted else ssl.create_default_context()
    made = make_workload(warmup_ns=Nanoseconds(0), requests=20 if trusted else 2)
    requests = pool(target, made, {"x": np.stack([t["x"] for t in payloads.make(made)])})
    recorder = Recorder(requests)
    engine = Engine(requests, made, recorder)
    engine.open_seat()
    limit = time.monotonic() + LIMIT_S
    while not engine.ready():
        assert time.monotonic() < limit
        time.sleep(0.01)
    engine.begin(Phases.of(made, time.perf_counter_ns()))
    engine.join()
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    assert engine.failure is None
    assert set(drained(recorder)["error"]) == {OK if trusted else CONNECT}
    if not trusted:
        assert "its certificate is not accepted" in recorder.messages[CONNECT]
