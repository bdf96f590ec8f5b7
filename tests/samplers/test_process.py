"""The sampler process: its ticks, what it writes, and how it ends."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import store
from bench.record import Sample
from bench.samplers.process import Tally, next_tick, sample

intervals = st.integers(2, 10**10)
times = st.integers(0, 2**62)


@given(times, intervals)
def test_ticks_are_multiples_of_the_interval_so_they_never_drift(now_ns: int, interval_ns: int) -> None:
    """Ticks lie on absolute times, wherever between them the last reading ended."""
    assert next_tick(now_ns, interval_ns) % interval_ns == 0


@given(times, intervals)
def test_the_next_tick_is_near_but_never_at_once(now_ns: int, interval_ns: int) -> None:
    """Half an interval to one and a half: a late tick is not followed at once by another."""
    assert interval_ns // 2 <= next_tick(now_ns, interval_ns) - now_ns <= interval_ns + interval_ns // 2


class FakeSource:
    """A source whose readings take as long as the test says."""

    name = "fake"

    def __init__(self, clock: "FakeClock", takes_ns: list[int]) -> None:
        self.warnings: list[str] = []
        self.read_at: list[int] = []
        self._clock = clock
        self._takes_ns = takes_ns

    def read(self) -> list[Sample]:
        t_ns = self._clock.t_ns
        self.read_at.append(t_ns)
        self._clock.t_ns += self._takes_ns.pop(0)
        return [Sample(t_ns, "fake", "host", "n", float(len(self.read_at)))]


class FakeClock:
    """A clock that moves when it is slept by; it ends the sampling after `ends_ns`."""

    def __init__(self, ends_ns: int) -> None:
        self.t_ns = 0
        self._ends_ns = ends_ns

    def now_ns(self) -> int:
        return self.t_ns

    def wall(self) -> datetime:
        return datetime.fromtimestamp(0, UTC)

    def sleep_until(self, t_ns: int) -> None:
        self.t_ns = t_ns

    def ended(self, t_ns: int) -> bool:
        self.t_ns = max(self.t_ns, t_ns)
        return t_ns > self._ends_ns


def test_a_tick_that_is_missed_is_skipped_and_not_made_up_for() -> None:
    """A reading that takes 2.4 intervals costs two ticks; the next is on time, at least half an interval later."""
    clock = FakeClock(ends_ns=800)
    source = FakeSource(clock, [10, 240, 10, 10, 10, 10])
    tally = sample([source], lambda _: None, clock, clock.ended, interval_ns=100)
    assert source.read_at == [100, 200, 500, 600, 700, 800]
    assert tally == Tally(ticks=6, skipped=2)


def test_samples_are_written_about_once_a_second_and_the_rest_at_the_end() -> None:
    """A kill -9 costs a second of samples at most, and an orderly end costs none."""
    clock = FakeClock(ends_ns=2_800_000_000)
    source = FakeSource(clock, [0] * 7)
    batches: list[list[float]] = []
    sample([source], lambda b: batches.append([s.value for s in b]), clock, clock.ended, interval_ns=400_000_000)
    assert batches == [[1, 2, 3], [4, 5, 6], [7]]


# ---------------------------------------------------------------- the real process


@contextmanager
def running(folder: Path, interval_ns: int = 5_000_000, **pids: int) -> Iterator[subprocess.Popen[str]]:
    """The sampler process, with its request handed over."""
    command = [sys.executable, "-P", "-m", "bench.samplers.process"]
    with subprocess.Popen(command, stdin=-1, stdout=-1, stderr=-1, text=True) as process:
        assert process.stdin is not None
        print(json.dumps({"folder": str(folder), "pids": pids, "interval_ns": interval_ns}), file=process.stdin, flush=True)
        try:
            yield process
        finally:
            process.kill()


def told(process: subprocess.Popen[str]) -> dict[str, Any]:
    """The next message of the process."""
    assert process.stdout is not None
    message: dict[str, Any] = json.loads(process.stdout.readline())
    return message


def stored(folder: Path) -> list[dict[str, Any]]:
    """The samples on disk, from what may be a stream that was cut off."""
    store.finish(folder)
    rows: list[dict[str, Any]] = pq.read_table(folder / "samples.parquet").to_pylist()
    return rows


def test_mean_and_peak_of_a_scripted_gpu_come_out_exactly_on_disk(tmp_path: Path, nvml: Callable[[str], None]) -> None:
    """From the driver's library to the file: twelve readings of a wave with mean 50 and peak 100, then the GPU is lost."""
    nvml("utilization=0,25,100,75 power_mw=300000 nvmlDeviceGetUtilizationRates=fail:15+12")
    with running(tmp_path) as process:
        assert told(process) == {"ready": True, "sources": ["proc", "nvml"], "warnings": []}
        assert told(process) == {"warning": "gpu0 was lost while sampled (GPU is lost): its series end here"}
        process.communicate(timeout=60)
    values = [row["value"] for row in stored(tmp_path) if (row["device"], row["metric"]) == ("gpu0", "utilization")]
    assert values == [0, 25, 100, 75] * 3
    assert (sum(values) / len(values), max(values)) == (50, 100)


def test_it_says_what_it_samples_and_ends_when_stdin_closes(tmp_path: Path, no_nvml: None) -> None:
    """However the command died, its end of the pipe closes; then the process writes the rest and is gone."""
    with running(tmp_path, server=os.getpid()) as process:
        assert told(process) == {"ready": True, "sources": ["proc"], "warnings": []}
        said, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    assert json.loads(said).keys() == {"ended", "ticks", "skipped", "cpu_s"}
    assert {row["device"] for row in stored(tmp_path)} == {"host", "server"}


def test_ctrl_c_does_not_end_it(tmp_path: Path, no_nvml: None) -> None:
    """The terminal sends SIGINT to the whole group, but sampling lasts until the command says so."""
    with running(tmp_path) as process:
        told(process)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 0


def test_what_was_written_stands_after_a_kill_9(tmp_path: Path, no_nvml: None) -> None:
    """The file of a sampler that was killed reads up to where it was written."""
    with running(tmp_path) as process:
        told(process)
        process.kill()
    assert {(row["source"], row["device"], row["metric"]) for row in stored(tmp_path)} == {("proc", "host", "memory_bytes")}


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, no_nvml: None) -> None:
    """The process ends with the reason, before it says that it is ready."""
    with running(tmp_path / "none") as process:
        said, errors = process.communicate(timeout=60)
    assert (process.returncode, said) == (3, "")
    assert errors == f"{tmp_path}/none/samples.arrows: cannot be written: No such file or directory\n"


@pytest.mark.parametrize("given_up", ["before the request", "in the middle of it"])
def test_a_command_that_dies_before_it_asked_leaves_no_process(given_up: str) -> None:
    """Without a request there is nothing to sample, and nothing to wait for."""
    command = [sys.executable, "-P", "-m", "bench.samplers.process"]
    request = "" if given_up == "before the request" else '{"folder": "'
    done = subprocess.run(command, input=request, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("", "")
