"""The engine for targets that are called: one native thread a user, and a pacer for schedules."""

import queue
import threading
import time
from collections.abc import Callable

from bench.arrivals import ClosedLoop
from bench.load.pacer import sleep_until, take_short_turns
from bench.load.phases import Phases
from bench.load.pool import Pool
from bench.load.recorder import Recorder
from bench.load.share import WHOLE, Share
from bench.record import AT_ONCE, OK, QUEUED, STATUS, TIMEOUT
from bench.targets.base import CallReply, Verdict
from bench.units import format_exact_duration
from bench.workload import Workload

GRACE_S = 2.0  # how long an interrupted run waits for what is under way
PATIENCE_NS = 100_000_000  # how long a thread that waits for its time goes without looking for an interruption


class CallEngine:
    """Calls the target from as many native threads as there are users."""

    def __init__(self, pool: Pool, workload: Workload, recorder: Recorder, share: Share = WHOLE) -> None:
        self._pool, self._workload, self._recorder, self._share = pool, workload, recorder, share
        self._closed_loop = isinstance(workload.load, ClosedLoop)
        self._streams = pool.streams
        self._threads: list[threading.Thread] = []
        self._numbers = share.numbers()
        self._lock = threading.Lock()  # one recorder, several threads
        self._begun, self._over = threading.Event(), threading.Event()
        self._due: queue.SimpleQueue[tuple[int, int, int] | None] = queue.SimpleQueue()  # (number, intended, waited)
        self._waiting = self._leaving = 0
        self.phases: Phases | None = None
        self.sent = self.unsent = self.late = self.reconnects = 0
        self.failure: BaseException | None = None
        self._stopped_s: float | None = None

    def open_seat(self) -> None:
        """One more user: one more thread."""
        thread = threading.Thread(target=self._user, args=(self._pool.caller(),), daemon=True)
        self._threads.append(thread)
        thread.start()

    def close_seat(self) -> None:
        """One user less, once a call has come back."""
        with self._lock:
            self._leaving += 1

    def ready(self) -> bool:
        """Whether every user's thread waits for the start."""
        return self._waiting == len(self._threads)

    def begin(self, phases: Phases) -> None:
        """Start sending at `phases.start_ns`."""
        self.phases = phases
        if not self._closed_loop:
            threading.Thread(target=self._pace, daemon=True).start()
        self._begun.set()

    def stop(self) -> None:
        """Send nothing more, wait a moment for what is under way, and finish."""
        self._stopped_s = time.monotonic()
        if self.phases is not None:
            self.phases.end_ns = min(self.phases.end_ns, time.perf_counter_ns())
        self._over.set()
        self._begun.set()

    @property
    def finished(self) -> bool:
        """Whether every user has ended, or was given up after an interruption; asking hands the rows over."""
        given_up = self._stopped_s is not None and time.monotonic() - self._stopped_s > GRACE_S
        # a call has a timeout of its own; a stream may go on for ever without falling silent
        given_up = given_up or (self._streams and self.phases is not None and time.perf_counter_ns() > self._limit_ns())
        ended = not any(thread.is_alive() for thread in self._threads)
        with self._lock:  # after the look at the threads, or the last rows of one that just ended would be missed
            self._recorder.hand_over()
        return given_up or ended

    def join(self) -> None:
        """Count what was never sent, or given up under way, once all users have ended."""
        while not self._due.empty():
            self.unsent += self._due.get() is not None
        self.unsent += self.sent - self._recorder.done

    def _user(self, call: Callable[[int, int], CallReply]) -> None:
        with self._lock:
            self._waiting += 1
        self._begun.wait()
        try:
            if self.phases is None:  # stopped before the start
                return
            if self._closed_loop:
                self._loop(call)
            else:
                self._serve(call)
        except BaseException as error:
            self.failure = error

    def _loop(self, call: Callable[[int, int], CallReply]) -> None:
        assert self.phases is not None
        self._sleep_until(self.phases.start_ns)
        while (now := time.perf_counter_ns()) < self.phases.end_ns and not self._leaves():
            self._request(call, self._next(), now)

    def _leaves(self) -> bool:
        """Whether this user goes."""
        with self._lock:
            leaves = self._leaving > 0
            self._leaving -= leaves
        return leaves

    def _serve(self, call: Callable[[int, int], CallReply]) -> None:
        assert self.phases is not None
        while (due := self._due.get()) is not None:
            if self._over.is_set() or time.perf_counter_ns() > self._limit_ns():
                with self._lock:
                    self.unsent += 1
                continue
            self._request(call, *due)
            with self._lock:
                self._waiting += 1

    def _limit_ns(self) -> int:
        assert self.phases is not None
        return self.phases.limit_ns(self._workload.timeout_ns, self._streams)

    def _pace(self) -> None:
        take_short_turns()
        assert self.phases is not None
        try:
            for number, offset in self._share.schedule(self._workload):
                intended = self.phases.start_ns + offset
                self._sleep_until(min(intended, self.phases.end_ns))
                if intended >= self.phases.end_ns or self._over.is_set():
                    break
                with self._lock:
                    busy = self._waiting <= 0
                    self.late += busy and intended >= self.phases.window_ns
                    self._waiting -= 1
                self._due.put((number, intended, QUEUED if busy else AT_ONCE))
        finally:
            for _ in self._threads:
                self._due.put(None)

    def _sleep_until(self, t_ns: int) -> None:
        while (now := time.perf_counter_ns()) < t_ns and not self._over.is_set():
            sleep_until(min(t_ns, now + PATIENCE_NS))

    def _next(self) -> int:
        with self._lock:
            return next(self._numbers)

    def _request(self, call: Callable[[int, int], CallReply], number: int, intended: int, waited: int = AT_ONCE) -> None:
        payload = self._pool.turns[number % len(self._pool.turns)]
        with self._lock:
            self.sent += 1
        start = time.perf_counter_ns()
        try:
            status, verdict, answer = call(payload, number)
        except Exception as problem:  # a request that fails is data
            status, verdict, answer = 0, Verdict(STATUS, f"{type(problem).__name__}: {str(problem)[:200]}"), None
        end = time.perf_counter_ns()
        # a stream watches its silences itself
        if verdict.error == OK and end - start > self._workload.timeout_ns and not self._streams:
            verdict = Verdict(TIMEOUT, f"no reply within {format_exact_duration(self._workload.timeout_ns)}")
        with self._lock:
            self._recorder.add(number, payload, (intended, start, end), status, verdict, answer, waited)
            assert self.phases is not None
            self.phases.replied(intended, end)
