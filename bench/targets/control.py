"""Questions asked of an HTTP endpoint outside the measurement: who are you, what do you serve."""

import http.client
import json
import ssl
from typing import Any

from bench.errors import RunError
from bench.targets import transport
from bench.words import Word

_MOST = 1 << 26  # bytes of an answer; whoever says more is no inference server
_ALERT = "\x15\x03"  # with which TLS begins to refuse what is no TLS


def instead(what: str, status: int) -> str:
    """What an answer with this status says of a server that was taken for `what`."""
    return "it does not know who asks: --header 'Authorization: ...'" if status in (401, 403) else f"no {what}"


def ask(word: Word, address: tuple[str, int], path: str, method: str = "GET") -> tuple[int, Any]:
    """(status, decoded JSON or text) of one exchange; RunError where nothing answers or what answers is no HTTP server."""
    context = transport.tls(word, transport.HTTP1)
    connection = _connection(address, context)
    try:
        connection.request(method, path, headers=word.fields() | {"Host": word.authority(address[1])})
        reply = connection.getresponse()
        body = reply.read(_MOST)
    except OSError as error:  # http.client has one that is an HTTPException too
        raise transport.unreachable(word, address, error) from None
    except http.client.HTTPException as error:
        hint = transport.TLS_HINT if context is None and _ALERT in str(error) else ""
        raise RunError(f"target {word}: what answers there is no HTTP server ({_shown(error)}){hint}") from None
    finally:
        connection.close()
    if reply.length:
        raise RunError(f"target {word}: the reply to {method} {path} was cut short, after {len(body)} bytes")
    if context is None and reply.status == 400 and b"HTTPS" in body:  # as web servers say it who are asked in plain text
        raise RunError(f"target {word}: the server speaks TLS at this port, and was asked in plain text: ?tls=on")
    try:
        return reply.status, json.loads(body) if body else None
    except ValueError:
        return reply.status, body[:200].decode("utf-8", "replace")


def _shown(error: http.client.HTTPException) -> str:
    return f"{type(error).__name__}: {str(error)[:80]!r}"


def _connection(address: tuple[str, int], context: ssl.SSLContext | None) -> http.client.HTTPConnection:
    if context is None:
        return http.client.HTTPConnection(*address, timeout=transport.PATIENCE_S)
    return http.client.HTTPSConnection(*address, timeout=transport.PATIENCE_S, context=context)
