"""How fast the generator is on its own."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from bench import payloads
from bench.arrivals import Closed
from bench.load import ceiling, null_server
from bench.load.ceiling import Burst
from bench.load.phases import Phases
from bench.record import RECORD
from bench.testing import make_stream_workload, make_workload
from bench.wire import frames, grpc
from bench.wire.http1 import Http1Line
from bench.wire.http2 import Http2Line
from bench.wire.line import WireRequest
from bench.workload import DataType, Input, Payload

THREE = make_workload(load=Closed(3))
KEYS = {"protocol", "request_bytes", "connections"}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bursts of a few ms."""
    for name in ("BURST_NS", "ALONE_NS", "SETTLE_NS"):
        monkeypatch.setattr(ceiling, name, 10_000_000)


@pytest.fixture
def unplugged(monkeypatch: pytest.MonkeyPatch) -> None:
    """A null server that cannot be started."""

    @contextmanager
    def refuse(secure: bool) -> Iterator[tuple[str, int]]:
        raise OSError(24, "Too many open files")
        yield

    monkeypatch.setattr(null_server, "running", refuse)


def test_the_engine_is_driven_against_a_server_that_does_nothing(
    quick: None, plain: Any, pool: Any, nobody: tuple[str, int]
) -> None:
    """The target itself hears nothing of it; what is found names what it holds for."""
    requests = pool(plain(nobody), THREE)
    found = ceiling.find(requests, THREE, [])
    size = len(requests.wire()[0][0].head) + len(requests.wire()[0][0].body)
    assert {key: found[key] for key in KEYS} == {"protocol": "HTTP/1.1", "request_bytes": size, "connections": 3}
    assert found["rate_hz"] > 0
    assert 0 < found["added_p50_ns"] <= found["added_p99_ns"]
    assert "problem" not in found


@pytest.mark.parametrize("values", [4, 1_000_000])
def test_grpc_is_driven_likewise(quick: None, plain: Any, pool: Any, nobody: tuple[str, int], values: int) -> None:
    """Small messages in one buffer, large ones as the windows allow."""
    workload = make_workload(payload=Payload({"x": Input(DataType("FP32"), (1, values))}, distinct=1), load=Closed(2))
    target = plain(nobody)
    body = bytes(4 * values)
    block = frames.request_block("/made", "here", {})
    target.line = Http2Line
    target.requests = lambda _: [WireRequest(bytearray(grpc.prefixed(b"0" * 16, len(body))), 5, body, block)]
    found = ceiling.find(pool(target, workload), workload, [])
    assert (found["protocol"], found.get("problem")) == ("HTTP/2", None)
    assert found["request_bytes"] == 5 + 16 + len(block) + len(body)
    assert found["rate_hz"] > 0


@pytest.mark.parametrize("line", [Http1Line, Http2Line])
def test_what_goes_over_tls_is_driven_over_tls(line: Any, quick: None, plain: Any, pool: Any, nobody: tuple[str, int]) -> None:
    """Encryption is a good part of what such a request costs; the certificate is nobody's."""
    target = plain(nobody)
    target.tls, target.line = ssl.create_default_context(), line
    block = frames.request_block("/made", "here", {}, secure=True)
    if line is Http2Line:
        target.requests = lambda made: [WireRequest(bytearray(grpc.prefixed(b"0" * 16)), 5, b"", block) for _ in made]
    found = ceiling.find(pool(target, THREE), THREE, [])
    assert found["protocol"] == ("HTTP/2 over TLS" if line is Http2Line else "HTTP/1.1 over TLS")
    assert found.get("problem") is None
    assert found["rate_hz"] > 0


def test_requests_of_many_segments_are_answered_too(quick: None, plain: Any, pool: Any, nobody: tuple[str, int]) -> None:
    """4 MB, of which a socket takes a part at a time."""
    large = make_workload(payload=Payload({"x": Input(DataType("FP32"), (1, 1_000_000))}, distinct=1))
    found = ceiling.find(pool(plain(nobody), large), large, [])
    assert found["request_bytes"] > 4_000_000
    assert found["rate_hz"] > 0


def test_what_is_known_is_not_measured_again(unplugged: None, plain: Any, pool: Any, nobody: tuple[str, int]) -> None:
    """The same protocol, size and connections; of other connections nothing is known."""
    requests = pool(plain(nobody), THREE)
    known = {key: value for key, value in ceiling.find(requests, THREE, []).items() if key in KEYS} | {"rate_hz": 5000.0}
    assert ceiling.find(requests, THREE, [{"protocol": "HTTP/2"}, known]) is known
    assert "rate_hz" not in ceiling.find(requests, make_workload(load=Closed(4)), [known])


def test_where_it_cannot_be_measured_the_run_goes_on_and_says_why(
    unplugged: None, plain: Any, pool: Any, nobody: tuple[str, int]
) -> None:
    """A ceiling is worth no run."""
    assert ceiling.find(pool(plain(nobody), THREE), THREE, [])["problem"] == "Too many open files"


def test_a_server_that_never_answers_is_given_up(
    quick: None, monkeypatch: pytest.MonkeyPatch, serve: Any, plain: Any, pool: Any, nobody: tuple[str, int]
) -> None:
    """The burst has a limit of its own, whatever the workload's timeout is."""
    server = serve(lambda x: x.wait())

    @contextmanager
    def silent(secure: bool) -> Iterator[tuple[str, int]]:
        yield server.address

    monkeypatch.setattr(null_server, "running", silent)
    monkeypatch.setattr(ceiling, "LIMIT_S", 0.2)
    monkeypatch.setattr("bench.load.engine.GRACE_NS", 0)
    assert "longer than 0.2 s" in ceiling.find(pool(plain(nobody), THREE), THREE, [])["problem"]


def test_streams_and_calls_have_no_ceiling(
    unplugged: None, plain: Any, streaming: Any, pool: Any, nobody: tuple[str, int]
) -> None:
    """What limits a stream is not how many there are a second, and a call's cost is the called one's."""
    generating = make_stream_workload()
    streams = pool(streaming(nobody), generating, requests=payloads.make(generating))
    called = type("Called", (), {})()
    assert ceiling.find(streams, generating, []) == {}
    assert ceiling.find(pool(called, THREE), THREE, []) == {}


def burst(end_ns: list[int]) -> Burst:
    """Of 10 ms, in which replies came at these times."""
    records = np.zeros(len(end_ns), RECORD)
    records["end_ns"] = end_ns
    return Burst(records, Phases(0, 0, 10_000_000, None), 0.5)


def test_a_pause_of_the_machine_does_not_lower_the_ceiling() -> None:
    """A reply each ms is 1,000/s, also where a burst stood still for half its time."""
    whole, half = [burst([n * 1_000_000 + 1 for n in range(count)]) for count in (10, 5)]
    assert ceiling.rate_hz([whole, whole]) == ceiling.rate_hz([whole, half]) == 1000.0
    assert ceiling.rate_hz([burst([])]) == 0.0
