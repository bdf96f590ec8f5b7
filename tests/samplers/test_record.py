"""Recording from the command's side: begin, end, and everything that goes wrong between."""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from bench import samplers, store
from bench.errors import RunError

COMMAND = """
import signal, sys
from pathlib import Path
from bench import samplers
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts its background jobs with it ignored
with samplers.record(Path(sys.argv[1]), {}) as recording:
    print(recording.pid, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def _no_gpu(no_nvml: None) -> None:
    """The same on every machine, unless a test has a GPU of its own."""


def has_ended(pidfd: int) -> bool:
    """Whether the process ends, reaped or not, within a minute."""
    return bool(select.select([pidfd], [], [], 60)[0])


def test_a_recording_leaves_samples_of_the_host_and_of_the_processes_it_was_given(tmp_path: Path) -> None:
    """The devices are called as the caller called them, and the readings are in the folder when it is over."""
    with samplers.record(tmp_path, {"server": os.getppid(), "load": os.getpid()}, interval_ns=1_000_000) as recording:
        assert recording.sources == ["proc"]
    store.finish(tmp_path)
    assert set(pq.read_table(tmp_path / "samples.parquet")["device"].to_pylist()) == {"host", "server", "load"}
    assert recording.warnings == []
    assert recording.cpu_s > 0


def test_the_process_is_gone_when_the_recording_is_over(tmp_path: Path) -> None:
    """Also when what was measured failed; its error goes on."""
    with pytest.raises(ZeroDivisionError), samplers.record(tmp_path, {}) as recording:
        raise ZeroDivisionError
    with pytest.raises(ProcessLookupError):
        os.kill(recording.pid, 0)


def test_a_process_that_is_not_there_is_a_warning(tmp_path: Path) -> None:
    """A run without one series is better than none."""
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        pass
    with samplers.record(tmp_path, {"server": gone.pid}) as recording:
        assert recording.warnings == [f"server is not sampled: there is no process {gone.pid}"]


def test_a_sampler_that_cannot_start_is_an_error_of_the_run_with_its_reason(tmp_path: Path) -> None:
    """The one clear message of the process, not its exit status."""
    reason = r"sampler process could not start: .*samples\.arrows: cannot be written: No such"
    with pytest.raises(RunError, match=reason), samplers.record(tmp_path / "none", {}):
        pytest.fail("the body must not run")


def test_a_sampler_that_dies_costs_its_samples_and_not_the_run(tmp_path: Path) -> None:
    """The measured requests are worth keeping; that samples are missing is said."""
    with samplers.record(tmp_path, {}) as recording:
        os.kill(recording.pid, signal.SIGKILL)
    assert recording.warnings == [
        "the sampler process died before the run was over (exit status -9): samples after that are missing"
    ]


def test_what_went_wrong_while_recording_stands_in_its_warnings(tmp_path: Path, nvml: Callable[[str], None]) -> None:
    """A GPU that is lost in the middle is known to the command when the recording is over."""
    nvml("nvmlDeviceGetUtilizationRates=fail:15+1")
    with samplers.record(tmp_path, {}, interval_ns=1_000_000) as recording:
        assert (recording.sources, recording.warnings) == (["proc", "nvml"], [])
        stream = tmp_path / "samples.arrows"
        begun = stream.stat().st_size
        while stream.stat().st_size == begun and os.path.exists(f"/proc/{recording.pid}/fd/0"):
            time.sleep(0.01)
    assert recording.warnings == ["gpu0 was lost while sampled (GPU is lost): its series end here"]


def test_a_sampler_does_not_outlive_a_command_that_was_killed(tmp_path: Path) -> None:
    """kill -9 of the command closes the pipe, and nothing is left behind."""
    with subprocess.Popen([sys.executable, "-c", COMMAND, tmp_path], stdin=-1, stdout=-1, text=True) as command:
        assert command.stdout is not None
        pidfd = os.pidfd_open(int(command.stdout.readline()))
        command.kill()
        try:
            assert has_ended(pidfd)
        finally:
            os.close(pidfd)


def test_ctrl_c_stops_the_command_and_its_sampler_in_order(tmp_path: Path) -> None:
    """The terminal's SIGINT reaches both; the command ends the recording, and the sampler's file is whole."""
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND, tmp_path], stdin=-1, stdout=-1, stderr=-1, text=True, start_new_session=True
    ) as command:
        assert command.stdout is not None
        pidfd = os.pidfd_open(int(command.stdout.readline()))
        os.killpg(command.pid, signal.SIGINT)
        _, errors = command.communicate()
    assert has_ended(pidfd)
    os.close(pidfd)
    assert errors.strip().endswith("KeyboardInterrupt")
    store.finish(tmp_path)
    assert pq.read_table(tmp_path / "samples.parquet").num_rows > 0


def test_processes_on_a_gpu_are_told_apart_by_the_trees_that_are_sampled(tmp_path: Path, nvml: Callable[[str], None]) -> None:
    """Of three on the GPU one is the root that was given, one its child, and one nobody's."""
    with subprocess.Popen(["sh", "-c", "sleep 60 & echo $!; wait"], stdout=subprocess.PIPE, text=True) as root:
        assert root.stdout is not None
        child = int(root.stdout.readline())
        nvml(f"pids={root.pid}+{child}+1")
        with samplers.record(tmp_path, {"server": root.pid}):
            pass
        os.kill(child, signal.SIGKILL)
    store.finish(tmp_path)
    table = pq.read_table(tmp_path / "samples.parquet").to_pylist()
    counted = {row["metric"]: row["value"] for row in table if row["metric"].endswith("_processes")}
    assert counted == {"own_processes": 2, "foreign_processes": 1}


