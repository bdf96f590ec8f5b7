"""What happens in a Locust process, event by event: what its users name is made ready, and its tests become runs."""

import inspect
import sys
from collections.abc import Callable
from typing import Any

import gevent

from bench import resources
from bench.errors import BenchError, RunError, UsageError
from bench.users.load_test import MESSAGE, LoadTest
from bench.users.prepared import Named, Prepared, prepare, warm_up
from bench.users.process import Kind, Process, log, workload

READY = "ready"  # what a worker tells that has prepared
LOOK_S = 0.05
EVENTS = ("test_start", "spawning_complete", "test_stopping", "test_stop", "quitting", "quit")


class Session:
    """Listens to the events of Locust that are called as its methods are."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._prepared: dict[Named, Prepared] = {}
        self._test: LoadTest | None = None
        self._ending: list[gevent.Greenlet] = []
        self._quitting = False
        self._ready_workers: set[str] = set()
        for name in EVENTS:
            getattr(process.environment.events, name).add_listener(getattr(self, name))
        if process.master:
            process.runner.register_message(MESSAGE, self._heard)

    def make_ready(self) -> None:
        """Prepare what can be before a test starts; what is wrong is told in one line, and ends Locust."""
        try:
            for kind in self._process.kinds():
                resources.load_workload(workload(kind))
                if self._process.headless or self._process.target(kind):
                    self._ready(kind)
        except UsageError as error:
            self._exit(error)
        except RunError as error:
            if self._process.headless:  # else there is time until somebody starts a test
                self._exit(error)
        if not self._process.master:
            warm_up()
        # as Locust does first of all when a test stops; what the first call looks up would hold up the last replies
        inspect.stack()
        # gevent counts from when it last looked at the clock: Locust's timer for -t would run out too early
        gevent.get_hub().loop.update_now()
        if self._process.worker:
            self._process.runner.send_message(MESSAGE, {"what": READY})
            if self._process.joining and self._test is None:  # it began before anybody listened
                self.test_start()
        elif self._process.master and self._process.headless:
            self._wait(lambda: len(self._ready_workers) >= self._process.options.expect_workers)

    # ------------------------------------------------------------ Locust's events

    def test_start(self, **_: Any) -> None:
        """Before the first user."""
        self._test = LoadTest(self._process, self._give_up)
        if self._process.master:
            self._wait(lambda: self._process.runner.clients.keys() <= self._ready_workers)
        try:
            for named in dict.fromkeys(map(self._ready, self._process.kinds())):
                self._test.open(named, self._prepared[named])
        except BenchError as error:
            if self._process.worker:
                self._test.lost(error)
            self._give_up(error)

    def spawning_complete(self, **_: Any) -> None:
        """After every change of their number."""
        if self._test is not None:
            self._test.users()

    def test_stopping(self, **_: Any) -> None:
        """Before the users are stopped."""
        if self._test is not None:
            self._test.stopping()

    def test_stop(self, **_: Any) -> None:
        """When they have stopped; a master tells its workers to only after this, and waits half a second for what they say."""
        test, self._test = self._test, None
        if test is None:
            return
        # where Locust knows of no end, Ctrl-C is the end that it asks for
        interrupted = self._quitting and self._process.has_end
        self._ending.append(gevent.spawn(self._end, test, interrupted, self._quitting))
        if not (self._process.master or self._process.worker):
            gevent.joinall(self._ending)

    def quitting(self, **_: Any) -> None:
        """Locust ends; where a test still runs, by Ctrl-C or a signal."""
        self._quitting = True

    def quit(self, exit_code: int = 0, **_: Any) -> None:
        """The last of all; Locust has made up its exit code, and hears here of what failed since."""
        gevent.joinall(self._ending)
        code = self._process.environment.process_exit_code
        if code and code != exit_code:
            sys.exit(code)

    # ------------------------------------------------------------

    def _end(self, test: LoadTest, interrupted: bool, quitting: bool) -> None:
        test.close(quitting if self._process.worker else interrupted)
        test.finish(interrupted, quitting)

    def _ready(self, kind: Kind) -> Named:
        """What a class names, prepared."""
        named = self._process.named(kind)
        if named not in self._prepared:
            self._prepared[named] = prepare(named, not self._process.master, log.info)
        return named

    def _exit(self, error: BenchError) -> None:
        if not (self._process.worker and self._process.forked):  # whose master says the same
            self._process.tell(error)
        sys.exit(error.exit_code)

    def _give_up(self, error: BenchError) -> None:
        """The test cannot begin, or not go on."""
        self._process.tell(error)
        runner = self._process.runner
        if runner is None:
            sys.exit(error.exit_code)
        gevent.spawn(runner.quit if self._process.headless else runner.stop)

    def _wait(self, ready: Callable[[], bool]) -> None:
        """Until the workers have prepared too: Locust takes them for ready when they are connected, and counts the time."""
        with gevent.Timeout(self._process.patience_s, False):
            while not ready():
                gevent.sleep(LOOK_S)

    def _heard(self, msg: Any, **_: Any) -> None:
        if msg.data["what"] == READY:
            self._ready_workers.add(msg.node_id)
        elif self._test is not None:
            self._test.hear(**msg.data)
