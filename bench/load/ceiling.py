"""How fast the generator is on its own: a short burst of the engine against a server that does nothing, before the measurement.

What the engine reaches there is its ceiling on this machine, for requests of this size over this protocol and so many
connections; what one connection waits there for a reply is the least that generator, loopback and kernel add to a latency.
"""

import gc
import math
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from bench import workload as workloads
from bench.arrivals import Closed
from bench.load import null_server
from bench.load.engine import Engine
from bench.load.phases import Phases
from bench.load.pool import Pool
from bench.load.recorder import Recorder
from bench.record import OK
from bench.targets.base import FINE, Verdict
from bench.wire.line import Reply
from bench.workload import Workload

BURST_NS = 150_000_000
ALONE_NS = 100_000_000  # of one connection
SETTLE_NS = 20_000_000  # sent before that, and not counted
BURSTS = 2  # apart from each other: what disturbs one seldom disturbs both
SLICES = 10  # of a burst
MOST = 64  # connections: more are no faster, and take long to make
LIMIT_S = 5.0  # for connecting, and for the burst to end

Ceiling = dict[str, Any]


def find(pool: Pool, workload: Workload, known: Sequence[Ceiling], workers: int = 1) -> Ceiling:
    """The ceiling of an engine that sends `pool`: one of the `known`, else measured now, in half a second.

    Of one that is one of several `workers`, with its share of the connections, while the others do the same.

    {} where there is none to be had: of streams, whose rate is not what limits them, and of targets that are called.
    """
    if pool.streams or not hasattr(pool.target, "requests"):
        return {}
    requests, _ = pool.wire()
    about = {
        "protocol": ("HTTP/2" if pool.target.line().opening() else "HTTP/1.1") + " over TLS" * _secure(pool),
        "request_bytes": round(sum(len(r.head) + len(r.block) + len(r.body) for r in requests) / len(requests)),
        "connections": min(math.ceil(workload.load.connections / workers), MOST),
        "workers": workers,
    }
    for ceiling in known:
        if about.items() <= ceiling.items():
            # what is known of several is what they reach together
            return ceiling if workers == 1 or "problem" in ceiling else ceiling | {"rate_hz": ceiling["rate_hz"] / workers}
    try:
        return about | _measured(pool, workload, about)
    except (OSError, ValueError) as error:
        return about | {"problem": getattr(error, "strerror", "") or str(error)}


def _measured(pool: Pool, workload: Workload, about: Mapping[str, Any]) -> Ceiling:
    with null_server.running(_secure(pool)) as address, _no_collections():
        alone = _burst(_Nowhere(pool, address), workload, 1, ALONE_NS)
        many = [_burst(_Nowhere(pool, address), workload, about["connections"], BURST_NS) for _ in range(BURSTS)]
    reached_hz = rate_hz(many)
    if not len(alone.records) or not reached_hz:
        raise OSError(None, "no request was answered")
    waited = np.sort(alone.records["end_ns"] - alone.records["intended_ns"])
    return {
        "rate_hz": reached_hz,
        "cpu_us": min((burst.cpu_us for burst in many if burst.cpu_us), default=0.0),  # of the engine, for each request
        "added_p50_ns": int(waited[len(waited) // 2]),
        "added_p99_ns": int(waited[len(waited) * 99 // 100]),
    }


class Burst(NamedTuple):
    """The replies that came within its window, and the engine's share of a core meanwhile."""

    records: np.ndarray
    phases: Phases
    cpu_share: float

    def rates_hz(self) -> np.ndarray:
        """Replies a second in each slice of the window."""
        counts, edges = np.histogram(self.records["end_ns"], SLICES, (self.phases.window_ns, self.phases.end_ns))
        return np.asarray(counts * 1e9 / np.diff(edges))

    @property
    def cpu_us(self) -> float:
        return self.cpu_share * (self.phases.end_ns - self.phases.window_ns) / 1e3 / max(1, len(self.records))


def rate_hz(bursts: Sequence[Burst]) -> float:
    """What the engine reached: the upper quartile of all slices, for it is not the slower for what else ran just then."""
    return float(np.quantile(np.concatenate([burst.rates_hz() for burst in bursts]), 0.75))


def _burst(pool: Any, workload: Workload, users: int, length_ns: int) -> Burst:
    recorder = Recorder(pool)
    engine = Engine(pool, workloads.override(workload, load=Closed(users)), recorder)
    try:
        for _ in range(users):
            engine.open_seat()
        _wait(engine.ready)
        start = time.perf_counter_ns()
        phases = Phases(start, start + SETTLE_NS, start + SETTLE_NS + length_ns, None)
        engine.begin(phases)
        _wait(lambda: engine.finished)
    finally:
        engine.stop()
        engine.join()
    if engine.failure is not None:  # no reason to give up the run, which will meet it too if it is one
        raise OSError(None, f"{type(engine.failure).__name__}: {engine.failure}")
    records = recorder.rows()
    inside = (records["end_ns"] > phases.window_ns) & (records["end_ns"] <= phases.end_ns) & (records["error"] == OK)
    return Burst(records[inside], phases, engine.cpu.share)


def _wait(done: Callable[[], bool]) -> None:
    limit = time.monotonic() + LIMIT_S
    while not done():
        if time.monotonic() > limit:
            raise TimeoutError(None, f"a burst took longer than {LIMIT_S:g} s")
        time.sleep(0.002)


class _Nowhere:
    """A pool whose requests go to the null server, which says nothing that could be judged."""

    def __init__(self, pool: Pool, address: tuple[str, int]) -> None:
        self._pool = pool
        self.target = _Null(address, pool.target.line, _any_certificate() if _secure(pool) else None)
        self.turns, self.local, self.items, self.every, self.streams = pool.turns, pool.local, pool.items, pool.every, False

    def wire(self) -> Any:
        requests, _ = self._pool.wire()
        return requests, [_fine] * len(requests)


class _Null:
    def __init__(self, address: tuple[str, int], line: Any, tls: ssl.SSLContext | None) -> None:
        self.address, self.line, self.tls = address, line, tls


def _secure(pool: Pool) -> bool:
    return getattr(pool.target, "tls", None) is not None


def _any_certificate() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _fine(reply: Reply, request_id: bytes) -> Verdict:
    return FINE


@contextmanager
def _no_collections() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
