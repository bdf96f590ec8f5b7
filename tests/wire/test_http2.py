"""gRPC over HTTP/2: held against the library `h2` as server, and against bytes that no server should send."""

import itertools
import struct
from typing import Any

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, SettingsAcknowledged, StreamEnded
from h2.settings import SettingCodes
from hpack import Decoder
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.wire import frames, grpc, http2, upload
from bench.wire.frames import MOST, frame
from bench.wire.http2 import Http2Line
from bench.wire.line import ProtocolError, Reply, Varying, WireRequest

BLOCK = frames.request_block("/inference.GRPCInferenceService/ModelInfer", "127.0.0.1:8001", {"authorization": "Bearer x" * 40})
HEAD = [(":status", "200"), ("content-type", "application/grpc")]
GOOD = [("grpc-status", "0")]


def request(body: bytes = b"", block: bytes = BLOCK, *, whole: bool = True) -> WireRequest:
    """A request whose message is an id and `body`; as `whole` frames where it is small."""
    asked = WireRequest(bytearray(grpc.prefixed(b"0123456789abcdef", len(body))), 5, body, block)
    return upload.framed(asked) if whole else asked


class Server:
    """A server's side of a connection, by `h2`, with windows and frames of its own."""

    def __init__(self, window: int = 65535, frame_size: int = 16384) -> None:
        self.h2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: window, SettingCodes.MAX_FRAME_SIZE: frame_size})
        self.events: list[Any] = []
        self.bodies: dict[int, bytearray] = {}

    def receive(self, data: bytes) -> list[Any]:
        """What these bytes are; room is given back for them at once."""
        events = self.h2.receive_data(data)
        for event in events:
            if isinstance(event, RequestReceived):
                self.bodies[event.stream_id] = bytearray()
            elif isinstance(event, DataReceived):
                self.bodies[event.stream_id] += event.data
                if event.flow_controlled_length:
                    self.h2.increment_flow_control_window(event.flow_controlled_length)
                    if event.stream_ended is None:
                        self.h2.increment_flow_control_window(event.flow_controlled_length, event.stream_id)
        self.events += events
        return events

    def serve(self, line: Http2Line, asked: WireRequest, first: bool = True) -> int:
        """Take a whole request, and give its stream; nothing is answered."""
        sent = b"".join(line.ask(asked))
        events = self.receive((line.opening() if first else b"") + sent)
        while not any(isinstance(e, StreamEnded) for e in events):
            before = sum(map(len, self.bodies.values()))
            assert line.feed(self.h2.data_to_send()) is None
            events = [event for owed in line.owed() for event in self.receive(bytes(owed))]
            assert sum(map(len, self.bodies.values())) > before or events, "neither goes on"
        stream: int = next(e.stream_id for e in events if isinstance(e, StreamEnded))
        return stream

    def answer(self, stream: int, body: bytes, head: Any = HEAD, trailers: Any = GOOD) -> bytes:
        """The bytes of an answer."""
        self.h2.send_headers(stream, head)
        for at in range(0, len(body), 16000):
            self.h2.send_data(stream, body[at : at + 16000], pad_length=at % 7 or None)
        self.h2.send_headers(stream, trailers, end_stream=True)
        return bytes(self.h2.data_to_send())


def pieces_of(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted({c % (len(data) + 1) for c in cuts}), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges) if a < b]


def read(line: Http2Line, pieces: list[bytes]) -> Reply | None:
    replies = [line.feed(piece) for piece in pieces]
    assert all(r is None for r in replies[:-1])
    return replies[-1] if replies else None


def ready() -> Http2Line:
    """A line whose server has said its settings, with a request under way on stream 1."""
    line = Http2Line()
    line.ask(request())
    assert line.feed(frame(frames.SETTINGS, 0, 0)) is None
    line.owed()
    return line


def block(*fields: tuple[bytes, bytes]) -> bytes:
    """A header block of literals that are not indexed."""
    return b"".join(b"\0" + bytes([len(k)]) + k + bytes([len(v)]) + v for k, v in fields)


OK_HEAD = frame(frames.HEADERS, frames.END_HEADERS, 1, block((b":status", b"200")))
OK_END = frame(frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, 1, block((b"grpc-status", b"0")))


# ---------------------------------------------------------------- requests


