"""The measured requests of a run as columns: what succeeded, what failed, and the times between two moments."""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from bench import mix
from bench.record import ERRORS, NOT_COMPARED, OK, Run
from bench.workload import Workload


@dataclass(frozen=True, slots=True)
class Measured:
    """The records of a run whose intended send lies in its window; they are pointed to, because a copy of 10 M takes 0.5 GB.

    Of a part of a mix they are that part's alone.
    """

    run: Run
    workload: Workload  # the run's, or the part's
    requests: int  # failed ones included
    errors: dict[str, int]  # kind -> count, only those that happened
    compared: int  # replies compared with the reference answers
    started: int  # sends begun before the window ended
    good: np.ndarray  # which records succeeded: bool [n], or int64 indices where records are not in the order of completion
    of: np.ndarray | None = None  # which records are the part's, bool [n]; None: all
    parts: tuple["Measured", ...] = ()  # of a mix, each of its parts

    @property
    def successes(self) -> int:
        return self.requests - sum(self.errors.values())

    @property
    def error_rate(self) -> float:
        return sum(self.errors.values()) / self.requests if self.requests else 0.0

    @property
    def window_s(self) -> float:
        start, end = self.run.window_ns
        return max(end - start, 0) / 1e9

    def latency_ns(self) -> np.ndarray:
        """end - intended of the successes, int64 in the order of completion."""
        return self._between("intended_ns", "end_ns")

    def service_ns(self) -> np.ndarray:
        """end - start of the successes."""
        return self._between("start_ns", "end_ns")

    def lag_ns(self) -> np.ndarray:
        """start - intended of the successes."""
        return self._between("intended_ns", "start_ns")

    def waited(self) -> np.ndarray:
        """What the sends of the successes had to wait for: AT_ONCE, QUEUED or CONNECTING."""
        return np.asarray(self.run.records["waited"][self.good])

    def completed_ns(self) -> np.ndarray:
        """When successful replies came, those that came within the window, whenever they were sent: int64 ascending."""
        start, end = self.run.window_ns
        records = self.run.records
        ends = records["end_ns"]
        # the end belongs to the window: where requests are counted it is the moment of the last reply
        inside = (ends > start) & (ends <= end) & (records["error"] == OK)
        found = ends[inside if self.of is None else inside & self.of]
        found.sort()
        return np.asarray(found)

    def _between(self, earlier: str, later: str) -> np.ndarray:
        times = self.run.records[later][self.good]
        times -= self.run.records[earlier][self.good]
        return np.asarray(times)


def measure(run: Run) -> Measured:
    """The measured requests of `run`, and of a mix those of each part."""
    start, end = run.window_ns
    intended, payload = run.records["intended_ns"], run.records["payload"]
    inside = (intended >= start) & (intended < end)
    whole = _measured(run, run.workload, inside)
    if not run.workload.mix:
        return whole
    rows = pairwise(mix.starts(run.workload))
    of = [(payload >= first) & (payload < after) for first, after in rows]
    parts = (_measured(run, part, inside & one, one) for part, one in zip(run.workload.parts, of, strict=True))
    return replace(whole, parts=tuple(parts))


def _measured(run: Run, workload: Workload, inside: np.ndarray, of: np.ndarray | None = None) -> Measured:
    records, end = run.records, run.window_ns[1]
    kinds = np.bincount(records["error"][inside], minlength=len(ERRORS))
    return Measured(
        run=run,
        workload=workload,
        requests=int(kinds.sum()),
        errors={ERRORS[kind]: int(kinds[kind]) for kind in np.flatnonzero(kinds) if kind != OK},
        compared=int(np.count_nonzero(inside & (records["check"] != NOT_COMPARED))),
        started=int(np.count_nonzero(inside & (records["start_ns"] < end))),
        good=_in_order(records["end_ns"], inside & (records["error"] == OK)),
        of=of,
    )


def _in_order(ends: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    if np.all(ends[1:] >= ends[:-1]):
        return wanted
    order = np.argsort(ends, kind="stable")
    return np.asarray(order[wanted[order]])
