"""A timerfd: wakes a thread at an absolute time of the monotonic clock."""

import contextlib
import ctypes
import os
import select
import time

_CLOCK_MONOTONIC, _TFD_NONBLOCK, _TFD_CLOEXEC, _TFD_ABSTIME = 1, 0o4000, 0o2000000, 1
_libc = ctypes.CDLL(None, use_errno=True)


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
