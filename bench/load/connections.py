"""The users' connections: sockets in one epoll, and where each user stands who has none."""

import errno
import os
import select
import socket
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from bench.load.tls import TlsSocket
from bench.targets import transport
from bench.wire.line import Buffer

IN, OUT = select.EPOLLIN, select.EPOLLOUT
NONE = -1
PIECE = 16384  # larger reads cost an mmap each
_MOST = 512  # buffers that are given to the system at once; it takes 1024


class Seat:
    """One user's connection and the request it carries; `intended` is NONE where it carries none."""

    __slots__ = (
        "connected", "deadline", "fd", "id", "intended", "line", "marks", "number", "payload", "released", "replies", "rest",
        "room", "socket", "start", "waited",
    )  # fmt: skip

    def __init__(self) -> None:
        self.socket: Any = None  # a socket.socket or a TlsSocket
        self.line: Any = None  # the protocol's side of the connection
        self.fd = NONE
        self.connected = False
        self.replies = 0  # on this connection
        self.room = PIECE  # for what is read at once
        self.number = self.payload = self.deadline = 0
        self.intended = self.start = NONE
        self.waited = self.released = 0
        self.id = b""
        self.rest: list[memoryview] = []  # what the socket has not yet taken of what is to be sent
        self.marks: list[tuple[int, int]] = []  # of a stream: when how much of its body was there


class Connections:
    """Opens, watches and closes; what a connection carries is the engine's affair."""

    def __init__(self, target: Any, timeout_ns: int) -> None:
        self._family, self._address = transport.resolved(target.address, transport.PATIENCE_S)
        self._timeout_ns = timeout_ns
        self._new_line, self._host, self._tls = target.line, target.address[0], getattr(target, "tls", None)
        self.epoll = select.epoll()
        self.seats: dict[int, Seat] = {}  # by file descriptor: those with a connection
        self.refused: list[tuple[Seat, str]] = []  # connections that failed at once, and why
        self.resting: deque[tuple[int, Seat]] = deque()  # (not before, seat): refused, waiting for another try

    def open(self, seat: Seat) -> None:
        """Begin to connect; the socket becomes writable when that is decided."""
        connection = socket.socket(self._family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        problem = connection.connect_ex(self._address)
        if problem not in (0, errno.EINPROGRESS):
            connection.close()
            self.refused.append((seat, os.strerror(problem)))
            return
        seat.socket = connection if self._tls is None else TlsSocket(connection, self._tls, self._host)
        seat.fd, seat.connected, seat.replies, seat.room = connection.fileno(), False, 0, PIECE
        seat.line = self._new_line()
        seat.deadline = time.perf_counter_ns() + self._timeout_ns
        self.seats[seat.fd] = seat
        self.epoll.register(seat.fd, OUT)

    def watch(self, *fds: int) -> None:
        """Let the epoll tell of descriptors that are no connections."""
        for fd in fds:
            self.epoll.register(fd, IN)

    def decided(self, seat: Seat) -> str | None:
        """What came of connecting: "" and the connection stands, why it does not, or None where that is not decided yet."""
        if problem := seat.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            return os.strerror(problem)
        if self._tls is not None:
            try:
                if wanted := seat.socket.handshake():
                    self.epoll.modify(seat.fd, wanted)
                    return None
            except OSError as error:
                return error.strerror or str(error)
        seat.connected = True
        self.epoll.modify(seat.fd, IN)
        return ""

    def put(self, seat: Seat, buffers: Sequence[Buffer]) -> None:
        """Send `buffers`, and keep what the socket does not take now. OSError."""
        if seat.rest:  # in the order of things
            seat.rest += [memoryview(bytes(buffer)) for buffer in buffers]
            return
        try:
            if len(buffers) == 1:
                taken = seat.socket.send(buffers[0])
                if taken == len(buffers[0]):
                    return
            else:
                taken = seat.socket.sendmsg(buffers[:_MOST])
        except BlockingIOError:
            taken = 0
        for buffer in buffers:
            if taken >= len(buffer):
                taken -= len(buffer)
            else:
                # what is shared will be overwritten, so what is left of it is copied
                kept = buffer if isinstance(buffer, bytes) else bytes(buffer)
                seat.rest.append(memoryview(kept)[taken:])
                taken = 0
        if seat.rest:
            self.epoll.modify(seat.fd, IN | OUT)

    def flush(self, seat: Seat) -> None:
        """Send what the socket takes of the rest. OSError."""
        rest = seat.rest
        try:
            taken = seat.socket.sendmsg(rest[:_MOST])
        except BlockingIOError:
            return
        whole = 0
        while whole < len(rest) and taken >= len(rest[whole]):
            taken -= len(rest[whole])
            whole += 1
        del rest[:whole]
        if rest:
            rest[0] = rest[0][taken:]
        else:
            self.epoll.modify(seat.fd, IN)

    def part(self, seat: Seat) -> bool:
        """Give up a seat's connection; whether it had one."""
        had = seat.socket is not None
        if had:
            self.epoll.unregister(seat.fd)
            del self.seats[seat.fd]
            seat.socket.close()
        seat.socket, seat.line, seat.connected = None, None, False
        seat.rest, seat.marks = [], []
        return had

    def rested(self, now: int) -> Seat | None:
        """The next seat that may try again."""
        return self.resting.popleft()[1] if self.resting and self.resting[0][0] <= now else None

    def expired(self, now: int) -> list[Seat]:
        """Seats whose request, or whose connecting, has passed its deadline."""
        return [s for s in self.seats.values() if s.deadline < now and (s.intended != NONE or not s.connected)]

    def carrying(self) -> int:
        """How many requests are under way."""
        return sum(seat.intended != NONE for seat in self.seats.values())

    def close(self) -> None:
        for seat in self.seats.values():
            seat.socket.close()
        self.epoll.close()
