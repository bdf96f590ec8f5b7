"""The timer that wakes a thread."""

import os
import re
import resource
import select
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.load import pacer
from bench.load.pacer import TURN_NS, Timer, sleep_until, take_short_turns
from bench.testing import MS

LIMIT_MS = 20_000  # a wait this long means that it will never come


@pytest.fixture
def timer() -> Iterator[Timer]:
    made = Timer()
    yield made
    made.close()


def fires(timer: Timer, limit_ms: int = LIMIT_MS) -> bool:
    """Whether the timer fires within `limit_ms`."""
    poll = select.poll()
    poll.register(timer.fd, select.POLLIN)
    return bool(poll.poll(limit_ms))


def test_a_timer_fires_and_not_before_its_time(timer: Timer) -> None:
    """Its time is on the clock that records are on."""
    t_ns = time.perf_counter_ns() + 20 * MS
    timer.arm(t_ns)
    assert fires(timer)
    assert time.perf_counter_ns() >= t_ns


@pytest.mark.parametrize("t_ns", [0, 1, -5])
def test_a_time_that_has_passed_fires_at_once(timer: Timer, t_ns: int) -> None:
    """Also 0, which to the kernel means never."""
    timer.arm(t_ns)
    assert fires(timer)


def test_a_timer_that_was_cleared_fires_only_when_armed_again(timer: Timer) -> None:
    """Clearing twice does not wait."""
    timer.arm(1)
    assert fires(timer)
    timer.clear()
    timer.clear()
    assert not fires(timer, 0)
    timer.arm(1)
    assert fires(timer)


def test_an_unarmed_timer_does_not_fire(timer: Timer) -> None:
    """Nothing wakes a thread that has nothing due."""
    assert not fires(timer, 0)


def test_a_later_time_replaces_an_earlier_one(timer: Timer) -> None:
    """Arming again moves the timer."""
    timer.arm(time.perf_counter_ns() + 5 * MS)
    later = time.perf_counter_ns() + 30 * MS
    timer.arm(later)
    assert fires(timer)
    assert time.perf_counter_ns() >= later


def test_a_sleep_is_never_short() -> None:
    """Ten sleeps of half a millisecond, none of which ends before its time."""
    for _ in range(10):
        t_ns = time.perf_counter_ns() + MS // 2
        sleep_until(t_ns)
        assert time.perf_counter_ns() >= t_ns


def test_a_sleep_gives_its_timer_back() -> None:
    """No descriptor stays open."""
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        sleep_until(time.perf_counter_ns() + 1000)
        sleep_until(0)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_sleep_works_beside_a_thousand_connections() -> None:
    """select() would refuse the descriptor."""
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 1200:
        pytest.skip("this shell allows fewer open files")
    opened = [os.open("/dev/null", os.O_RDONLY) for _ in range(1050)]
    try:
        sleep_until(time.perf_counter_ns() + MS)
    finally:
        for fd in opened:
            os.close(fd)


def turn_ns() -> int | None:
    """How long the calling thread runs at a time, where the kernel tells."""
    path = Path("/proc/thread-self/sched")
    found = re.search(r"^se\.slice\s*:\s*(\d+)", path.read_text() if path.exists() else "", re.MULTILINE)
    return int(found[1]) if found else None


def test_short_turns_are_for_the_thread_that_takes_them() -> None:
    """Where the kernel has them at all; the others go on as before."""
    seen: list[int | None] = []

    def take() -> None:
        if take_short_turns():
            seen.append(turn_ns())

    before = turn_ns()
    thread = threading.Thread(target=take)
    thread.start()
    thread.join()
    assert turn_ns() == before
    assert seen in ([], [None], [TURN_NS], [before])  # what a kernel before 6.12 takes and does not do


def test_a_machine_whose_system_calls_are_not_known_goes_on_without_short_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is called by the number of another machine's."""
    monkeypatch.setattr(pacer.platform, "machine", lambda: "riscv64")
    monkeypatch.setattr(pacer, "_libc", None)
    assert take_short_turns() is False
