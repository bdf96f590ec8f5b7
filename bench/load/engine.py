"""The engine: one native thread, one epoll over all connections, one timerfd as the pacer."""

import os
import threading
import time
from collections import deque
from collections.abc import Iterator
from itertools import count

from bench import arrivals
from bench.arrivals import Closed
from bench.load import streams
from bench.load.connections import NONE, OUT, Connections, Seat
from bench.load.cpu import CpuShare
from bench.load.pacer import Timer
from bench.load.phases import NEVER, Phases
from bench.load.recorder import Recorder
from bench.record import CLOSED, CONNECT, PROTOCOL, STALLED, TIMEOUT
from bench.targets.base import Verdict, WireTarget, request_id
from bench.units import format_exact_duration
from bench.wire.line import ProtocolError, Reply, WireRequest
from bench.workload import Workload

SWEEP_NS = 50_000_000  # how often deadlines are looked at and rows handed over
BACKOFF_NS = 100_000_000  # how long a closed-loop user waits after its connection was refused
GRACE_NS = 2 * 10**9  # how long an interrupted run waits for what is under way
_PIECE = 16384  # larger reads cost an mmap each


class Engine:
    """Moves prepared requests over HTTP/1.1. The public methods are for other threads, the rest is the engine's own."""

    def __init__(self, target: WireTarget, requests: list[WireRequest], workload: Workload, recorder: Recorder) -> None:
        self._target, self._requests, self._workload, self._recorder = target, requests, workload, recorder
        self._closed_loop = isinstance(workload.load, Closed)
        self._streams = hasattr(target, "streamed")
        self._keeps = getattr(target, "keeps_connections", True)  # False: whatever a reply's head says
        self._connections = Connections(target.address, workload.timeout_ns)
        self._numbers = count()
        self._orders: deque[str] = deque()
        self._wanted = 0
        self._idle: list[Seat] = []  # connected, waiting for something to send
        self._due: deque[int] = deque()  # intended sends that found no seat free
        self._schedule: Iterator[int] = iter(())
        self._next = NEVER  # the schedule's next intended send
        self._swept = self._stop_ns = 0
        self.phases: Phases | None = None
        self.sent = self.unsent = self.late = self.reconnects = 0
        self.cpu = CpuShare()
        self.finished = False
        self.failure: BaseException | None = None
        self._timer, self._bell = Timer(), os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._connections.watch(self._timer.fd, self._bell)
        self._thread = threading.Thread(target=self._main, name="engine", daemon=True)
        self._thread.start()

    def open_seat(self) -> None:
        """One more user, one more connection."""
        self._wanted += 1
        self._order("open")

    def ready(self) -> bool:
        """Whether every user's connection stands, or was refused and waits for the start."""
        return len(self._idle) + len(self._connections.resting) >= self._wanted

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
            poll, timer, bell, seats = self._connections.epoll.poll, self._timer.fd, self._bell, self._connections.seats
            while not self._over():
                for fd, events in poll(0.05):
                    if fd == timer:
                        self._release()
                    elif fd == bell:
                        self._obey()
                    elif fd in seats:
                        self._ready(seats[fd], events)
                now = time.perf_counter_ns()
                if now - self._swept >= SWEEP_NS or self._connections.refused:
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
                    self._connections.open(Seat())
                case "open":
                    # connected when first needed: a connection that says nothing holds a thread of some servers (gunicorn's)
                    self._connections.resting.append((0, Seat()))
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
        under_way = bool(self._due) or self._connections.carrying()
        return not under_way or now >= (self._stop_ns or self.phases.limit_ns(self._workload.timeout_ns, self._streams))

    def _finish(self) -> None:
        now = time.perf_counter_ns()
        if self._streams and not self._stop_ns and self.failure is None:
            # nothing else has an end: plain replies, and silences, are given up after the timeout
            for seat in [seat for seat in self._connections.seats.values() if seat.start != NONE]:
                endless = Verdict(STALLED, f"the stream had no end {(now - seat.start) / 1e9:.3g} s after its request was sent")
                self._ended(seat, now, *streams.broken(seat, endless, self._target, self._workload.timeout_ns))
        # a request that is given up after an interruption has no end that could be recorded
        self.unsent += len(self._due) + self._connections.carrying()
        self._recorder.hand_over()
        self._connections.close()
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
        elif self._connections.resting:
            seat = self._connections.resting.popleft()[1]
            seat.intended = intended
            self._connections.open(seat)
        else:
            assert self.phases is not None
            self.late += intended >= self.phases.window_ns
            self._due.append(intended)

    def _free(self, seat: Seat, now: int) -> None:
        """This connection may carry the next request."""
        if self._due:
            self._send(seat, self._due.popleft())
        elif self._closed_loop and self._sending(now):
            self._send(seat, now)
        else:
            self._idle.append(seat)

    def _send(self, seat: Seat, intended: int) -> None:
        number = next(self._numbers)
        payload = number % len(self._requests)
        head, id_at, body, _ = self._requests[payload]
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
            self._connections.keep(seat, head, body, taken)

    def _flush(self, seat: Seat) -> None:
        try:
            self._connections.flush(seat)
        except OSError as error:
            self._lost(seat, CLOSED, f"the connection was closed: {error.strerror}", time.perf_counter_ns())

    # ------------------------------------------------------------ receiving

    def _ready(self, seat: Seat, events: int) -> None:
        if not seat.connected:
            self._connected(seat)
            return
        if events & OUT and seat.rest:
            self._flush(seat)
        if events & ~OUT and seat.connected:
            self._receive(seat)

    def _receive(self, seat: Seat) -> None:
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
            if self._streams:
                streams.mark(seat, seat.reader.body_bytes, now, self._workload.timeout_ns)
            self._lost(seat, PROTOCOL if piece else CLOSED, str(error), now)
            return
        if self._streams:
            there = seat.reader.body_bytes if reply is None else len(reply.body)
            streams.mark(seat, there, now, self._workload.timeout_ns)
        if reply is not None:
            self._reply(seat, reply, now)
        elif not piece:
            self._lost(seat, CLOSED, "the connection was closed before the reply began", now)

    def _reply(self, seat: Seat, reply: Reply, now: int) -> None:
        if seat.intended == NONE:
            self._lost(seat, PROTOCOL, "a reply that nobody asked for", now)
            return
        verdict = self._target.judge(reply, seat.id)
        self._ended(seat, now, reply.head.status, verdict, streams.whole(seat, verdict, reply) if self._streams else reply)
        if seat.rest or not (self._keeps and reply.head.keep_alive):
            self._again(seat, now)
        else:
            self._free(seat, now)

    def _ended(self, seat: Seat, now: int, status: int, verdict: Verdict, answer: Reply | None) -> None:
        intended = seat.intended
        start = seat.start if seat.start != NONE else now
        self._recorder.add(seat.number, seat.payload, intended, start, now, status, verdict.error, verdict.message, answer)
        seat.intended = seat.start = NONE
        assert self.phases is not None
        self.phases.replied(intended, now)

    # ------------------------------------------------------------ connections

    def _connected(self, seat: Seat) -> None:
        problem, now = self._connections.decided(seat), time.perf_counter_ns()
        if problem:
            self._lost(seat, CONNECT, problem, now)
        elif seat.intended != NONE:
            self._send(seat, seat.intended)
        else:
            self._free(seat, now)

    def _lost(self, seat: Seat, error: int, message: str, now: int) -> None:
        """The connection is gone or useless, and with it the request it carried."""
        if seat in self._idle:
            self._idle.remove(seat)
        refused = error == CONNECT or not seat.connected
        if seat.intended != NONE:
            status, verdict, answer = 0, Verdict(error, message), None
            if seat.start == NONE:
                seat.number = next(self._numbers)
                seat.payload = seat.number % len(self._requests)
            elif self._streams:
                status, verdict, answer = streams.broken(seat, verdict, self._target, self._workload.timeout_ns)
            self._ended(seat, now, status, verdict, answer)
        self._again(seat, now, refused)

    def _again(self, seat: Seat, now: int, refused: bool = False) -> None:
        """Connect anew; a seat that was refused rests first, or the engine would hammer a server that is down."""
        self.reconnects += self._connections.part(seat)
        if not self._due and (refused or not self._closed_loop):
            self._connections.resting.append((now + BACKOFF_NS, seat))
            return
        if self._due:
            seat.intended = self._due.popleft()
        elif self._closed_loop and self._sending(now):
            seat.intended = now  # the user goes on at once: the time to connect is the user's time
        self._connections.open(seat)

    def _sweep(self, now: int) -> None:
        self._swept = now
        refused, self._connections.refused = self._connections.refused, []
        for seat, problem in refused:
            self._lost(seat, CONNECT, problem, now)
        for seat in self._connections.expired(now):
            what = "no reply" if seat.connected else "no connection"
            self._lost(seat, TIMEOUT, f"{what} within {format_exact_duration(self._workload.timeout_ns)}", now)
        while self._closed_loop and self._sending(now) and (rested := self._connections.rested(now)) is not None:
            rested.intended = now
            self._connections.open(rested)
        self.cpu.look(now, self.phases)
        self._recorder.hand_over()