def test_a_small_request_is_one_buffer_that_a_server_understands() -> None:
    """Its head, its id and its message, and the end of the stream with it."""
    line, server = Http2Line(), Server()
    (sent,) = line.ask(request(b"abc"))
    events = server.receive(line.opening() + sent)
    (asked,) = [e for e in events if isinstance(e, RequestReceived)]
    fields = dict(asked.headers)
    assert (fields[":method"], fields[":scheme"]) == ("POST", "http")
    assert (fields[":path"], fields[":authority"]) == ("/inference.GRPCInferenceService/ModelInfer", "127.0.0.1:8001")
    assert (fields["content-type"], fields["te"], fields["authorization"]) == ("application/grpc", "trailers", "Bearer x" * 40)
    assert bytes(server.bodies[1]) == b"\0\0\0\0\x130123456789abcdefabc"
    assert any(isinstance(e, StreamEnded) for e in events)


def test_fields_that_may_be_secrets_are_kept_in_no_table_by_whoever_passes_them_on() -> None:
    """The user's are marked so; what every request has may be remembered."""
    fields = Decoder().decode(frames.request_block("/x", "h", {"Authorization": "secret", "x-team": "blue"}))
    kept_out = {name for name, *_ in filter(lambda field: not field.indexable, fields)}
    assert kept_out == {"authorization", "x-team"}


