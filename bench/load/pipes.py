"""A load process's end of the pipes to the command that started it: a plan and orders come in, news goes out."""

import json
import resource
import signal
import sys
import threading
from collections.abc import Callable

from bench.errors import BenchError, RunError

SWITCH_S = 0.0002  # how long Locust's side may hold the interpreter while the engine waits for it


class Orders:
    """What is said on stdin after the plan: "go", then "stop"; its end means stop too."""

    def __init__(self) -> None:
        self.go, self.stop = threading.Event(), threading.Event()
        threading.Thread(target=self._listen, daemon=True).start()

    def wait_for_go(self) -> bool:
        """Whether to go; False when told to stop instead."""
        while not self.go.wait(0.05):
            if self.stop.is_set():
                return False
        return True

    def _listen(self) -> None:
        for line in sys.stdin:
            if line.strip() == "go":
                self.go.set()
            else:
                break
        self.stop.set()


def tell(**news: object) -> None:
    """Say one thing on stdout: its kind, and what there is to say."""
    try:
        print(json.dumps(news), flush=True)
    except BrokenPipeError:  # the command is gone; what is measured is written all the same
        sys.stdout = open("/dev/null", "w")  # noqa: SIM115


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