def test_a_kept_process_makes_one_recording_after_another(tmp_path: Path) -> None:
    """Each has its own folder and devices, all of it from its own time; nothing is sampled between two."""
    with samplers.Sampler() as sampler:
        pids, ends_ns = set(), [0]
        for name, roots in (("first", {"server": os.getpid()}), ("second", {"load": os.getpid()})):
            (tmp_path / name).mkdir()
            with sampler.record(tmp_path / name, roots, interval_ns=1_000_000) as recording:
                pids.add(recording.pid)
                begun = (tmp_path / name / "samples.arrows").stat().st_size
                while (tmp_path / name / "samples.arrows").stat().st_size == begun:
                    time.sleep(0.01)
            assert recording.ticks > 0
            store.finish(tmp_path / name)
            table = pq.read_table(tmp_path / name / "samples.parquet")
            assert set(table["device"].to_pylist()) == {"host", *roots}
            assert min(table["t_ns"].to_pylist()) > ends_ns[-1]
            ends_ns.append(max(table["t_ns"].to_pylist()))
    assert len(pids) == 1
    with pytest.raises(ProcessLookupError):
        os.kill(pids.pop(), 0)


def test_a_kept_process_that_died_costs_no_later_recording(tmp_path: Path) -> None:
    """Whether it died while it recorded or could not begin: the next recording has a fresh one, and no words of the old."""
    with samplers.Sampler() as sampler:
        with sampler.record(tmp_path, {}) as first:
            os.kill(first.pid, signal.SIGKILL)
        assert "exit status -9" in first.warnings[0]
        with pytest.raises(RunError, match="cannot be written"), sampler.record(tmp_path / "none", {}):
            pytest.fail("the body must not run")
        with sampler.record(tmp_path, {}) as killed:
            os.kill(killed.pid, signal.SIGKILL)
        assert "exit status -9" in killed.warnings[0]
        with sampler.record(tmp_path, {}) as last:
            pass
    assert last.warnings == []
    assert len({first.pid, killed.pid, last.pid}) == 3