@settings(deadline=None)
@given(st.integers(0, 200_000), st.integers(1, 150_000), st.integers(16384, 60_000), st.integers(0, 3), st.booleans())
def test_a_request_of_any_size_arrives_whole_through_any_windows(
    size: int, window: int, frame_size: int, more: int, whole: bool
) -> None:
    """A server that counts every byte finds no frame and no window exceeded, over several requests."""
    window = max(window, size // 200)
    line, server = Http2Line(), Server(window, frame_size)
    for n in range(more + 1):
        body = bytes(range(256)) * (size // 256) + bytes(size % 256)
        stream = server.serve(line, request(body, whole=whole), first=n == 0)
        assert bytes(server.bodies[stream]) == grpc.prefixed(b"0123456789abcdef", len(body)) + body
        reply = line.feed(server.answer(stream, b"\0\0\0\0\1x"))
        assert reply is not None
        assert (reply.head.status, reply.body, reply.head.keep_alive) == (0, b"\0\0\0\0\1x", True)
        server.receive(b"".join(line.owed()))
    assert any(isinstance(e, SettingsAcknowledged) for e in server.events)


def test_small_requests_stop_where_the_connection_s_window_ends() -> None:
    """A server that gives none back: each is small enough for a frame and for its stream, and all together are not."""
    line, sent = Http2Line(), 0
    line.ask(request())
    line.feed(frame(frames.SETTINGS, 0, 0))
    line.feed(OK_HEAD + OK_END)
    for n in range(6):
        out = b"".join(line.ask(request(bytes(15_000))))
        while out:
            length, kind = int.from_bytes(out[:3], "big"), out[3]
            sent += length * (kind == frames.DATA)
            out = out[9 + length :]
        if sent < 15_021 * (n + 1):
            break
        stream = (2 * n + 3).to_bytes(4, "big")
        line.feed((OK_HEAD + OK_END).replace(b"\0\0\0\1", stream))
    assert sent == 65535 - 21


def test_a_window_that_becomes_smaller_while_a_request_is_sent_is_kept_to() -> None:
    """It may even be below zero for a while: then nothing is sent until more than that is given back."""
    line = ready()
    line.feed(OK_HEAD + OK_END)
    line.ask(request(bytes(100_000)))
    line.feed(frame(frames.SETTINGS, 0, 0, struct.pack(">HI", frames.INITIAL_WINDOW_SIZE, 100)))
    assert [bytes(b)[3] for b in line.owed()] == [frames.SETTINGS]
    room = 65535 - 100 - 21  # of the connection's window, as many bytes were used before
    line.feed(frames.more_room(0, 10**6) + frames.more_room(3, room))
    assert list(line.owed()) == []
    line.feed(frames.more_room(3, 7))
    head, data = line.owed()
    assert (head[:3], len(data)) == (b"\0\0\7", 7)


@pytest.mark.parametrize("whole", [True, False])
def test_a_server_with_a_smaller_table_is_told_once_that_none_is_used(whole: bool) -> None:
    """Its decoder refuses a block that does not say so."""
    line, server = Http2Line(), Server()
    server.h2.update_settings({SettingCodes.HEADER_TABLE_SIZE: 0})
    line.feed(server.h2.data_to_send())
    for n in range(2):
        stream = server.serve(line, request(b"abc", whole=whole), first=not n)
        assert bytes(server.bodies[stream]).endswith(b"abc")
        reply = line.feed(server.answer(stream, b"\0\0\0\0\1x"))
        assert reply is not None
        line.owed()


def test_a_window_is_filled_up_again_by_replies_that_end_with_their_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a gateway's errors do."""
    monkeypatch.setattr(http2, "REFILL", 10)
    line = ready()
    line.feed(OK_HEAD + frame(frames.DATA, frames.END_STREAM, 1, bytes(10)))
    assert frames.more_room(0, 10) in [bytes(owed) for owed in line.owed()]


def test_headers_too_long_for_a_frame_go_on_in_another() -> None:
    """A token of a gateway may be long."""
    fields = {f"x-{n}": "v" * 4000 for n in range(5)}
    line, server = Http2Line(), Server()
    stream = server.serve(line, request(b"abc", frames.request_block("/x", "h", fields, secure=True)))
    (asked,) = [e for e in server.events if isinstance(e, RequestReceived)]
    assert fields.items() <= dict(asked.headers).items()
    assert dict(asked.headers)[":scheme"] == "https"
    assert bytes(server.bodies[stream]).endswith(b"abc")


@pytest.mark.parametrize("whole", [True, False])
def test_the_id_of_a_request_that_waits_for_room_is_its_own(whole: bool) -> None:
    """The head is shared: another connection writes its id there meanwhile."""
    line, server, asked = Http2Line(), Server(4), request(bytes(50), whole=whole)
    line.feed(server.h2.data_to_send())
    sent = b"".join(line.ask(asked))
    asked.head[asked.id_at : asked.id_at + 16] = b"f" * 16
    server.receive(line.opening() + sent)
    while not any(isinstance(e, StreamEnded) for e in server.events):
        line.feed(server.h2.data_to_send())
        server.receive(b"".join(line.owed()))
    assert bytes(server.bodies[1])[5:21] == b"0123456789abcdef"


# ---------------------------------------------------------------- replies


@settings(deadline=None)
@given(
    st.lists(st.binary(max_size=300), max_size=6),
    st.lists(st.integers(0, 3000)),
    st.lists(st.integers(0, 20), min_size=6, max_size=6),
    st.sampled_from(
        [b"", frame(frames.PING, 0, 0, bytes(8)), frames.more_room(0, 9), frames.more_room(1, 9), frame(0xBB, 3, 9, b"?")]
    ),
)
def test_a_reply_is_the_same_in_any_frames_and_pieces(bodies: Any, cuts: Any, pads: Any, between: bytes) -> None:
    """Padding, priorities, headers in two frames, and frames of the connection's own between carry no meaning."""
    head, end = block((b":status", b"200"), (b"x", b"y")), block((b"grpc-status", b"0"), (b"grpc-message", b"a%20b%C3%A9"))
    data = frame(frames.HEADERS, frames.WITH_PRIORITY, 1, bytes(5) + head[:7])
    data += frame(frames.CONTINUATION, frames.END_HEADERS, 1, head[7:]) + between
    for body, pad in zip(bodies, pads, strict=False):
        data += frame(frames.DATA, frames.PADDED, 1, bytes([pad]) + body + bytes(pad)) + between
    data += frame(frames.HEADERS, frames.PADDED | frames.END_STREAM | frames.END_HEADERS, 1, b"\3" + end + bytes(3))
    line = ready()
    reply = read(line, pieces_of(data, cuts))
    assert reply == Reply(
        grpc_head(
            0, len(b"".join(bodies)), {b":status": b"200", b"x": b"y", b"grpc-status": b"0", b"grpc-message": "a bé".encode()}
        ),
        b"".join(bodies),
    )
    acknowledged = b"".join(line.owed())
    assert acknowledged.count(frame(frames.PING, frames.ACK, 0, bytes(8))) == (len(bodies) + 1) * between.startswith(
        b"\0\0\x08\6"
    )
    assert line.end() is None


def grpc_head(status: int, length: int, fields: dict[bytes, bytes], kept: bool = True) -> Any:
    return http2.Head(status, length, kept, fields)


@given(st.lists(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz")), max_size=4), min_size=1, max_size=12))
def test_headers_are_read_right_however_the_server_numbers_them(rows: list[list[tuple[str, str]]]) -> None:
    """Blocks are remembered by their bytes, and the same bytes mean something else once the table has changed."""
    line, server = Http2Line(), Server()
    for n, row in enumerate(rows):
        for repeat in range(2):
            stream = server.serve(line, request(), first=not n and not repeat)
            reply = line.feed(server.answer(stream, b"", trailers=[*GOOD, *dict(row).items()]))
            assert reply is not None
            wanted = dict([*HEAD, *GOOD, *dict(row).items()])
            assert reply.head.headers == {k.encode(): v.encode() for k, v in wanted.items()}


def test_a_large_reply_is_given_more_room_before_the_windows_are_used_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the stream and of the connection, padding included; of a stream that is over none."""
    monkeypatch.setattr(http2, "REFILL", 1000)
    line = ready()
    line.feed(OK_HEAD + frame(frames.DATA, frames.PADDED, 1, b"\x09" + bytes(690)))
    assert list(line.owed()) == []
    line.feed(frame(frames.DATA, 0, 1, bytes(400)))
    assert list(line.owed()) == [frames.more_room(0, 1091), frames.more_room(1, 1091)]
    reply = line.feed(frame(frames.DATA, 0, 1, bytes(900)) + OK_END)
    assert reply is not None
    line.ask(request())
    assert line.feed(OK_HEAD.replace(b"\0\0\0\1", b"\0\0\0\3") + frame(frames.DATA, 0, 3, bytes(200))) is None
    assert list(line.owed()) == [frames.more_room(0, 1100)]


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ([(b":status", b"200"), (b"grpc-status", b"5"), (b"grpc-message", b"no such model")], grpc.NOT_FOUND),
        ([(b":status", b"200"), (b"grpc-status", b"-1")], grpc.UNKNOWN),
        ([(b":status", b"404")], grpc.UNIMPLEMENTED),
        ([(b":status", b"503")], grpc.UNAVAILABLE),
        ([(b":status", b"418")], grpc.UNKNOWN),
    ],
)
def test_a_reply_of_trailers_only_has_its_status_or_the_one_that_http_has(fields: Any, status: int) -> None:
    """A gateway that is no gRPC server says so by HTTP's status."""
    reply = ready().feed(frame(frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, 1, block(*fields)))
    assert reply == Reply(grpc_head(status, 0, dict(fields)), b"")


def test_a_page_of_an_http_server_is_a_reply_with_a_body_and_http_s_status() -> None:
    """What a proxy sends with an error: no trailers at all."""
    data = frame(frames.HEADERS, frames.END_HEADERS, 1, block((b":status", b"502")))
    reply = ready().feed(data + frame(frames.DATA, frames.END_STREAM, 1, b"<html>"))
    assert reply == Reply(grpc_head(grpc.UNAVAILABLE, 6, {b":status": b"502"}), b"<html>")


def test_a_reply_without_trailers_is_told_as_broken_off() -> None:
    """A gRPC server that ends with data has not said how it went."""
    reply = ready().feed(OK_HEAD + frame(frames.DATA, frames.END_STREAM, 1, b"abc"))
    assert reply is not None
    assert (reply.head.status, reply.body, reply.ended) == (grpc.UNKNOWN, b"abc", "the reply ended without a gRPC status")


@pytest.mark.parametrize(
    ("code", "status", "name"),
    [(7, grpc.UNAVAILABLE, "REFUSED_STREAM"), (8, grpc.CANCELLED, "CANCEL"), (11, grpc.RESOURCE_EXHAUSTED, "ENHANCE_YOUR_CALM"),
     (2, grpc.INTERNAL, "INTERNAL_ERROR"), (99, grpc.INTERNAL, "error 99")],
)  # fmt: skip
def test_a_stream_that_the_server_resets_is_a_reply_that_broke_off(code: int, status: int, name: str) -> None:
    """With what had come of it; the connection goes on."""
    line = ready()
    reply = line.feed(OK_HEAD + frame(frames.DATA, 0, 1, b"abc") + frame(frames.RST_STREAM, 0, 1, code.to_bytes(4, "big")))
    assert reply is not None
    assert (reply.head.status, reply.body, reply.head.keep_alive) == (status, b"abc", True)
    assert reply.ended == f"the server reset the stream: {name}"
    assert line.feed(frame(frames.RST_STREAM, 0, 1, bytes(4))) is None


def test_a_reply_that_comes_before_its_request_was_sent_ends_the_connection() -> None:
    """A server that refuses a large request early: what is left of it is not sent."""
    line = Http2Line()
    line.ask(request(bytes(100_000)))
    refused = block((b":status", b"200"), (b"grpc-status", b"8"))
    reply = line.feed(
        frame(frames.SETTINGS, 0, 0) + frame(frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, 1, refused)
        + frame(frames.RST_STREAM, 0, 1, bytes(4)) + frames.more_room(0, 10**6)
    )  # fmt: skip
    assert reply is not None
    assert (reply.head.status, reply.head.keep_alive) == (grpc.RESOURCE_EXHAUSTED, False)
    assert [bytes(b)[3] for b in line.owed()] == [frames.SETTINGS]


def goaway(last: int, code: int = 0, why: bytes = b"max_age") -> bytes:
    return frame(frames.GOAWAY, 0, 0, struct.pack(">II", last, code) + why)


def test_a_server_that_goes_away_still_answers_what_it_has_begun() -> None:
    """The reply is good, and the connection carries no other."""
    line = ready()
    assert line.feed(goaway(2**31 - 1) + OK_HEAD) is None
    reply = line.feed(OK_END)
    assert reply is not None
    assert (reply.head.status, reply.head.keep_alive) == (0, False)


def test_a_server_that_goes_away_and_leaves_the_request_says_so() -> None:
    """The request was not looked at."""
    reply = ready().feed(goaway(0, 11, b"too_many_pings"))
    assert reply is not None
    assert (reply.head.status, reply.head.keep_alive) == (grpc.UNAVAILABLE, False)
    assert reply.ended == "the server takes no more requests on this connection: ENHANCE_YOUR_CALM too_many_pings"


@pytest.mark.parametrize("together", [True, False])
def test_a_server_that_goes_away_between_requests_ends_the_line(together: bool) -> None:
    """Nothing is lost, and nothing may be asked there."""
    line = ready()
    reply = line.feed(OK_HEAD + OK_END + (goaway(1) if together else b""))
    assert reply is not None
    assert (reply.head.status, reply.head.keep_alive) == (0, not together)
    with pytest.raises(ProtocolError, match="takes no more requests on this connection: NO_ERROR max_age"):
        line.feed(b"" if together else goaway(1))


def test_the_last_stream_of_a_connection_is_told() -> None:
    """Their numbers run out after a billion."""
    line = ready()
    line._last = line._stream = 2**31 - 1
    asked = (2**31 - 1).to_bytes(4, "big")
    reply = line.feed((OK_HEAD + OK_END).replace(b"\0\0\0\1", asked))
    assert reply is not None
    assert not reply.head.keep_alive


# ---------------------------------------------------------------- what is no reply


@pytest.mark.parametrize(
    "data",
    [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-OpenSSH_9.2\r\n", b"\x15\x03\x03", frame(frames.PING, 0, 0, bytes(8))],
)
def test_what_is_no_http2_server_is_told_by_how_it_begins(data: bytes) -> None:
    """An HTTP/1.1 port, another protocol altogether, or TLS."""
    line = Http2Line()
    line.ask(request())
    with pytest.raises(ProtocolError, match="not an HTTP/2 server: it begins with b'"):
        line.feed(data)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (frame(frames.DATA, 0, 1, b"x"), "data before the head of a reply"),
        (OK_END, "a reply without an HTTP status"),
        (OK_HEAD.replace(b"\0\0\0\1", b"\0\0\0\3"), "a reply on stream 3; asked was on 1"),
        (OK_HEAD + OK_HEAD, "trailers that do not end the reply"),
        (frame(frames.HEADERS, 0, 1, b"\x88") + frame(frames.PING, 0, 0, bytes(8)), "headers that break off"),
        (frame(frames.HEADERS, 0, 1, b"\x88") + frame(frames.CONTINUATION, 0, 1, bytes(16000)) * 5, "longer than 65536 bytes"),
        (frame(frames.CONTINUATION, 4, 1, b"\x88"), "go on without having begun"),
        (frame(frames.HEADERS, frames.END_HEADERS, 1, b"\xff\xff\xff"), "headers that cannot be read"),
        (OK_HEAD + frame(frames.DATA, frames.PADDED, 1, b"\5abc"), "more padding than there is"),
        (frame(frames.SETTINGS, 0, 0, bytes(7)), "malformed SETTINGS"),
        (frame(frames.SETTINGS, 0, 0, struct.pack(">HI", 4, 2**31)), "an initial window of 2147483648 bytes"),
        (frame(frames.SETTINGS, 0, 0, struct.pack(">HI", 5, 100)), "a largest frame of 100 bytes"),
        (frame(frames.PING, 0, 0, bytes(7)), "a malformed PING"),
        (frame(frames.GOAWAY, 0, 1, bytes(8)), "a malformed GOAWAY"),
        (frame(frames.GOAWAY, 0, 0, bytes(7)), "too short"),
        (frame(frames.RST_STREAM, 0, 1, bytes(3)), "too short"),
        (frame(frames.RST_STREAM, 0, 3, bytes(4)), "a frame for stream 3, which is not open"),
        (frame(frames.PUSH_PROMISE, 4, 1, bytes(9)), "the server pushes"),
        (frames.more_room(1, 0), "made larger by nothing"),
        (frames.more_room(1, 2**31 - 1), "a window that is too large"),
        (b"\0\x40\1" + bytes(6), "a frame of 16385 bytes, more than the 16384 that were allowed"),
    ],
)  # fmt: skip
def test_a_server_that_breaks_the_rules_is_told_by_which(bad: bytes, message: str) -> None:
    """Each is one error, which stays."""
    line = ready()
    with pytest.raises(ProtocolError, match=message):
        line.feed(bad)
    with pytest.raises(ProtocolError, match=message):
        line.feed(b"")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (OK_HEAD + frame(frames.DATA, 0, 1, b"abc"), "closed within a reply, after 3 bytes of its body"),
        (OK_HEAD[:12], "closed before the head of a reply was whole"),
        (goaway(1) + OK_HEAD, r"after 0 bytes of its body \(the server takes no more requests .*NO_ERROR max_age\)"),
    ],
)
def test_a_connection_that_is_closed_within_a_reply_is_an_error(data: bytes, message: str) -> None:
    """With how far it had come."""
    line = ready()
    assert line.feed(data) is None
    with pytest.raises(ProtocolError, match=message):
        line.end()


def test_a_connection_that_is_closed_between_replies_is_none() -> None:
    """Nor one that is closed before anything has come."""
    assert ready().end() is None
    assert Http2Line().end() is None


def test_what_has_come_of_a_reply_can_be_looked_at() -> None:
    """A stream that breaks off is taken apart as far as it came."""
    line = ready()
    assert line.so_far is None
    line.feed(OK_HEAD + frame(frames.DATA, 0, 1, b"abc") + frame(frames.DATA, 0, 1, b"defg")[:10])
    assert line.body_bytes == 3
    assert line.so_far == Reply(grpc_head(0, 3, {b":status": b"200"}, kept=False), b"abc")


def outcome(pieces: list[bytes]) -> list[object]:
    """What a line makes of the pieces and a close, with a request under way as often as it may."""
    line, seen = Http2Line(), list[object]()
    line.ask(request())
    try:
        for piece in pieces:
            if reply := line.feed(piece):
                seen.append((reply.head.status, reply.head.headers, reply.body, reply.ended))
            line.owed()
        seen.append(line.end())
    except ProtocolError as error:
        seen.append(str(error).partition("it begins with")[0])
    return seen


FRAMES = st.builds(
    frame,
    st.sampled_from([*range(11), 0, 1, 1, 9]),
    st.sampled_from([0, 1, 4, 5, 8, 0x20, 0x2D]),
    st.sampled_from([0, 1, 1, 1, 2, 3]),
    st.one_of(
        st.binary(max_size=20),
        st.sampled_from([b"\x88", block((b":status", b"200")), block((b"grpc-status", b"0")), b"\x48\x03200\xbe", bytes(8)]),
    ),
)


@settings(max_examples=400)
@given(st.lists(FRAMES, max_size=12), st.booleans(), st.binary(max_size=30), st.lists(st.integers(0, 400)))
def test_any_bytes_in_any_pieces_give_the_same_replies_or_the_same_error(
    parts: list[bytes], polite: bool, rest: bytes, cuts: list[int]
) -> None:
    """No bytes are a hang, another error than the one that is meant for it, or a matter of where a segment ends."""
    data = (frame(frames.SETTINGS, 0, 0) + OK_HEAD if polite else b"") + b"".join(parts) + rest
    whole = outcome([data] if data else [])
    assert outcome(pieces_of(data, cuts)) == whole
    assert outcome([data[n : n + 1] for n in range(len(data))]) == whole


@given(st.binary(max_size=3000), st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255))), st.lists(st.integers(0, 400)))
def test_a_good_reply_with_bytes_changed_gives_the_same_in_any_pieces(body: bytes, changes: Any, cuts: list[int]) -> None:
    """Damage is told as damage, or taken for what it now says."""
    server, line = Server(), Http2Line()
    data = bytearray(server.answer(server.serve(line, request()), body))
    for at, value in changes:
        data[at % len(data)] = value
    damaged = frame(frames.SETTINGS, 0, 0) + bytes(data)
    assert outcome(pieces_of(damaged, cuts)) == outcome([damaged])


