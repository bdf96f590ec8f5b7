"""Records what the machine does while a run lasts: starts the sampler process, and stops it when the run is over."""

import json
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

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
    with tempfile.TemporaryFile() as stderr:
        # -P: a folder called bench where the user stands must not be taken for this package
        command = [sys.executable, "-P", "-m", "bench.samplers.process"]
        process = subprocess.Popen(command, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr)
        try:
            ready = _begin(process, {"folder": str(folder.absolute()), "pids": pids, "interval_ns": interval_ns})
            if ready is None:
                raise RunError(f"the sampler process could not start: {_tail(stderr) or 'it said nothing'}")
            recording = Recording(process.pid, ready["sources"], ready["warnings"])
            try:
                yield recording
            finally:
                _end(process, recording, stderr)
        finally:
            if process.poll() is None:
                process.kill()
            process.communicate()


def _begin(process: subprocess.Popen[bytes], request: dict[str, Any]) -> dict[str, Any] | None:
    """Hand over `request` and wait for the ready line; None when the process ended or kept silent instead."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(json.dumps(request).encode() + b"\n")
    except BrokenPipeError:
        process.wait()
        return None
    readable, _, _ = select.select([process.stdout], [], [], READY_S)
    line = process.stdout.readline() if readable else b""
    if not line and readable:
        process.wait()
    return json.loads(line) if line else None


def _end(process: subprocess.Popen[bytes], recording: Recording, stderr: IO[bytes]) -> None:
    """Close the process's stdin, which ends it, and take down its last words."""
    try:
        said, _ = process.communicate(timeout=STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        said, _ = process.communicate()
    for line in said.splitlines():
        message = json.loads(line)
        if "warning" in message:
            recording.warnings.append(message["warning"])
        else:
            recording.ticks, recording.skipped, recording.cpu_s = message["ticks"], message["skipped"], message["cpu_s"]
    if process.returncode:
        why = _tail(stderr) or f"exit status {process.returncode}"
        recording.warnings.append(f"the sampler process died before the run was over ({why}): samples after that are missing")


def _tail(stderr: IO[bytes]) -> str:
    """The last lines of what the process wrote to stderr."""
    stderr.seek(0)
    lines = stderr.read().decode(errors="replace").strip().splitlines()
    return "\n".join(lines[-5:])
