"""A gRPC request's way into HTTP/2 frames, as far as the server's windows allow."""

import struct
from collections.abc import Sequence

from bench.wire import frames
from bench.wire.frames import HEAD_BYTES, MOST, STREAM_AT, head_of
from bench.wire.line import Buffer, ProtocolError, WireRequest

_LARGEST_FRAME = 2**24 - 1
_put_stream = struct.Struct(">I").pack_into


def framed(request: WireRequest) -> WireRequest:
    """The same as whole frames, but for the number of the stream, where it is so small that it may be sent at once."""
    head, id_at, body, block, _ = request
    size = len(head) + len(body)
    if size > frames.FRAME_BYTES or len(block) > frames.FRAME_BYTES:
        return request
    heads = head_of(len(block) << 8 | frames.HEADERS, frames.END_HEADERS, 0) + block
    data_at = len(heads)
    heads += head_of(size << 8, frames.END_STREAM, 0)
    return WireRequest(bytearray(heads + head + body), len(heads) + id_at, b"", b"", data_at)


class Upload:
    """One connection's sending side: one request at a time, what is left of it, and how much room the server gives."""

    __slots__ = ("_at_once", "_frame_size", "_initial", "_prefix", "_room", "_stream", "_stream_room", "unsent")

    def __init__(self) -> None:
        self._room = self._initial = frames.WINDOW  # of the connection; of each stream when it begins
        self._frame_size = self._at_once = frames.FRAME_BYTES  # what may be sent in one frame to a new stream
        self._prefix = b""  # of the next header block
        self._stream = self._stream_room = 0
        self.unsent: list[memoryview] = []

    def begin(self, stream: int, request: WireRequest) -> Sequence[Buffer]:
        """The first frames of a request: of a small one all, in one buffer."""
        head, _, body, block, data_at = request
        self._stream = stream
        if data_at:
            size = len(head) - data_at - HEAD_BYTES
            if size <= self._at_once and size <= self._room:
                self._room -= size
                self._stream_room = self._initial - size
                _put_stream(head, STREAM_AT, stream)
                _put_stream(head, data_at + STREAM_AT, stream)
                return (head,)
            head, block = head[data_at + HEAD_BYTES :], bytes(head[HEAD_BYTES:data_at])
        self._stream_room = self._initial
        # the head is shared with other connections, which put their own ids into it
        self.unsent = [memoryview(part) for part in (bytes(head), body) if part]
        block, self._prefix = self._prefix + block, b""
        self._fit()
        return [frames.headers(stream, block, self._frame_size), *self.go_on()]

    def go_on(self) -> list[Buffer]:
        """As much of what is left as the windows allow."""
        buffers: list[Buffer] = []
        while self.unsent:
            part = self.unsent[0]
            size = min(len(part), self._room, self._stream_room, self._frame_size)
            if size <= 0:
                break
            if size < len(part):
                self.unsent[0] = part[size:]
            else:
                del self.unsent[0]
            buffers += (head_of(size << 8, 0 if self.unsent else frames.END_STREAM, self._stream), part[:size])
            self._room -= size
            self._stream_room -= size
        return buffers

    def stop(self) -> None:
        """The stream is over, whatever was left."""
        self.unsent = []
        self._stream = 0

    def set(self, name: int, value: int) -> None:
        """Take note of one of the server's settings; ProtocolError."""
        if name == frames.INITIAL_WINDOW_SIZE:
            if value > MOST:
                raise ProtocolError(f"an initial window of {value} bytes")
            if self._stream:
                self._stream_room += value - self._initial
            self._initial = value
            self._check()
        elif name == frames.MAX_FRAME_SIZE:
            if not frames.FRAME_BYTES <= value <= _LARGEST_FRAME:
                raise ProtocolError(f"a largest frame of {value} bytes")
            self._frame_size = value
        elif name == frames.HEADER_TABLE_SIZE and value < frames.TABLE_BYTES:
            self._prefix = frames.NO_TABLE
        self._fit()

    def more_room(self, stream: int, size: int) -> None:
        """The window of a stream, or (0) of the connection, has grown; ProtocolError."""
        if not size:
            raise ProtocolError("a window made larger by nothing")
        if not stream:
            self._room += size
        elif stream == self._stream:
            self._stream_room += size
        self._check()

    def over(self, size: int) -> bool:
        """`stop` after all was sent, and `more_room` on the connection; whether that is in order, else nothing was done."""
        if not 0 <= size <= MOST - self._room:
            return False
        self._room += size
        self._stream = 0
        return True

    def _fit(self) -> None:
        """Whole frames may be sent to a new stream as far as its window goes, and where nothing belongs in front."""
        self._at_once = 0 if self._prefix else min(self._initial, frames.FRAME_BYTES)

    def _check(self) -> None:
        if self._room > MOST or (self._stream and self._stream_room > MOST):
            raise ProtocolError("a window that is too large")
