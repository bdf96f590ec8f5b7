"""Locust's worker: joins a master, whose word starts and stops the users in this process's engine."""

from collections.abc import Callable
from typing import Any, TypeVar

import gevent
from locust import runners
from locust.exception import RPCError

from bench.errors import RunError
from bench.load.locust.master import KIND
from bench.load.locust.seats import Engine, seating

runners.CONNECT_TIMEOUT, runners.CONNECT_RETRY_COUNT = 2, 4  # s, and how often again
runners.MASTER_HEARTBEAT_TIMEOUT = 20  # s of silence after which the master counts as gone

Result = TypeVar("Result")


class Member:
    """Locust's side of one worker; `heard` gets what the master says of ours."""

    def __init__(self, host: str, port: int, heard: Callable[[str, dict[str, Any]], None], stopped: Callable[[], bool]) -> None:
        """Join the master at `host` and `port`, unless `stopped` meanwhile; RunError where none answers."""
        self._environment = seating()
        self.spawned = False
        self._environment.events.spawning_complete.add_listener(self._spawned)  # type: ignore[no-untyped-call]
        joining = gevent.spawn(self._join, host, port)
        while not joining.ready() and not stopped():
            gevent.sleep(0.02)
        if joining.value is None:
            raise RunError(f"no master of a load answers at {host}:{port}")
        self._runner: Any = joining.value
        self._runner.register_message(KIND, lambda environment, msg: heard(*msg.data))

    def _join(self, host: str, port: int) -> Any:
        try:
            return self._environment.create_worker_runner(host, port)
        except (ConnectionError, RPCError, OSError):
            return None

    def _spawned(self, **_: Any) -> None:
        self.spawned = True

    def seat(self, engine: Engine) -> None:
        """The engine in which users will sit."""
        self._environment.engine = engine

    def send(self, kind: str, **what: Any) -> None:
        """Say something to the master; OSError where it is not to be reached."""
        try:
            self._runner.send_message(KIND, [kind, what])
        except RPCError as error:
            raise OSError(str(error)) from None

    def aside(self, work: Callable[[], Result]) -> Result:
        """Do `work` on another thread, while the master is told that this worker lives."""
        result: Result = gevent.get_hub().threadpool.apply(work)
        return result

    @property
    def dismissed(self) -> bool:
        """Whether the master has sent this worker home, or is gone."""
        return not self._runner.greenlet

    def pause(self, seconds: float) -> None:
        """Let messages come and go."""
        gevent.sleep(seconds)

    def over(self) -> None:
        """The load is over: users that stop now give nothing up."""
        self._environment.over.set()
