"""A load process's end of the pipes to the command that started it: plans and orders come in, news goes out."""

import json
import os
import queue
import resource
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from bench.errors import BenchError, RunError

SWITCH_S = 0.0002  # how long Locust's side may hold the interpreter while the engine waits for it


class Orders:
    """What is said on stdin: plans, one a line, "go" after each, "stop"; its end means stop too."""

    def __init__(self) -> None:
        self.go, self.stop = threading.Event(), threading.Event()
        self._plans: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()

    def next_plan(self) -> str | None:
        """The next plan, waited for without a look at the clock; None when told to stop."""
        return self._plans.get()

    def wait_for_go(self) -> bool:
        """Whether to go; False when told to stop instead."""
        while not self.go.wait(0.05):
            if self.stop.is_set():
                return False
        self.go.clear()  # the next plan waits for a word of its own
        return True

    def _listen(self) -> None:
        for line in sys.stdin:
            match line.strip():
                case "go":
                    self.go.set()
                case "stop":
                    break
                case plan:
                    self._plans.put(plan)
        self.stop.set()
        self._plans.put(None)


def tell(**news: object) -> None:
    """Say one thing on stdout: its kind, and what there is to say."""
    try:
        print(json.dumps(news), flush=True)
    except BrokenPipeError:  # the command is gone; what is measured is written all the same
        sys.stdout = open("/dev/null", "w")  # noqa: SIM115


def log_to(path: Path) -> None:
    """Have stderr end up in a file, whoever writes to it."""
    log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.dup2(log, 2)
    os.close(log)


def settle() -> None:
    """Make this process fit to carry a load."""
    for end in (signal.SIGINT, signal.SIGTERM):
        signal.signal(end, signal.SIG_IGN)  # what is sent to the whole group is for the command, which tells us
    sys.setswitchinterval(SWITCH_S)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def carry_out(work: Callable[[], None]) -> int:
    """Do `work`; a BenchError is told to the command, which raises it again. The exit code."""
    try:
        work()
    except BenchError as error:
        return _fail(error)
    except OSError as error:
        return _fail(RunError(f"the load process could not go on: {error}"))
    return 0


def _fail(error: BenchError) -> int:
    tell(error={"message": str(error), "exit_code": error.exit_code})
    return error.exit_code
