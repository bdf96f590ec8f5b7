"""The host and the process trees on it: CPU and memory, from /proc.

What the numbers mean:
- cpu_utilization: percent of the whole machine since the tick before; 100 is all its cores, whatever share of them a container
  may use. Of a process tree it comes from the kernel's nanosecond counters, not from the 10 ms ticks of /proc/PID/stat.
- memory_bytes: of the host, what cannot be had without swapping (total - available). Of a tree, the sum of its processes'
  resident sets: a page shared by two of them counts twice. PSS would not, but reading it walks the page tables of the measured
  server under its memory lock: milliseconds for each GB.
"""

import os
import time
from contextlib import suppress

import psutil

from bench.clock import Clock
from bench.record import Sample

_PAGE = os.sysconf("SC_PAGE_SIZE")
_CORES = os.cpu_count() or 1
# Children are listed by thread: of a server with 300 threads that costs 3 ms, too much for every tick.
LOOK_NS = 1_000_000_000


class Host:
    """The machine as device "host", and a device for each process tree."""

    name = "proc"

    def __init__(self, clock: Clock, pids: dict[str, int]) -> None:
        self.warnings: list[str] = []
        self._clock = clock
        self._trees = {device: Tree(pid) for device, pid in pids.items()}
        self._read_ns: dict[str, int] = {}  # when each device was last read
        self._looked_ns = clock.now_ns()
        for device, pid in pids.items():
            if not resident_bytes(pid):
                self.warnings.append(f"{device} is not sampled: there is no process {pid}")
        if not os.path.exists(f"/proc/self/task/{os.getpid()}/children"):
            self.warnings.append("this kernel does not list children (CONFIG_PROC_CHILDREN): only root processes are sampled")

    def read(self) -> list[Sample]:
        """One sample of each metric of the host and of each tree that is still there; the first reading has no CPU yet."""
        if self._clock.now_ns() - self._looked_ns >= LOOK_NS:
            self._looked_ns = self._clock.now_ns()
            for tree in self._trees.values():
                tree.look()
        t_ns = self._clock.now_ns()
        busy = psutil.cpu_percent()
        memory = psutil.virtual_memory()
        samples = [Sample(t_ns, self.name, "host", "memory_bytes", float(memory.total - memory.available))]
        if self._elapsed_ns("host", t_ns):
            samples.append(Sample(t_ns, self.name, "host", "cpu_utilization", busy))
        for device, tree in self._trees.items():
            samples += self._read_tree(device, tree)
        return samples

    def pids(self) -> set[int]:
        """The processes of all trees, as they were last seen."""
        return {pid for tree in self._trees.values() for pid in tree.pids}

    def _read_tree(self, device: str, tree: "Tree") -> list[Sample]:
        t_ns = self._clock.now_ns()
        spent_ns, resident = tree.read()
        if not resident:
            return []
        samples = [Sample(t_ns, self.name, device, "memory_bytes", float(resident))]
        if elapsed_ns := self._elapsed_ns(device, t_ns):
            samples.append(Sample(t_ns, self.name, device, "cpu_utilization", 100 * spent_ns / (elapsed_ns * _CORES)))
        return samples

    def _elapsed_ns(self, device: str, t_ns: int) -> int:
        """Time since the device was read before; 0 at first."""
        elapsed_ns = t_ns - self._read_ns.get(device, t_ns)
        self._read_ns[device] = t_ns
        return elapsed_ns


class Tree:
    """A process and all that descends from it, orphans included.

    A process counts from when it is first seen. One that ends takes along what it did since it was last read, a tick's worth at
    most: the sum never counts backwards.
    """

    def __init__(self, root: int) -> None:
        self._cpu_ns: dict[int, int | None] = {root: None}  # of each process, when it was last read
        self.look()

    @property
    def pids(self) -> set[int]:
        """The processes that are known and have not ended."""
        return set(self._cpu_ns)

    def look(self) -> None:
        """Find the processes that were started since the last look."""
        found = list(self._cpu_ns)
        while found:
            for pid in children(found.pop()):
                if pid not in self._cpu_ns and pid != os.getpid():  # which such a process may have started
                    self._cpu_ns[pid] = None
                    found.append(pid)

    def read(self) -> tuple[int, int]:
        """(CPU ns spent since the last reading, bytes resident); (0, 0) when no process of the tree is left."""
        spent = resident = 0
        for pid, before_ns in list(self._cpu_ns.items()):
            size = resident_bytes(pid)
            try:
                cpu_ns = cpu_time_ns(pid)
            except OSError:
                size = 0
            if not size:
                del self._cpu_ns[pid]
                continue
            if before_ns is not None:
                spent += cpu_ns - before_ns
            resident += size
            self._cpu_ns[pid] = cpu_ns
        return spent, resident


def cpu_time_ns(pid: int) -> int:
    """CPU time of all threads of a process, as clock_getcpuclockid(3) finds it; OSError when it is gone."""
    return time.clock_gettime_ns((~pid << 3) | 2)


def resident_bytes(pid: int) -> int:
    """The resident set of a process; 0 when it is gone, or a zombie."""
    try:
        return int(_content(f"/proc/{pid}/statm").split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0


def children(pid: int) -> list[int]:
    """The processes that any thread of `pid` started and that still run; none when it is gone."""
    found: list[int] = []
    with suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with suppress(OSError):  # the thread may have ended meanwhile
                found += map(int, _content(f"/proc/{pid}/task/{thread}/children").split())
    return found


def _content(path: str) -> bytes:
    """A small file of /proc; a third of what open() costs."""
    fd = os.open(path, os.O_RDONLY)
    try:
        return os.read(fd, 65536)
    finally:
        os.close(fd)
