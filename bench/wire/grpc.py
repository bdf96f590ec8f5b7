"""What gRPC is on top of HTTP/2: its statuses, and messages with their length in front."""

from collections.abc import Iterator

from bench.wire.line import ProtocolError, Reply

STATUSES = (
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE",
    "DATA_LOSS", "UNAUTHENTICATED",
)  # fmt: skip
(
    OK, CANCELLED, UNKNOWN, INVALID_ARGUMENT, DEADLINE_EXCEEDED, NOT_FOUND, ALREADY_EXISTS, PERMISSION_DENIED,
    RESOURCE_EXHAUSTED, FAILED_PRECONDITION, ABORTED, OUT_OF_RANGE, UNIMPLEMENTED, INTERNAL, UNAVAILABLE,
    DATA_LOSS, UNAUTHENTICATED,
) = range(17)  # fmt: skip

PREFIX = 5  # bytes in front of a message: whether it is compressed, and its length

# doc/http-grpc-status-mapping.md and doc/PROTOCOL-HTTP2.md of the gRPC project; all others are UNKNOWN and INTERNAL
_OF_HTTP = {
    400: INTERNAL, 401: UNAUTHENTICATED, 403: PERMISSION_DENIED, 404: UNIMPLEMENTED,
    429: UNAVAILABLE, 502: UNAVAILABLE, 503: UNAVAILABLE, 504: UNAVAILABLE,
}  # fmt: skip
_OF_RESET = {7: UNAVAILABLE, 8: CANCELLED, 11: RESOURCE_EXHAUSTED, 12: PERMISSION_DENIED}


def status_name(status: int) -> str:
    """How gRPC calls a status."""
    return STATUSES[status] if 0 <= status < len(STATUSES) else f"status {status}"


def status_of_http(status: int) -> int:
    """What a reply without a gRPC status comes to."""
    return _OF_HTTP.get(status, UNKNOWN)


def status_of(fields: dict[bytes, bytes]) -> tuple[int, str]:
    """The gRPC status of a whole reply, and what is wrong with its end."""
    text = fields.get(b"grpc-status")
    if text is not None:
        return (int(text) if text.isdigit() and len(text) < 4 else UNKNOWN), ""
    status = int(fields[b":status"])
    return status_of_http(status), "the reply ended without a gRPC status" if status == 200 else ""


def status_of_reset(code: int) -> int:
    """What a stream comes to that the server reset with this HTTP/2 error code."""
    return _OF_RESET.get(code, INTERNAL)


def problem(reply: Reply) -> str:
    """What went wrong, of a reply that is not good."""
    name, headers = status_name(reply.head.status), reply.head.headers
    if b"grpc-status" in headers or reply.ended:
        said = headers.get(b"grpc-message", b"").decode("utf-8", "replace") or reply.ended or "(without a message)"
        return f"gRPC {name}: {said.splitlines()[0][:200]}"
    status = headers[b":status"].decode()
    return f"HTTP {status} in place of a gRPC status ({name}): {reply.body[:80].decode('utf-8', 'replace')}"


def prefixed(message: bytes, more: int = 0) -> bytes:
    """A message, or the beginning of one that has `more` bytes after it, with its length in front."""
    return b"\0" + (len(message) + more).to_bytes(4, "big") + message


def messages(body: bytes) -> Iterator[tuple[int, bytes]]:
    """(where it ends, message) of each whole message in a body; ProtocolError where one is compressed."""
    at = 0
    while len(body) - at >= PREFIX:
        end = at + PREFIX + int.from_bytes(body[at + 1 : at + PREFIX], "big")
        if body[at]:
            raise ProtocolError("a compressed gRPC message, though none was asked for")
        if end > len(body):
            return
        yield end, body[at + PREFIX : end]
        at = end
