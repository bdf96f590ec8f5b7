"""The guardian, with real processes."""

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from bench.errors import RunError
from bench.servers.process import Guarded, Order

Eventually = Callable[[Callable[[], bool]], bool]
Alive = Callable[[int], bool]

# a process with a child in its group and one that left it; none of the three minds SIGTERM
FAMILY = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
sleep = [sys.executable, "-c", "import time; time.sleep(1000)"]
children = [subprocess.Popen(sleep), subprocess.Popen(sleep, start_new_session=True)]
open("pids.new", "w").write(" ".join(str(pid) for pid in [os.getpid(), *[c.pid for c in children]]))
os.rename("pids.new", "pids")
time.sleep(1000)
"""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Guarded]]:
    """Starts a Python script under a guardian."""
    started: list[Guarded] = []

    def run(script: str, **order: object) -> Guarded:
        argv = [sys.executable, "-c", script]
        started.append(Guarded(Order(argv, str(tmp_path / "log"), cwd=str(tmp_path), **order)))  # type: ignore[arg-type]
        return started[-1]

    yield run
    for process in started:
        process.stop()


@pytest.fixture
def region() -> Iterator[str]:
    """The prefix of two shared-memory regions."""
    prefix = f"benchtest{os.getpid()}"
    paths = [Path("/dev/shm", prefix + tail) for tail in ("", "_stub_1")]
    for path in paths:
        path.write_bytes(b"left behind")
    yield prefix
    for path in paths:
        path.unlink(missing_ok=True)


def pids_of(folder: Path) -> list[int]:
    return [int(pid) for pid in (folder / "pids").read_text().split()]


def test_stop_ends_the_process_its_children_and_those_that_left_its_group(
    start: Callable[..., Guarded], tmp_path: Path, eventually: Eventually, alive: Alive
) -> None:
    """Nothing that a server started outlives it, whatever it did to its process group."""
    process = start(FAMILY, grace_s=0.1)
    assert eventually((tmp_path / "pids").exists)
    pids = pids_of(tmp_path)
    assert all(map(alive, pids))
    process.stop()
    assert not any(map(alive, pids))
    assert process.exited() == -signal.SIGKILL


def test_stop_gives_a_process_time_to_end_in_order(
    start: Callable[..., Guarded], tmp_path: Path, eventually: Eventually
) -> None:
    """SIGTERM comes first, and what the process does then is waited for."""
    process = start(
        "import signal, sys, time\n"
        "def end(*_): time.sleep(0.3); open('ended', 'w'); sys.exit(7)\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "open('began', 'w')\n"
        "time.sleep(1000)"
    )
    assert eventually((tmp_path / "began").exists)
    process.stop()
    assert (tmp_path / "ended").exists()
    assert process.exited() == 7


def test_killing_the_owner_leaves_no_process_no_shared_memory_and_no_folder(
    owner: Callable[[str], object], tmp_path: Path, region: str, eventually: Eventually, alive: Alive
) -> None:
    """kill -9 of bench is no way around the guardian."""
    folder = tmp_path / "private"
    folder.mkdir()
    order = Order([sys.executable, "-c", FAMILY], str(tmp_path / "log"), cwd=str(tmp_path), grace_s=0.1)
    order.shared_memory.append(region)
    order.folders.append(str(folder))
    script = (
        "import json, time\n"
        "from bench.servers.process import Guarded, Order\n"
        f"process = Guarded(Order(**json.loads({json.dumps(asdict(order))!r})))\n"
        "time.sleep(1000)"
    )
    process = owner(script)
    assert eventually((tmp_path / "pids").exists)
    pids = pids_of(tmp_path)
    assert all(map(alive, pids))
    process.kill()  # type: ignore[attr-defined]
    assert eventually(lambda: not any(map(alive, pids)))
    assert eventually(lambda: not list(Path("/dev/shm").glob(f"{region}*")) and not folder.exists())


def test_ctrl_c_in_the_terminal_does_not_reach_what_is_guarded(
    owner: Callable[[str], object], tmp_path: Path, eventually: Eventually, alive: Alive
) -> None:
    """The owner decides when its servers end: a SIGINT to its process group leaves them alone."""
    script = (
        "import signal, sys\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "from bench.servers.process import Guarded, Order\n"
        f"process = Guarded(Order([sys.executable, '-c', {FAMILY!r}], 'log', cwd='.', grace_s=0.1))\n"
        "print('started', flush=True)\n"
        "sys.stdin.readline()\n"
        "print(process.exited(0.3), flush=True)"
    )
    process = owner(script)
    assert process.stdout.readline() == "started\n"  # type: ignore[attr-defined]
    os.killpg(process.pid, signal.SIGINT)  # type: ignore[attr-defined]
    process.stdin.write("\n")  # type: ignore[attr-defined]
    process.stdin.flush()  # type: ignore[attr-defined]
    assert process.stdout.readline() == "None\n"  # type: ignore[attr-defined]


def test_a_process_that_ends_by_itself_is_noticed_and_its_children_end_with_it(
    start: Callable[..., Guarded], tmp_path: Path, alive: Alive, region: str
) -> None:
    """A crashed server's helpers and shared memory go at once, not when bench ends."""
    script = FAMILY.replace("time.sleep(1000)\n", "os._exit(3)\n")
    process = start(script, shared_memory=[region])
    assert process.exited(20.0) == 3
    process.stop()
    assert not any(map(alive, pids_of(tmp_path)))
    assert not list(Path("/dev/shm").glob(f"{region}*"))


