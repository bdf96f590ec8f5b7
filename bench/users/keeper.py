"""Keeps the run of one test: its folder, run.json, events and samples, from the start of the test to its end."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gevent
import gevent.event

from bench import samplers, store
from bench.book import Book
from bench.clock import SystemClock
from bench.errors import BenchError
from bench.headers import hide
from bench.load import Outcome
from bench.load.batches import Batches
from bench.load.identity import asked_again
from bench.users import remains
from bench.users.place import Place, machine
from bench.users.prepared import Prepared

RESULTS = Path("results")
LOOK_S = 0.1
PATIENCE_S = 15.0  # for a process that sends, beyond what its requests may take


class Keeper:
    """One run; `driver` says what makes the load, `pids` whose CPU is sampled. RunError where nothing can be kept."""

    def __init__(self, prepared: Prepared, driver: str, pids: dict[str, int]) -> None:
        workload, word, self._clock = prepared.workload, prepared.endpoint.word, SystemClock()
        self.folder = store.create(RESULTS, store.slug(f"{workload.name}-{word.kind}-locust"), self._clock)
        self._prepared, self._load = prepared, {"driver": driver}
        self._book = Book(self.folder, workload, prepared.endpoint, prepared.environment, self._clock, self._load)
        self._book.prepared(prepared.told)
        start_ns = self._clock.now_ns()
        self.place = Place(str(self.folder.absolute()), machine(), start_ns, start_ns + workload.warmup_ns)
        self._book.started(start_ns, self.place.window_ns)
        self._phases = self.place.phases()
        self._users = self._changed_ns = 0
        self.elsewhere: list[str] = []  # runs of other machines with parts of this load
        self.lost: list[str] = []  # processes that sent less than they were to
        self._over = gevent.event.Event()
        self._batches = Batches([_asked_aside(member.target) for member in prepared.pool.members])
        self._looking = [gevent.spawn(self._sample, pids), gevent.spawn(self._look)]

    def users(self, count: int) -> None:
        """So many users run now."""
        self._users, self._changed_ns = max(self._users, count), self._clock.now_ns()
        self._book.event("users", {"count": count})

    def stop(self, users: int) -> None:
        """The window is over, with so many users."""
        self._phases.end_ns = self._clock.now_ns()
        self._users = max(self._users, users)

    def finish(self, interrupted: bool, quitting: bool, stop_timeout_s: float) -> int:
        """Wait for the processes that sent, and make the run whole; the number of requests that were sent.

        `quitting`: somebody ended all of Locust, and not one of those processes alone.
        """
        self._over.set()
        gevent.joinall(self._looking)
        self._wait(stop_timeout_s)
        told, lost = remains.reports(self.folder, quitting)
        failures = [report["failure"] for report in told if report["failure"]]
        for failure in failures:
            self._book.event("failed", {"message": failure})
        interrupted = interrupted or bool(failures)
        phases = self._phases
        window = phases.window_ns, max(phases.window_ns, phases.end_ns)
        self._load |= remains.details(told, (window[1] - window[0]) / 1e9) | self._found(lost)
        if not interrupted:
            self._load |= self._asked_again()
        self._book.finished(Outcome(window, interrupted, self._load), None)
        remains.keep_answers(self.folder)
        store.finish(self.folder)
        return int(self._load["sent"])

    def _asked_again(self) -> dict[str, Any]:
        """Who answered, and answers now; a refusal without the headers that it may repeat."""
        found, problem = asked_again(self._prepared.pool.target, self._prepared.facts[0]), "server_at_end_problem"
        if problem in found:
            found[problem] = hide(found[problem], self._prepared.endpoint.word.headers)
        return found

    def _wait(self, stop_timeout_s: float) -> None:
        timeout_ns, streams = self._prepared.workload.timeout_ns, self._prepared.pool.streams
        under_way_ns = self._phases.limit_ns(timeout_ns, streams) - self._clock.now_ns()
        with gevent.Timeout(stop_timeout_s + max(under_way_ns, 0) / 1e9 + PATIENCE_S, False):
            while remains.being_sent(self.folder):
                gevent.sleep(LOOK_S)

    def _found(self, lost: list[str]) -> dict[str, Any]:
        """What this process knows of the load."""
        pool, executed = self._prepared.pool, self._batches.executed()
        found = {
            "users": self._users,
            "steady": 0 < self._changed_ns <= self._phases.window_ns,
            "tolerance": pool.by_part([member.reference.tolerance for member in pool.members]),
        }
        batches = pool.by_part(executed) if any(executed) else {}
        told = {"workers_lost": self.lost + lost, "elsewhere": self.elsewhere, "batches": batches}
        return found | {key: value for key, value in told.items() if value}

    # ------------------------------------------------------------ while it lasts

    def _look(self) -> None:
        while not self._over.wait(LOOK_S):
            self._batches.look(self._clock.now_ns(), self._phases)

    def _sample(self, pids: dict[str, int]) -> None:
        try:
            with samplers.record(self.folder, pids) as recording:
                self._over.wait()
            self._book.sampled(recording)
        except BenchError as error:
            self._book.event("warning", {"source": "sampler", "message": str(error)})


def _asked_aside(target: Any) -> Any:
    """The same target's `batches`, asked on a thread: a call by gRPC would stop all users until it is answered."""
    ask = getattr(target, "batches", None)
    return target if ask is None else SimpleNamespace(batches=lambda: gevent.get_hub().threadpool.apply(ask))
