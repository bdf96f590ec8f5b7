"""HTTP/1.1 replies out of bytes in any pieces (RFC 9112), and the fixed head of a request."""

from collections.abc import Sequence
from functools import lru_cache

from bench.wire.line import Buffer, Head, ProtocolError, Reply, Varying, WireRequest
from bench.wire.pattern import KNOWN, Pattern, pattern

HEAD_LIMIT = 65536
_SMALL = 8192
_END = b"\r\n\r\n"
_UNTIL_CLOSE, _CHUNKED = -1, -2
_SIZE, _CHUNK_END, _TRAILERS = 0, -1, -2  # what comes next of a chunked body, where it is no chunk


def request_head(path: str, host: str, headers: dict[str, str], length: int, method: str = "POST") -> bytes:
    """The head of a request whose body has `length` bytes."""
    lines = [
        f"{method} {path} HTTP/1.1",
        f"Host: {host}",
        *(f"{k}: {v}" for k, v in headers.items()),
        f"Content-Length: {length}",
    ]
    return "\r\n".join(lines).encode("latin-1") + _END


def joined(request: WireRequest) -> WireRequest:
    """The same with a small body behind its head, for one buffer costs less than two."""
    return request if len(request.body) > _SMALL else request._replace(head=request.head + request.body, body=b"")


@lru_cache(maxsize=256)
def parse_head(head: bytes) -> Head:
    """A reply's head without its empty line; ProtocolError where it is none. Most repeat, and are remembered."""
    first, *lines = head.split(b"\r\n")
    parts = first.split(b" ", 2)
    if len(parts) < 2 or not parts[0].startswith(b"HTTP/1.") or not (len(parts[1]) == 3 and parts[1].isdigit()):
        raise ProtocolError(f"not an HTTP/1.1 reply: it begins with {first[:40]!r}")
    headers: dict[bytes, bytes] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not name or name != name.strip():
            raise ProtocolError(f"a malformed header line: {line[:60]!r}")
        headers[name.lower()] = value.strip()
    status = int(parts[1])
    connection = headers.get(b"connection", b"").lower()
    keep_alive = connection == b"keep-alive" if parts[0] == b"HTTP/1.0" else connection != b"close"
    length = _body_length(status, headers)
    return Head(status, length, keep_alive and length != _UNTIL_CLOSE, headers)


def _body_length(status: int, headers: dict[bytes, bytes]) -> int:
    if status < 200 or status in (204, 304):
        return 0
    if headers.get(b"transfer-encoding", b"").lower().endswith(b"chunked"):
        return _CHUNKED
    text = headers.get(b"content-length")
    if text is None:
        return _UNTIL_CLOSE
    if not text.isdigit() or len(text) > 18:
        raise ProtocolError(f"a malformed Content-Length: {text[:40]!r}")
    return int(text)


