"""Lines: any split of the bytes gives the same ones."""

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.wire.lines import LineReader

TEXTS = st.lists(st.sampled_from([b"a", b"bc", b"\n", b"\r", b"\r\n", b" "]), max_size=30).map(b"".join)


def read(pieces: list[bytes]) -> tuple[list[bytes], bytes]:
    reader = LineReader()
    return [line for piece in pieces for line in reader.feed(piece)], reader.end()


@given(TEXTS, st.lists(st.integers(0, 60)))
def test_any_split_of_the_bytes_gives_the_same_lines(data: bytes, cuts: list[int]) -> None:
    """Also one between a carriage return and its line feed, and pieces of no bytes."""
    edges = [0, *sorted(min(c, len(data)) for c in cuts), len(data)]
    pieces = [data[a:b] for a, b in itertools.pairwise(edges)]
    assert read(pieces) == read([data])
    *lines, rest = re.split(rb"\r\n|\n|\r", data)
    assert read(pieces) == (lines, rest)


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_a_line_is_there_as_soon_as_its_end_has_begun(end: bytes) -> None:
    """A reader that waited for the line feed after a carriage return would be late by a piece."""
    reader = LineReader()
    assert reader.feed(b"token") == []
    assert reader.feed(end[:1]) == [b"token"]
    assert reader.feed(end[1:] + b"next\n") == [b"next"]
