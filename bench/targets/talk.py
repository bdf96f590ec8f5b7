"""One connection to a wire target that is talked over and waited for: outside the measurement, and by users on greenlets."""

import ssl
import time
from collections.abc import Sequence
from typing import Any

from bench.targets import transport
from bench.wire.line import Buffer, Line, ProtocolError, Reply, WireRequest

_PIECE = 65536


class Talk:
    """Asks one request after another; OSError, TimeoutError after a silence of `timeout_s`, ProtocolError."""

    def __init__(self, target: Any, timeout_s: float) -> None:
        self.socket = transport.connect(target.address, timeout_s, getattr(target, "tls", None))
        self._line: Line = target.line()
        self.socket.sendall(self._line.opening())
        self._timeout_s = timeout_s
        self._unsent = memoryview(b"")
        self.marks: list[tuple[int, int]] = []  # since `send`: (time in ns, bytes of the body that were there then)
        self.heard_ns = 0  # when the last piece came
        self.closed = False  # by the server

    def ask(self, request: WireRequest) -> Reply:
        """The reply to a request whose id is in place, with its marks; where it broke off, how.

        ProtocolError where none begins.
        """
        self.send(request)
        try:
            return self.hear()
        except ProtocolError as error:
            if (begun := self.so_far) is None:
                raise
            return begun._replace(marks=tuple(self.marks), ended=str(error))

    def send(self, request: WireRequest) -> None:
        """Send a request whose id is in place."""
        self.marks = []
        self._put(self._line.ask(request))

    def hear(self, deadline_ns: int | None = None) -> Reply:
        """The reply to what was sent, with its marks; TimeoutError where it is not whole at `deadline_ns`.

        Sending or hearing that was interrupted from outside, as a greenlet may be, goes on where it was.
        """
        self._push()
        while True:
            if deadline_ns is not None:
                self.socket.settimeout(max(deadline_ns - time.perf_counter_ns(), 1) / 1e9)
            piece = self.socket.recv(_PIECE)
            self.heard_ns = time.perf_counter_ns()
            reply = self._take(piece)
            if reply is not None:
                return reply._replace(marks=tuple(self.marks))
            if not piece:
                raise ProtocolError("the connection was closed before the reply began")

    @property
    def so_far(self) -> Reply | None:
        """What is there of a reply whose head has come."""
        return self._line.so_far

    @property
    def sent(self) -> bool:
        """Whether the whole of the request is on its way."""
        return not self._unsent

    def stands(self) -> bool:
        """Between replies: whether the connection may carry another request. Takes in what the server has said meanwhile."""
        self.socket.settimeout(0)
        try:
            while (piece := self._there()) is not None:
                if not piece or self._line.feed(piece) is not None:  # closed, or a reply that nobody asked for
                    return False
            self.socket.settimeout(self._timeout_s)
            self._put(self._line.owed())
        except (OSError, ProtocolError):
            return False
        return True

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> "Talk":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _there(self) -> bytes | None:
        """What has come already; None where that is nothing."""
        try:
            return self.socket.recv(_PIECE)
        except (BlockingIOError, ssl.SSLWantReadError):
            return None

    def _take(self, piece: bytes) -> Reply | None:
        line, self.closed = self._line, not piece
        reply = None
        try:
            reply = line.feed(piece) if piece else line.end()
        finally:
            there = line.body_bytes if reply is None else len(reply.body)
            if there > (self.marks[-1][1] if self.marks else 0):
                self.marks.append((self.heard_ns, there))
        self._put(line.owed())
        return reply

    def _put(self, buffers: Sequence[Buffer]) -> None:
        if buffers:
            # joined into bytes of its own: others on other connections put their ids into the same request
            self._unsent = memoryview(b"".join(buffers))
            self._push()

    def _push(self) -> None:
        while self._unsent:
            self._unsent = self._unsent[self.socket.send(self._unsent) :]
