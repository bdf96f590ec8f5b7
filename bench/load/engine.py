"""The engine: one native thread, one epoll over all connections, one timerfd as the pacer."""

import os
import threading
import time
from collections import deque
from collections.abc import Iterator

from bench.arrivals import ClosedLoop
from bench.load.connections import IN
from bench.load.cpu import CpuShare
from bench.load.pacer import Timer, take_short_turns
from bench.load.phases import NEVER, Phases
from bench.load.pool import Pool
from bench.load.recorder import Recorder
from bench.load.share import WHOLE, Share
from bench.load.traffic import Traffic
from bench.workload import Workload

SWEEP_NS = 50_000_000  # how often deadlines are looked at and rows handed over
GRACE_NS = 2 * 10**9  # how long an interrupted run waits for what is under way


class Engine:
    """Moves prepared requests over sockets. The public methods are for other threads, the rest is the engine's own."""

    def __init__(self, pool: Pool, workload: Workload, recorder: Recorder, share: Share = WHOLE) -> None:
        self._workload, self._recorder, self._share = workload, recorder, share
        self._closed_loop, self._streams = isinstance(workload.load, ClosedLoop), pool.streams
        self._traffic = Traffic(pool, workload, recorder, share)
        self._connections = self._traffic.connections
        self._tls = getattr(pool.target, "tls", None) is not None
        self._orders: deque[str] = deque()
        self._wanted = 0
        self._schedule: Iterator[tuple[int, int]] = iter(())
        self._number, self._next = 0, NEVER  # the schedule's next send
        self._swept = self._stop_ns = self._look_ns = 0
        self.unsent = 0
        self.cpu = CpuShare()
        self.finished = False
        self.failure: BaseException | None = None
        self._timer, self._bell = Timer(), os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._connections.watch(self._timer.fd, self._bell)
        self._thread = threading.Thread(target=self._main, name="engine", daemon=True)
        self._thread.start()

    @property
    def phases(self) -> Phases | None:
        """Those of the load; None before it begins."""
        return self._traffic.phases

    @property
    def sent(self) -> int:
        return self._traffic.sent

    @property
    def late(self) -> int:
        """Sends of the window that found no connection free."""
        return self._traffic.late

    @property
    def reconnects(self) -> int:
        return self._traffic.reconnects

    def open_seat(self) -> None:
        """One more user, one more connection."""
        self._wanted += 1
        self._order("open")

    def close_seat(self) -> None:
        """One user less, once a reply has come where all are waiting for one."""
        self._wanted -= 1
        self._order("close")

    def ready(self) -> bool:
        """Whether every user's connection stands, or was refused and waits for the start."""
        return len(self._traffic.idle) + len(self._connections.resting) >= self._wanted

    def begin(self, phases: Phases) -> None:
        """Start sending at `phases.start_ns`."""
        self._traffic.phases = phases
        self._order("begin")

    def stop(self) -> None:
        """Send nothing more, wait a moment for what is under way, and finish."""
        self._order("stop")

    def join(self) -> None:
        """Wait for the thread to end; nothing may be ordered after."""
        self._thread.join()
        if self._bell >= 0:  # not by the thread: an order may still be on its way when that ends
            os.close(self._bell)
            self._bell = -1

    def _order(self, what: str) -> None:
        self._orders.append(what)
        os.eventfd_write(self._bell, 1)

    # ------------------------------------------------------------ the thread

    def _main(self) -> None:
        if not self._closed_loop:  # which waits for replies, and is no better for seeing each sooner
            take_short_turns()
        try:
            poll, seats, timer, bell = self._connections.epoll.poll, self._connections.seats, self._timer.fd, self._bell
            receive, tls, over = self._traffic.receive, self._tls, False
            while not over:
                for fd, events in poll(0.05):
                    if (seat := seats.get(fd)) is not None:
                        if events == IN and seat.connected and not tls:  # nearly always
                            receive(seat)
                        else:
                            self._traffic.ready(seat, events)
                    elif fd == timer:
                        self._release()
                    elif fd == bell:
                        self._obey()
                now = time.perf_counter_ns()
                if now >= self._look_ns or self._connections.refused:
                    over = self._look(now)
        except BaseException as error:
            self.failure = error
        finally:
            self._finish()

    def _look(self, now: int) -> bool:
        """What need not be seen to after every reply; whether all is over."""
        if now - self._swept >= SWEEP_NS or self._connections.refused:
            self._sweep(now)
        self._look_ns = self._swept + SWEEP_NS
        if self.phases is not None:
            self._look_ns = min(self._look_ns, self.phases.end_ns)
        return self._over(now)

    def _obey(self) -> None:
        os.eventfd_read(self._bell)
        self._look_ns = 0
        while self._orders:
            match self._orders.popleft():
                case "open":
                    self._traffic.join()
                case "close":
                    self._traffic.leave()
                case "begin":
                    self._start()
                case "stop":
                    self._interrupt(time.perf_counter_ns())

    def _start(self) -> None:
        assert self.phases is not None
        self._next = self.phases.start_ns
        if not self._closed_loop:
            self._schedule = self._share.schedule(self._workload)
            self._advance()
        self._timer.arm(min(self._next, self.phases.end_ns))

    def _advance(self) -> None:
        """Take the schedule's next send; a schedule that has an end is over then."""
        assert self.phases is not None
        number, offset = next(self._schedule, (0, NEVER))
        self._number, self._next = number, self.phases.start_ns + offset

    def _interrupt(self, now: int) -> None:
        self._stop_ns = now + GRACE_NS
        if self.phases is None:
            self._stop_ns = now
        else:
            self.phases.end_ns = min(self.phases.end_ns, now)
        self.unsent += len(self._traffic.due)
        self._traffic.due.clear()

    def _over(self, now: int) -> bool:
        if self.phases is None:
            return bool(self._stop_ns)
        if now < self.phases.end_ns or (not self._closed_loop and self._next < self.phases.end_ns):
            return False
        under_way = bool(self._traffic.due) or self._connections.carrying()
        return not under_way or now >= (self._stop_ns or self.phases.limit_ns(self._workload.timeout_ns, self._streams))

    def _finish(self) -> None:
        now = time.perf_counter_ns()
        if self._streams and not self._stop_ns and self.failure is None:
            self._traffic.give_up(now)
        # a request that is given up after an interruption has no end that could be recorded
        self.unsent += len(self._traffic.due) + self._connections.carrying()
        self._recorder.hand_over()
        self._connections.close()
        self._timer.close()
        self.finished = True

    def _release(self) -> None:
        """The timer fired: a closed loop starts, or the schedule's sends that are due go out."""
        self._timer.clear()
        assert self.phases is not None
        if self._closed_loop:
            self._next = NEVER
            self._traffic.start()
            return
        while self._next < self.phases.end_ns and self._next <= (now := time.perf_counter_ns()):
            self._traffic.dispatch(self._number, self._next, now)
            self._advance()
        if self._next < self.phases.end_ns:
            self._timer.arm(self._next)

    def _sweep(self, now: int) -> None:
        self._swept = now
        self._traffic.sweep(now)
        self.cpu.look(now, self.phases)
        self._recorder.hand_over()
