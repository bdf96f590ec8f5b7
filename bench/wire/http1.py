"""HTTP/1.1 replies out of bytes in any pieces (RFC 9112), and the fixed head of a request."""

from functools import lru_cache
from typing import NamedTuple

HEAD_LIMIT = 65536
_END = b"\r\n\r\n"
_UNTIL_CLOSE, _CHUNKED = -1, -2


class ProtocolError(Exception):
    """The bytes are no HTTP/1.1 reply, or the connection ended within one; the message says which."""


class Head(NamedTuple):
    """A reply's head, parsed; `length` is the body's, negative where the body ends by chunks or by closing."""

    status: int
    length: int
    keep_alive: bool
    headers: dict[bytes, bytes]  # names in lower case


class Reply(NamedTuple):
    """One whole reply."""

    head: Head
    body: bytes


def request_head(path: str, host: str, headers: dict[str, str], length: int, method: str = "POST") -> bytes:
    """The head of a request whose body has `length` bytes."""
    lines = [
        f"{method} {path} HTTP/1.1",
        f"Host: {host}",
        *(f"{k}: {v}" for k, v in headers.items()),
        f"Content-Length: {length}",
    ]
    return "\r\n".join(lines).encode("latin-1") + _END


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


class ReplyReader:
    """Reads one reply after another from a connection that carries one request at a time."""

    __slots__ = ("_data", "_decoded", "_head", "_parsed")

    def __init__(self) -> None:
        self._head: Head | None = None
        self._data = bytearray()
        self._decoded = bytearray()
        self._parsed = 0  # how far the chunks have been decoded

    @property
    def idle(self) -> bool:
        """Whether no byte of a reply has come yet."""
        return self._head is None and not self._data

    def feed(self, piece: bytes) -> Reply | None:
        """Take the next bytes; the reply when they complete it. ProtocolError where they are no reply."""
        if self._head is None:
            data = bytes(self._data) + piece if self._data else piece
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
                return self.feed(data[end + 4 :]) if len(data) > end + 4 else None
            self._head, self._data = head, bytearray(data[end + 4 :])
        else:
            self._data += piece
        return self._body()

    def end(self) -> Reply | None:
        """The connection was closed: the reply that ends so, None between replies, ProtocolError within one."""
        if self.idle:
            return None
        if self._head is None or self._head.length != _UNTIL_CLOSE:
            got = len(self._data)
            raise ProtocolError(f"the connection was closed within a reply, after {got} bytes of its {self._part()}")
        return self._whole(bytes(self._data))

    def _part(self) -> str:
        return "head" if self._head is None else "body"

    def _keep_head(self, data: bytes) -> None:
        if len(data) > HEAD_LIMIT:
            raise ProtocolError(f"a reply's head longer than {HEAD_LIMIT} bytes")
        if not b"HTTP/1.".startswith(data[:7]):
            raise ProtocolError(f"not an HTTP/1.1 reply: it begins with {data[:40]!r}")
        self._data = bytearray(data)

    def _body(self) -> Reply | None:
        assert self._head is not None
        length = self._head.length
        if length == _CHUNKED:
            return self._chunks()
        if length == _UNTIL_CLOSE or len(self._data) < length:
            return None
        if len(self._data) > length:
            raise ProtocolError(f"{len(self._data) - length} bytes after the end of a reply")
        return self._whole(bytes(self._data))

    def _chunks(self) -> Reply | None:
        data = self._data
        while True:
            line = data.find(b"\r\n", self._parsed)
            if line < 0:
                if len(data) - self._parsed > 1024:
                    raise ProtocolError("a malformed chunk: its size has no end")
                return None
            size = _chunk_size(bytes(data[self._parsed : line]))
            if size == 0:
                return self._trailers(line)
            end = line + 2 + size
            if len(data) < end + 2:
                return None
            if data[end : end + 2] != b"\r\n":
                raise ProtocolError("a chunk that does not end where its size says")
            self._decoded += data[line + 2 : end]
            self._parsed = end + 2

    def _trailers(self, line: int) -> Reply | None:
        data = self._data
        end = line + 2 if data[line + 2 : line + 4] == b"\r\n" else data.find(_END, line) + 2
        if end < line + 2 or len(data) < end + 2:
            if len(data) - line > HEAD_LIMIT:
                raise ProtocolError(f"trailers longer than {HEAD_LIMIT} bytes")
            return None
        if len(data) > end + 2:
            raise ProtocolError(f"{len(data) - end - 2} bytes after the end of a reply")
        return self._whole(bytes(self._decoded))

    def _whole(self, body: bytes) -> Reply:
        assert self._head is not None
        reply = Reply(self._head, body)
        self._head, self._data, self._decoded, self._parsed = None, bytearray(), bytearray(), 0
        return reply


def _chunk_size(line: bytes) -> int:
    text = line.split(b";")[0].strip()
    if not text or len(text) > 15 or text.strip(b"0123456789abcdefABCDEF"):
        raise ProtocolError(f"a malformed chunk size: {line[:40]!r}")
    return int(text, 16)
