"""Stands by one process and sees to it that nothing of it outlives its owner. A program of its own: `python -I -S guardian.py`.

stdin: one line of JSON with the keys of `bench.servers.process.Order`, then orders of a line each: "kill". The end of stdin
means that the owner is gone, however it went. stdout: {"pid": N} or {"failed": reason}, then {"exit": status}.
"""

import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_STUBBORN_S = 10.0  # a process in uninterruptible sleep may take this long to die; the guardian does not wait for ever
_libc = ctypes.CDLL(None)


def main() -> int:
    """Start the process, wait until it or its owner is gone, leave nothing behind."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the owner's to answer
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)  # orphans of the process become children of this one and can be found
    wakeups = _wake_on(signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP)
    order = _read_order()
    if order is None:
        return 0  # the owner died before it had asked
    try:
        pid = _start(order)
    except OSError as error:
        _tell(failed=error.strerror or str(error))
        _remove(order)
        return 0
    if _watch(pid, wakeups):
        _end(pid, order["grace_s"])
    _kill_all(pid)
    _remove(order)
    return 0


def _wake_on(*numbers: signal.Signals) -> int:
    """A file descriptor that reads the numbers of these signals as they arrive."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    for number in numbers:
        signal.signal(number, lambda *_: None)
    return reader


def _read_order() -> dict[str, Any] | None:
    text = b""
    while not text.endswith(b"\n"):
        piece = os.read(0, 65536)
        if not piece:
            return None
        text += piece
    order: dict[str, Any] = json.loads(text)
    return order


def _tell(**message: Any) -> None:
    with suppress(OSError):  # the owner may be gone
        os.write(1, json.dumps(message).encode() + b"\n")


def _start(order: dict[str, Any]) -> int:
    """Start the process in a group of its own; it reads nothing and writes to the log."""
    guardian = os.getpid()

    def before_exec() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        _libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))  # the guardian itself may be killed
        if os.getppid() != guardian:
            os._exit(1)

    with open(order["log"], "ab", buffering=0) as log:
        child = subprocess.Popen(
            order["argv"],
            env=order["env"],
            cwd=order["cwd"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            process_group=0,
            preexec_fn=before_exec,
        )
    child.returncode = 0  # it is waited for here, with all the others, not by Popen
    _tell(pid=child.pid)
    return child.pid


def _watch(pid: int, wakeups: int) -> bool:
    """Wait until the process has ended (False), or until it is time to end it (True)."""
    while True:
        ready, _, _ = select.select([0, wakeups], [], [])
        if wakeups in ready and {signal.SIGTERM, signal.SIGHUP} & {*os.read(wakeups, 4096)}:
            return True
        if _reap(pid):
            return False
        if 0 in ready:
            said = os.read(0, 4096)
            if not said:
                return True
            if b"kill" in said:
                _signal_group(pid, signal.SIGKILL)


def _reap(pid: int) -> bool:
    """Bury every dead child; whether the process itself, whose end the owner is told, was among them."""
    found = False
    with suppress(ChildProcessError):
        while (dead := os.waitpid(-1, os.WNOHANG)) != (0, 0):
            if dead[0] == pid:
                found = True
                _tell(exit=os.waitstatus_to_exitcode(dead[1]))
    return found


def _end(pid: int, grace_s: float) -> None:
    """Ask the process to end and give it time. Only its root is asked: it knows how to end the others in order."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    _wait(lambda: _reap(pid), grace_s)


def _kill_all(pid: int) -> None:
    """Kill the process's group and whatever descends from this process: the orphan of a killed child is found the next time."""

    _signal_group(pid, signal.SIGKILL)

    def none_left() -> bool:
        _reap(pid)
        children = _children()
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        return not children

    _wait(none_left, _STUBBORN_S)


def _wait(done: Callable[[], bool], limit_s: float) -> None:
    deadline = time.monotonic() + limit_s
    while not done() and time.monotonic() < deadline:
        time.sleep(0.01)


def _signal_group(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _children() -> list[int]:
    """The processes whose parent is this one."""
    mine, found = str(os.getpid()), []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # "pid (name) state ppid ...", and the name may hold anything
            if entry.read_text(errors="replace").rpartition(")")[2].split()[1] == mine:
                found.append(int(entry.parent.name))
    return found


def _remove(order: dict[str, Any]) -> None:
    """Run the clean-up commands, then remove what the process left in shared memory and its folders."""
    for command in order["cleanup"]:
        with suppress(OSError, subprocess.SubprocessError), open(order["log"], "ab") as log:
            subprocess.run(command, env=order["env"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, timeout=60, check=False)
    for prefix in order["shared_memory"]:
        for path in Path("/dev/shm").glob(f"{prefix}*"):
            with suppress(OSError):
                path.unlink()
    for folder in order["folders"]:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    raise SystemExit(main())
