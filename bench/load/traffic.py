"""What goes over the users' connections: each request to its end, and what follows that."""

import struct
import time
from collections import deque
from collections.abc import Sequence

from bench.arrivals import ClosedLoop
from bench.load import streams
from bench.load.connections import NONE, OUT, PIECE, Connections, Seat
from bench.load.phases import Phases
from bench.load.pool import Pool
from bench.load.recorder import Recorder
from bench.load.share import Share
from bench.record import AT_ONCE, CLOSED, CONNECT, CONNECTING, PROTOCOL, QUEUED, STALLED, TIMEOUT
from bench.targets.base import FINE, Verdict, request_id
from bench.units import format_exact_duration
from bench.wire.line import Buffer, ProtocolError, Reply
from bench.workload import Workload

BACKOFF_NS = 100_000_000  # how long a user waits after a connection that was refused, or closed before it had brought a reply
LATE_NS = 1_000_000  # from then on a release is late
_SHORT = 470  # bytes for which CPython has a place at hand
_put_id = struct.Struct("16s").pack_into


def waited_for(what: int, intended: int, released: int, now: int) -> int:
    """`what` (QUEUED or CONNECTING), which took from `released` to `now`; AT_ONCE where the pacer was later than that itself.

    A send that was due at `intended` and released so late that this is the greater part waited for nothing but the engine.
    """
    late = released - intended
    return AT_ONCE if late >= LATE_NS and late > now - released else what


