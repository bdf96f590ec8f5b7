"""The one place that reads a clock."""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Monotonic nanoseconds for measuring, wall time for naming."""

    def now_ns(self) -> int: ...
    def wall(self) -> datetime: ...
    def sleep_until(self, t_ns: int) -> None: ...


class SystemClock:
    """CLOCK_MONOTONIC, which is also the clock of Triton's traces."""

    def now_ns(self) -> int:
        return time.perf_counter_ns()

    def wall(self) -> datetime:
        return datetime.now(UTC)

    def sleep_until(self, t_ns: int) -> None:
        while (left := t_ns - time.perf_counter_ns()) > 0:
            time.sleep(left / 1e9)
