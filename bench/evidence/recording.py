"""Records by the million through the recorder, as the load process writes them: one thread adds, another drains.

Run as a process of its own: FOLDER RECORDS RATE. It leaves a whole run in FOLDER, and says on stdout, as JSON lines, how many
records there were and what memory it had.
"""

import gc
import json
import os
import sys
import threading
import time
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench import payloads, store, words
from bench import workload as workloads
from bench.columns import RecordWriter
from bench.load.answers import Reference
from bench.load.pool import Member, Pool
from bench.load.recorder import Recorder
from bench.record import RECORD
from bench.samplers.host import resident_bytes
from bench.targets import open_target
from bench.targets.base import FINE
from bench.wire.http1 import Http1Line
from bench.wire.line import Reply
from bench.workload import Workload

USERS = 64
GAP_NS = 100_000  # between replies, at the mean
DRAIN_S = 0.3
_BLOCK = 5000  # records that are added between two looks at the clock
_CYCLE = 1_000_003  # latencies that are drawn; then they come round again
_START_NS = 10**12


class Memory(NamedTuple):
    """What the process had when so many records had been added, in bytes; `pss` is its own share of what it shares."""

    records: int
    rss: int
    pss: int


def workload(records: int) -> Workload:
    """The load that so many records are of."""
    document: dict[str, Any] = {
        "name": "long-run",
        "model": {"name": "identity"},
        "payload": {"distinct": 32, "inputs": {"x": {"datatype": "FP32", "shape": [16]}}},
        "load": {"arrivals": "closed", "users": USERS},
        "warmup": "1s",
        "duration": f"{max(1, records * GAP_NS // 10**9 - 1)}s",
    }
    return workloads.from_builtins(document, "the long run")


def record(folder: Path, records: int, rate_hz: float) -> Iterator[Memory]:
    """Record so many requests, at most `rate_hz` of them a second, and leave the run in `folder`."""
    made = workload(records)
    recorder, writer = Recorder(_pool(made)), RecordWriter(folder / "requests-0.arrows")
    writer.write(np.empty(0, RECORD))
    gc.collect()
    gc.freeze()
    gc.disable()
    thread = threading.Thread(target=_add, args=(recorder, records, rate_hz))
    thread.start()
    while thread.is_alive():
        time.sleep(DRAIN_S)
        recorder.drain(writer)
        yield Memory(recorder.done, resident_bytes(os.getpid()), _pss())
    recorder.drain(writer)
    writer.close()
    recorder.keep(folder / "answers.arrow")
    _write_run(folder, made)


def _pool(made: Workload) -> Pool:
    target = open_target(words.parse("triton-http://127.0.0.1:1"), made)  # which nobody asks
    requests = payloads.make(made)
    answers = {n: {"y": tensors["x"]} for n, tensors in enumerate(requests) if isinstance(tensors, dict)}
    return Pool([Member(made, target, requests, Reference(made.check, answers))])


def _add(recorder: Recorder, records: int, rate_hz: float) -> None:
    """What the engine's thread does when replies come."""
    replies, rng = _replies(), np.random.default_rng(1)
    latencies = array("q", (USERS * GAP_NS * rng.lognormal(-0.02, 0.2, _CYCLE)).astype(np.int64).tobytes())
    gaps = array("q", rng.exponential(GAP_NS, _CYCLE).astype(np.int64).tobytes())
    begin, end = time.perf_counter(), _START_NS
    for number in range(records):
        end += gaps[number % _CYCLE]
        intended, payload = end - latencies[number % _CYCLE], number % len(replies)
        recorder.add(number, payload, (intended, intended + 20_000, end), 200, FINE, replies[payload])
        if number % _BLOCK == 0:
            recorder.hand_over()
            time.sleep(max(0.0, begin + number / rate_hz - time.perf_counter()))
    recorder.hand_over()


def _replies() -> list[Reply]:
    """A whole reply to each distinct request."""
    found = []
    for tensors in payloads.make(workload(1)):
        assert isinstance(tensors, dict)
        output = {"name": "y", "datatype": "FP32", "shape": [16], "parameters": {"binary_data_size": 64}}
        text = json.dumps({"id": "0" * 16, "model_name": "identity", "model_version": "1", "outputs": [output]}).encode()
        head = f"HTTP/1.1 200 OK\r\nInference-Header-Content-Length: {len(text)}\r\nContent-Length: {len(text) + 64}\r\n\r\n"
        reply = Http1Line().feed(head.encode() + text + tensors["x"].tobytes())
        assert reply is not None
        found.append(reply)
    return found


def _write_run(folder: Path, made: Workload) -> None:
    window = _START_NS + made.warmup_ns, _START_NS + made.warmup_ns + made.duration_ns
    store.write_json(
        folder / "run.json",
        {
            "schema_version": store.SCHEMA_VERSION, "id": folder.name, "status": "complete", "created": "", "clock": {},
            "workload": workloads.to_builtins(made), "target": {"word": "triton-http://127.0.0.1:1"}, "environment": {},
            "window_ns": window, "load": {},
        },
    )  # fmt: skip


def _pss() -> int:
    for line in Path("/proc/self/smaps_rollup").read_text(encoding="ascii").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def main() -> None:
    folder, records, rate_hz = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    for memory in record(folder, records, rate_hz):
        print(json.dumps(memory), flush=True)


if __name__ == "__main__":
    main()
