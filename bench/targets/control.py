"""Questions asked of an HTTP endpoint outside the measurement: who are you, what do you serve."""

import http.client
import json
from typing import Any

from bench.errors import RunError
from bench.words import Word

TIMEOUT_S = 10.0


def ask(word: Word, address: tuple[str, int], path: str, method: str = "GET") -> tuple[int, Any]:
    """(status, decoded JSON or text) of one exchange; RunError where nothing answers or what answers is no HTTP server."""
    connection = http.client.HTTPConnection(*address, timeout=TIMEOUT_S)
    try:
        connection.request(method, path)
        reply = connection.getresponse()
        body = reply.read()
    except http.client.HTTPException as error:
        raise RunError(
            f"target {word}: what answers there is no HTTP server ({type(error).__name__}: {str(error)[:80]})"
        ) from None
    except OSError as error:
        reason = "no answer in 10 s" if isinstance(error, TimeoutError) else error.strerror or str(error)
        raise RunError(
            f"target {word}: nothing answers at {address[0]}:{address[1]} ({reason}); is the server running?"
        ) from None
    finally:
        connection.close()
    try:
        return reply.status, json.loads(body) if body else None
    except ValueError:
        return reply.status, body[:200].decode("utf-8", "replace")
