"""How fast the generator is on its own."""

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from bench import payloads
from bench.arrivals import Closed
from bench.load import ceiling, null_server
from bench.load.ceiling import Burst, Ceiling
from bench.load.phases import Phases
from bench.load.pool import Pool
from bench.record import RECORD
from bench.testing import make_stream_workload, make_workload
from bench.wire import frames, grpc
from bench.wire.http1 import Http1Line
from bench.wire.http2 import Http2Line
from bench.wire.line import WireRequest
from bench.workload import DataType, Input, Payload, Workload

THREE = make_workload(load=Closed(3))
KEYS = {"protocol", "request_bytes", "connections", "workers"}
Find = Callable[[Pool, Workload], Ceiling]


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Find:
    """What is found in bursts of 10 ms, or in longer ones where this machine is so busy that none was answered in those."""

    def find(requests: Pool, workload: Workload) -> Ceiling:
        for length_ns in (10_000_000, 100_000_000, 1_000_000_000):
            for name in ("BURST_NS", "ALONE_NS", "SETTLE_NS"):
                monkeypatch.setattr(ceiling, name, length_ns)
            made = ceiling.find(requests, workload, [])
            if made.get("problem") != "no request was answered":
                break
        return made

    return find


@pytest.fixture
def unplugged(monkeypatch: pytest.MonkeyPatch) -> None:
    """A null server that cannot be started."""

    @contextmanager
    def refuse(secure: bool) -> Iterator[tuple[str, int]]:
        raise OSError(24, "Too many open files")
        yield

    monkeypatch.setattr(null_server, "running", refuse)


def test_what_could_not_be_measured_is_no_rate_for_a_worker(plain: Any, pool: Any, nobody: tuple[str, int]) -> None:
    """Of several workers together nothing is known either, in the next run of the command."""
    requests = pool(plain(nobody), THREE)
    about = ceiling.find(requests, THREE, [{"protocol": "HTTP/1.1"}], workers=2)
    known = {key: about[key] for key in KEYS} | {"problem": "a burst took too long"}
    assert ceiling.find(requests, THREE, [known], workers=2) == known


def test_the_engine_is_driven_against_a_server_that_does_nothing(
    found: Find, plain: Any, pool: Any, nobody: tuple[str, int]
) -> None:
    """The target itself hears nothing of it; what is found names what it holds for."""
    requests = pool(plain(nobody), THREE)
    made = found(requests, THREE)
    size = len(requests.wire()[0][0].head) + len(requests.wire()[0][0].body)
    assert {key: made[key] for key in KEYS} == {
        "protocol": "HTTP/1.1", "request_bytes": size, "connections": 3, "workers": 1,
    }  # fmt: skip
    assert made["rate_hz"] > 0
    assert 0 < made["added_p50_ns"] <= made["added_p99_ns"]
    assert "problem" not in made


@pytest.mark.parametrize("values", [4, 1_000_000])
def test_grpc_is_driven_likewise(found: Find, plain: Any, pool: Any, nobody: tuple[str, int], values: int) -> None:
    """Small messages in one buffer, large ones as the windows allow."""
    workload = make_workload(payload=Payload({"x": Input(DataType("FP32"), (1, values))}, distinct=1), load=Closed(2))
    target = plain(nobody)
    body = bytes(4 * values)
    block = frames.request_block("/made", "here", {})
    target.line = Http2Line
    target.requests = lambda _: [WireRequest(bytearray(grpc.prefixed(b"0" * 16, len(body))), 5, body, block)]
    made = found(pool(target, workload), workload)
    assert (made["protocol"], made.get("problem")) == ("HTTP/2", None)
    framing = 2 * 9 if values == 4 else 0  # which small ones have from the beginning
    assert made["request_bytes"] == framing + len(block) + 5 + 16 + len(body)
    assert made["rate_hz"] > 0


@pytest.mark.parametrize("line", [Http1Line, Http2Line])
def test_what_goes_over_tls_is_driven_over_tls(line: Any, found: Find, plain: Any, pool: Any, nobody: tuple[str, int]) -> None:
    """Encryption is a good part of what such a request costs; the certificate is nobody's."""
    target = plain(nobody)
    target.tls, target.line = ssl.create_default_context(), line
    block = frames.request_block("/made", "here", {}, secure=True)
    if line is Http2Line:
        target.requests = lambda all_: [WireRequest(bytearray(grpc.prefixed(b"0" * 16)), 5, b"", block) for _ in all_]
    made = found(pool(target, THREE), THREE)
    assert made["protocol"] == ("HTTP/2 over TLS" if line is Http2Line else "HTTP/1.1 over TLS")
    assert made.get("problem") is None
    assert made["rate_hz"] > 0


def test_requests_of_many_segments_are_answered_too(found: Find, plain: Any, pool: Any, nobody: tuple[str, int]) -> None:
    """4 MB, of which a socket takes a part at a time."""
    large = make_workload(payload=Payload({"x": Input(DataType("FP32"), (1, 1_000_000))}, distinct=1))
    made = found(pool(plain(nobody), large), large)
    assert made["request_bytes"] > 4_000_000
    assert made["rate_hz"] > 0


def test_what_is_known_is_not_measured_again(unplugged: None, plain: Any, pool: Any, nobody: tuple[str, int]) -> None:
    """The same protocol, size and connections; of other connections nothing is known."""
    requests = pool(plain(nobody), THREE)
    known = {key: value for key, value in ceiling.find(requests, THREE, []).items() if key in KEYS} | {"rate_hz": 5000.0}
    assert ceiling.find(requests, THREE, [{"protocol": "HTTP/2"}, known]) is known
    assert "rate_hz" not in ceiling.find(requests, make_workload(load=Closed(4)), [known])


def test_one_of_several_workers_is_measured_with_its_share_of_the_connections(
    unplugged: None, plain: Any, pool: Any, nobody: tuple[str, int]
) -> None:
    """Two of three connections; what is known of one worker alone does not hold, what is known of both is halved."""
    requests = pool(plain(nobody), THREE)
    alone, one = ({k: v for k, v in ceiling.find(requests, THREE, [], n).items() if k in KEYS} for n in (1, 2))
    assert (one["connections"], one["workers"]) == (2, 2)
    assert "rate_hz" not in ceiling.find(requests, THREE, [alone | {"rate_hz": 9000.0}], workers=2)
    together = one | {"rate_hz": 5000.0}
    assert ceiling.find(requests, THREE, [together], workers=2) == one | {"rate_hz": 2500.0}


def test_where_it_cannot_be_measured_the_run_goes_on_and_says_why(
    unplugged: None, plain: Any, pool: Any, nobody: tuple[str, int]
) -> None:
    """A ceiling is worth no run."""
    assert ceiling.find(pool(plain(nobody), THREE), THREE, [])["problem"] == "Too many open files"


def test_a_server_that_never_answers_is_given_up(
    monkeypatch: pytest.MonkeyPatch, serve: Any, plain: Any, pool: Any, nobody: tuple[str, int]
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
