"""The engine: one native thread, one epoll over all connections, one timerfd as the pacer."""

import os
import struct
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence

from bench.arrivals import ClosedLoop
from bench.load import streams
from bench.load.connections import IN, NONE, OUT, Connections, Seat
from bench.load.cpu import CpuShare
from bench.load.pacer import Timer, take_short_turns
from bench.load.phases import NEVER, Phases
from bench.load.pool import Pool
from bench.load.recorder import Recorder
from bench.load.share import WHOLE, Share
from bench.record import AT_ONCE, CLOSED, CONNECT, CONNECTING, PROTOCOL, QUEUED, STALLED, TIMEOUT
from bench.targets.base import FINE, Verdict, request_id
from bench.units import format_exact_duration
from bench.wire.line import Buffer, ProtocolError, Reply
from bench.workload import Workload

SWEEP_NS = 50_000_000  # how often deadlines are looked at and rows handed over
BACKOFF_NS = 100_000_000  # how long a user waits after a connection that was refused, or closed before it had brought a reply
LATE_NS = 1_000_000  # from then on a release is late
GRACE_NS = 2 * 10**9  # how long an interrupted run waits for what is under way
_SHORT = 470  # bytes for which CPython has a place at hand
_put_id = struct.Struct("16s").pack_into


def waited_for(what: int, intended: int, released: int, now: int) -> int:
    """`what` (QUEUED or CONNECTING), which took from `released` to `now`; AT_ONCE where the pacer was later than that itself.

    A send that was due at `intended` and released so late that this is the greater part waited for nothing but the engine.
    """
    late = released - intended
    return AT_ONCE if late >= LATE_NS and late > now - released else what


