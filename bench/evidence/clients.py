"""The clients whose cost is compared, each driving the same closed loop: bench, NVIDIA's tritonclient in it, perf_analyzer."""

import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from bench import runner
from bench.clock import SystemClock
from bench.endpoint import Endpoint
from bench.errors import RunError
from bench.evidence import meter, trivial
from bench.evidence.meter import Cost
from bench.evidence.trivial import Trivial
from bench.load.process import LocustLoad
from bench.record import OK, Run

MARGIN_S = 1.5  # a load goes on for longer than it is measured


class Case(NamedTuple):
    """What every client does in its turn."""

    protocol: str  # "http" or "grpc"
    connections: int
    floats: int  # of 4 bytes, in a request


class Costs(NamedTuple):
    """What a client cost, and of that the thread which sends and receives, where there is one."""

    cost: Cost
    engine_us: float | None = None


def bench(case: Case, server: Trivial, seconds: float, client: str) -> Costs:
    """bench's load process with its own client ("lean") or NVIDIA's ("tritonclient")."""
    word = server.word(case.protocol, client)
    workload = trivial.workload(case.connections, case.floats, meter.SETTLE_S + seconds + MARGIN_S)
    with tempfile.TemporaryDirectory(prefix="bench-cost-") as folder:
        watch = Watch(server, seconds)
        load, clock = LocustLoad(), SystemClock()
        run = runner.execute(
            workload, Endpoint(word, word, client), Path(folder), load=load, clock=clock, environment={}, sampler=watch
        )
    return Costs(watch.cost(), _engine_us(run) if client == "lean" else None)


class Watch:
    """A sampler that measures the cost of the load process."""

    def __init__(self, server: Trivial, seconds: float) -> None:
        self._server, self._seconds = server, seconds
        self._found: list[Cost | RunError] = []

    @contextmanager
    def __call__(self, folder: Path, pids: dict[str, int]) -> Iterator[None]:
        thread = threading.Thread(target=self._measure, args=(pids["load"],))
        thread.start()
        try:
            yield None
        finally:
            thread.join()

    def cost(self) -> Cost:
        """What was found. RunError."""
        found = self._found[0] if self._found else RunError("the load was over before anything was measured")
        if isinstance(found, RunError):
            raise found
        return found

    def _measure(self, pid: int) -> None:
        try:
            self._found.append(meter.measure(pid, self._server.answered, lambda: "", self._seconds))
        except RunError as error:
            self._found.append(error)


def _engine_us(run: Run) -> float:
    """CPU of the engine's thread for each reply in the window."""
    start, end = run.window_ns
    ends = run.records["end_ns"]
    replies = int(((ends > start) & (ends <= end)).sum())
    failed = int((run.records["error"] != OK).sum())
    if failed:
        raise RunError(f"{failed} of {len(run.records)} requests failed: {run.load.get('messages')}")
    return float(run.load["engine_cpu_s"]) / replies * 1e6


def perf_analyzer(program: str, case: Case, server: Trivial, seconds: float) -> Costs:
    """NVIDIA's perf_analyzer in one measurement window that is longer than it is watched for."""
    command = [
        program, "-m", trivial.MODEL, "-u", server.places[case.protocol], "-i", case.protocol, "--shape", f"x:{case.floats}",
        "--concurrency-range", str(case.connections), "-p", "600000", "-s", "999",
    ]  # fmt: skip
    with tempfile.TemporaryFile("w+", prefix="bench-peer-") as said, _running(command, said.fileno()) as process:

        def ended() -> str:
            if process.poll() is None:
                return ""
            said.seek(0)
            return f"{program} ended with {process.returncode}: {said.read()[-300:]}"

        return Costs(meter.measure(process.pid, server.answered, ended, seconds))


@contextmanager
def _running(command: list[str], said: int) -> "Iterator[subprocess.Popen[bytes]]":
    """A program in a process group of its own, which ends with the context."""
    try:
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT, start_new_session=True)
    except OSError as error:
        raise RunError(f"{command[0]}: {error.strerror}") from None
    with process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def clients(program: str | None) -> dict[str, Callable[[Case, Trivial, float], Costs]]:
    """By name, those that there are: perf_analyzer only where `program` is."""
    there: dict[str, Callable[[Case, Trivial, float], Costs]] = {
        "bench": lambda case, server, seconds: bench(case, server, seconds, "lean"),
        "tritonclient in bench": lambda case, server, seconds: bench(case, server, seconds, "tritonclient"),
    }
    if program is not None:
        there["perf_analyzer"] = lambda case, server, seconds: perf_analyzer(program, case, server, seconds)
    return there
