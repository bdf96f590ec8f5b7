"""HTTP/1.1 replies: any bytes in any pieces give the same reply or one named error."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.wire.http1 import Http1Line, parse_head, request_head
from bench.wire.line import ProtocolError, Reply, Varying
from bench.wire.pattern import KNOWN

BODIES = st.binary(max_size=200)


def pieces_of(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted({c % (len(data) + 1) for c in cuts}), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges) if a < b]


def read(reader: Http1Line, pieces: list[bytes]) -> Reply | None:
    replies = [reader.feed(piece) for piece in pieces]
    assert all(r is None for r in replies[:-1])
    return replies[-1] if replies else None


def outcome(pieces: list[bytes]) -> list[object]:
    """What a reader makes of the pieces and a close: its replies, or the error it stopped at."""
    reader, seen = Http1Line(), []
    try:
        seen += [reply for piece in pieces if (reply := reader.feed(piece))]
        seen += [reply for reply in [reader.end()] if reply]
    except ProtocolError:
        return [*seen, "error"]
    return seen


@given(BODIES, st.lists(st.integers(0, 500)), st.sampled_from([b"Content-Length", b"content-length"]))
def test_a_reply_of_stated_length_is_the_same_in_any_pieces(body, cuts, name):
    """Segment boundaries carry no meaning."""
    data = b"HTTP/1.1 200 OK\r\nInference-Header-Content-Length: 7\r\n%s: %d\r\n\r\n" % (name, len(body)) + body
    reply = read(Http1Line(), pieces_of(data, cuts))
    assert reply is not None
    assert (reply.head.status, reply.body, reply.head.keep_alive) == (200, body, True)
    assert reply.head.headers[b"inference-header-content-length"] == b"7"


@given(st.lists(st.binary(min_size=1, max_size=50)), st.lists(st.integers(0, 900)), st.booleans())
def test_a_chunked_reply_is_the_join_of_its_chunks_in_any_pieces(chunks, cuts, trailers):
    """Chunked bodies are put together whatever the segments."""
    coded = (
        b"".join(b"%x;ext=1\r\n%s\r\n" % (len(c), c) for c in chunks) + b"0\r\n" + (b"X: y\r\n" if trailers else b"") + b"\r\n"
    )
    reply = read(Http1Line(), pieces_of(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + coded, cuts))
    assert reply is not None
    assert reply.body == b"".join(chunks)


@given(
    st.lists(st.binary(min_size=1, max_size=50), min_size=1),
    st.integers(0, 2000),
    st.sampled_from(["chunked", "stated", "closing"]),
)
def test_what_is_there_of_a_body_is_known_before_it_is_whole(chunks, cut, form):
    """Out of its chunks, also of a chunk that has come in part: a stream's first bytes count when they are there."""
    body = b"".join(chunks)
    header = {"chunked": b"Transfer-Encoding: chunked", "stated": b"Content-Length: %d" % len(body), "closing": b"X: y"}[form]
    head = b"HTTP/1.1 200 OK\r\n%s\r\n\r\n" % header
    coded, there = b"", [0] * (len(head) + 1)
    for chunk in chunks if form == "chunked" else [body]:
        before, opening = there[-1], b"%x\r\n" % len(chunk) if form == "chunked" else b""
        coded += opening + chunk + (b"\r\n" if opening else b"")
        there += (
            [before] * len(opening)
            + [before + n + 1 for n in range(len(chunk))]
            + [there[-1] + len(chunk)] * (2 if opening else 0)
        )
    cut = min(cut, len(head + coded) - 1)
    reader = Http1Line()
    assert reader.feed((head + coded)[:cut]) is None
    assert reader.body_bytes == there[cut]
    so_far = reader.so_far
    assert (so_far and so_far.body) == (body[: there[cut]] if cut >= len(head) else None)


@given(BODIES)
def test_a_reply_without_length_ends_with_the_connection(body):
    """HTTP/1.0 servers end a body by closing."""
    reader = Http1Line()
    assert reader.feed(b"HTTP/1.0 200 OK\r\n\r\n" + body) is None
    reply = reader.end()
    assert reply is not None
    assert (reply.body, reply.head.keep_alive) == (body, False)


@given(st.binary(max_size=300), st.lists(st.integers(0, 300)))
def test_any_bytes_in_any_pieces_end_like_the_same_bytes_at_once(tail, cuts):
    """Garbage is one named error or waits for more, never another exception, and never depends on the segments."""
    for start in (b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"):
        data = start + tail
        assert outcome(pieces_of(data, cuts))[-1:] == outcome([data] if data else [])[-1:]


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", "not an HTTP/1.1 reply"),
        (b"HTTP/1.1 two OK\r\n\r\n", "not an HTTP/1.1 reply"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "Content-Length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabc", "1 bytes after the end"),
        (b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "header line"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "chunk size"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "another protocol"),
    ],
)
def test_what_is_no_reply_is_named(data, named):
    """The error says what was wrong."""
    with pytest.raises(ProtocolError, match=named):
        Http1Line().feed(data)


