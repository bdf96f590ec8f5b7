"""What a run leaves behind: one record a request, samples of the machine, events, and the run that holds them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from bench.arrivals import ClosedLoop
from bench.workload import Workload

# error kinds by code; 0 is success. Appended to, never reordered: stored records hold the codes.
ERRORS = (
    "", "connect", "timeout", "closed", "protocol", "status", "version", "shape", "answer",
    "broken",  # a stream that ended, or whose connection was closed, before all of it had come
    "stalled",  # a stream that had begun and then fell silent for longer than the timeout
    "tokens",  # a stream that came to another number of tokens than was asked for
)  # fmt: skip
OK, CONNECT, TIMEOUT, CLOSED, PROTOCOL, STATUS, VERSION, SHAPE, ANSWER, BROKEN, STALLED, TOKENS = range(len(ERRORS))

# was the reply compared with the reference answer?
NOT_COMPARED, SAME, DIFFERENT = 0, 1, 2

# what a send had to wait for, if for anything: why it was late
AT_ONCE, QUEUED, CONNECTING = 0, 1, 2

RECORD = np.dtype(
    [
        ("id", np.uint64),  # unique in a run; the request id on the wire
        ("payload", np.uint32),  # which of the distinct requests
        ("intended_ns", np.int64),  # when it should have been sent
        ("start_ns", np.int64),  # when its first byte was sent
        ("end_ns", np.int64),  # when its reply was complete, or given up
        ("items", np.uint32),  # items (images, sequences) in the request
        ("status", np.int32),  # the protocol's own status: HTTP's or gRPC's number, 0 where there was none
        ("error", np.uint8),  # code in ERRORS
        ("check", np.uint8),  # NOT_COMPARED, SAME or DIFFERENT
        ("worker", np.uint16),  # the load process
        ("waited", np.uint8),  # AT_ONCE, QUEUED (for a connection to be free) or CONNECTING (for its connection to stand)
    ]
)


class Sample(NamedTuple):
    """One reading of one metric; `device` is "gpu0", "host", "server", "load"."""

    t_ns: int
    source: str
    device: str
    metric: str
    value: float


class Event(NamedTuple):
    """Something that happened once: a phase, an action, a warning."""

    t_ns: int
    name: str
    detail: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Samples:
    """Samples as columns: `series` names the (source, device, metric) that `code` points to."""

    t_ns: np.ndarray  # int64 [n]
    code: np.ndarray  # int32 [n], index into series
    value: np.ndarray  # float64 [n]
    series: list[tuple[str, str, str]]

    def get(self, device: str, metric: str) -> tuple[np.ndarray, np.ndarray]:
        """(t_ns, value) of one device's metric in the order of time; empty where it was not sampled."""
        codes = [i for i, (_, d, m) in enumerate(self.series) if (d, m) == (device, metric)]
        rows = np.isin(self.code, codes)
        return self.t_ns[rows], self.value[rows]

    def devices(self, metric: str) -> list[str]:
        """The devices that have this metric, sorted."""
        return sorted({d for _, d, m in self.series if m == metric})


@dataclass(frozen=True, slots=True)
class Chunks:
    """The pieces in which streamed replies came: those of record n are at starts[n]:starts[n + 1]."""

    starts: np.ndarray  # int64 [records + 1]
    t_ns: np.ndarray  # int64 [chunks]: when the piece was there
    tokens: np.ndarray  # uint32 [chunks]: tokens in it; 0 for an empty one, such as a first that carries only a role

    @classmethod
    def of(cls, streams: Sequence[tuple[Sequence[int], Sequence[int]]]) -> "Chunks":
        """The chunks of records in order, each (times in ns, tokens)."""
        counts = [len(times) for times, _ in streams]
        starts = np.concatenate(([0], np.cumsum(counts, dtype=np.int64)))
        t_ns = np.array([t for times, _ in streams for t in times], np.int64)
        return cls(starts, t_ns, np.array([n for _, tokens in streams for n in tokens], np.uint32))

    def of_record(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """(t_ns, tokens) of the chunks of record `n`."""
        at = slice(int(self.starts[n]), int(self.starts[n + 1]))
        return self.t_ns[at], self.tokens[at]


@dataclass(frozen=True, slots=True)
class Run:
    """One measured run, as it lies on disk."""

    id: str
    workload: Workload
    target: dict[str, Any]  # word, server facts: see servers.base.ServerFacts
    environment: dict[str, Any]
    records: np.ndarray  # RECORD [n], warm-up included, in the order of completion
    samples: Samples
    events: list[Event]
    window_ns: tuple[int, int]  # measured requests have intended_ns in [start, end)
    status: str  # "running", "complete" or "partial"
    created: str = ""  # ISO time
    load: dict[str, Any] = field(default_factory=dict)  # what the load process said of itself at the end
    chunks: Chunks | None = None  # of streamed replies, record by record

    @property
    def driver(self) -> str:
        """What made the load in place of bench's engine, `workload.load` not being carried out; "" where nothing did."""
        return str(self.load.get("driver", ""))

    @property
    def scheduled(self) -> bool:
        """Whether there was a schedule of sends to keep."""
        return not self.driver and not isinstance(self.workload.load, ClosedLoop)

    def measured(self) -> np.ndarray:
        """The records whose intended send lies in the window."""
        start, end = self.window_ns
        intended = self.records["intended_ns"]
        return self.records[(intended >= start) & (intended < end)]
