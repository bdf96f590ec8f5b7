"""The users' connections: sockets in one epoll, and where each user stands who has none."""

import errno
import os
import select
import socket
import time
from collections import deque

from bench.wire.http1 import Http1Line

IN, OUT = select.EPOLLIN, select.EPOLLOUT
NONE = -1


class Seat:
    """One user's connection and the request it carries; `intended` is NONE where it carries none."""

    __slots__ = (
        "connected", "deadline", "fd", "id", "intended", "marks", "number", "payload", "reader", "rest", "socket", "start"
    )  # fmt: skip

    def __init__(self) -> None:
        self.socket: socket.socket | None = None
        self.fd = NONE
        self.connected = False
        self.reader = Http1Line()
        self.number = self.payload = self.deadline = 0
        self.intended = self.start = NONE
        self.id = b""
        self.rest: list[memoryview] = []  # what the socket has not yet taken of a request
        self.marks: list[tuple[int, int]] = []  # of a stream: when how much of its body was there


class Connections:
    """Opens, watches and closes; what a connection carries is the engine's affair."""

    def __init__(self, address: tuple[str, int], timeout_ns: int) -> None:
        found = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)[0]
        self._family, self._address, self._timeout_ns = found[0], found[4], timeout_ns
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
        seat.socket, seat.fd, seat.connected = connection, connection.fileno(), False
        seat.deadline = time.perf_counter_ns() + self._timeout_ns
        self.seats[seat.fd] = seat
        self.epoll.register(seat.fd, OUT)

    def watch(self, *fds: int) -> None:
        """Let the epoll tell of descriptors that are no connections."""
        for fd in fds:
            self.epoll.register(fd, IN)

    def keep(self, seat: Seat, head: bytearray, body: bytes, taken: int) -> None:
        """The socket has taken only `taken` bytes of a request: keep the rest until it takes more."""
        # the head is shared and will be overwritten, so what is left of it is copied
        seat.rest = [memoryview(bytes(head[taken:])), memoryview(body)[max(0, taken - len(head)) :]]
        self.epoll.modify(seat.fd, IN | OUT)

    def flush(self, seat: Seat) -> None:
        """Send what the socket takes of the rest. OSError."""
        assert seat.socket is not None
        try:
            taken = seat.socket.sendmsg(seat.rest)
        except BlockingIOError:
            return
        first, second = seat.rest
        seat.rest = [first[taken:], second[max(0, taken - len(first)) :]]
        if not any(map(len, seat.rest)):
            seat.rest = []
            self.epoll.modify(seat.fd, IN)

    def decided(self, seat: Seat) -> str:
        """Take note that a connection stands; why it does not, where it was refused."""
        assert seat.socket is not None
        if problem := seat.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            return os.strerror(problem)
        seat.connected = True
        self.epoll.modify(seat.fd, IN)
        return ""

    def part(self, seat: Seat) -> bool:
        """Give up a seat's connection; whether it had one."""
        had = seat.socket is not None
        if seat.socket is not None:
            self.epoll.unregister(seat.fd)
            del self.seats[seat.fd]
            seat.socket.close()
        seat.socket, seat.connected = None, False
        seat.rest, seat.marks, seat.reader = [], [], Http1Line()
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
            assert seat.socket is not None
            seat.socket.close()
        self.epoll.close()
