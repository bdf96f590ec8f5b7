"""The sampler process: requests on stdin, for each samples to disk at clock ticks until the next line, until stdin closes."""

import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from bench.clock import Clock, SystemClock
from bench.columns import SampleWriter
from bench.errors import BenchError
from bench.record import Sample
from bench.samplers import gpu, host

# How often what was read goes to disk: at most this much is lost to a kill -9.
BATCH_NS = 1_000_000_000


class Source(Protocol):
    """Something that can be read at every tick."""

    name: str
    warnings: list[str]  # what could not be read; grows while sampling

    def read(self) -> list[Sample]: ...


@dataclass(frozen=True, slots=True)
class Tally:
    """How the ticks went."""

    ticks: int
    skipped: int


def next_tick(now_ns: int, interval_ns: int) -> int:
    """The next multiple of `interval_ns` that is at least half of it away, so that no tick follows a late one at once."""
    return (now_ns + interval_ns // 2) // interval_ns * interval_ns + interval_ns


def sample(
    sources: list[Source], write: Callable[[list[Sample]], None], clock: Clock, ended: Callable[[int], bool], interval_ns: int
) -> Tally:
    """Read `sources` at every tick until `ended(t_ns)`, which waits until t_ns, says so; a batch a second goes to `write`."""
    batch: list[Sample] = []
    ticks = skipped = 0
    last_ns = now_ns = written_ns = clock.now_ns()
    while not ended(tick_ns := next_tick(now_ns, interval_ns)):
        skipped += (tick_ns - last_ns - 1) // interval_ns if ticks else 0
        for source in sources:
            batch += source.read()
        ticks, last_ns, now_ns = ticks + 1, tick_ns, clock.now_ns()
        if batch and now_ns - written_ns >= BATCH_NS:
            write(batch)
            batch, written_ns = [], now_ns
    if batch:
        write(batch)
    return Tally(ticks, skipped)


def main() -> int:
    """Sample as the requests on stdin say; see `bench.samplers.record`."""
    for end in (signal.SIGINT, signal.SIGTERM):
        signal.signal(end, signal.SIG_IGN)  # they reach the whole group; the command decides when sampling ends
    try:
        while (line := sys.stdin.buffer.readline()).endswith(b"\n"):  # else the command died before it had asked
            _record(json.loads(line), SystemClock())
    except BenchError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def _record(request: dict[str, Any], clock: Clock) -> None:
    writer = SampleWriter(Path(request["folder"]) / "samples.arrows")
    machine = host.Host(clock, request["pids"])
    gpus = gpu.Gpus(clock, machine.pids)
    sources: list[Source] = [machine]
    if gpus.devices:
        sources.append(gpus)
    first = [reading for source in sources for reading in source.read()]
    writer.write(first)  # before the run begins: the first write makes pyarrow load what it needs, 0.2 s of CPU
    warnings = [warning for source in (gpus, *sources) for warning in _taken(source)]
    _tell(ready=True, sources=[source.name for source in sources], warnings=warnings)

    def write(batch: list[Sample]) -> None:
        writer.write(batch)
        for source in sources:
            for warning in _taken(source):
                _tell(warning=warning)

    started_s = time.process_time()
    tally = sample(sources, write, clock, _told_before(clock), request["interval_ns"])
    writer.close()
    _tell(ended=True, ticks=tally.ticks, skipped=tally.skipped, cpu_s=time.process_time() - started_s)


def _taken(source: Source) -> list[str]:
    """The warnings of `source`, which then has none."""
    warnings, source.warnings = source.warnings, []
    return warnings


def _told_before(clock: Clock) -> Callable[[int], bool]:
    """A wait until a time, which is over early, and True, when stdin says something or closes."""

    def told(t_ns: int) -> bool:
        while (left_ns := t_ns - clock.now_ns()) > 0:
            readable, _, _ = select.select([sys.stdin], [], [], left_ns / 1e9)
            if readable:
                os.read(sys.stdin.fileno(), 4096)
                return True
        return False

    return told


def _tell(**message: Any) -> None:
    """One JSON line to the command; where that has died, stdin closes too and sampling ends of itself."""
    with suppress(BrokenPipeError):
        os.write(sys.stdout.fileno(), json.dumps(message).encode() + b"\n")


if __name__ == "__main__":
    sys.exit(main())