def test_nothing_is_heard_of_a_server_after_it_refused_the_request() -> None:
    """Whatever follows a GOAWAY that leaves the request out, in the same piece or in the next, the refusal is what is told."""
    refusal, late = frame(frames.GOAWAY, 0, 0, bytes(8)), frame(frames.DATA, 0, 1, b"late")
    together, apart = ready(), ready()
    for reply in (together.feed(refusal + late), apart.feed(refusal)):
        assert reply is not None
        assert (reply.head.status, reply.head.keep_alive) == (grpc.UNAVAILABLE, False)
    for told in (together.end, lambda: apart.feed(late)):
        with pytest.raises(ProtocolError, match="takes no more requests"):
            told()


def test_a_server_may_give_room_on_the_connection_before_anything_was_asked() -> None:
    """As gRPC's own servers do: stream 0 is the connection, which is always open."""
    line = Http2Line()
    assert line.feed(frame(frames.SETTINGS, 0, 0) + frame(frames.WINDOW_UPDATE, 0, 0, b"\0\1\0\0")) is None


# ---------------------------------------------------------------- replies that repeat

ID = b"0123456789abcdef"


def message(contents: bytes) -> bytes:
    """A reply's message: an id, contents, and something behind them."""
    return grpc.prefixed(ID + b"(" + contents + b")")


