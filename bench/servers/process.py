"""A process under a guardian: what the guardian is told, and how its owner hears of the process."""

import contextlib
import json
import os
import re
import select
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from bench.errors import RunError

GUARDIAN = Path(__file__).with_name("guardian.py")
_TAIL_LINES, _HEAD_LINES, _TAIL_WIDTH = 15, 3, 400
_NOTICE = re.compile(
    r'\s*$|[|+]|I\d{4} |  File "|    |Traceback |During handling '
)  # blank, of a table, "I1124 01:37:42.342460 ...", inside a traceback
_LOST = -9  # what is said of a process whose guardian was killed: the kernel kills it then


@dataclass(frozen=True, slots=True)
class Order:
    """What a guardian is told: the process to start, and what to remove once it has ended."""

    argv: list[str]
    log: str  # the process's output is appended there
    env: dict[str, str] = field(default_factory=lambda: dict(os.environ))
    cwd: str | None = None
    grace_s: float = 10.0  # between SIGTERM and SIGKILL
    shared_memory: list[str] = field(default_factory=list)  # prefixes of names in /dev/shm
    folders: list[str] = field(default_factory=list)
    cleanup: list[list[str]] = field(default_factory=list)  # commands


class Guarded:
    """A process that ends, with all that it started, when this object is stopped or this very process is gone."""

    def __init__(self, order: Order) -> None:
        argv = [sys.executable, "-I", "-S", str(GUARDIAN)]
        # a session of its own: the terminal's Ctrl-C and hang-up are not meant for it
        self._guardian = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, start_new_session=True
        )
        assert self._guardian.stdin is not None
        assert self._guardian.stdout is not None
        self._orders: IO[bytes] = self._guardian.stdin
        self._reports: IO[bytes] = self._guardian.stdout
        self._heard = b""
        self._exit: int | None = None
        try:
            self._order(json.dumps(asdict(order)).encode())
            first = self._hear(None)
            if first is None or "failed" in first:
                raise RunError(f"cannot start {order.argv[0]}: {first['failed'] if first else 'its guardian ended'}")
        except BaseException:
            self.stop()
            raise
        self.pid: int = first["pid"]

    def exited(self, wait_s: float = 0.0) -> int | None:
        """The exit status (minus the signal's number) once the process has ended; waits for that at most `wait_s`."""
        if self._exit is None:
            message = self._hear(wait_s)
            if message is not None:
                self._exit = message["exit"]
            elif self._guardian.poll() is not None:
                self._exit = _LOST
        return self._exit

    def kill(self) -> None:
        """SIGKILL to the whole group; returns when it is dead and what it left is removed."""
        self._order(b"kill")
        self.stop()

    def stop(self) -> None:
        """End the process and wait until its guardian has removed all that is left of it."""
        self._orders.close()
        self._guardian.wait()
        if not self._reports.closed:
            self.exited()
            self._reports.close()

    def _order(self, text: bytes) -> None:
        with contextlib.suppress(BrokenPipeError, ValueError):  # the guardian ended, or was asked to
            self._orders.write(text + b"\n")

    def _hear(self, wait_s: float | None) -> dict[str, Any] | None:
        """The guardian's next message; None where none came in time, or none will come."""
        while b"\n" not in self._heard:
            if self._reports.closed or not select.select([self._reports], [], [], wait_s)[0]:
                return None
            piece = os.read(self._reports.fileno(), 4096)
            if not piece:
                return None
            self._heard += piece
        line, _, self._heard = self._heard.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return message


def describe_exit(status: int) -> str:
    """How a process ended, in words."""
    return f"was ended by signal {-status}" if status < 0 else f"ended with exit status {status}"


def said(log: Path, begin: int = 0) -> str:
    """What stands in the log from byte `begin` on."""
    with log.open("rb") as file:
        file.seek(begin)
        return file.read().decode("utf-8", "replace")


def tail(log: Path, begin: int = 0) -> str:
    """What a log says of a failure, introduced, for the end of an error message: its first lines and its last ones.

    Triton's tables and notices are left out, and where in a traceback what happened: dozens of lines of them may follow, or
    precede, the line that matters.
    """
    lines = [line.rstrip()[:_TAIL_WIDTH] for line in said(log, begin).splitlines() if not _NOTICE.match(line)]
    if len(lines) > _TAIL_LINES:
        lines = [*lines[:_HEAD_LINES], "...", *lines[_HEAD_LINES - _TAIL_LINES :]]
    return f"; its log ({log}) says:\n  " + "\n  ".join(lines) if lines else f"; its log ({log}) says nothing"
