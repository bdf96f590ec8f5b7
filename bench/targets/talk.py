"""One connection to a wire target that is talked over and waited for: outside the measurement, and by users on greenlets."""

import time
from typing import Any

from bench.targets import transport
from bench.wire.line import Line, ProtocolError, Reply, WireRequest

_PIECE = 65536


class Talk:
    """Asks one request after another; OSError, TimeoutError after a silence of `timeout_s`, ProtocolError."""

    def __init__(self, target: Any, timeout_s: float) -> None:
        self.socket = transport.connect(target.address, timeout_s, getattr(target, "tls", None))
        self._line: Line = target.line()
        self.socket.sendall(self._line.opening())

    def ask(self, request: WireRequest) -> Reply:
        """The reply to a request whose id is in place, with its marks; where it broke off, how.

        ProtocolError where none begins.
        """
        line, marks = self._line, list[tuple[int, int]]()
        self._send(line.ask(request))
        while True:
            piece = self.socket.recv(_PIECE)
            try:
                reply = line.feed(piece) if piece else line.end()
            except ProtocolError as error:
                if (begun := line.so_far) is None:
                    raise
                return begun._replace(marks=tuple(marks), ended=str(error))
            self._send(line.owed())
            marks.append((time.perf_counter_ns(), line.body_bytes if reply is None else len(reply.body)))
            if reply is not None:
                return reply._replace(marks=tuple(marks))
            if not piece:
                raise ProtocolError("the connection was closed before it began")

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> "Talk":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _send(self, buffers: Any) -> None:
        for buffer in buffers:
            self.socket.sendall(buffer)
