"""A timerfd: wakes a thread at an absolute time of the monotonic clock; and what makes the kernel run it soon after."""

import contextlib
import ctypes
import os
import platform
import select
import time

_CLOCK_MONOTONIC, _TFD_NONBLOCK, _TFD_CLOEXEC, _TFD_ABSTIME = 1, 0o4000, 0o2000000, 1
_libc = ctypes.CDLL(None, use_errno=True)
TURN_NS = 100_000  # the shortest that the kernel gives
_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}  # system calls by number: C libraries have no function for it


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval_s", ctypes.c_long), ("interval_ns", ctypes.c_long), ("s", ctypes.c_long), ("ns", ctypes.c_long))


class Timer:
    """One timer; `fd` becomes readable when it fires. (CPython has timerfd only from 3.13.)"""

    def __init__(self) -> None:
        self.fd = _libc.timerfd_create(_CLOCK_MONOTONIC, _TFD_NONBLOCK | _TFD_CLOEXEC)
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create failed")

    def arm(self, t_ns: int) -> None:
        """Fire at `t_ns`, at once where that has passed."""
        t_ns = max(t_ns, 1)  # 0 would disarm it
        spec = _Itimerspec(0, 0, t_ns // 10**9, t_ns % 10**9)
        _libc.timerfd_settime(self.fd, _TFD_ABSTIME, ctypes.byref(spec), None)

    def clear(self) -> None:
        """Take note that it fired."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.fd, 8)

    def close(self) -> None:
        os.close(self.fd)


class _SchedAttr(ctypes.Structure):
    _fields_ = (
        ("size", ctypes.c_uint32), ("policy", ctypes.c_uint32), ("flags", ctypes.c_uint64), ("nice", ctypes.c_int32),
        ("priority", ctypes.c_uint32), ("runtime", ctypes.c_uint64), ("deadline", ctypes.c_uint64), ("period", ctypes.c_uint64),
    )  # fmt: skip


def take_short_turns() -> bool:
    """Have the calling thread run in turns of 0.1 ms, not of some ms: one who asks for less is let in sooner.

    On a busy machine a thread that waits for a timer runs some times sooner then. Linux 6.12 and later; before it, and where it
    is not allowed, nothing changes. Whether the kernel took it.
    """
    number = _SCHED_SETATTR.get(platform.machine())
    if number is None:
        return False
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    wanted = _SchedAttr(ctypes.sizeof(_SchedAttr), 0, 0, nice, 0, TURN_NS, 0, 0)
    return bool(_libc.syscall(number, 0, ctypes.byref(wanted), 0) == 0)


def sleep_until(t_ns: int) -> None:
    """Sleep to `t_ns` as exactly as a timerfd allows."""
    if t_ns <= time.perf_counter_ns():
        return
    timer = Timer()
    try:
        timer.arm(t_ns)
        poll = select.poll()  # select() knows no descriptor above 1023
        poll.register(timer.fd, select.POLLIN)
        poll.poll()
    finally:
        timer.close()
