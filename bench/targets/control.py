"""Questions asked of an HTTP endpoint outside the measurement: who are you, what do you serve."""

import json
import time
from typing import Any

from bench.errors import RunError
from bench.targets import transport
from bench.wire import http1
from bench.wire.line import ProtocolError, Reply
from bench.words import Word

_PIECE = 65536
_ALERT = r"\x15\x03"  # with which TLS begins to refuse what is no TLS, as a message shows it


def instead(what: str, status: int) -> str:
    """What an answer with this status says of a server that was taken for `what`."""
    return "it does not know who asks: --header 'Authorization: ...'" if status in (401, 403) else f"no {what}"


def ask(word: Word, address: tuple[str, int], path: str, method: str = "GET") -> tuple[int, Any]:
    """(status, decoded JSON or text) of one exchange; RunError where nothing answers or what answers is no HTTP server."""
    context = transport.tls(word, transport.HTTP1)
    fields = word.fields() | {"Connection": "close"}
    try:
        with transport.connect(address, transport.PATIENCE_S, context) as connection:
            connection.sendall(http1.request_head(path, word.authority(address[1]), fields, 0, method))
            reply = _reply(connection)
    except ProtocolError as error:
        hint = transport.TLS_HINT if context is None and _ALERT in str(error) else ""
        raise RunError(f"target {word}: no HTTP reply to {method} {path}: {error}{hint}") from None
    except OSError as error:
        raise transport.unreachable(word, address, error) from None
    status, body = reply.head.status, reply.body
    if context is None and status == 400 and b"HTTPS" in body:  # as web servers say it who are asked in plain text
        raise RunError(f"target {word}: the server speaks TLS at this port, and was asked in plain text: ?tls=on")
    try:
        return status, json.loads(body) if body else None
    except ValueError:
        return status, body[:200].decode("utf-8", "replace")


def _reply(connection: Any) -> Reply:
    """The whole reply, which must be there in time, however it comes."""
    line, deadline_s = http1.Http1Line(), time.monotonic() + transport.PATIENCE_S
    while True:
        connection.settimeout(max(deadline_s - time.monotonic(), 0.001))
        piece = connection.recv(_PIECE)
        if (reply := line.feed(piece) if piece else line.end()) is not None:
            return reply
        if not piece:
            raise ConnectionResetError
