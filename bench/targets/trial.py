"""One request before the measurement, sent as the run will send it: what comes, and whether the connection stands after."""

import contextlib
import socket
from typing import Any, NamedTuple

from bench.errors import RunError
from bench.targets.talk import Talk
from bench.units import format_exact_duration
from bench.wire.line import ProtocolError, Reply, WireRequest
from bench.words import Word

_PATIENCE_NS = 60 * 10**9  # at the least: a server's first answer may be slow
_CLOSING_S = 0.2  # how long a server may take to close a connection after its reply


class Trial(NamedTuple):
    """How it went."""

    reply: Reply  # with its marks; where it broke off, how
    kept: bool  # whether the next request may go over the same connection


def send(word: Word, target: Any, request: WireRequest, timeout_ns: int) -> Trial:
    """Send `request` to a wire target and read the reply; RunError where none begins."""
    patience_ns = max(timeout_ns, _PATIENCE_NS)
    try:
        with Talk(target, patience_ns / 1e9) as talk:
            reply = talk.ask(request)
            return Trial(reply, reply.head.keep_alive and not reply.ended and _stands(talk.socket))
    except TimeoutError:
        raise RunError(f"target {word}: no reply to a trial request within {format_exact_duration(patience_ns)}") from None
    except (OSError, ProtocolError) as error:
        reason = error.strerror or str(error) if isinstance(error, OSError) else str(error)
        raise RunError(f"target {word}: a trial request got no reply: {reason}") from None


def _stands(connection: socket.socket) -> bool:
    # some servers (llama.cpp's) close the connection after a stream and do not say so in its head
    connection.settimeout(_CLOSING_S)
    with contextlib.suppress(TimeoutError):
        return bool(connection.recv(1, 0 if hasattr(connection, "context") else socket.MSG_PEEK))
    return True
