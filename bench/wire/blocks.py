"""Header blocks of HTTP/2 (HPACK, RFC 7541), read by `hpack` and remembered where that is safe."""

from urllib.parse import unquote_to_bytes

from hpack import Decoder, HPACKError

from bench.wire.line import ProtocolError

HEAD_LIMIT = 65536
_KEPT = 64  # blocks that are remembered


class Blocks:
    """Reads the blocks of one connection, which must all come here, in order.

    A block that names all of its fields by their numbers changes nothing in the table of numbers, and means the same until
    another block changes that: so it is decoded once and known by its bytes after.
    """

    __slots__ = ("_decoder", "_known", "changes")

    def __init__(self) -> None:
        self._decoder = Decoder(HEAD_LIMIT)
        self._known: dict[bytes, dict[bytes, bytes]] = {}
        self.changes = 0  # of the table

    def remembers(self, block: bytes) -> bool:
        """Whether a block means what it meant for as long as there are no further `changes`."""
        return block in self._known

    def read(self, block: bytes) -> dict[bytes, bytes]:
        """The fields of a block, not to be changed; ProtocolError."""
        return self._known.get(block) or self._decode(block)

    def _decode(self, block: bytes) -> dict[bytes, bytes]:
        try:
            fields = {bytes(name).lower(): bytes(value) for name, value in self._decoder.decode(block, raw=True)}
        except HPACKError as error:
            raise ProtocolError(f"headers that cannot be read: {error}") from None
        if b"grpc-message" in fields:
            fields[b"grpc-message"] = unquote_to_bytes(fields[b"grpc-message"])
        if not block or min(block) < 0x80:  # not numbers only: it may have changed the table
            self._known.clear()
            self.changes += 1
        elif len(self._known) < _KEPT:
            self._known[block] = fields
        return fields