class Http1Line:
    """A `Line`: one request and one reply after another."""

    __slots__ = ("_at_once", "_body", "_data", "_head", "_left", "_patterns")

    def __init__(self) -> None:
        self._head: Head | None = None
        self._data = bytearray()  # what has not yet been taken apart: of the head, or of a body in chunks
        self._body = bytearray()
        self._left = _SIZE  # of a chunked body: bytes of its chunk still to come, or which part is
        self._at_once = False  # whether the last reply came in one piece that was nothing else
        self._patterns: dict[int, Pattern] = {}  # of good replies, by their length

    def opening(self) -> bytes:
        return b""

    def ask(self, request: WireRequest) -> Sequence[Buffer]:
        return (request.head, request.body) if request.body else (request.head,)

    def owed(self) -> Sequence[Buffer]:
        return ()

    @property
    def idle(self) -> bool:
        """Whether no byte of a reply has come yet."""
        return self._head is None and not self._data

    @property
    def body_bytes(self) -> int:
        """How much of the body is there, out of its chunks, while a reply is read."""
        return len(self._body)

    @property
    def so_far(self) -> Reply | None:
        """What is there of a reply whose head has come."""
        return Reply(self._head, bytes(self._body)) if self._head is not None else None

    def feed(self, piece: bytes) -> Reply | None:
        """Take the next bytes; the reply when they complete it. ProtocolError where they are no reply."""
        if self._head is None:
            data = bytes(self._data) + piece if self._data else piece
            self._at_once = not self._data
            end = data.find(_END)
            if end < 0:
                self._keep_head(data)
                return None
            head = parse_head(data[:end])
            if head.length == len(data) - end - 4 and head.status >= 200:  # nearly always: one reply in one piece
                self._data = bytearray()
                return Reply(head, data[end + 4 :])
            if head.status < 200:
                if head.status == 101:
                    raise ProtocolError("the server switched to another protocol")
                self._data = bytearray()
                reply = self.feed(data[end + 4 :]) if len(data) > end + 4 else None
                self._at_once = False
                return reply
            self._head, self._data = head, bytearray()
            piece = data[end + 4 :]
        if self._head.length == _CHUNKED:
            self._data += piece
            return self._chunks()
        self._body += piece
        return self._stated()

    def end(self) -> Reply | None:
        """The connection was closed: the reply that ends so, None between replies, ProtocolError within one."""
        if self.idle:
            return None
        if self._head is None or self._head.length != _UNTIL_CLOSE:
            part, got = ("head", len(self._data)) if self._head is None else ("body", len(self._body))
            raise ProtocolError(f"the connection was closed within a reply, after {got} bytes of its {part}")
        return self._whole()

    def repeats(self, piece: bytes, id_: bytes) -> int | None:
        """The status of a good reply that `piece` repeats, with this id."""
        known = self._patterns.get(len(piece))
        if known is None or self._data or self._head is not None:
            return None
        before, behind, rest, status = known
        if not piece.startswith(before + id_ + behind):
            return None
        for at, part in rest:
            if not piece.startswith(part, at):
                return None
        return status

    def learn(self, piece: bytes, reply: Reply, varying: Varying) -> bool:
        """Remember a good reply that was `piece`; whether it is one."""
        fit = self._at_once and reply.head.keep_alive and len(self._patterns) < KNOWN
        if fit:
            self._patterns[len(piece)] = pattern(piece, reply.head.status, len(piece) - len(reply.body), varying)
        return fit

    def _keep_head(self, data: bytes) -> None:
        if len(data) > HEAD_LIMIT:
            raise ProtocolError(f"a reply's head longer than {HEAD_LIMIT} bytes")
        if not b"HTTP/1.".startswith(data[:7]):
            raise ProtocolError(f"not an HTTP/1.1 reply: it begins with {data[:40]!r}")
        self._data = bytearray(data)

    def _stated(self) -> Reply | None:
        assert self._head is not None
        length = self._head.length
        if length == _UNTIL_CLOSE or len(self._body) < length:
            return None
        if len(self._body) > length:
            raise ProtocolError(f"{len(self._body) - length} bytes after the end of a reply")
        return self._whole()

    def _chunks(self) -> Reply | None:
        """Take apart as much of the chunks as there is; of one that has not come whole, what is there."""
        data = self._data
        while self._left != _TRAILERS:
            if self._left > 0:
                self._body += data[: self._left]
                taken = min(self._left, len(data))
                del data[:taken]
                self._left -= taken
                if self._left:
                    return None
                self._left = _CHUNK_END
            if self._left == _CHUNK_END:
                if not b"\r\n".startswith(data[:2]):
                    raise ProtocolError("a chunk that does not end where its size says")
                if len(data) < 2:
                    return None
                del data[:2]
                self._left = _SIZE
            if (line := data.find(b"\r\n")) < 0:
                if len(data) > 1024:
                    raise ProtocolError("a malformed chunk: its size has no end")
                return None
            self._left = _chunk_size(bytes(data[:line])) or _TRAILERS
            del data[: line + (2 if self._left > 0 else 0)]  # trailers, or none, begin with the end of the last size
        return self._trailers()

    def _trailers(self) -> Reply | None:
        data = self._data
        end = 2 if data[2:4] == b"\r\n" else data.find(_END) + 2
        if end < 2 or len(data) < end + 2:
            if len(data) > HEAD_LIMIT:
                raise ProtocolError(f"trailers longer than {HEAD_LIMIT} bytes")
            return None
        if len(data) > end + 2:
            raise ProtocolError(f"{len(data) - end - 2} bytes after the end of a reply")
        return self._whole()

    def _whole(self) -> Reply:
        assert self._head is not None
        reply = Reply(self._head, bytes(self._body))
        self._at_once = False
        self._head, self._data, self._body, self._left = None, bytearray(), bytearray(), _SIZE
        return reply


def _chunk_size(line: bytes) -> int:
    text = line.split(b";")[0].strip()
    if not text or len(text) > 15 or text.strip(b"0123456789abcdefABCDEF"):
        raise ProtocolError(f"a malformed chunk size: {line[:40]!r}")
    return int(text, 16)
