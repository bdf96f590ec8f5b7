"""HTTP/2's frames as bytes (RFC 9113, section 6), and the header block of a gRPC request (RFC 7541)."""

import struct
from collections.abc import Iterable, Mapping

from bench.wire.line import Buffer, ProtocolError

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM = ACK = 0x1
END_HEADERS, PADDED, WITH_PRIORITY = 0x4, 0x8, 0x20

HEADER_TABLE_SIZE, ENABLE_PUSH, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE = 1, 2, 4, 5

HEAD_BYTES = 9
STREAM_AT = 5  # in a frame's head
FRAME_BYTES = 16384  # the largest payload that anyone may send unasked
WINDOW = 65535  # of a connection and of each stream, before anything is said
MOST = 2**31 - 1  # the largest window, and the last stream
TABLE_BYTES = 4096  # of a header table, before anything is said
NO_TABLE = b"\x20"  # in front of a block (RFC 7541, section 6.3): the table has no room from here on

_HEAD = struct.Struct(">IBI")  # length and type in one word, flags, stream
head_of, heads_from = _HEAD.pack, _HEAD.unpack_from

_CODES = (
    "NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED",
    "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED",
)  # fmt: skip
_ONCE, _NEVER = 0x00, 0x10  # how HPACK writes a field without a place in the table: this time, or at every hop
# the names of HPACK's static table that a request has use for
_KNOWN = {":authority": 1, ":path": 4, "authorization": 23, "content-type": 31, "user-agent": 58}


def frame(kind: int, flags: int, stream: int, payload: Buffer = b"") -> bytes:
    """One whole frame."""
    return head_of(len(payload) << 8 | kind, flags, stream) + payload


def code_name(code: int) -> str:
    """How the standard calls an error code."""
    return _CODES[code] if code < len(_CODES) else f"error {code}"


def headers(stream: int, block: bytes, size: int) -> bytes:
    """The frames of a request's header block, none larger than `size`; its data follow."""
    parts = [block[at : at + size] for at in range(0, len(block), size)]
    kinds = [HEADERS] + [CONTINUATION] * (len(parts) - 1)
    flags = [0] * (len(parts) - 1) + [END_HEADERS]
    return b"".join(frame(k, f, stream, part) for k, f, part in zip(kinds, flags, parts, strict=True))


def unpadded(flags: int, payload: bytes) -> bytes:
    """What a frame carries, without its padding; ProtocolError."""
    if not flags & PADDED:
        return payload
    padding = at_least(1, payload)[0]
    if padding >= len(payload):
        raise ProtocolError("more padding than there is")
    return payload[1 : len(payload) - padding]


def at_least(size: int, payload: bytes) -> bytes:
    """The payload; ProtocolError where it is too short for what it is."""
    if len(payload) < size:
        raise ProtocolError("a frame that is too short for what it is")
    return payload


def settings(payload: bytes) -> Iterable[tuple[int, int]]:
    """(name, value) of each in the payload of SETTINGS."""
    return struct.iter_unpack(">HI", payload)


def opening() -> bytes:
    """What a client says first: no pushing, and as much room for replies as can be given."""
    settings = struct.pack(">HIHI", ENABLE_PUSH, 0, INITIAL_WINDOW_SIZE, MOST)
    return b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0, settings) + more_room(0, MOST - WINDOW)


def more_room(stream: int, size: int) -> bytes:
    """A larger window, of a stream or (0) of the connection."""
    return frame(WINDOW_UPDATE, 0, stream, size.to_bytes(4, "big"))


def request_block(path: str, authority: str, fields: Mapping[str, str], secure: bool = False) -> bytes:
    """The header block of a gRPC request: it leaves the server's table as it is, so it may be sent any number of times.

    `fields` may be secrets: they are marked never to be put into a table, by whoever passes them on.
    """
    ours = {":path": path, ":authority": authority, "content-type": "application/grpc", "te": "trailers"}
    return b"\x83" + (b"\x87" if secure else b"\x86") + b"".join([*_literals(ours, _ONCE), *_literals(fields, _NEVER)])


def _literals(fields: Mapping[str, str], kind: int) -> Iterable[bytes]:
    for name, value in fields.items():
        known = _KNOWN.get(name.lower(), 0)
        first, *more = _integer(known, 4)
        yield bytes([kind | first, *more]) + (b"" if known else _text(name.lower())) + _text(value)


def _text(text: str) -> bytes:
    coded = text.encode("latin-1")
    return _integer(len(coded), 7) + coded


def _integer(value: int, bits: int) -> bytes:
    most = 2**bits - 1
    if value < most:
        return bytes([value])
    coded, value = [most], value - most
    while value >= 128:
        coded.append(value % 128 + 128)
        value //= 128
    return bytes([*coded, value])