def varying(body: bytes) -> Varying:
    return Varying(grpc.PREFIX, ((grpc.PREFIX + len(ID) + 1, len(body) - 1),))


Seen = list[tuple[int, str] | str]


def told(line: Http2Line, pieces: list[bytes], *, knows: bool) -> Seen:
    """Status and end of each reply in the pieces, and the error that the connection ends with, if it does.

    A line that `knows` is asked first whether a piece repeats a reply, and remembers good ones.
    """
    seen: Seen = []
    try:
        for piece in [*pieces, b""]:
            if knows and (status := line.repeats(piece, ID)) is not None:
                seen.append((status, ""))
            elif (reply := line.feed(piece)) is not None:
                seen.append((reply.head.status, reply.ended))
                if knows and reply.body.startswith(ID, grpc.PREFIX):
                    line.learn(piece, reply, varying(reply.body))
    except ProtocolError as error:
        seen.append(str(error).partition("<memory")[0])
    return seen


KINDS = st.tuples(st.sampled_from([b"", b"abc", b"xyz", bytes(200)]), st.sampled_from([None, 7, 9]), st.sampled_from("05"))
DAMAGE = st.lists(st.tuples(st.integers(-28, 24), st.integers(0, 9)), max_size=1)


@settings(max_examples=300)
@given(KINDS, st.lists(st.tuples(KINDS, DAMAGE), max_size=4), st.sampled_from([0, 8, 2**31 - 1]), st.booleans())
def test_a_reply_that_repeats_a_good_one_is_what_it_would_be_taken_apart(
    first: Any, more: Any, room: int, of_stream: bool
) -> None:
    """Whatever its status, the room given back with it, and what is damaged; and so is the room that is left after."""
    server, whole, apart = Server(), Http2Line(), Http2Line()
    replies = [(first, [])] * 4 + more + [((b"abc", 7, "0"), [])] * 4
    for n, ((contents, given_back, status), changes) in enumerate(replies):
        stream = server.serve(whole, request(), first=not n)
        apart.ask(request())
        settings_and_room = server.h2.data_to_send()
        for line in (whole, apart) if not n else ():
            line.feed(settings_and_room)
        data = bytearray(server.answer(stream, message(contents), trailers=[("grpc-status", status)]))
        if n == len(replies) - 1:
            data += frames.more_room(stream if of_stream else 0, room)
        elif given_back is not None:
            data += frames.more_room(0, given_back)
        for at, value in changes:
            data[at % len(data)] = value
        seen = told(whole, [bytes(data)], knows=True)
        assert seen == told(apart, [bytes([byte]) for byte in data], knows=False)
        if len(seen) != 1 or isinstance(seen[0], str):
            return
        assert list(whole.owed()) == list(apart.owed())
    large = request(bytes(300_000))
    assert list(map(len, whole.ask(large))) == list(map(len, apart.ask(large)))


