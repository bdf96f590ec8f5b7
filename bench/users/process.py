"""What one Locust process is, and what its classes of users name."""

import logging
import os
from typing import Any

import locust
from locust.env import Environment
from locust.runners import STATE_RUNNING, STATE_SPAWNING, MasterRunner, WorkerRunner

from bench import headers, resources
from bench.errors import BenchError, UsageError
from bench.headers import Header
from bench.users.prepared import Named
from bench.users.target_user import TargetUser

Kind = type[TargetUser]
PATIENCE_S = 60.0

log = logging.getLogger("bench.locustfile")


class Process:
    """Locust's environment and runner, and what bench wants to know of them."""

    def __init__(self, environment: Environment, runner: Any) -> None:
        self.environment, self.runner = environment, runner
        self.options: Any = environment.parsed_options
        self.master, self.worker = isinstance(runner, MasterRunner), isinstance(runner, WorkerRunner)
        self.headless = bool(getattr(self.options, "headless", False))
        self.forked = bool(getattr(self.options, "processes", None))  # of a master that forked its workers, and of those

    @property
    def driver(self) -> str:
        """What makes the load."""
        return f"{self.environment.locustfile or 'a Locust file'} (Locust {locust.__version__})"

    @property
    def index(self) -> int:
        """Which of a master's workers this is; 0 where there are none."""
        return max(getattr(self.runner, "worker_index", 0), 0)

    @property
    def joining(self) -> bool:
        """Whether this is a worker whose users its master has started already."""
        return self.worker and self.runner.worker_state in (STATE_SPAWNING, STATE_RUNNING)

    @property
    def patience_s(self) -> float:
        """How long a master waits for its workers to prepare."""
        return float(getattr(self.options, "expect_workers_max_wait", 0) or PATIENCE_S)

    @property
    def pids(self) -> dict[str, int]:
        """The root of the processes that send, where they have one."""
        return {"load": os.getpid()} if self.forked or not self.master else {}

    @property
    def has_end(self) -> bool:
        """Whether a test goes on until something else than Ctrl-C ends it."""
        return bool(getattr(self.options, "run_time", None) or self.environment.shape_class or not self.headless)

    def kinds(self) -> list[Kind]:
        """The classes of users that are ours."""
        return [kind for kind in self.environment.user_classes if issubclass(kind, TargetUser)]

    def named(self, kind: Kind) -> Named:
        """What a class names; UsageError where that is too little."""
        if not (target := self.target(kind)):
            raise UsageError(
                f"class {kind.__name__}: target: missing, and needed: in the class, or by --host, "
                "a URL such as triton-http://127.0.0.1:8000"
            )
        return Named(workload(kind), target, headers_of(kind))

    def target(self, kind: Kind) -> str:
        """Where the users of a class send to; "" while nobody has said."""
        return kind.target or self.environment.host or kind.host or ""

    def names(self, named: Named) -> list[str]:
        """Those of the classes that name this: between processes they stand for it, whose headers no message may have."""
        return [kind.__name__ for kind in self.kinds() if self.target(kind) and self.named(kind) == named]

    def users(self, named: Named) -> int:
        """How many users that send this workload there were asked for last."""
        counts = self.runner.target_user_classes_count
        return sum(counts.get(name, 0) for name in self.names(named))

    def tell(self, error: BenchError) -> None:
        """Log what went wrong; where nobody looks on, Locust's exit code tells of it too."""
        log.error(self.hide(str(error)))
        if self.headless:
            self.environment.process_exit_code = error.exit_code

    def hide(self, text: str) -> str:
        """`text` without the values of all classes' headers, which a server may have said in its reply."""
        sent = (header.partition(":") for kind in self.kinds() for header in kind.headers)
        return headers.hide(text, [(name, value) for name, _, value in sent])


def headers_of(kind: Kind) -> tuple[Header, ...]:
    """The headers that a class's users send; UsageError where one is none."""
    try:
        return tuple(headers.parse(text) for text in kind.headers)
    except ValueError as error:
        raise UsageError(f"class {kind.__name__}: headers: {error}") from None


def workload(kind: Kind) -> str:
    """The name of a class's workload; UsageError where it has none."""
    if not kind.workload:
        raise UsageError(
            f"class {kind.__name__}: workload: missing, and needed: a name, or the path of a .toml file; "
            f"there are: {', '.join(resources.workload_names())}"
        )
    return kind.workload
