"""Lines out of bytes in any pieces, ended by LF, CRLF or CR as server-sent events allow."""

import re

_END = re.compile(rb"\r\n|\n|\r")


class LineReader:
    """Splits a stream into lines; a line is there as soon as its end has begun."""

    __slots__ = ("_after_cr", "_rest")

    def __init__(self) -> None:
        self._rest = b""
        self._after_cr = False  # an LF that comes now belongs to the CR that ended the last line

    def feed(self, piece: bytes) -> list[bytes]:
        """The lines that these bytes complete, without their ends."""
        if not piece:
            return []
        if self._after_cr and piece.startswith(b"\n"):
            piece = piece[1:]
        self._after_cr = piece.endswith(b"\r")
        *lines, self._rest = _END.split(self._rest + piece)
        return lines

    def end(self) -> bytes:
        """What came after the end of the last line."""
        rest, self._rest, self._after_cr = self._rest, b"", False
        return rest
