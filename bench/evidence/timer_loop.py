"""A bare loop of timers: how late this machine wakes anybody who asks for it. Run as a process of its own: RATE SECONDS."""

import array
import gc
import json
import select
import subprocess
import sys
import time

import numpy as np

from bench.load.pacer import Timer


def loop(rate_hz: float, seconds: float) -> "array.array[int]":
    """Wake at each 1/rate, by one timer in one epoll; how late each wake was, in ns."""
    timer, epoll, late = Timer(), select.epoll(), array.array("q")
    epoll.register(timer.fd, select.EPOLLIN)
    start = time.perf_counter_ns() + 10_000_000
    for n in range(round(rate_hz * seconds)):
        due = start + round(n * 1e9 / rate_hz)
        timer.arm(due)
        epoll.poll()
        late.append(time.perf_counter_ns() - due)
        timer.clear()
    epoll.close()
    timer.close()
    return late


def in_its_own_process(rate_hz: float, seconds: float) -> np.ndarray:
    """The same beside whatever else runs: int64 [wakes] in ns."""
    command = [sys.executable, "-P", "-m", "bench.evidence.timer_loop", str(rate_hz), str(seconds)]
    said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    return np.array(json.loads(said), np.int64)


if __name__ == "__main__":
    gc.disable()
    print(json.dumps(list(loop(float(sys.argv[1]), float(sys.argv[2])))))