class Engine:
    """Moves prepared requests over sockets. The public methods are for other threads, the rest is the engine's own."""

    def __init__(self, pool: Pool, workload: Workload, recorder: Recorder, share: Share = WHOLE) -> None:
        self._pool, self._workload, self._recorder = pool, workload, recorder
        self._timeout_ns = workload.timeout_ns
        self._requests, self._judges = pool.wire()
        self._turns, self._period = pool.turns, len(pool.turns)
        self._closed_loop = isinstance(workload.load, ClosedLoop)
        self._streams = pool.streams
        self._learns = not self._streams and hasattr(pool.target, "varying")
        self._keeps = getattr(pool.target, "keeps_connections", True)  # False: whatever a reply's head says
        self._connections = Connections(pool.target, self._timeout_ns)
        self._tls = getattr(pool.target, "tls", None) is not None
        self._share, self._numbers = share, share.numbers()
        self._orders: deque[str] = deque()
        self._wanted = self._leaving = 0
        self._idle: list[Seat] = []  # connected, waiting for something to send
        self._due: deque[tuple[int, int, int]] = deque()  # (number, intended, released) of sends that found no seat free
        self._schedule: Iterator[tuple[int, int]] = iter(())
        self._number, self._next = 0, NEVER  # the schedule's next send
        self._swept = self._stop_ns = self._look_ns = 0
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

    def close_seat(self) -> None:
        """One user less, once a reply has come where all are waiting for one."""
        self._wanted -= 1
        self._order("close")

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
        """Wait for the thread to end; nothing may be ordered after."""
        self._thread.join()
        if self._bell >= 0:  # not by the thread: an order may still be on its way when that ends
            os.close(self._bell)
            self._bell = -1

    def _order(self, what: str) -> None:
        self._orders.append(what)
        os.eventfd_write(self._bell, 1)

    # ------------------------------------------------------------ the thread

    def _main(self) -> None:
        if not self._closed_loop:  # which waits for replies, and is no better for seeing each sooner
            take_short_turns()
        try:
            poll, timer, bell, seats = self._connections.epoll.poll, self._timer.fd, self._bell, self._connections.seats
            over = False
            while not over:
                for fd, events in poll(0.05):
                    if (seat := seats.get(fd)) is not None:
                        if events == IN and seat.connected and not self._tls:  # nearly always
                            self._receive(seat)
                        else:
                            self._ready(seat, events)
                    elif fd == timer:
                        self._release()
                    elif fd == bell:
                        self._obey()
                now = time.perf_counter_ns()
                if now >= self._look_ns or self._connections.refused:
                    over = self._look(now)
        except BaseException as error:
            self.failure = error
        finally:
            self._finish()

    def _look(self, now: int) -> bool:
        """What need not be seen to after every reply; whether all is over."""
        if now - self._swept >= SWEEP_NS or self._connections.refused:
            self._sweep(now)
        self._look_ns = self._swept + SWEEP_NS
        if self.phases is not None:
            self._look_ns = min(self._look_ns, self.phases.end_ns)
        return self._over(now)

    def _obey(self) -> None:
        os.eventfd_read(self._bell)
        self._look_ns = 0
        while self._orders:
            match self._orders.popleft():
                case "open" if self._closed_loop:
                    self._connections.open(Seat())
                case "open":
                    # connected when first needed: a connection that says nothing holds a thread of some servers (gunicorn's)
                    self._connections.resting.append((0, Seat()))
                case "close":
                    self._leave()
                case "begin":
                    self._start()
                case "stop":
                    self._interrupt(time.perf_counter_ns())

    def _leave(self) -> None:
        """A user goes: one who waits for nothing at once, else the next whose reply has come."""
        if self._connections.resting:
            self._connections.resting.pop()
        elif self._idle:
            self._connections.part(self._idle.pop())
        else:
            self._leaving += 1

    def _start(self) -> None:
        assert self.phases is not None
        self._next = self.phases.start_ns
        if not self._closed_loop:
            self._schedule = self._share.schedule(self._workload)
            self._advance()
        self._timer.arm(min(self._next, self.phases.end_ns))

    def _advance(self) -> None:
        """Take the schedule's next send; a schedule that has an end is over then."""
        assert self.phases is not None
        number, offset = next(self._schedule, (0, NEVER))
        self._number, self._next = number, self.phases.start_ns + offset

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

    def _over(self, now: int) -> bool:
        if self.phases is None:
            return bool(self._stop_ns)
        if now < self.phases.end_ns or (not self._closed_loop and self._next < self.phases.end_ns):
            return False
        under_way = bool(self._due) or self._connections.carrying()
        return not under_way or now >= (self._stop_ns or self.phases.limit_ns(self._timeout_ns, self._streams))

    def _finish(self) -> None:
        now = time.perf_counter_ns()
        if self._streams and not self._stop_ns and self.failure is None:
            # nothing else has an end: plain replies, and silences, are given up after the timeout
            for seat in [seat for seat in self._connections.seats.values() if seat.start != NONE]:
                endless = Verdict(STALLED, f"the stream had no end {(now - seat.start) / 1e9:.3g} s after its request was sent")
                self._ended(seat, now, *self._broken(seat, endless))
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
                self._send(seat, next(self._numbers), time.perf_counter_ns())
            return
        while self._next < self.phases.end_ns and self._next <= (now := time.perf_counter_ns()):
            self._dispatch(self._number, self._next, now)
            self._advance()
        if self._next < self.phases.end_ns:
            self._timer.arm(self._next)

    def _dispatch(self, number: int, intended: int, now: int) -> None:
        assert self.phases is not None
        if self._idle:
            self._send(self._idle.pop(), number, intended)
        elif self._connections.resting:
            self._connect(self._connections.resting.popleft()[1], number, intended, now)
        else:
            self.late += intended >= self.phases.window_ns
            self._due.append((number, intended, now))

    def _free(self, seat: Seat, now: int) -> None:
        """This connection may carry the next request."""
        if self._due:
            number, intended, released = self._due.popleft()
            self._send(seat, number, intended, waited_for(QUEUED, intended, released, now))
        elif self._leaving:
            self._leaving -= 1
            self._connections.part(seat)
        elif self._closed_loop and self._sending(now):
            self._send(seat, next(self._numbers), now)
        else:
            self._idle.append(seat)
            self._pay(seat)  # where a request follows, it takes that along

    def _pay(self, seat: Seat) -> None:
        """Send what the protocol wants sent besides."""
        if owed := seat.line.owed():
            self._put(seat, owed)

    def _send(self, seat: Seat, number: int, intended: int, waited: int = AT_ONCE) -> None:
        payload = self._turns[number % self._period]
        request = self._requests[payload]
        seat.number, seat.payload = number, payload
        seat.intended, seat.waited = intended, waited
        seat.id = id_ = request_id(number)
        _put_id(request.head, request.id_at, id_)
        buffers = seat.line.ask(request)
        self.sent += 1
        seat.start = start = time.perf_counter_ns()
        seat.deadline = start + self._timeout_ns
        try:
            self._connections.put(seat, buffers)
        except OSError as error:
            self._lost(seat, CLOSED, f"the connection was closed: {error.strerror}", time.perf_counter_ns())

    def _put(self, seat: Seat, buffers: Sequence[Buffer]) -> None:
        try:
            self._connections.put(seat, buffers)
        except OSError as error:
            self._lost(seat, CLOSED, f"the connection was closed: {error.strerror}", time.perf_counter_ns())

    # ------------------------------------------------------------ receiving

    def _ready(self, seat: Seat, events: int) -> None:
        if not seat.connected:
            self._connected(seat)
            return
        if events & OUT and seat.rest:
            try:
                self._connections.flush(seat)
            except OSError as error:
                self._lost(seat, CLOSED, f"the connection was closed: {error.strerror}", time.perf_counter_ns())
        if events & ~OUT and seat.connected:
            self._receive(seat)
            while self._tls and seat.connected and seat.socket.pending():
                self._receive(seat)

    def _receive(self, seat: Seat) -> None:
        try:
            piece = seat.socket.recv(seat.room)
        except BlockingIOError:
            return
        except OSError as error:
            self._lost(seat, CLOSED, f"the connection was closed: {error.strerror}", time.perf_counter_ns())
            return
        now = time.perf_counter_ns()
        line = seat.line
        if learns := self._learns and seat.intended != NONE and not self._recorder.wants(seat.number, seat.payload):
            status = line.repeats(piece, seat.id)
            if status is not None:  # nearly always
                self._recorder.good(seat.number, seat.payload, seat.intended, seat.start, now, status, seat.waited)
                self._answered(seat, now, True)
                return
        try:
            reply = line.feed(piece) if piece else line.end()
        except ProtocolError as error:
            if self._streams:
                streams.mark(seat, line.body_bytes, now, self._timeout_ns)
            self._lost(seat, PROTOCOL if piece else CLOSED, str(error), now)
            return
        if self._streams:
            there = line.body_bytes if reply is None else len(reply.body)
            streams.mark(seat, there, now, self._timeout_ns)
        if reply is not None:
            self._reply(seat, reply, now, piece if learns else b"")
        elif piece:
            self._pay(seat)
        else:
            self._lost(seat, CLOSED, "the connection was closed before the reply began", now)

    def _reply(self, seat: Seat, reply: Reply, now: int, piece: bytes) -> None:
        """A reply came; where the line is to know the next like it, by its last `piece`."""
        if seat.intended == NONE:
            self._lost(seat, PROTOCOL, "a reply that nobody asked for", now)
            return
        verdict = self._judges[seat.payload](reply, seat.id)
        if piece and verdict == FINE and (varying := self._pool.target.varying(reply, seat.id)) is not None:
            seat.line.learn(piece, reply, varying)
            if len(piece) < _SHORT:
                seat.room = len(piece) + 1
        answer = streams.whole(seat, verdict, reply) if self._streams else reply
        times = seat.intended, seat.start, now
        self._recorder.add(seat.number, seat.payload, times, reply.head.status, verdict, answer, seat.waited)
        self._answered(seat, now, reply.head.keep_alive)

    def _answered(self, seat: Seat, now: int, kept: bool) -> None:
        """A request was answered and recorded: on to the next."""
        intended = seat.intended
        seat.intended = seat.start = NONE
        seat.replies += 1
        phases = self.phases
        assert phases is not None
        phases.replied(intended, now)
        if seat.rest or not (self._keeps and kept):
            self._again(seat, now)
        elif self._closed_loop and now < phases.end_ns and not (self._due or self._leaving):
            self._send(seat, next(self._numbers), now)
        else:
            self._free(seat, now)

    def _broken(self, seat: Seat, verdict: Verdict) -> tuple[int, Verdict, Reply | None]:
        return streams.broken(seat, verdict, self._judges[seat.payload], self._timeout_ns)

    def _ended(self, seat: Seat, now: int, status: int, verdict: Verdict, answer: Reply | None) -> None:
        intended = seat.intended
        start = seat.start if seat.start != NONE else now
        self._recorder.add(seat.number, seat.payload, (intended, start, now), status, verdict, answer, seat.waited)
        seat.intended = seat.start = NONE
        assert self.phases is not None
        self.phases.replied(intended, now)

    # ------------------------------------------------------------ connections

    def _connect(self, seat: Seat, number: int, intended: int, released: int) -> None:
        """Open a connection that carries this request first."""
        seat.number, seat.payload, seat.intended = number, self._turns[number % self._period], intended
        seat.waited, seat.released = CONNECTING, released
        self._connections.open(seat)

    def _connected(self, seat: Seat) -> None:
        problem, now = self._connections.decided(seat), time.perf_counter_ns()
        if problem:
            self._lost(seat, CONNECT, problem, now)
        if problem != "":
            return
        if opening := seat.line.opening():
            self._put(seat, [opening])
            if not seat.connected:
                return
        if seat.intended != NONE:
            self._send(seat, seat.number, seat.intended, waited_for(CONNECTING, seat.intended, seat.released, now))
        else:
            self._free(seat, now)

    def _lost(self, seat: Seat, error: int, message: str, now: int) -> None:
        """The connection is gone or useless, and with it the request it carried."""
        if seat in self._idle:
            self._idle.remove(seat)
        # one that had brought nothing is as good as refused: a server may accept and close
        refused = error != TIMEOUT and not seat.replies
        if seat.intended != NONE:
            status, verdict, answer = 0, Verdict(error, message), None
            if self._streams and seat.start != NONE:
                status, verdict, answer = self._broken(seat, verdict)
            self._ended(seat, now, status, verdict, answer)
        self._again(seat, now, refused)

    def _again(self, seat: Seat, now: int, refused: bool = False) -> None:
        """Connect anew; a seat that was refused rests first, or the engine would hammer a server that is down."""
        self.reconnects += self._connections.part(seat)
        if self._leaving:
            self._leaving -= 1
        elif refused or (not self._due and not self._closed_loop):
            self._connections.resting.append((now + BACKOFF_NS, seat))
        elif self._due:
            self._connect(seat, *self._due.popleft())
        elif self._closed_loop and self._sending(now):
            # the user goes on at once: the time to connect is the user's time
            self._connect(seat, next(self._numbers), now, now)
        else:
            self._connections.open(seat)

    def _sweep(self, now: int) -> None:
        self._swept = now
        refused, self._connections.refused = self._connections.refused, []
        for seat, problem in refused:
            self._lost(seat, CONNECT, problem, now)
        for seat in self._connections.expired(now):
            what = "no reply" if seat.connected else "no connection"
            self._lost(seat, TIMEOUT, f"{what} within {format_exact_duration(self._timeout_ns)}", now)
        while (self._due or (self._closed_loop and self._sending(now))) and (rested := self._connections.rested(now)):
            self._connect(rested, *(self._due.popleft() if self._due else (next(self._numbers), now, now)))
        self.cpu.look(now, self.phases)
        self._recorder.hand_over()
