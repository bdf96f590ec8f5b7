"""What travels over one connection that carries one request at a time: the words that all protocols share."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

Buffer = bytes | bytearray | memoryview


class ProtocolError(Exception):
    """The bytes are no reply, or the connection ended within one; the message says which."""


class Head(NamedTuple):
    """A reply's head, parsed; `length` is the body's, negative where the body ends by itself."""

    status: int  # HTTP's, or gRPC's (of what is no gRPC reply, the one that gRPC gives such an HTTP status)
    length: int
    keep_alive: bool  # whether the connection may carry another request
    headers: dict[bytes, bytes]  # names in lower case; of gRPC, the trailers too


class Reply(NamedTuple):
    """One whole reply; of gRPC, the body is its messages, each with its five bytes in front."""

    head: Head
    body: bytes
    marks: tuple[tuple[int, int], ...] = ()  # of a stream: (time in ns, bytes of the body that were there then), in order
    ended: str = ""  # of a reply that broke off: how


class Varying(NamedTuple):
    """What is another in every good reply to requests alike: places in its body."""

    id_at: int  # where the 16 hex digits of the id are
    contents: tuple[tuple[int, int], ...] = ()  # (begin, end) of what may be anything, behind the id and in order


class WireRequest(NamedTuple):
    """One serialized request; a send overwrites 16 hex digits of `head` at `id_at` with the request's id.

    Over HTTP/2 `head` and `body` are the message, and what is small may be whole frames: then they are all in `head`.
    """

    head: bytearray
    id_at: int
    body: bytes
    block: bytes = b""  # of HTTP/2: the header block, which names no field by a number of its own
    data_at: int = 0  # of HTTP/2: where in `head` the frame with the message begins, if frames are there


class Line(Protocol):
    """One connection as its protocol sees it: a state machine without a socket, one request at a time."""

    body_bytes: int  # how much of a reply's body is there while it is read
    so_far: Reply | None  # what is there of a reply whose head has come

    def opening(self) -> bytes:
        """What is sent first, when the connection stands."""
        ...

    def ask(self, request: WireRequest) -> Sequence[Buffer]:
        """What is to be sent for a request whose id is in place; the buffers are good until the next call of anything."""
        ...

    def owed(self) -> Sequence[Buffer]:
        """What the protocol wants sent besides, asked after every `feed`: acknowledgements, more room, more of the request."""
        ...

    def feed(self, piece: bytes) -> Reply | None:
        """Take the next bytes; the reply when they complete it. ProtocolError where they are none."""
        ...

    def end(self) -> Reply | None:
        """The connection was closed: the reply that ends so, None between replies, ProtocolError within one."""
        ...

    def repeats(self, piece: bytes, id_: bytes) -> int | None:
        """The status of the whole reply that `piece` is, where it carries this id and is else as one that was learned.

        Then the line has taken it, and `feed` must not; asked only while a request is under way.
        """
        ...

    def learn(self, piece: bytes, reply: Reply, varying: Varying) -> bool:
        """Remember a good reply, the last that `feed` gave, by the last piece; whether it came in that alone."""
        ...
