"""Host and process trees: what is counted for whom."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from bench.record import Sample
from bench.samplers import host
from bench.samplers.host import Host, Tree

# A process that does as its stdin says, one word a line, and answers each with a line: "work" burns 50 ms of its own CPU time,
# "child" starts another of its kind, to which "> ..." is handed on, and "sleeper" one that sleeps; both are answered by a pid.
PUPPET = """
import subprocess, sys, time
child = None
print("here", flush=True)
for line in sys.stdin:
    word = line.strip()
    if word == "work":
        end = time.process_time() + 0.05
        while time.process_time() < end: pass
        print("done", flush=True)
    elif word == "child":
        child = subprocess.Popen([sys.executable, "-c", sys.argv[1], sys.argv[1]], stdin=-1, stdout=-1, text=True)
        child.stdout.readline()
        print(child.pid, flush=True)
    elif word == "sleeper":
        sleeper = subprocess.Popen([sys.executable, "-c", "print(flush=True); import time; time.sleep(60)"], stdout=-1)
        sleeper.stdout.readline()
        print(sleeper.pid, flush=True)
    elif word.startswith("> "):
        print(word[2:], file=child.stdin, flush=True)
        print(child.stdout.readline().strip() or child.wait(), flush=True)
    else:
        break
"""
WORK_NS = 50_000_000


@dataclass(frozen=True, slots=True)
class Puppet:
    """A process under the test's command."""

    process: subprocess.Popen[str]

    @property
    def pid(self) -> int:
        return self.process.pid

    def do(self, word: str) -> str:
        """Have it done, and wait for the answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(word, file=self.process.stdin, flush=True)
        return self.process.stdout.readline().strip()


@pytest.fixture
def puppet() -> Iterator[Puppet]:
    """A process that does as it is told; like its children, it ends when its stdin closes."""
    command = [sys.executable, "-c", PUPPET, PUPPET]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield Puppet(process)


class ManualClock:
    """A clock that the test sets."""

    t_ns = 0

    def now_ns(self) -> int:
        return self.t_ns

    def wall(self) -> datetime:
        return datetime.fromtimestamp(0, UTC)

    def sleep_until(self, t_ns: int) -> None:
        self.t_ns = t_ns


def cpu(samples: list[Sample], device: str) -> float:
    """The one CPU utilization of a device among `samples`."""
    (value,) = [s.value for s in samples if (s.device, s.metric) == (device, "cpu_utilization")]
    return value


def test_the_cpu_time_of_a_process_is_the_kernels_own() -> None:
    """Read from outside, by its pid, a process has the CPU time that it reads itself, to the nanosecond."""
    before = time.process_time_ns()
    read = host.cpu_time_ns(os.getpid())
    assert before <= read <= time.process_time_ns()


def test_a_tree_counts_what_its_process_did_since_it_was_last_read(puppet: Puppet) -> None:
    """CPU time is a difference of counters: what was burnt before is not counted again."""
    puppet.do("work")
    tree = Tree(puppet.pid)
    assert tree.read()[0] == 0
    puppet.do("work")
    assert WORK_NS <= tree.read()[0] < 2 * WORK_NS


def test_a_tree_counts_children_and_grandchildren(puppet: Puppet) -> None:
    """A server whose work is done by its workers' workers is measured whole."""
    child, grandchild = int(puppet.do("child")), int(puppet.do("> child"))
    tree = Tree(puppet.pid)
    _, resident = tree.read()
    assert resident == sum(host.resident_bytes(pid) for pid in (puppet.pid, child, grandchild))
    puppet.do("> > work")
    assert WORK_NS <= tree.read()[0] < 2 * WORK_NS


def test_a_child_that_is_new_counts_from_the_next_look(puppet: Puppet) -> None:
    """Workers that a server starts later are found, and what they did before does not fall upon one tick."""
    tree = Tree(puppet.pid)
    tree.read()
    puppet.do("child")
    puppet.do("> work")
    tree.look()
    assert tree.read()[0] < WORK_NS
    puppet.do("> work")
    assert WORK_NS <= tree.read()[0] < 2 * WORK_NS


def test_a_child_that_ended_never_makes_the_count_negative(puppet: Puppet) -> None:
    """What an ended child had spent stays spent, though its counter is gone."""
    puppet.do("child")
    tree = Tree(puppet.pid)
    puppet.do("> work")
    _, with_child = tree.read()
    puppet.do("> quit")
    spent, resident = tree.read()
    assert 0 <= spent < WORK_NS
    assert 0 < resident < with_child


