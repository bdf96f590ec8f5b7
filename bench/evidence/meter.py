"""What a client costs while its load is steady: the CPU of its processes between two moments, by the server's own count."""

import time
from collections.abc import Callable
from typing import NamedTuple

from bench.errors import RunError
from bench.samplers.host import Tree

SETTLE_S = 1.0  # from the first answer on
LIMIT_S = 30.0  # for the first answer to come
_LOOK_S = 0.02


class Cost(NamedTuple):
    """Of the requests that were answered between the two moments."""

    requests: int
    seconds: float
    client_us: float  # of CPU, user and system, a request

    @property
    def rate_hz(self) -> float:
        return self.requests / self.seconds


def measure(client: int, answered: Callable[[], int], ended: Callable[[], str], seconds: float) -> Cost:
    """The cost of the load that process `client` makes, with all that descends from it.

    `answered` counts the requests that were answered so far; `ended` says how the client ended, "" while it runs. RunError
    where it ends too soon, or nothing is answered.
    """
    begin, limit = answered(), time.monotonic() + LIMIT_S
    while answered() == begin:
        _check(ended)
        if time.monotonic() > limit:
            raise RunError(f"nothing was answered within {LIMIT_S:g} s")
        time.sleep(_LOOK_S)
    time.sleep(SETTLE_S)
    tree = Tree(client)
    tree.read()
    count, start = answered(), time.perf_counter()
    time.sleep(seconds)
    spent_ns, _ = tree.read()
    requests, took = answered() - count, time.perf_counter() - start
    _check(ended)
    if not requests:
        raise RunError(f"nothing was answered within {seconds:g} s")
    return Cost(requests, took, spent_ns / 1e3 / requests)


def _check(ended: Callable[[], str]) -> None:
    if how := ended():
        raise RunError(f"the client ended before it was measured: {how}")