@pytest.mark.parametrize("data", [b"HTTP/1.1 200", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"])
def test_a_connection_closed_within_a_reply_is_an_error(data):
    """A reply cut short is not a short reply."""
    reader = Http1Line()
    assert reader.feed(data) is None
    with pytest.raises(ProtocolError, match="closed within a reply"):
        reader.end()


def test_an_interim_reply_is_skipped():
    """100 Continue announces the reply, it is none."""
    reply = Http1Line().feed(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    assert reply is not None
    assert reply.body == b"ok"


def test_connection_close_is_heard():
    """A server that closes says so, and the connection is not used again."""
    assert not parse_head(b"HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 0").keep_alive
    assert parse_head(b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0").keep_alive


def test_a_request_head_states_host_headers_and_length():
    """The bytes that are sent, spelled out."""
    head = request_head("/v2/models/m/infer", "127.0.0.1:8000", {"X-A": "b"}, 12)
    assert head == b"POST /v2/models/m/infer HTTP/1.1\r\nHost: 127.0.0.1:8000\r\nX-A: b\r\nContent-Length: 12\r\n\r\n"


ID, OTHER_ID = b"0123456789abcdef", b"fedcba9876543210"
VARYING = Varying(7, ((45, 49), (51, 55)))  # the id, and two outputs with two bytes between them


def good(id_: bytes = ID, first: bytes = b"aaaa", second: bytes = b"bbbb") -> bytes:
    """A whole reply with an id and two outputs in its body."""
    body = b'{"id":"' + id_ + b'","behind it, text":' + b"\r\n" + first + b"--" + second + b"end"
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nX: y\r\n\r\n" % len(body) + body


def learned() -> Http1Line:
    """A line that has had a good reply, and remembers it."""
    line = Http1Line()
    reply = line.feed(good())
    assert reply is not None
    line.learn(good(), reply, VARYING)
    return line


def told(line: Http1Line, piece: bytes) -> object:
    try:
        return line.feed(piece)
    except ProtocolError as error:
        return str(error)


FOUR = st.binary(min_size=4, max_size=4)


@given(FOUR, FOUR, st.lists(st.tuples(st.integers(0, 110), st.integers(0, 255)), max_size=1))
def test_a_reply_is_known_where_only_its_id_and_its_outputs_are_not_those_of_a_good_one(first, second, changes):
    """Its status is then the one that its bytes say; and of any other nothing has been taken in."""
    data = bytearray(good(OTHER_ID, first, second))
    for at, value in changes:
        data[at % len(data)] = value
    line, piece, taken_apart = learned(), bytes(data), told(Http1Line(), bytes(data))
    status = line.repeats(piece, OTHER_ID)
    assert (status is not None) == (piece == good(OTHER_ID, piece[-13:-9], piece[-7:-3]))
    if status is None:
        assert told(line, piece) == taken_apart
    else:
        assert isinstance(taken_apart, Reply)
        assert status == taken_apart.head.status
        assert line.repeats(good(), ID) == status


def test_a_reply_with_another_id_or_within_another_reply_is_not_known():
    """A piece is known only where a reply begins."""
    line = learned()
    assert line.repeats(good(), OTHER_ID) is None
    assert line.feed(b"HTTP/1.1 200 OK\r\nX: ") is None
    assert line.repeats(good(), ID) is None
    line = learned()
    assert line.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n") is None
    assert line.repeats(good(), ID) is None


@pytest.mark.parametrize("cut", [10, 60, 90])
def test_a_reply_that_came_in_pieces_is_not_remembered(cut):
    """Nor one that another reply stood before, in the same piece."""
    line = Http1Line()
    line.feed(good()[:cut])
    reply = line.feed(good()[cut:])
    line.learn(good()[cut:], reply, VARYING)
    interim = b"HTTP/1.1 100 Continue\r\n\r\n" + good()
    line.learn(interim, line.feed(interim), VARYING)
    assert line.repeats(good()[cut:], ID) is None
    assert line.repeats(interim, ID) is None
    assert line.repeats(good(), ID) is None


def test_only_so_many_replies_are_remembered():
    """A server whose replies are all of another length costs no memory."""
    line = Http1Line()
    for n in range(KNOWN + 5):
        piece = good(first=b"a" * (4 + n))
        line.learn(piece, line.feed(piece), VARYING)
        assert (line.repeats(piece, ID) is not None) == (n < KNOWN)