class Traffic:
    """Sends on whichever connection is free, and takes the replies; all on the thread of the engine, which says when.

    Sends that find no connection free wait in `due`.
    """

    def __init__(self, pool: Pool, workload: Workload, recorder: Recorder, share: Share) -> None:
        self._pool, self._recorder = pool, recorder
        self._timeout_ns = workload.timeout_ns
        self._requests, self._judges = pool.wire()
        self._turns, self._period = pool.turns, len(pool.turns)
        self._closed_loop, self._numbers = isinstance(workload.load, ClosedLoop), share.numbers()
        self._streams = pool.streams
        # what is a good reply to one part of a mix may be none to another
        self._learns = not self._streams and hasattr(pool.target, "varying") and len(pool.members) == 1
        self._keeps = getattr(pool.target, "keeps_connections", True)  # False: whatever a reply's head says
        self._tls = getattr(pool.target, "tls", None) is not None
        self._leaving = 0  # users who go with their next reply
        self.connections = Connections(pool.target, self._timeout_ns)
        self.idle: list[Seat] = []  # connected, waiting for something to send
        self.due: deque[tuple[int, int, int]] = deque()  # (number, intended, released) of sends that found no seat free
        self.phases: Phases | None = None
        self.sent = self.late = self.reconnects = 0

    # ------------------------------------------------------------ users

    def join(self) -> None:
        """One user more."""
        if self._closed_loop:
            self.connections.open(Seat())
        else:
            # connected when first needed: a connection that says nothing holds a thread of some servers (gunicorn's)
            self.connections.resting.append((0, Seat()))

    def leave(self) -> None:
        """A user goes: one who waits for nothing at once, else the next whose reply has come."""
        if self.connections.resting:
            self.connections.resting.pop()
        elif self.idle:
            self.connections.part(self.idle.pop())
        else:
            self._leaving += 1

    def start(self) -> None:
        """Each user of a closed loop begins."""
        idle, self.idle = self.idle, []
        for seat in idle:
            self._send(seat, next(self._numbers), time.perf_counter_ns())

    def sweep(self, now: int) -> None:
        """What has failed or taken too long, and who may try again."""
        refused, self.connections.refused = self.connections.refused, []
        for seat, problem in refused:
            self._lost(seat, CONNECT, problem, now)
        for seat in self.connections.expired(now):
            what = "no reply" if seat.connected else "no connection"
            self._lost(seat, TIMEOUT, f"{what} within {format_exact_duration(self._timeout_ns)}", now)
        while (self.due or (self._closed_loop and self._sending(now))) and (rested := self.connections.rested(now)):
            self._connect(rested, *(self.due.popleft() if self.due else (next(self._numbers), now, now)))

    def give_up(self, now: int) -> None:
        """End the streams under way, which nothing else does: plain replies, and silences, are given up after the timeout."""
        for seat in [seat for seat in self.connections.seats.values() if seat.start != NONE]:
            endless = Verdict(STALLED, f"the stream had no end {(now - seat.start) / 1e9:.3g} s after its request was sent")
            self._ended(seat, now, *self._broken(seat, endless))

    def _sending(self, now: int) -> bool:
        return self.phases is not None and self.phases.start_ns <= now < self.phases.end_ns

    # ------------------------------------------------------------ sending

    def dispatch(self, number: int, intended: int, now: int) -> None:
        """Send, or let wait, what was due at `intended`."""
        assert self.phases is not None
        if self.idle:
            self._send(self.idle.pop(), number, intended)
        elif self.connections.resting:
            self._connect(self.connections.resting.popleft()[1], number, intended, now)
        else:
            self.late += intended >= self.phases.window_ns
            self.due.append((number, intended, now))

    def _free(self, seat: Seat, now: int) -> None:
        """This connection may carry the next request."""
        if self.due:
            number, intended, released = self.due.popleft()
            self._send(seat, number, intended, waited_for(QUEUED, intended, released, now))
        elif self._leaving:
            self._leaving -= 1
            self.connections.part(seat)
        elif self._closed_loop and self._sending(now):
            self._send(seat, next(self._numbers), now)
        else:
            self.idle.append(seat)
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
            self.connections.put(seat, buffers)
        except OSError as error:
            self._lost(seat, CLOSED, f"the connection was closed: {error.strerror}", time.perf_counter_ns())

    def _put(self, seat: Seat, buffers: Sequence[Buffer]) -> None:
        try:
            self.connections.put(seat, buffers)
        except OSError as error:
            self._lost(seat, CLOSED, f"the connection was closed: {error.strerror}", time.perf_counter_ns())

    # ------------------------------------------------------------ receiving

    def ready(self, seat: Seat, events: int) -> None:
        """A connection is ready for whatever."""
        if not seat.connected:
            self._connected(seat)
            return
        if events & OUT and seat.rest:
            try:
                self.connections.flush(seat)
            except OSError as error:
                self._lost(seat, CLOSED, f"the connection was closed: {error.strerror}", time.perf_counter_ns())
        if events & ~OUT and seat.connected:
            self.receive(seat)
            while self._tls and seat.connected and seat.socket.pending():
                self.receive(seat)

    def receive(self, seat: Seat) -> None:
        """Take what has come on a connection."""
        try:
            piece = seat.socket.recv(seat.room)
        except BlockingIOError:
            return
        except OSError as error:
            self._lost(seat, CLOSED, f"the connection was closed: {error.strerror}", time.perf_counter_ns())
            return
        now = time.perf_counter_ns()
        if len(piece) == seat.room:  # more is there than comes as a rule
            seat.room = PIECE
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
            whole = seat.line.learn(piece, reply, varying)
            if whole and len(piece) < _SHORT:
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
        elif self._closed_loop and now < phases.end_ns and not (self.due or self._leaving):
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
        self.connections.open(seat)

    def _connected(self, seat: Seat) -> None:
        problem, now = self.connections.decided(seat), time.perf_counter_ns()
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
        if seat in self.idle:
            self.idle.remove(seat)
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
        self.reconnects += self.connections.part(seat)
        if self._leaving:
            self._leaving -= 1
        elif refused or (not self.due and not self._closed_loop):
            self.connections.resting.append((now + BACKOFF_NS, seat))
        elif self.due:
            self._connect(seat, *self.due.popleft())
        elif self._closed_loop and self._sending(now):
            # the user goes on at once: the time to connect is the user's time
            self._connect(seat, next(self._numbers), now, now)
        else:
            self.connections.open(seat)
