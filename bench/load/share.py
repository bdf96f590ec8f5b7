"""Which of a load's requests one load process sends, and the numbers that they have in the whole of it."""

from collections.abc import Iterator
from itertools import count, islice
from typing import NamedTuple

from bench import traces
from bench.workload import Workload


class Share(NamedTuple):
    """Worker `worker` of `workers`: every workers-th request of the one schedule that all of them have."""

    worker: int = 0
    workers: int = 1

    def schedule(self, workload: Workload) -> Iterator[tuple[int, int]]:
        """(number, ns after the start) of this worker's sends in an open loop; a number is an index in the whole schedule."""
        whole = enumerate(traces.offsets_ns(workload))
        return islice(whole, self.worker, None, self.workers)

    def numbers(self) -> Iterator[int]:
        """The numbers of this worker's sends in a closed loop, in the order in which they are sent."""
        return count(self.worker, self.workers)


WHOLE = Share()
