"""A server that does nothing but answer, at the least cost: what a load generator can do here is measured against it.

Run as a process of its own: it says its port on stdout and serves until stdin closes. HTTP/1.1 with stated lengths, and unary
gRPC over HTTP/2, over TLS where it is told so; it understands what `bench` sends, and no more.
"""

import gc
import select
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_REPLY = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
_DATA, _HEADERS, _SETTINGS = 0, 1, 4
_WIDEST = 2**31 - 1
_BUFFER = 1 << 18  # more than a record of TLS, of which nothing is left behind then


class Speaker(Protocol):
    """What is heard on one connection; each reply that is due by then is returned."""

    def hear(self, data: memoryview) -> bytes: ...


class Http1:
    """Counts the bytes of each request by what its head states."""

    def __init__(self) -> None:
        self._head, self._left = b"", 0

    def hear(self, data: memoryview) -> bytes:
        replies = 0
        while data:
            if self._left:
                taken = min(self._left, len(data))
                data, self._left = data[taken:], self._left - taken
                replies += not self._left
                continue
            before = len(self._head)
            self._head += bytes(data[:65536])
            if (end := self._head.find(b"\r\n\r\n")) < 0:
                data = data[65536:]
                continue
            at = self._head.lower().find(b"\r\ncontent-length:") + 17
            self._left = int(self._head[at : self._head.find(b"\r\n", at)])
            data, self._head = data[end + 4 - before :], b""
            replies += not self._left
        return _REPLY * replies


class Http2:
    """Counts the bytes of each frame, and answers a stream when its last one has come."""

    def __init__(self) -> None:
        self._part, self._skip, self._room = b"", len(PREFACE), _WIDEST
        self._stream, self._ends = b"", False
        self._greeted = False

    def hear(self, data: memoryview) -> bytes:
        out = b"" if self._greeted else _frame(_SETTINGS, 0, 0, b"\0\4" + _WIDEST.to_bytes(4)) + _more(_WIDEST - 65535)
        self._greeted = True
        while data:
            if self._skip:
                taken = min(self._skip, len(data))
                data, self._skip = data[taken:], self._skip - taken
                if not self._skip and self._ends:
                    out += _answer(self._stream)
                continue
            taken = min(9 - len(self._part), len(data))
            self._part, data = self._part + bytes(data[:taken]), data[taken:]
            if len(self._part) == 9:
                out += self._begin(self._part)
                self._part = b""
        return out

    def _begin(self, head: bytes) -> bytes:
        self._skip, kind, flags = int.from_bytes(head[:3]), head[3], head[4]
        self._stream, self._ends = head[5:9], kind == _DATA and bool(flags & 1)
        if kind == _SETTINGS and not flags & 1:
            return _frame(_SETTINGS, 1, 0, b"")
        if kind != _DATA:
            return b""
        self._room -= self._skip
        said = b"" if self._skip or not self._ends else _answer(self._stream)
        if self._room < _WIDEST // 2:
            said += _more(_WIDEST - self._room)
            self._room = _WIDEST
        return said


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3) + bytes((kind, flags)) + stream.to_bytes(4) + payload


def _more(count: int) -> bytes:
    return _frame(8, 0, 0, count.to_bytes(4))


def _indexed(name: bytes, value: bytes) -> bytes:
    return b"\x40" + bytes([len(name)]) + name + bytes([len(value)]) + value


def _pieces(first: bytes, last: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    """A reply with these header blocks, without the numbers of its stream."""
    message = first + b"\0\0\5\0\0"
    return len(first).to_bytes(3) + b"\1\4", message, b"\0" * 5 + len(last).to_bytes(3) + b"\1\5", last


# as gRPC's servers do: fields are spelled out in the first reply, and after that named by their numbers in the client's table
_FIRST = _pieces(b"\x88" + _indexed(b"content-type", b"application/grpc"), _indexed(b"grpc-status", b"0"))
_LATER = _pieces(b"\x88\xbf", b"\xbe")


def _answer(stream: bytes) -> bytes:
    """Headers, an empty message, trailers."""
    first, message, last, end = _FIRST if stream == b"\0\0\0\1" else _LATER
    return b"".join((first, stream, message, stream, last, stream, end))


def serve(listener: socket.socket, until: int, context: ssl.SSLContext | None = None) -> None:
    """Answer every connection to `listener`, over TLS where there is a `context`, until `until` has something to read."""
    epoll = select.epoll()
    listener.setblocking(False)
    epoll.register(listener.fileno(), select.EPOLLIN)
    epoll.register(until, select.EPOLLIN)
    connections: dict[int, tuple[socket.socket, list[Speaker]]] = {}
    buffer = bytearray(_BUFFER)
    view = memoryview(buffer)
    while True:
        for fd, _ in epoll.poll():
            if fd == until:
                return
            if fd == listener.fileno():
                connection, _ = listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if context is not None:
                    try:
                        connection = context.wrap_socket(connection, server_side=True)
                    except OSError:  # a client that went away
                        continue
                connections[connection.fileno()] = (connection, [])
                epoll.register(connection.fileno(), select.EPOLLIN)
                continue
            connection, speakers = connections[fd]
            try:
                got = connection.recv_into(buffer)
                if got:
                    if not speakers:
                        speakers.append(Http2() if view[:3] == PREFACE[:3] else Http1())
                    if reply := speakers[0].hear(view[:got]):
                        connection.sendall(reply)
            except OSError:
                got = 0
            if not got:
                epoll.unregister(fd)
                del connections[fd]
                connection.close()


@contextmanager
def running(secure: bool = False) -> Iterator[tuple[str, int]]:
    """The server in a process of its own, over TLS where that is `secure`; where it listens."""
    command = [sys.executable, "-P", "-m", "bench.load.null_server", *["tls"] * secure]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield "127.0.0.1", int(process.stdout.readline())
        finally:
            process.kill()


def main() -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    gc.disable()
    print(listener.getsockname()[1], flush=True)
    context = None
    if sys.argv[1:]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(Path(__file__).with_suffix(".pem"))
    serve(listener, sys.stdin.fileno(), context)


if __name__ == "__main__":
    main()
