"""Stand-ins for tests of ours and of users: a clock that moves when told to, and runs made of given latencies or streams."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import msgspec
import numpy as np

from bench import mix
from bench.arrivals import Closed, Constant, Rate
from bench.lengths import Uniform
from bench.record import AT_ONCE, ERRORS, NOT_COMPARED, RECORD, SAME, Chunks, Run, Samples
from bench.workload import Check, DataType, Generate, Input, Model, Part, Payload, Workload

MS = 1_000_000
START = datetime(2026, 1, 1, tzinfo=UTC)


class FakeClock:
    """A clock that stands still until it is moved; sleeping moves it."""

    def __init__(self, now_ns: int = 0) -> None:
        self.time_ns = now_ns

    def now_ns(self) -> int:
        return self.time_ns

    def wall(self) -> datetime:
        return START + timedelta(microseconds=self.time_ns // 1000)

    def sleep_until(self, t_ns: int) -> None:
        self.time_ns = max(self.time_ns, t_ns)

    def advance(self, by_ns: int) -> None:
        """Move on by `by_ns`."""
        self.time_ns += by_ns


def make_workload(every_ms: float | None = None, **changes: Any) -> Workload:
    """A small workload: one user in a closed loop, or one send every `every_ms`; `changes` replaces its fields."""
    fields: dict[str, Any] = {
        "name": "made",
        "model": Model("made"),
        "payload": Payload({"x": Input(DataType("FP32"), (1, 4))}, distinct=4),
        "load": Closed(1) if every_ms is None else Constant(rate_hz=Rate(1000 / every_ms)),
        "check": Check(every=1),
    }
    return Workload(**(fields | changes))


def make_mix(parts: Mapping[str, tuple[float, int]], every_ms: float | None = None, **changes: Any) -> Workload:
    """A small workload of several models, {name: (weight, distinct requests)}; `changes` replaces its fields."""
    whole = make_workload(every_ms)
    mixed = tuple(
        Part(name, Model(name), msgspec.structs.replace(whole.payload, distinct=distinct), weight=weight, check=whole.check)
        for name, (weight, distinct) in parts.items()
    )
    return Workload(**({"name": "mixed", "load": whole.load, "mix": mixed} | changes))


def make_run(
    latencies_ms: Sequence[float] | np.ndarray,
    *,
    every_ms: float | None = None,
    lag_ms: float | Sequence[float] = 0.0,
    errors: Mapping[int, str] | None = None,
    waited: int | Sequence[int] = AT_ONCE,
    compared: int | None = None,
    window_ms: tuple[float, float] | None = None,
    samples: Mapping[tuple[str, str], Iterable[tuple[float, float]]] | None = None,
    workload: Workload | None = None,
    **fields: Any,
) -> Run:
    """A run whose requests took `latencies_ms`: one user's, each sent when the last reply came, or sent every `every_ms`.

    `lag_ms` is by how much each send was late, and `waited` what it waited for (a code of bench.record). Request n fails with
    the kind `errors`[n]; the first `compared` (all, where None) were compared with the reference. The window is from 0 to the
    last reply where none is given. `samples` are {(device, metric): [(t_ms, value), ...]}; `fields` are Run's. Of a mix, the
    requests are those whose turn it is.
    """
    workload = workload or make_workload(every_ms)
    latency_ns = np.rint(np.asarray(latencies_ms, np.float64) * MS).astype(np.int64)
    count = len(latency_ns)
    records = np.zeros(count, RECORD)
    ends = np.cumsum(latency_ns)
    intended = ends - latency_ns if every_ms is None else np.rint(np.arange(count) * every_ms * MS).astype(np.int64)
    records["id"] = np.arange(count)
    records["payload"] = _turns(workload, count) if workload.mix else 0
    records["items"] = 1
    records["waited"] = waited
    records["intended_ns"] = intended
    records["start_ns"] = intended + np.rint(np.asarray(lag_ms, np.float64) * MS).astype(np.int64)
    records["end_ns"] = intended + latency_ns
    records["check"][: count if compared is None else compared] = SAME
    for n, kind in (errors or {}).items():
        if kind not in ERRORS:
            raise ValueError(f"errors[{n}]: expected one of {', '.join(ERRORS[1:])}, got {kind!r}")
        records["error"][n] = ERRORS.index(kind)
        records["check"][n] = NOT_COMPARED
    records = records[np.argsort(records["end_ns"], kind="stable")]
    last_ns = int(records["end_ns"][-1]) if count else 0
    return Run(
        **{"id": "made", "target": {"word": "echo://"}, "environment": {}, "events": [], "status": "complete"} | fields,
        workload=workload,
        records=records,
        samples=_samples(samples or {}),
        window_ns=(0, last_ns) if window_ms is None else (round(window_ms[0] * MS), round(window_ms[1] * MS)),
    )


class Stream(NamedTuple):
    """One streamed reply: its pieces came `times_ms` after the request was meant to be sent, with `tokens` in each."""

    sent_ms: float
    times_ms: Sequence[float]
    tokens: Sequence[int] = ()  # one in each where none are given
    error: str = ""  # a kind of ERRORS
    lag_ms: float = 0.0
    end_ms: float | None = None  # when the reply was complete; with its last piece where none is given


def make_stream_workload(**changes: Any) -> Workload:
    """A small workload that generates: prompts of 16 to 64 tokens, answers of as many; `changes` replaces its fields."""
    generate = Generate(prompt_tokens=Uniform(16, 64), output_tokens=Uniform(16, 64))
    fields: dict[str, Any] = {"payload": Payload(generate=generate, distinct=16), "load": Closed(8)}
    return make_workload(**(fields | changes))


def make_stream_run(
    streams: Sequence[Stream],
    *,
    window_ms: tuple[float, float] | None = None,
    samples: Mapping[tuple[str, str], Iterable[tuple[float, float]]] | None = None,
    workload: Workload | None = None,
    **fields: Any,
) -> Run:
    """A run of these streamed replies, request n to the prompt whose turn it is; the window is from 0 to the last reply."""
    workload = workload or make_stream_workload()
    records, turns = np.zeros(len(streams), RECORD), _turns(workload, len(streams))
    for n, (record, stream) in enumerate(zip(records, streams, strict=True)):
        if stream.error not in ERRORS:
            raise ValueError(f"streams[{n}].error: expected one of {', '.join(ERRORS[1:])}, got {stream.error!r}")
        last = max(stream.times_ms, default=0.0) if stream.end_ms is None else stream.end_ms
        sent_ns = round(stream.sent_ms * MS)
        record["id"], record["payload"], record["items"] = n, turns[n], 1
        record["intended_ns"], record["start_ns"] = sent_ns, sent_ns + round(stream.lag_ms * MS)
        record["end_ns"] = sent_ns + round(last * MS)
        record["error"], record["check"] = ERRORS.index(stream.error), NOT_COMPARED if stream.error else SAME
    order = np.argsort(records["end_ns"], kind="stable")
    ordered = [streams[n] for n in order]
    pieces = [([round((s.sent_ms + t) * MS) for t in s.times_ms], s.tokens or [1] * len(s.times_ms)) for s in ordered]
    last_ns = int(records["end_ns"].max(initial=0))
    return Run(
        **{"id": "made", "target": {"word": "echo://"}, "environment": {}, "events": [], "status": "complete"} | fields,
        workload=workload,
        records=records[order],
        samples=_samples(samples or {}),
        window_ns=(0, last_ns) if window_ms is None else (round(window_ms[0] * MS), round(window_ms[1] * MS)),
        chunks=Chunks.of(pieces),
    )


def _turns(workload: Workload, count: int) -> list[int]:
    turns = mix.turns(workload)
    return [turns[n % len(turns)] for n in range(count)]


def _samples(series: Mapping[tuple[str, str], Iterable[tuple[float, float]]]) -> Samples:
    rows = sorted((round(t * MS), code, value) for code, points in enumerate(series.values()) for t, value in points)
    columns = list(zip(*rows, strict=True)) or [(), (), ()]
    return Samples(
        np.array(columns[0], np.int64),
        np.array(columns[1], np.int32),
        np.array(columns[2], np.float64),
        [("made", device, metric) for device, metric in series],
    )
