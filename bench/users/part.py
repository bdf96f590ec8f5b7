"""One process's part of a run: what its users sent, on the way to the disk."""

import os
import sys
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any
from weakref import WeakSet

import gevent
import gevent.event
import gevent.pool

from bench import store
from bench.columns import RecordWriter
from bench.errors import BenchError
from bench.headers import hide
from bench.load.calls import Call, Caller, Ended
from bench.load.cpu import CpuShare
from bench.load.engine import GRACE_NS
from bench.load.recorder import Recorder
from bench.record import ANSWER, ERRORS
from bench.users.place import Place
from bench.users.prepared import Prepared

DRAIN_S = 0.3
NUMBERS = 40  # bits of a request's number that count; those above are the worker's
SWITCH_S = 0.0002  # how long the thread that drains may hold the interpreter while users wait for it


class Part:
    """Numbers and records the calls of one test's users in this process.

    `wrong` hears of each answer that is found wrong afterwards, `failed` why nothing more can be written.
    """

    def __init__(
        self, prepared: Prepared, place: Place, worker: int, wrong: Callable[[str], None], failed: Callable[[str], None]
    ) -> None:
        self.prepared, self._folder, self._worker = prepared, Path(place.folder), worker
        self._wrong, self._failed = wrong, failed
        pool = prepared.pool
        self._turns, self._numbers = pool.turns, count(worker << NUMBERS)
        self._recorder = Recorder(pool, worker)
        self._writer = RecordWriter(self._folder / f"requests-{worker}.arrows", streamed=pool.streams)
        self._phases = place.phases()
        self._begun = self._told = self._reconnects = 0
        self._cpu = CpuShare()
        self._process_cpu: list[tuple[int, int]] = []  # (time, CPU so far), first and last within the window
        self._callers: WeakSet[Caller] = WeakSet()  # a user who is gone takes the connection along
        self._abandoned = gevent.pool.Group()  # calls that go on without their users
        self._failure = ""
        sys.setswitchinterval(min(sys.getswitchinterval(), SWITCH_S))
        self._over = gevent.event.Event()
        self._draining = gevent.spawn(self._drain_now_and_then)

    def caller(self) -> Caller:
        """A connection for one more user."""
        caller = Caller(self.prepared.pool, self.prepared.workload.timeout_ns, self._reconnected)
        self._callers.add(caller)
        return caller

    def begin(self, intended_ns: int) -> Call:
        """The next call."""
        number = next(self._numbers)
        self._begun += 1
        return Call(number, self._turns[number % len(self._turns)], intended_ns)

    def name(self, call: Call) -> str:
        """The workload of a call; of a mix, the part."""
        pool = self.prepared.pool
        return pool.members[pool.part[call.payload]].workload.name

    def hide(self, message: str) -> str:
        """`message` without the values of the headers, which a server may have said in its reply."""
        return hide(message, self.prepared.endpoint.word.headers)

    def end(self, call: Call, ended: Ended, told: bool) -> None:
        """Record a call; `told` says that Locust hears of an error in it."""
        times = (call.intended, call.start, ended.end)
        self._recorder.add(call.number, call.payload, times, ended.status, ended.verdict, ended.answer, call.waited)
        self._told += told

    def abandoned(self, call: Call, go_on: Callable[[], Any]) -> None:
        """Its user was stopped or looked away: what was sent is waited for all the same."""
        if call.start:
            self._abandoned.spawn(go_on)
        else:
            self._begun -= 1

    def stop(self) -> None:
        """The window is over."""
        self._phases.end_ns = time.perf_counter_ns()

    def close(self, interrupted: bool) -> None:
        """Wait for what is under way, in an interrupted test only for a moment; write it, and what there is to tell of it."""
        now, timeout_ns = time.perf_counter_ns(), self.prepared.workload.timeout_ns
        limit = now + GRACE_NS if interrupted else self._phases.limit_ns(timeout_ns, self.prepared.pool.streams)
        self._abandoned.join(max(limit - now, 0) / 1e9)
        self._abandoned.kill()
        for caller in self._callers:
            caller.close()
        self._over.set()
        self._draining.join()
        self._attempt(self._drain)
        self._attempt(self._keep_answers)
        store.write_json(self._folder / f"load-{self._worker}.json", self._report(interrupted))
        self._writer.close()  # after the report: who waits for the end of this stream finds it

    def _reconnected(self) -> None:
        self._reconnects += 1

    def _report(self, interrupted: bool) -> dict[str, Any]:
        recorder = self._recorder
        return {
            "worker": self._worker,
            "host": "",  # this one, as all that write to the folder
            "pid": os.getpid(),
            "sent": self._begun,
            "unsent": self._begun - recorder.done,
            "reconnects": self._reconnects,
            "cpu_share": self._cpu_share(),
            "engine_cpu_share": self._cpu.share,
            "messages": {ERRORS[code]: self.hide(message) for code, message in recorder.messages.items()},
            "tokens_counted": self.prepared.pool.counted(),
            "stopped": interrupted,
            "failure": self._failure,
        }

    def _cpu_share(self) -> float:
        if len(self._process_cpu) < 2:
            return 0.0
        (began, before), (ended, after) = self._process_cpu
        return (after - before) / (ended - began)

    # ------------------------------------------------------------ while it lasts

    def _drain_now_and_then(self) -> None:
        while not self._over.wait(DRAIN_S):
            self._look()
            self._attempt(self._drain)

    def _attempt(self, write: Callable[[], None]) -> None:
        """To write; the first time that it fails ends the test."""
        try:
            write()
        except (BenchError, OSError) as error:
            if not self._failure:
                self._failure = f"what is measured cannot be written: {error}"
                self._failed(self._failure)

    def _keep_answers(self) -> None:
        self._recorder.keep(self._folder / f"answers-{self._worker}.arrow")

    def _drain(self) -> None:
        # on a thread: to compare answers with the reference takes long, and all users would have to wait
        self._recorder.hand_over()
        gevent.get_hub().threadpool.apply(self._recorder.drain, (self._writer,))
        for _ in range(self._recorder.errors - self._told):
            self._told += 1
            self._wrong(self.hide(self._recorder.messages.get(ANSWER, "found when the reply was looked at")))

    def _look(self) -> None:
        """At the CPU that this process and the thread of its users took so far within the window."""
        now, phases = time.perf_counter_ns(), self._phases
        self._cpu.look(now, phases)
        if phases.window_ns <= now < phases.end_ns:
            self._process_cpu = [*self._process_cpu[:1], (now, time.process_time_ns())]
