"""When a load starts, measures and ends."""

from dataclasses import dataclass

from bench import traces
from bench.arrivals import ClosedLoop, Trace
from bench.workload import Workload

NEVER = 1 << 62


@dataclass(slots=True)
class Phases:
    """Warm-up, then the measured window, then the end, which a closed loop that counts requests finds when they are done."""

    start_ns: int
    window_ns: int  # where the window begins
    end_ns: int  # where it ends; NEVER while that is open
    requests: int | None  # replies that end the window of a closed loop
    replies: int = 0  # so far, to requests that were meant for the window

    @classmethod
    def of(cls, workload: Workload, start_ns: int) -> "Phases":
        """The phases of a load that starts at `start_ns`."""
        load, window_ns = workload.load, start_ns + workload.warmup_ns
        end_ns = NEVER if workload.requests else window_ns + workload.duration_ns
        if isinstance(load, ClosedLoop):
            return cls(start_ns, window_ns, end_ns, workload.requests)
        if isinstance(load, Trace) or workload.requests:
            end_ns = min(end_ns, start_ns + _last(workload))
        return cls(start_ns, window_ns, end_ns, None)

    def limit_ns(self, timeout_ns: int, streams: bool) -> int:
        """When what is still under way is given up: two timeouts after the end.

        Streams that come slowly without falling silent have as long again as the run.
        """
        patience = 2 * timeout_ns
        return self.end_ns + (max(patience, self.end_ns - self.start_ns) if streams else patience)

    def replied(self, intended_ns: int, now_ns: int) -> None:
        """A reply came at `now_ns` to a request that was meant for `intended_ns`."""
        if intended_ns >= self.window_ns:
            self.replies += 1
            if self.replies == self.requests:
                self.end_ns = min(self.end_ns, now_ns)


def _last(workload: Workload) -> int:
    """When (ns after the start) the schedule has made all the sends that are asked for, or has come to its end."""
    seen = offset = 0
    for offset in traces.offsets_ns(workload):
        seen += offset >= workload.warmup_ns
        if seen > (workload.requests or NEVER):
            return offset
    return offset + 1
