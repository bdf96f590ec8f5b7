"""Records what the machine does while runs last: starts the sampler process, tells it when each begins and ends, ends it."""

import json
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Self

from bench.errors import RunError

# Below the shortest window over which NVML averages utilization (1/6 s), so that no window goes unseen.
INTERVAL_NS = 100_000_000
# The first call to NVML wakes every GPU of a machine without persistence mode, some seconds each.
READY_S = 60.0
STOP_S = 10.0


@dataclass(slots=True)
class Recording:
    """What the sampler process said of itself; `ticks`, `skipped` and `cpu_s` stand when the recording is over."""

    pid: int
    sources: list[str]  # "nvml" where there are GPUs, "proc"
    warnings: list[str] = field(default_factory=list)  # more may come while it records
    ticks: int = 0
    skipped: int = 0  # ticks the machine was too busy for
    cpu_s: float = 0.0  # what the sampling itself cost


@contextmanager
def record(folder: Path, pids: dict[str, int], interval_ns: int = INTERVAL_NS) -> Iterator[Recording]:
    """Sample GPUs, host and the process trees of `pids` (device name -> root) into folder/samples.arrows, in another process.

    RunError when sampling cannot begin. A sampler that dies later is a warning of the recording: what it wrote stands.
    """
    with Sampler() as sampler, sampler.record(folder, pids, interval_ns) as recording:
        yield recording


class Sampler:
    """A sampler process for one recording after another, until the context is left; one that died is replaced by the next."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()
        self._stderr.close()

    @contextmanager
    def record(self, folder: Path, pids: dict[str, int], interval_ns: int = INTERVAL_NS) -> Iterator[Recording]:
        """`bench.samplers.record`, by this process."""
        process = self._running()
        ready = self._begin(process, {"folder": str(folder.absolute()), "pids": pids, "interval_ns": interval_ns})
        if ready is None:
            raise RunError(f"the sampler process could not start: {self._last_words() or 'it said nothing'}")
        recording = Recording(process.pid, ready["sources"], ready["warnings"])
        try:
            yield recording
        finally:
            self._stop(process, recording)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is not None:
            self._end()
        if self._process is None:
            self._stderr.seek(0)
            self._stderr.truncate()
            # -P: a folder called bench where the user stands must not be taken for this package
            command = [sys.executable, "-P", "-m", "bench.samplers.process"]
            pipe = subprocess.PIPE
            self._process = subprocess.Popen(command, bufsize=0, stdin=pipe, stdout=pipe, stderr=self._stderr)
        return self._process

    def _begin(self, process: subprocess.Popen[bytes], request: dict[str, Any]) -> dict[str, Any] | None:
        """Hand over `request` and wait until all is ready; None when the process ended or kept silent instead."""
        _say(process, json.dumps(request))
        ready = _hear(process, READY_S)
        if ready is None:
            self._end()
        return ready

    def _stop(self, process: subprocess.Popen[bytes], recording: Recording) -> None:
        """Have the recording ended, and take down the process's last words on it."""
        _say(process, "end")
        while (message := _hear(process, STOP_S)) is not None and "warning" in message:
            recording.warnings.append(message["warning"])
        if message is not None:
            recording.ticks, recording.skipped, recording.cpu_s = message["ticks"], message["skipped"], message["cpu_s"]
            return
        status = self._end()
        why = self._last_words() or f"exit status {status}"
        recording.warnings.append(f"the sampler process died before the run was over ({why}): samples after that are missing")

    def _end(self) -> int:
        """Close the process's stdin, which ends it; its exit status."""
        process, self._process = self._process, None
        if process is None:
            return 0
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            pass
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
            process.stdout.close()
        return process.returncode

    def _last_words(self) -> str:
        """The last lines of what the process that has ended wrote to stderr."""
        self._stderr.seek(0)
        lines = self._stderr.read().decode(errors="replace").strip().splitlines()
        return "\n".join(lines[-5:])


def _say(process: subprocess.Popen[bytes], line: str) -> None:
    assert process.stdin is not None
    with suppress(BrokenPipeError):  # what it says last, or that it says nothing, tells why
        process.stdin.write(line.encode() + b"\n")


def _hear(process: subprocess.Popen[bytes], patience_s: float) -> dict[str, Any] | None:
    """The next that the process says; None when it has ended. One that keeps silent is killed."""
    assert process.stdout is not None
    readable, _, _ = select.select([process.stdout], [], [], patience_s)
    if not readable:
        process.kill()
    line = process.stdout.readline()
    return json.loads(line) if line else None