def framed(stream: int, body: bytes, trailers: bytes = b"\xbe", after: bytes = b"") -> bytes:
    """A reply whose head is a number of HPACK's own table; the trailers are any block."""
    end = frame(frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, stream, trailers)
    return frame(frames.HEADERS, frames.END_HEADERS, stream, b"\x88") + frame(frames.DATA, 0, stream, body) + end + after


OK_LITERAL, NOT_FOUND_LITERAL = (b"\x40\x0bgrpc-status\x01" + status for status in (b"0", b"5"))  # each is put into the table


def learned() -> Http2Line:
    """A line that remembers a good reply, the second on its connection; a request is under way on stream 5."""
    line = Http2Line()
    line.feed(frame(frames.SETTINGS, 0, 0))
    for stream, trailers in ((1, OK_LITERAL), (3, b"\xbe")):
        line.ask(request())
        piece = framed(stream, message(b"abc"), trailers)
        reply = line.feed(piece)
        assert reply is not None
        line.learn(piece, reply, varying(reply.body))
    line.ask(request())
    return line


@pytest.mark.parametrize(
    ("piece", "known"),
    [
        (framed(5, message(b"abc")), True),
        (framed(5, message(b"xyz")), True),
        (framed(3, message(b"abc")), False),  # of a stream that is over
        (framed(5, grpc.prefixed(ID + b"[xyz)")), False),
        (framed(5, grpc.prefixed(b"f" * 16 + b"(xyz)")), False),
        (framed(5, message(b"abcd")), False),
        (framed(5, message(b"abc"), b"\xbe", frames.more_room(0, 5)), False),
        (framed(5, message(b"abc"), b"\xbe", frames.more_room(1, 5)), False),
        (framed(5, message(b"abc"))[:-1], False),
        (framed(5, message(b"abc")) + b"\0", False),
    ],
)
def test_only_a_reply_with_another_id_or_other_contents_is_known(piece: bytes, known: bool) -> None:
    """On the stream that is open, and nothing else with it."""
    line = learned()
    assert line.repeats(piece, ID) == (0 if known else None)
    if known:
        assert line.feed(frames.more_room(5, MOST)) is None  # for a stream that is over it is of no account
        line.ask(request())
        assert line.repeats(framed(7, message(b"any")), ID) == 0


