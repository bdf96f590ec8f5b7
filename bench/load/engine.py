"""The engine: one native thread, one epoll over all connections, one timerfd as the pacer."""

import errno
import os
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator
from itertools import count

from bench import arrivals
from bench.arrivals import Closed
from bench.load.pacer import Timer
from bench.load.phases import NEVER, Phases
from bench.load.recorder import Recorder
from bench.record import CLOSED, CONNECT, PROTOCOL, TIMEOUT
from bench.targets.base import WireRequest, WireTarget, request_id
from bench.units import format_exact_duration
from bench.wire.http1 import ProtocolError, Reply, ReplyReader
from bench.workload import Workload

SWEEP_NS = 50_000_000  # how often deadlines are looked at and rows handed over
BACKOFF_NS = 100_000_000  # how long a closed-loop user waits after its connection was refused
GRACE_NS = 2 * 10**9  # how long an interrupted run waits for what is under way
_PIECE = 16384  # larger reads cost an mmap each
_IN, _OUT = select.EPOLLIN, select.EPOLLOUT
_NONE = -1


class _Seat:
    """One user's connection and the request it carries; `intended` is _NONE where it carries none."""

    __slots__ = ("connected", "deadline", "fd", "id", "intended", "number", "payload", "reader", "rest", "socket", "start")

    def __init__(self) -> None:
        self.socket: socket.socket | None = None
        self.fd = -1
        self.connected = False
        self.reader = ReplyReader()
        self.number = self.payload = self.deadline = 0
        self.intended = self.start = _NONE
        self.id = b""
        self.rest: list[memoryview] = []  # what the socket has not yet taken of a request


