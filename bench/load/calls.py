"""One user's connection, and what one request after another on it comes to, in the words of the engine."""

import time
from collections.abc import Callable
from typing import NamedTuple

from bench.load import streams
from bench.load.connections import Seat
from bench.load.pool import Pool
from bench.load.traffic import BACKOFF_NS
from bench.record import AT_ONCE, CLOSED, CONNECT, CONNECTING, OK, PROTOCOL, QUEUED, TIMEOUT
from bench.targets.base import Verdict, request_id
from bench.targets.talk import Talk
from bench.units import format_exact_duration
from bench.wire.line import ProtocolError, Reply


class Call:
    """One request; `start` is 0 until its first byte is sent."""

    __slots__ = ("id", "intended", "number", "payload", "start", "talk", "waited")

    def __init__(self, number: int, payload: int, intended: int) -> None:
        self.number, self.payload, self.intended = number, payload, intended
        self.id = request_id(number)
        self.start = 0
        self.waited = AT_ONCE
        self.talk: Talk | None = None


class Ended(NamedTuple):
    """How a call ended."""

    end: int  # ns
    status: int
    verdict: Verdict
    answer: Reply | None  # of a stream: None where nothing of a good reply has come


class Caller:
    """Keeps one connection open between calls; `parted` hears of each that was given up."""

    def __init__(self, pool: Pool, timeout_ns: int, parted: Callable[[], None]) -> None:
        self._target, self._streams, self._timeout_ns, self._parted = pool.target, pool.streams, timeout_ns, parted
        self._requests, self._judges = pool.wire()
        self._keeps = getattr(pool.target, "keeps_connections", True)
        self._kept: Talk | None = None
        self._replied = False  # whether the connection that is kept, or was last given up, had brought a reply
        self._freed = 0  # when the last call ended
        self.rest_until = 0  # after a connection that was refused, or the users would hammer a server that is down

    def carry(self, call: Call) -> Ended:
        """Send a call and wait for its end; where that is interrupted from outside, it may be gone on with by another call."""
        if call.talk is None and (problem := self._connect(call)) is not None:
            return self._lost(call, problem)
        talk = call.talk
        assert talk is not None
        try:
            if not call.start:
                self._send(call, talk)
            reply = talk.hear(None if self._streams else call.start + self._timeout_ns)
        except TimeoutError:
            return self._lost(call, Verdict(TIMEOUT, f"no reply within {format_exact_duration(self._timeout_ns)}"))
        except ProtocolError as error:
            return self._lost(call, Verdict(CLOSED if talk.closed else PROTOCOL, str(error)))
        except OSError as error:
            return self._lost(call, Verdict(CLOSED, f"the connection was closed: {error.strerror}"))
        self._freed, self._replied = talk.heard_ns, True
        if self._kept is None and self._keeps and reply.head.keep_alive and talk.sent:
            self._kept = talk
        else:
            self._part(talk)
        verdict = self._judges[call.payload](reply, call.id)
        return Ended(self._freed, reply.head.status, verdict, None if self._streams and verdict.error != OK else reply)

    def close(self) -> None:
        """Close the connection that is kept."""
        if self._kept is not None:
            self._kept.close()

    def _connect(self, call: Call) -> Verdict | None:
        """Give the call the kept connection, or a new one; what is wrong where that does not come to stand."""
        talk, self._kept = self._kept, None  # taken: a second call at the same time needs a connection of its own
        if self._freed > call.intended:
            call.waited = QUEUED
        if talk is not None and talk.stands():
            call.talk = talk
            return None
        if talk is not None:
            self._part(talk)
        call.waited = CONNECTING
        try:
            call.talk = Talk(self._target, self._timeout_ns / 1e9)
        except TimeoutError:
            return Verdict(TIMEOUT, f"no connection within {format_exact_duration(self._timeout_ns)}")
        except OSError as error:
            return Verdict(CONNECT, error.strerror or str(error))
        self._replied = False
        return None

    def _send(self, call: Call, talk: Talk) -> None:
        request = self._requests[call.payload]
        request.head[request.id_at : request.id_at + 16] = call.id
        call.start = time.perf_counter_ns()
        talk.send(request)

    def _lost(self, call: Call, verdict: Verdict) -> Ended:
        """The connection is gone or useless."""
        self._freed = now = time.perf_counter_ns()
        if verdict.error != TIMEOUT and not self._replied:
            self.rest_until = now + BACKOFF_NS
        status, answer = 0, None
        if call.talk is not None:
            if self._streams and call.start:
                status, verdict, answer = self._broken(call, call.talk, verdict)
            self._part(call.talk)
        call.start = call.start or now
        return Ended(now, status, verdict, answer)

    def _broken(self, call: Call, talk: Talk, verdict: Verdict) -> tuple[int, Verdict, Reply | None]:
        seat = Seat()
        seat.line, seat.marks, seat.id = talk, talk.marks, call.id
        return streams.broken(seat, verdict, self._judges[call.payload], self._timeout_ns)

    def _part(self, talk: Talk) -> None:
        talk.close()
        self._parted()
