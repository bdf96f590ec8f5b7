"""A good reply as bytes: one that differs from it by its id and its contents alone need not be taken apart."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from bench.wire import frames
from bench.wire.frames import HEAD_BYTES, STREAM_AT, heads_from
from bench.wire.line import Varying

ID_BYTES = 16
KNOWN = 64  # lengths of replies whose pattern a connection remembers

_REPLY = (  # headers, a message, trailers, none of them padded
    (frames.HEADERS, frames.END_HEADERS), (frames.DATA, 0), (frames.HEADERS, frames.END_HEADERS | frames.END_STREAM),
)  # fmt: skip
_ROOM = (frames.WINDOW_UPDATE, 0)  # which gRPC's servers give back behind every reply
ROOM_BYTES = 4

Parts = tuple[tuple[int, bytes], ...]  # where, and what


class Pattern(NamedTuple):
    """Of a reply over HTTP/1.1 that came in one piece."""

    before: bytes  # the id
    behind: bytes  # the id, up to the contents
    rest: Parts  # what is between and behind contents
    status: int


class FramedPattern(NamedTuple):
    """Of a reply over HTTP/2 that came in one piece: the number of its stream varies, too, and the room that is given back."""

    begin: bytes  # up to the number of the stream
    data: bytes  # from there to the number in the head of the data
    before: bytes
    behind: bytes
    rest: Parts
    stream_at: int  # the number in the head of the trailers
    gives: bool  # whether as much room as its last bytes say is given back
    body_bytes: int
    status: int


def pattern(piece: bytes, status: int, body_at: int, varying: Varying) -> Pattern:
    """The pattern of `piece`, a good reply whose body begins at `body_at`."""
    before, behind, *rest = _between(piece, _holes(body_at, varying))
    return Pattern(before[1], behind[1], tuple(part for part in rest if part[1]), status)


def framed_pattern(piece: bytes, status: int, varying: Varying, lasting: Callable[[bytes], bool]) -> FramedPattern | None:
    """The same of a reply in frames; None where it is none of its own, or of a kind that has no pattern.

    `lasting` says of a header block whether the same bytes will mean the same.
    """
    starts = list(_starts(piece))
    kinds = tuple((word & 0xFF, flags) for word, flags, _ in (heads_from(piece, at) for at in starts[:-1]))
    if kinds not in (_REPLY, (*_REPLY, _ROOM)) or starts[-1] != len(piece):
        return None
    first, data, trailers, end = starts[:4]
    if not lasting(piece[first + HEAD_BYTES : data]) or not lasting(piece[trailers + HEAD_BYTES : end]):
        return None
    streams = [(at + STREAM_AT, at + HEAD_BYTES) for at in (first, data, trailers)]
    gives = len(kinds) > len(_REPLY)
    if gives and heads_from(piece, end)[2]:  # to a stream, and that is over
        return None
    room = [(len(piece) - ROOM_BYTES, len(piece))] if gives else []
    parts = _between(piece, [*streams[:2], *_holes(data + HEAD_BYTES, varying), streams[2], *room])
    begin, of_data, before, behind = (part for _, part in parts[:4])
    rest = tuple(part for part in parts[4:] if part[1])
    return FramedPattern(
        begin, of_data, before, behind, rest, streams[2][0], gives, trailers - data - HEAD_BYTES, status
    )  # fmt: skip


def _holes(body_at: int, varying: Varying) -> list[tuple[int, int]]:
    """The places of the id and of the contents in a piece."""
    id_at = body_at + varying.id_at
    return [(id_at, id_at + ID_BYTES), *((body_at + begin, body_at + end) for begin, end in varying.contents)]


def _between(piece: bytes, holes: Iterable[tuple[int, int]]) -> list[tuple[int, bytes]]:
    """The parts of a piece that holes, in order, leave: one more than there are holes."""
    parts, at = [], 0
    for begin, end in holes:
        parts.append((at, piece[at:begin]))
        at = end
    return [*parts, (at, piece[at:])]


def _starts(piece: bytes) -> Iterator[int]:
    """Where each frame begins, and last where the whole ones end."""
    at = 0
    yield at
    while len(piece) - at >= HEAD_BYTES:
        at += HEAD_BYTES + (heads_from(piece, at)[0] >> 8)
        yield at
