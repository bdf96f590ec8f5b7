"""One request before the measurement, sent as the run will send it: what comes, and whether the connection stands after."""

import contextlib
import socket
import time
from typing import NamedTuple

from bench.errors import RunError
from bench.units import format_exact_duration
from bench.wire.http1 import Http1Line
from bench.wire.line import ProtocolError, Reply, WireRequest
from bench.words import Word

_PATIENCE_NS = 60 * 10**9  # at the least: a server's first answer may be slow
_CLOSING_S = 0.2  # how long a server may take to close a connection after its reply


class Trial(NamedTuple):
    """How it went."""

    reply: Reply  # with its marks; where it broke off, how
    kept: bool  # whether the next request may go over the same connection


def send(word: Word, address: tuple[str, int], request: WireRequest, timeout_ns: int) -> Trial:
    """Send `request` and read the reply; RunError where none begins."""
    patience_ns = max(timeout_ns, _PATIENCE_NS)
    try:
        with socket.create_connection(address, patience_ns / 1e9) as connection:
            connection.sendall(request.head + request.body)
            reply = read_reply(connection)
            return Trial(reply, reply.head.keep_alive and not reply.ended and _stands(connection))
    except TimeoutError:
        raise RunError(f"target {word}: no reply to a trial request within {format_exact_duration(patience_ns)}") from None
    except (OSError, ProtocolError) as error:
        reason = error.strerror or str(error) if isinstance(error, OSError) else str(error)
        raise RunError(f"target {word}: a trial request got no reply: {reason}") from None


def read_reply(connection: socket.socket) -> Reply:
    """The next reply, with its marks; where it broke off, how. ProtocolError where none begins."""
    reader, marks = Http1Line(), list[tuple[int, int]]()
    while True:
        piece = connection.recv(65536)
        try:
            reply = reader.feed(piece) if piece else reader.end()
        except ProtocolError as error:
            if (begun := reader.so_far) is None:
                raise
            return begun._replace(marks=tuple(marks), ended=str(error))
        marks.append((time.perf_counter_ns(), reader.body_bytes if reply is None else len(reply.body)))
        if reply is not None:
            return reply._replace(marks=tuple(marks))
        if not piece:
            raise ProtocolError("the connection was closed before it began")


def _stands(connection: socket.socket) -> bool:
    # some servers (llama.cpp's) close the connection after a stream and do not say so in its head
    connection.settimeout(_CLOSING_S)
    with contextlib.suppress(TimeoutError):
        return bool(connection.recv(1, socket.MSG_PEEK))
    return True