def test_an_orphan_stays_in_its_tree(puppet: Puppet) -> None:
    """Workers that outlive their master are still the server's."""
    sleeper = int(puppet.do("sleeper"))
    tree = Tree(puppet.pid)
    puppet.process.kill()
    puppet.process.wait()
    tree.look()
    assert tree.read()[1] == host.resident_bytes(sleeper) > 0
    os.kill(sleeper, signal.SIGKILL)


def test_a_tree_whose_processes_are_gone_reads_as_nothing(puppet: Puppet) -> None:
    """A dead process, reaped or not, has neither memory nor CPU."""
    tree = Tree(puppet.pid)
    tree.read()
    puppet.process.kill()
    os.waitid(os.P_PID, puppet.pid, os.WEXITED | os.WNOWAIT)
    assert tree.read() == (0, 0)
    puppet.process.wait()
    assert Tree(puppet.pid).read() == (0, 0)


def test_utilization_is_a_share_of_all_cores_of_the_machine(puppet: Puppet) -> None:
    """CPU time over elapsed time over cores: 100 means that every core of the machine worked for this tree."""
    clock = ManualClock()
    sampled = Host(clock, {"server": puppet.pid})
    sampled.read()
    puppet.do("work")
    clock.t_ns = 400_000_000
    # 50 ms of CPU, and a little for the answer, in 400 ms are 12.5 % of one core
    assert 12.5 <= cpu(sampled.read(), "server") * (os.cpu_count() or 1) < 25


def test_the_first_reading_has_memory_and_no_cpu_yet(puppet: Puppet) -> None:
    """A utilization needs two readings; a zero in place of the first would drag the mean down."""
    clock = ManualClock()
    sampled = Host(clock, {"server": puppet.pid})
    assert {s.metric for s in sampled.read()} == {"memory_bytes"}
    clock.t_ns = 1
    assert sorted((s.device, s.metric) for s in sampled.read()) == [
        ("host", "cpu_utilization"), ("host", "memory_bytes"), ("server", "cpu_utilization"), ("server", "memory_bytes")
    ]  # fmt: skip


def test_children_are_looked_for_once_a_second(puppet: Puppet) -> None:
    """A worker that came meanwhile is counted from the first tick after the second is over, and not walked for before."""
    clock = ManualClock()
    sampled = Host(clock, {"server": puppet.pid})

    def seen_at(t_ns: int, *pids: int) -> bool:
        clock.t_ns = t_ns
        (value,) = [s.value for s in sampled.read() if (s.device, s.metric) == ("server", "memory_bytes")]
        return value == sum(host.resident_bytes(pid) for pid in pids)

    child = int(puppet.do("child"))
    assert seen_at(999_999_999, puppet.pid)
    assert seen_at(1_000_000_000, puppet.pid, child)
    grandchild = int(puppet.do("> child"))
    assert seen_at(1_999_999_999, puppet.pid, child)
    assert seen_at(2_000_000_000, puppet.pid, child, grandchild)


def test_the_series_of_a_process_end_with_it_and_the_host_goes_on(puppet: Puppet) -> None:
    """A server that dies ends its series without an error and without zeros."""
    sampled = Host(ManualClock(), {"server": puppet.pid})
    assert {s.device for s in sampled.read()} == {"host", "server"}
    puppet.process.kill()
    puppet.process.wait()
    assert {s.device for s in sampled.read()} == {"host"}
    assert {s.device for s in sampled.read()} == {"host"}
    assert sampled.warnings == []


def test_a_process_that_was_never_there_is_named() -> None:
    """A wrong pid is a warning at the start, not a series of zeros."""
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        pass
    sampled = Host(ManualClock(), {"server": gone.pid})
    assert sampled.warnings == [f"server is not sampled: there is no process {gone.pid}"]
    assert {s.device for s in sampled.read()} == {"host"}


def test_a_sampler_that_the_load_started_is_no_part_of_the_load() -> None:
    """A process that looks at its own parent's tree does not find itself there."""
    tree = Tree(os.getppid())
    tree.look()
    assert os.getppid() in tree.pids
    assert os.getpid() not in tree.pids
