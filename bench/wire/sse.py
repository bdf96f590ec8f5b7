"""Server-sent events out of bytes in any pieces (WHATWG HTML, section 9.2.6)."""

from typing import NamedTuple

from bench.wire.lines import LineReader

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Event(NamedTuple):
    """One event; a comment is none."""

    name: bytes  # b"" where none was given, which means b"message"
    data: bytes


class EventReader:
    """Reads one event after another; an event is there when the empty line after it is."""

    __slots__ = ("_begun", "_data", "_lines", "_name")

    def __init__(self) -> None:
        self._lines = LineReader()
        self._name = b""
        self._data: list[bytes] = []
        self._begun = False

    def feed(self, piece: bytes) -> list[Event]:
        """The events that these bytes complete."""
        return [event for line in self._lines.feed(piece) if (event := self._take(line)) is not None]

    def end(self) -> list[Event]:
        """The last event of a stream that ended well; servers forget the empty line after it."""
        events = [self._take(self._lines.end()), self._take(b"")]
        return [event for event in events if event is not None]

    def _take(self, line: bytes) -> Event | None:
        if not self._begun:
            self._begun, line = True, line.removeprefix(_BYTE_ORDER_MARK)
        if not line:
            event = Event(self._name, b"\n".join(self._data)) if self._data else None
            self._name, self._data = b"", []
            return event
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._data.append(value)
        elif field == b"event":
            self._name = value
        return None