def test_a_reply_that_gives_room_to_its_stream_has_no_pattern() -> None:
    """That stream is over: taken for the connection's, the room would be more than the server gave."""
    for stream, remembered in ((0, True), (7, False)):
        line = learned()
        line.repeats(framed(5, message(b"abc")), ID)
        line.ask(request())
        piece = framed(7, message(b"abc"), b"\xbe", frames.more_room(stream, 100))
        reply = line.feed(piece)
        assert reply is not None
        assert line.learn(piece, reply, varying(reply.body)) is remembered


def test_a_reply_is_not_known_before_all_of_its_request_was_sent_nor_when_some_of_it_has_come() -> None:
    """A server that answers early is one whose connection is not used again; half a reply is half a reply."""
    line = learned()
    assert line.repeats(framed(5, message(b"abc")), ID) is not None
    line.ask(request(bytes(100_000)))
    early = framed(7, message(b"abc"))
    assert line.repeats(early, ID) is None
    reply = line.feed(early)
    assert reply is not None
    assert not reply.head.keep_alive
    line = learned()
    assert line.feed(framed(5, message(b"abc"))[:12]) is None
    assert line.repeats(framed(5, message(b"abc")), ID) is None


@pytest.mark.parametrize(
    ("trailers", "statuses"),
    [
        ([OK_LITERAL, *[b"\xbe"] * 4, NOT_FOUND_LITERAL, b"\xbe"], [0, 0, 0, 0, 0, 5, 5]),
        ([*[OK_LITERAL] * 4, NOT_FOUND_LITERAL, b"\xc1"], [0, 0, 0, 0, 5, 0]),
    ],
)
def test_the_bytes_of_a_good_reply_are_read_anew_when_the_server_s_table_has_changed(
    trailers: list[bytes], statuses: list[int]
) -> None:
    """A number means what the server has put into its table under it, last of all."""
    line, seen = Http2Line(), list[Any]()
    line.feed(frame(frames.SETTINGS, 0, 0))
    for n, block in enumerate(trailers):
        line.ask(request())
        seen += told(line, [framed(2 * n + 1, message(b"abc"), block)], knows=True)
    assert [status for status, _ in seen] == statuses


def test_the_windows_are_filled_up_again_though_all_replies_repeat(monkeypatch: pytest.MonkeyPatch) -> None:
    """One is taken apart when it is time to."""
    monkeypatch.setattr(http2, "REFILL", 200)
    line, known = learned(), 0
    for n in range(40):
        piece = framed(5 + 2 * n, message(b"abc"))
        if line.repeats(piece, ID) is not None:
            known += 1
        else:
            assert line.feed(piece) is not None
        line.ask(request())
    assert 0 < known < 40