class Engine:
    """Moves prepared requests over HTTP/1.1. The public methods are for other threads, the rest is the engine's own."""

    def __init__(self, target: WireTarget, requests: list[WireRequest], workload: Workload, recorder: Recorder) -> None:
        self._target, self._requests, self._workload, self._recorder = target, requests, workload, recorder
        self._closed_loop = isinstance(workload.load, Closed)
        found = socket.getaddrinfo(*target.address, type=socket.SOCK_STREAM)[0]
        self._family, self._address = found[0], found[4]
        self._numbers = count()
        self._orders: deque[str] = deque()
        self._wanted = 0
        self._seats: dict[int, _Seat] = {}  # by file descriptor: those with a connection
        self._idle: list[_Seat] = []  # connected, waiting for something to send
        self._refused: list[tuple[_Seat, str]] = []  # connections that failed at once
        self._resting: deque[tuple[int, _Seat]] = deque()  # (not before, seat): refused, waiting for another try
        self._due: deque[int] = deque()  # intended sends that found no seat free
        self._schedule: Iterator[int] = iter(())
        self._next = NEVER  # the schedule's next intended send
        self._swept = self._stop_ns = 0
        self._mark: tuple[int, int] | None = None  # (time, this thread's CPU) when the window began
        self.phases: Phases | None = None
        self.sent = self.unsent = self.late = self.reconnects = 0
        self.cpu_share = 0.0  # of one core, within the window
        self.finished = False
        self.failure: BaseException | None = None
        self._timer, self._epoll = Timer(), select.epoll()
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._timer.fd, _IN)
        self._epoll.register(self._bell, _IN)
        self._thread = threading.Thread(target=self._main, name="engine", daemon=True)
        self._thread.start()

    def open_seat(self) -> None:
        """One more user, one more connection."""
        self._wanted += 1
        self._order("open")

    def ready(self) -> bool:
        """Whether every user's connection stands, or was refused and waits for the start."""
        return len(self._idle) + len(self._resting) >= self._wanted

    def begin(self, phases: Phases) -> None:
        """Start sending at `phases.start_ns`."""
        self.phases = phases
        self._order("begin")

    def stop(self) -> None:
        """Send nothing more, wait a moment for what is under way, and finish."""
        self._order("stop")

    def join(self) -> None:
        """Wait for the thread to end."""
        self._thread.join()

    def _order(self, what: str) -> None:
        self._orders.append(what)
        os.eventfd_write(self._bell, 1)

    # ------------------------------------------------------------ the thread

    def _main(self) -> None:
        try:
            poll, timer, bell, seats = self._epoll.poll, self._timer.fd, self._bell, self._seats
            while not self._over():
                for fd, events in poll(0.05):
                    if fd == timer:
                        self._release()
                    elif fd == bell:
                        self._obey()
                    elif fd in seats:
                        self._ready(seats[fd], events)
                now = time.perf_counter_ns()
                if now - self._swept >= SWEEP_NS or self._refused:
                    self._sweep(now)
        except BaseException as error:
            self.failure = error
        finally:
            self._finish()

    def _obey(self) -> None:
        os.eventfd_read(self._bell)
        while self._orders:
            match self._orders.popleft():
                case "open" if self._closed_loop:
                    self._connect(_Seat())
                case "open":
                    # connected when first needed: a connection that says nothing holds a thread of some servers (gunicorn's)
                    self._resting.append((0, _Seat()))
                case "begin":
                    self._start()
                case "stop":
                    self._interrupt(time.perf_counter_ns())

    def _start(self) -> None:
        assert self.phases is not None
        self._next = self.phases.start_ns
        if not isinstance(self._workload.load, Closed):
            self._schedule = arrivals.offsets_ns(self._workload.load, self._workload.seed)
            self._next += next(self._schedule)
        self._timer.arm(self._next)

    def _interrupt(self, now: int) -> None:
        self._stop_ns = now + GRACE_NS
        if self.phases is None:
            self._stop_ns = now
        else:
            self.phases.end_ns = min(self.phases.end_ns, now)
        self.unsent += len(self._due)
        self._due.clear()

    def _sending(self, now: int) -> bool:
        return self.phases is not None and self.phases.start_ns <= now < self.phases.end_ns

    def _over(self) -> bool:
        now = time.perf_counter_ns()
        if self.phases is None:
            return bool(self._stop_ns)
        if now < self.phases.end_ns or (not self._closed_loop and self._next < self.phases.end_ns):
            return False
        under_way = bool(self._due) or any(seat.intended != _NONE for seat in self._seats.values())
        return not under_way or now >= (self._stop_ns or self.phases.end_ns + 2 * self._workload.timeout_ns)

    def _finish(self) -> None:
        # a request that is given up has no end that could be recorded
        self.unsent += len(self._due) + sum(seat.intended != _NONE for seat in self._seats.values())
        self._recorder.hand_over()
        for seat in self._seats.values():
            assert seat.socket is not None
            seat.socket.close()
        self._epoll.close()
        self._timer.close()
        self.finished = True

    # ------------------------------------------------------------ sending

    def _release(self) -> None:
        """The timer fired: a closed loop starts, or the schedule's sends that are due go out."""
        self._timer.clear()
        assert self.phases is not None
        if self._closed_loop:
            self._next = NEVER
            idle, self._idle = self._idle, []
            for seat in idle:
                self._send(seat, time.perf_counter_ns())
            return
        while self._next < self.phases.end_ns and self._next <= time.perf_counter_ns():
            self._dispatch(self._next)
            self._next = self.phases.start_ns + next(self._schedule)
        if self._next < self.phases.end_ns:
            self._timer.arm(self._next)

    def _dispatch(self, intended: int) -> None:
        if self._idle:
            self._send(self._idle.pop(), intended)
        elif self._resting:
            seat = self._resting.popleft()[1]
            seat.intended = intended
            self._connect(seat)
        else:
            assert self.phases is not None
            self.late += intended >= self.phases.window_ns
            self._due.append(intended)

    def _free(self, seat: _Seat, now: int) -> None:
        """This connection may carry the next request."""
        if self._due:
            self._send(seat, self._due.popleft())
        elif self._closed_loop and self._sending(now):
            self._send(seat, now)
        else:
            self._idle.append(seat)

    def _send(self, seat: _Seat, intended: int) -> None:
        number = next(self._numbers)
        payload = number % len(self._requests)
        head, id_at, body = self._requests[payload]
        head[id_at : id_at + 16] = seat.id = request_id(number)
        seat.number, seat.payload, seat.intended = number, payload, intended
        assert seat.socket is not None
        seat.start = start = time.perf_counter_ns()
        try:
            taken = seat.socket.sendmsg((head, body))
        except BlockingIOError:
            taken = 0
        except OSError as error:
            self._lost(seat, CLOSED, f"the connection was closed: {error.strerror}", start)
            return
        self.sent += 1
        seat.deadline = start + self._workload.timeout_ns
        if taken < len(head) + len(body):
            # the head is shared and will be overwritten, so what is left of it is copied
            seat.rest = [memoryview(bytes(head[taken:])), memoryview(body)[max(0, taken - len(head)) :]]
            self._epoll.modify(seat.fd, _IN | _OUT)

    def _flush(self, seat: _Seat) -> None:
        assert seat.socket is not None
        try:
            taken = seat.socket.sendmsg(seat.rest)
        except BlockingIOError:
            return
        except OSError as error:
            self._lost(seat, CLOSED, f"the connection was closed: {error.strerror}", time.perf_counter_ns())
            return
        first, second = seat.rest
        seat.rest = [first[taken:], second[max(0, taken - len(first)) :]]
        if not any(map(len, seat.rest)):
            seat.rest = []
            self._epoll.modify(seat.fd, _IN)

    # ------------------------------------------------------------ receiving

    def _ready(self, seat: _Seat, events: int) -> None:
        if not seat.connected:
            self._connected(seat)
            return
        if events & _OUT and seat.rest:
            self._flush(seat)
        if events & ~_OUT and seat.connected:
            self._receive(seat)

    def _receive(self, seat: _Seat) -> None:
        assert seat.socket is not None
        try:
            piece = seat.socket.recv(_PIECE)
        except BlockingIOError:
            return
        except OSError as error:
            self._lost(seat, CLOSED, f"the connection was closed: {error.strerror}", time.perf_counter_ns())
            return
        now = time.perf_counter_ns()
        try:
            reply = seat.reader.feed(piece) if piece else seat.reader.end()
        except ProtocolError as error:
            self._lost(seat, PROTOCOL if piece else CLOSED, str(error), now)
            return
        if reply is not None:
            self._reply(seat, reply, now)
        elif not piece:
            self._lost(seat, CLOSED, "the connection was closed before the reply began", now)

    def _reply(self, seat: _Seat, reply: Reply, now: int) -> None:
        if seat.intended == _NONE:
            self._lost(seat, PROTOCOL, "a reply that nobody asked for", now)
            return
        error, message = self._target.judge(reply, seat.id)
        self._ended(seat, now, reply.head.status, error, message, reply)
        if seat.rest or not reply.head.keep_alive:
            self._again(seat, now)
        else:
            self._free(seat, now)

    def _ended(self, seat: _Seat, now: int, status: int, error: int, message: str, reply: Reply | None) -> None:
        intended = seat.intended
        start = seat.start if seat.start != _NONE else now
        self._recorder.add(seat.number, seat.payload, intended, start, now, status, error, message, reply)
        seat.intended = seat.start = _NONE
        assert self.phases is not None
        self.phases.replied(intended, now)

    # ------------------------------------------------------------ connections

    def _connect(self, seat: _Seat) -> None:
        connection = socket.socket(self._family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        problem = connection.connect_ex(self._address)
        if problem not in (0, errno.EINPROGRESS):
            connection.close()
            self._refused.append((seat, os.strerror(problem)))
            return
        seat.socket, seat.fd, seat.connected = connection, connection.fileno(), False
        seat.deadline = time.perf_counter_ns() + self._workload.timeout_ns
        self._seats[seat.fd] = seat
        self._epoll.register(seat.fd, _OUT)

    def _connected(self, seat: _Seat) -> None:
        assert seat.socket is not None
        problem, now = seat.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), time.perf_counter_ns()
        if problem:
            self._lost(seat, CONNECT, os.strerror(problem), now)
            return
        seat.connected = True
        self._epoll.modify(seat.fd, _IN)
        if seat.intended != _NONE:
            self._send(seat, seat.intended)
        else:
            self._free(seat, now)

    def _lost(self, seat: _Seat, error: int, message: str, now: int) -> None:
        """The connection is gone or useless, and with it the request it carried."""
        if seat in self._idle:
            self._idle.remove(seat)
        if seat.intended != _NONE:
            if seat.start == _NONE:
                seat.number = next(self._numbers)
                seat.payload = seat.number % len(self._requests)
            self._ended(seat, now, 0, error, message, None)
        self._again(seat, now, refused=error == CONNECT or not seat.connected)

    def _again(self, seat: _Seat, now: int, refused: bool = False) -> None:
        """Connect anew; a seat that was refused rests first, or the engine would hammer a server that is down."""
        if seat.socket is not None:
            self.reconnects += 1
            self._epoll.unregister(seat.fd)
            del self._seats[seat.fd]
            seat.socket.close()
        seat.socket, seat.connected, seat.rest, seat.reader = None, False, [], ReplyReader()
        if not self._due and (refused or not self._closed_loop):
            self._resting.append((now + BACKOFF_NS, seat))
            return
        if self._due:
            seat.intended = self._due.popleft()
        elif self._closed_loop and self._sending(now):
            seat.intended = now  # the user goes on at once: the time to connect is the user's time
        self._connect(seat)

    def _sweep(self, now: int) -> None:
        self._swept = now
        refused, self._refused = self._refused, []
        for seat, problem in refused:
            self._lost(seat, CONNECT, problem, now)
        for seat in [s for s in self._seats.values() if s.deadline < now and (s.intended != _NONE or not s.connected)]:
            what = "no reply" if seat.connected else "no connection"
            self._lost(seat, TIMEOUT, f"{what} within {format_exact_duration(self._workload.timeout_ns)}", now)
        while self._resting and self._resting[0][0] <= now and self._sending(now) and self._closed_loop:
            seat = self._resting.popleft()[1]
            seat.intended = now
            self._connect(seat)
        self._count_cpu(now)
        self._recorder.hand_over()

    def _count_cpu(self, now: int) -> None:
        """This thread's CPU from the first sweep within the window to the last."""
        if self.phases is None or not self.phases.window_ns <= now < self.phases.end_ns:
            return
        if self._mark is None:
            self._mark = (now, time.thread_time_ns())
        elif now > self._mark[0]:
            self.cpu_share = (time.thread_time_ns() - self._mark[1]) / (now - self._mark[0])
