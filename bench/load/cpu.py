"""How much of a core a thread took while the window was open."""

import time

from bench.load.phases import Phases


class CpuShare:
    """Looks at the calling thread's CPU now and then; `share` is of one core, from the first look within the window on."""

    def __init__(self) -> None:
        self.share = 0.0
        self._first: tuple[int, int] | None = None  # (time, this thread's CPU)

    def look(self, now: int, phases: Phases | None) -> None:
        """One look at the time `now`."""
        if phases is None or not phases.window_ns <= now < phases.end_ns:
            return
        if self._first is None:
            self._first = (now, time.thread_time_ns())
        elif now > self._first[0]:
            self.share = (time.thread_time_ns() - self._first[1]) / (now - self._first[0])
