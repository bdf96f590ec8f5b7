"""Server-sent events: any split of the bytes gives the same ones."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.wire.sse import Event, EventReader

LINES = st.sampled_from(
    [b"data: a", b"data:b", b"data", b"data:  c", b"event: e", b": comment", b"id: 1", b"retry: 5", b"other: x", b"", b""]
)
ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])


def read(pieces: list[bytes], end: bool = False) -> list[Event]:
    reader = EventReader()
    events = [event for piece in pieces for event in reader.feed(piece)]
    return events + (reader.end() if end else [])


@given(st.lists(LINES, max_size=20), ENDS, st.lists(st.integers(0, 200)), st.booleans())
def test_any_split_of_the_bytes_gives_the_same_events(lines: list[bytes], eol: bytes, cuts: list[int], end: bool) -> None:
    """Segments carry no meaning, whatever ends the lines."""
    data = b"".join(line + eol for line in lines)
    edges = [0, *sorted(min(c, len(data)) for c in cuts), len(data)]
    pieces = [data[a:b] for a, b in itertools.pairwise(edges)]
    assert read(pieces, end) == read([data], end)
    assert read(pieces, end) == read([data.replace(eol, b"\n")], end)


@given(st.lists(st.binary(min_size=1, max_size=20).filter(lambda b: not set(b) & set(b"\r\n")), min_size=1, max_size=8))
def test_every_piece_of_data_comes_out_as_it_went_in(texts: list[bytes]) -> None:
    """One event each, in order, whatever is in it."""
    assert read([b"data: " + text + b"\n\n" for text in texts]) == [Event(b"", text) for text in texts]


@pytest.mark.parametrize(
    ("data", "events"),
    [
        (b"data: a\ndata: b\n\n", [Event(b"", b"a\nb")]),
        (b"event: error\ndata: x\n\ndata: y\n\n", [Event(b"error", b"x"), Event(b"", b"y")]),
        (b": ping\n\n", []),
        (b"event: e\n\ndata: x\n\n", [Event(b"", b"x")]),
        (b"data\n\n", [Event(b"", b"")]),
        (b"\xef\xbb\xbfdata: x\n\n", [Event(b"", b"x")]),
        (b"data: x\n", []),
    ],
)
def test_what_is_an_event_and_what_is_none(data: bytes, events: list[Event]) -> None:
    """Several lines of data, a name, a comment, a byte order mark, an event without its end."""
    assert read([data]) == events


@pytest.mark.parametrize("data", [b"data: [DONE]", b"data: [DONE]\n", b"data: [DONE]\n\n"])
def test_the_last_event_of_a_stream_that_ended_well_may_lack_its_empty_line(data: bytes) -> None:
    """Servers forget it, and once only."""
    assert read([data], end=True) == [Event(b"", b"[DONE]")]
