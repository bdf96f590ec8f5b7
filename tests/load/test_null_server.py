"""The server that does nothing but answer."""

import struct
from itertools import pairwise

import h2.config
import h2.connection
import h2.events
from hypothesis import given
from hypothesis import strategies as st

from bench.load import null_server
from bench.load.null_server import PREFACE, Http1, Http2, Speaker
from bench.targets.talk import Talk
from bench.wire.http1 import Http1Line, request_head
from bench.wire.line import WireRequest


def heard(speaker: Speaker, data: bytes, cuts: list[int]) -> bytes:
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    return b"".join(speaker.hear(memoryview(data)[a:b]) for a, b in pairwise(edges))


@given(st.lists(st.integers(0, 300), min_size=1, max_size=5), st.lists(st.integers(0, 2000)))
def test_every_whole_http_request_is_answered_in_whatever_pieces_it_comes(bodies: list[int], cuts: list[int]) -> None:
    """As many replies as requests, none before its request is whole."""
    data = b"".join(request_head("/", "here", {"X": "y"}, size) + b"\r" * size for size in bodies)
    speaker = Http1()
    assert heard(speaker, data[:-1], cuts).count(b"200 OK") == len(bodies) - 1
    assert heard(speaker, data[-1:], []).count(b"200 OK") == 1


@given(st.lists(st.integers(0, 40_000), min_size=1, max_size=4), st.lists(st.integers(0, 60_000), max_size=20))
def test_every_whole_grpc_request_is_answered_with_a_good_reply(bodies: list[int], cuts: list[int]) -> None:
    """h2 as the client: status 200, one empty message, grpc-status 0, a stream each."""
    client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    client.initiate_connection()
    speaker, ended = Http2(), []
    client.receive_data(heard(speaker, client.data_to_send(), cuts))
    for size in bodies:
        stream = client.get_next_available_stream_id()
        client.send_headers(stream, [(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "a")])
        for at in range(0, max(size, 1), 16384):
            client.send_data(stream, b"x" * min(size - at, 16384), end_stream=at + 16384 >= size)
        events = client.receive_data(heard(speaker, client.data_to_send(), cuts))
        ended += [e.stream_id for e in events if isinstance(e, h2.events.StreamEnded)]
        assert [e.data for e in events if isinstance(e, h2.events.DataReceived)] == [b"\0" * 5]
        assert [dict(e.headers)[b"grpc-status"] for e in events if isinstance(e, h2.events.TrailersReceived)] == [b"0"]
    assert ended == [1 + 2 * n for n in range(len(bodies))]


def test_the_room_for_more_is_given_back_before_it_runs_out() -> None:
    """A client that has sent more than a GiB over one connection may go on."""
    speaker = Http2()
    speaker.hear(memoryview(PREFACE))
    block = memoryview(bytes(1 << 20))
    said = b""
    for _ in range(1100):
        said += speaker.hear(memoryview((1 << 20).to_bytes(3) + b"\0\0" + struct.pack(">I", 1)))
        said += speaker.hear(block)
    assert b"\0\0\4\x08\0\0\0\0\0" in said


def test_it_runs_as_a_process_of_its_own() -> None:
    """Two requests over one connection."""

    class Target:
        line = Http1Line

    with null_server.running() as address:
        Target.address = address  # type: ignore[attr-defined]
        with Talk(Target, 10) as talk:
            request = WireRequest(bytearray(request_head("/", "here", {}, 100_000)), 0, bytes(100_000))
            assert [talk.ask(request).body for _ in range(2)] == [b"{}", b"{}"]
