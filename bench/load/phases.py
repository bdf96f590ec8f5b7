"""When a load starts, measures and ends."""

from dataclasses import dataclass

from bench import arrivals
from bench.arrivals import Closed
from bench.workload import Workload

NEVER = 1 << 62


@dataclass(slots=True)
class Phases:
    """Warm-up, then the measured window, then the end, which a closed loop that counts requests finds when they are done."""

    start_ns: int
    window_ns: int  # where the window begins
    end_ns: int  # where it ends; NEVER while that is open
    requests: int | None  # replies that end the window of a closed loop

    @classmethod
    def of(cls, workload: Workload, start_ns: int) -> "Phases":
        """The phases of a load that starts at `start_ns`."""
        window_ns = start_ns + workload.warmup_ns
        if workload.requests is None:
            return cls(start_ns, window_ns, window_ns + workload.duration_ns, None)
        if isinstance(workload.load, Closed):
            return cls(start_ns, window_ns, NEVER, workload.requests)
        seen = 0
        for offset in arrivals.offsets_ns(workload.load, workload.seed):
            if offset >= workload.warmup_ns:
                seen += 1
                if seen > workload.requests:
                    return cls(start_ns, window_ns, start_ns + offset, None)
        raise AssertionError("a schedule has no end")

    def limit_ns(self, timeout_ns: int, streams: bool) -> int:
        """When what is still under way is given up: two timeouts after the end.

        Streams that come slowly without falling silent have as long again as the run.
        """
        patience = 2 * timeout_ns
        return self.end_ns + (max(patience, self.end_ns - self.start_ns) if streams else patience)

    def replied(self, intended_ns: int, now_ns: int) -> None:
        """A reply came at `now_ns` to a request that was meant for `intended_ns`: count it where replies are counted."""
        if self.requests is not None and intended_ns >= self.window_ns:
            self.requests -= 1
            if self.requests == 0:
                self.end_ns = min(self.end_ns, now_ns)