def test_kill_ends_the_whole_group_without_asking(
    start: Callable[..., Guarded], tmp_path: Path, eventually: Eventually, alive: Alive
) -> None:
    """A fault is a fault: no SIGTERM, no grace."""
    process = start(FAMILY, grace_s=1000.0)
    assert eventually((tmp_path / "pids").exists)
    process.kill()
    assert process.exited() == -signal.SIGKILL
    assert not any(map(alive, pids_of(tmp_path)))


def test_killing_the_guardian_kills_what_it_guards(
    start: Callable[..., Guarded], tmp_path: Path, eventually: Eventually, alive: Alive
) -> None:
    """The last guard is the kernel: the process dies with its guardian, and its owner hears of it."""
    process = start("import time; time.sleep(1000)")
    guardian = int(Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(guardian, signal.SIGKILL)
    assert eventually(lambda: not alive(process.pid))
    assert eventually(lambda: process.exited() == -signal.SIGKILL)


def test_sigterm_to_the_guardian_ends_what_it_guards_in_order(
    start: Callable[..., Guarded], tmp_path: Path, eventually: Eventually, alive: Alive
) -> None:
    """A machine that shuts down sends SIGTERM to everybody; nothing is left behind then either."""
    process = start(FAMILY, grace_s=0.1)
    assert eventually((tmp_path / "pids").exists)
    guardian = int(Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(guardian, signal.SIGTERM)
    assert eventually(lambda: not any(map(alive, pids_of(tmp_path))))


def test_a_program_that_does_not_exist_is_an_error_that_names_it(tmp_path: Path) -> None:
    """The owner hears why nothing started, and the folder made for it is removed."""
    folder = tmp_path / "private"
    folder.mkdir()
    with pytest.raises(RunError, match=r"cannot start /nowhere/tritonserver: No such file"):
        Guarded(Order(["/nowhere/tritonserver"], str(tmp_path / "log"), folders=[str(folder)]))
    assert not folder.exists()


def test_clean_up_commands_run_after_the_process_has_ended(start: Callable[..., Guarded], tmp_path: Path) -> None:
    """A container's removal is a command; it runs however the container's client ended."""
    trace = tmp_path / "trace"
    note = f"open({str(trace)!r}, 'a').write"
    process = start(f"{note}('ended,')", cleanup=[["/nowhere/docker"], [sys.executable, "-c", f"{note}('removed')"]])
    process.exited(20.0)
    process.stop()
    assert trace.read_text() == "ended,removed"


def test_what_the_process_writes_is_appended_to_the_log(start: Callable[..., Guarded], tmp_path: Path) -> None:
    """A log that has something in it keeps it."""
    (tmp_path / "log").write_text("before\n")
    process = start("import sys; print('out', flush=True); print('err', file=sys.stderr)")
    assert process.exited(20.0) == 0
    assert (tmp_path / "log").read_text() == "before\nout\nerr\n"


def test_a_second_stop_does_nothing(start: Callable[..., Guarded]) -> None:
    """Whoever cleans up need not know whether somebody did before."""
    process = start("import time; time.sleep(1000)")
    process.stop()
    process.stop()
    process.kill()
    assert process.exited() == -signal.SIGTERM
