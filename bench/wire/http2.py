"""HTTP/2 for gRPC, one call after another: replies out of frames in any pieces, requests into frames as windows allow."""

from collections.abc import Sequence

from bench.wire import frames, grpc
from bench.wire.blocks import HEAD_LIMIT, Blocks
from bench.wire.frames import HEAD_BYTES, MOST, at_least, code_name, frame, unpadded
from bench.wire.line import Buffer, Head, ProtocolError, Reply, Varying, WireRequest
from bench.wire.pattern import KNOWN, ROOM_BYTES, FramedPattern, framed_pattern
from bench.wire.upload import Upload

REFILL = 2**30  # bytes received after which the windows are filled up again


class Http2Line:
    """A `Line`: one stream after another, each with one request and what answers it."""

    __slots__ = (
        "_begun", "_block", "_block_flags", "_blocks", "_changes", "_failed", "_fresh", "_head", "_last", "_last_head",
        "_leaving", "_owed", "_patterns", "_pieces", "_plain", "_received", "_rest", "_stream", "_stream_received", "_upload",
        "body_bytes",
    )  # fmt: skip

    def __init__(self) -> None:
        self._blocks = Blocks()
        self._begun = False  # whether the server has said that it speaks HTTP/2
        self._rest = b""  # of a frame that has not come whole
        self._block: bytearray | None = None  # of headers that go on in another frame
        self._block_flags = 0
        self._owed: list[Buffer] = []
        self._leaving = ""  # what the server said who takes no further request
        self._failed: ProtocolError | None = None  # what the next call is told
        self._upload = Upload()
        self._stream, self._last = 0, -1  # the one that is open, and the last that was
        self._head: dict[bytes, bytes] | None = None
        self._pieces: list[bytes] = []
        self.body_bytes = 0
        self._received = self._stream_received = 0  # since the windows were filled
        self._last_head: tuple[dict[bytes, bytes] | None, dict[bytes, bytes], Head] | None = None
        # of good replies, by their length, while the header blocks mean the same; None where they have none
        self._patterns: dict[int, FramedPattern | None] = {}
        self._changes = 0
        self._plain = False  # whether nothing is cut off, running out or coming to its end
        self._fresh = False  # whether, besides, a whole request was sent and nothing has come since

    def opening(self) -> bytes:
        return frames.opening()

    def ask(self, request: WireRequest) -> Sequence[Buffer]:
        self._stream = self._last = stream = self._last + 2
        buffers = self._upload.begin(stream, request)
        self._fresh = self._plain and not self._upload.unsent
        if self._owed:
            owed, self._owed = self._owed, []
            return [*owed, *buffers]
        return buffers

    def owed(self) -> Sequence[Buffer]:
        if self._upload.unsent:
            self._owed += self._upload.go_on()
        if not self._owed:
            return ()
        owed, self._owed = self._owed, []
        return owed

    # ------------------------------------------------------------ receiving

    def feed(self, piece: bytes) -> Reply | None:
        """Take the next bytes; the reply when they complete it. ProtocolError where they are none."""
        self._fresh = False
        if self._failed is not None:
            raise self._failed
        data = self._rest + piece if self._rest else piece
        reply, at, end = None, 0, len(data)
        try:
            if not self._begun:
                self._begin(data)
            while end - at >= HEAD_BYTES and self._failed is None:
                word, flags, stream = frames.heads_from(data, at)
                begin = at + HEAD_BYTES
                if (length := word >> 8) > frames.FRAME_BYTES:
                    raise ProtocolError(f"a frame of {length} bytes, more than the {frames.FRAME_BYTES} that were allowed")
                if end - begin < length:
                    break
                at = begin + length
                reply = self._take(word & 0xFF, flags, stream & MOST, data[begin:at]) or reply
        except ProtocolError as error:
            self._failed = error
            if reply is None:
                raise
            return reply._replace(head=reply.head._replace(keep_alive=False))
        self._rest = data[at:]
        self._plain = not (self._rest or self._block or self._leaving) and self._may_go_on()
        return reply

    def end(self) -> Reply | None:
        """The connection was closed: None between replies, ProtocolError within one."""
        if self._failed is not None:
            raise self._failed
        why = f" ({self._leaving})" if self._leaving else ""
        if self._head is not None:
            raise ProtocolError(f"the connection was closed within a reply, after {self.body_bytes} bytes of its body{why}")
        if self._rest and not self._begun:
            raise _no_server(self._rest)
        if self._stream and (self._rest or self._block or why):
            raise ProtocolError(f"the connection was closed before the head of a reply was whole{why}")
        return None

    def _may_go_on(self) -> bool:
        return self._received < REFILL and self._last <= MOST - 2

    def repeats(self, piece: bytes, id_: bytes) -> int | None:
        """The status of a good reply that `piece` repeats, with this id, on the stream that is open."""
        known = self._patterns.get(len(piece))
        if known is None or not self._fresh:
            return None
        stream = self._stream.to_bytes(4)
        begin, data, before, behind, rest, stream_at, gives, size, status = known
        if not piece.startswith(b"".join((begin, stream, data, stream, before, id_, behind))):
            return None
        if not piece.startswith(stream, stream_at):
            return None
        for at, part in rest:
            if not piece.startswith(part, at):
                return None
        given = int.from_bytes(piece[-ROOM_BYTES:]) if gives else 0
        if given < gives or not self._upload.over(given):
            return None
        self._received += size
        if self._received >= REFILL or self._last > MOST - 2:
            self._plain = False
        self._stream, self._fresh = 0, False
        return status

    def learn(self, piece: bytes, reply: Reply, varying: Varying) -> bool:
        """Remember a good reply that was `piece`; whether it is one."""
        if not reply.head.keep_alive or reply.ended or len(self._patterns) >= KNOWN:
            return False
        self._patterns[len(piece)] = known = framed_pattern(piece, reply.head.status, varying, self._blocks.remembers)
        return known is not None

    @property
    def so_far(self) -> Reply | None:
        """What is there of a reply whose head has come."""
        if self._head is None:
            return None
        status = int(self._head[b":status"])
        code = grpc.OK if status == 200 else grpc.status_of_http(status)
        return Reply(Head(code, self.body_bytes, False, self._head), b"".join(self._pieces))

    def _begin(self, data: bytes) -> None:
        """A server begins with its settings."""
        if len(data) >= HEAD_BYTES and data[3:HEAD_BYTES] == bytes([frames.SETTINGS, 0, 0, 0, 0, 0]):
            self._begun = True
        elif len(data) >= HEAD_BYTES or not b"\0".startswith(data[:1]):
            raise _no_server(data)

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> Reply | None:
        if self._block is not None and (kind != frames.CONTINUATION or stream != self._stream):
            raise ProtocolError("headers that break off")
        if kind == frames.DATA:
            return self._data(flags, stream, payload)
        if kind == frames.HEADERS:
            self._expect(stream, "a reply")
            block = unpadded(flags, payload)
            if flags & frames.WITH_PRIORITY:
                block = at_least(5, block)[5:]
            if flags & frames.END_HEADERS:
                return self._headers(flags, block)
            self._block, self._block_flags = bytearray(block), flags
        elif kind == frames.CONTINUATION:
            return self._continued(flags, payload)
        elif kind == frames.RST_STREAM:
            return self._reset(stream, payload)
        elif kind == frames.GOAWAY:
            return self._going(stream, payload)
        elif kind == frames.SETTINGS:
            self._settings(flags, stream, payload)
        elif kind == frames.PING:
            if len(payload) != 8 or stream:
                raise ProtocolError("a malformed PING")
            if not flags & frames.ACK:
                self._owed.append(frame(frames.PING, frames.ACK, 0, payload))
        elif kind == frames.WINDOW_UPDATE:
            self._more_room(stream, payload)
        elif kind == frames.PUSH_PROMISE:
            raise ProtocolError("the server pushes, though it was told not to")
        return None

    def _expect(self, stream: int, what: str) -> None:
        if not self._stream:
            raise ProtocolError(f"{what} that nobody asked for")
        if stream != self._stream:
            raise ProtocolError(f"{what} on stream {stream}; asked was on {self._stream}")

    def _data(self, flags: int, stream: int, payload: bytes) -> Reply | None:
        self._expect(stream, "data")
        if self._head is None:
            raise ProtocolError("data before the head of a reply")
        self._received += len(payload)
        self._stream_received += len(payload)
        content = unpadded(flags, payload)
        if content:
            self._pieces.append(content)
            self.body_bytes += len(content)
        if self._received >= REFILL:
            self._owed.append(frames.more_room(0, self._received))
            self._received = 0
        if flags & frames.END_STREAM:
            return self._whole({})
        if self._stream_received >= REFILL:
            self._owed.append(frames.more_room(stream, self._stream_received))
            self._stream_received = 0
        return None

    def _continued(self, flags: int, payload: bytes) -> Reply | None:
        if self._block is None:
            raise ProtocolError("headers that go on without having begun")
        self._block += payload
        if len(self._block) > HEAD_LIMIT:
            raise ProtocolError(f"a reply's head longer than {HEAD_LIMIT} bytes")
        if not flags & frames.END_HEADERS:
            return None
        block, self._block = bytes(self._block), None
        return self._headers(self._block_flags, block)

    def _headers(self, flags: int, block: bytes) -> Reply | None:
        fields = self._blocks.read(block)
        if self._changes != self._blocks.changes:  # what was known may mean something else
            self._changes = self._blocks.changes
            self._patterns.clear()
        if flags & frames.END_STREAM:
            if self._head is None and not _is_head(fields):
                raise ProtocolError("a reply without an HTTP status")
            return self._whole(fields)
        if self._head is not None:
            raise ProtocolError("trailers that do not end the reply")
        if not _is_head(fields):
            raise ProtocolError("a reply without an HTTP status")
        if fields[b":status"][:1] != b"1":
            self._head = fields
        return None

    def _whole(self, trailers: dict[bytes, bytes], ended: str = "", status: int | None = None) -> Reply:
        """The reply as it is now; its stream is over."""
        head, pieces = self._head, self._pieces
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        kept = not (self._upload.unsent or self._leaving) and self._last <= MOST - 2
        if self._leaving:
            self._failed = ProtocolError(self._leaving)
        self._stream, self._head, self._pieces = 0, None, []
        self.body_bytes = self._stream_received = 0
        self._upload.stop()
        last = self._last_head  # nearly always the same as before
        if last is not None and last[0] is head and last[1] is trailers and last[2].length == len(body) and kept:
            return Reply(last[2], body)
        fields = {**(head or {}), **trailers}
        if status is None:
            status, ended = grpc.status_of(fields)
        reply = Reply(Head(status, len(body), kept, fields), body, (), ended)
        self._last_head = (head, trailers, reply.head) if kept and not ended else None
        return reply

    # ------------------------------------------------------------ the connection

    def _reset(self, stream: int, payload: bytes) -> Reply | None:
        code = int.from_bytes(at_least(4, payload)[:4], "big")
        if stream == self._stream and stream:
            return self._whole({}, f"the server reset the stream: {code_name(code)}", grpc.status_of_reset(code))
        self._known(stream)  # of one that is over there is nothing left to reset
        return None

    def _going(self, stream: int, payload: bytes) -> Reply | None:
        """The server takes no further request; the one under way may be among those that it still answers."""
        if stream:
            raise ProtocolError("a malformed GOAWAY")
        last, code = (int.from_bytes(at_least(8, payload)[at : at + 4], "big") for at in (0, 4))
        why = f"{code_name(code)} {payload[8:200].decode('utf-8', 'replace')}".strip()
        self._leaving = f"the server takes no more requests on this connection: {why}"
        if not self._stream:
            raise ProtocolError(self._leaving)
        return self._whole({}, self._leaving, grpc.UNAVAILABLE) if self._stream > last & MOST else None

    def _settings(self, flags: int, stream: int, payload: bytes) -> None:
        if stream or len(payload) % 6 or (flags & frames.ACK and payload):
            raise ProtocolError("malformed SETTINGS")
        if flags & frames.ACK:
            return
        for name, value in frames.settings(payload):
            self._upload.set(name, value)
        self._owed.append(frame(frames.SETTINGS, frames.ACK, 0))

    def _more_room(self, stream: int, payload: bytes) -> None:
        size = int.from_bytes(at_least(4, payload)[:4], "big") & MOST
        self._known(stream)
        self._upload.more_room(stream, size)

    def _known(self, stream: int) -> None:
        if stream and (stream > self._last or not stream % 2):
            raise ProtocolError(f"a frame for stream {stream}, which is not open")


def _no_server(data: bytes) -> ProtocolError:
    return ProtocolError(f"not an HTTP/2 server: it begins with {data[:40]!r}")


def _is_head(fields: dict[bytes, bytes]) -> bool:
    status = fields.get(b":status", b"")
    return len(status) == 3 and status.isdigit()
