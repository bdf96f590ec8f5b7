"""A server that knows the truth: what is scripted, and what it writes down of every request.

Its one queue is first come, first served; `slots` requests at a time take the scripted service time; at a stated moment it may
stall. Nothing here touches a socket or a clock.
"""

import heapq
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

MODEL = "truth"
OUTPUTS = 16  # float32 values in an answer, all 0

METADATA: dict[str, Any] = {
    "name": MODEL,
    "versions": ["1"],
    "platform": "scripted",
    "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1]}],
    "outputs": [{"name": "y", "datatype": "FP32", "shape": [OUTPUTS]}],
}
CONFIG: dict[str, Any] = {
    "name": MODEL,
    "platform": "scripted",
    "backend": "scripted",
    "max_batch_size": 0,
    "input": [{"name": "x", "data_type": "TYPE_FP32", "dims": [-1]}],
    "output": [{"name": "y", "data_type": "TYPE_FP32", "dims": [OUTPUTS]}],
}
SERVER: dict[str, Any] = {
    "name": "truth",
    "version": "1",
    "extensions": ["binary_tensor_data", "model_configuration", "model_repository", "statistics"],
}
INDEX = [{"name": MODEL, "version": "1", "state": "READY"}]


class Asked(NamedTuple):
    """What a connection was asked: a reply that is due at once, or the inference `id` whose reply `answer` makes in time."""

    reply: bytes
    id: str | None = None
    answer: Callable[[], bytes] = bytes


@dataclass(frozen=True, slots=True)
class Script:
    """What the server does: times in ns; the stall begins `stall_at_ns` after the first request, where `stall_ns` is not 0."""

    service_ns: int
    slots: int = 1
    exponential: bool = False  # service times are drawn, with `service_ns` as their mean
    stall_at_ns: int = 0
    stall_ns: int = 0
    seed: int = 1


class Queue:
    """When each request is to be answered."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._free = [0] * script.slots
        self._services = _services(script)
        self._stall: tuple[int, int] | None = None

    def answer_at(self, arrived_ns: int) -> int:
        """When to answer a request that arrived then; they are told of in the order of arrival."""
        if self._stall is None:
            begin = arrived_ns + self._script.stall_at_ns
            self._stall = begin, begin + self._script.stall_ns
        begin, end = self._stall
        start = max(arrived_ns, heapq.heappop(self._free))
        if begin <= start < end:
            start = end
        done = start + next(self._services)
        if start < begin < done:
            done += end - begin
        heapq.heappush(self._free, done)
        return done


def _services(script: Script) -> Iterator[int]:
    rng = random.Random(script.seed)
    while True:
        yield round(-math.log(1 - rng.random()) * script.service_ns) if script.exponential else script.service_ns


class Book:
    """What was seen: when each request had arrived, and when its reply was given to the system, by request id."""

    def __init__(self) -> None:
        self.times: dict[str, list[int]] = {}
        self.answered = 0
        self.service_ns = 0

    def arrived(self, id_: str, t_ns: int) -> None:
        self.times[id_] = [t_ns]

    def replied(self, id_: str, t_ns: int) -> None:
        self.times[id_].append(t_ns)
        self.answered += 1
        self.service_ns += t_ns - self.times[id_][0]

    def statistics(self) -> dict[str, Any]:
        """As KServe v2's statistics extension has them."""
        total = {"count": self.answered, "ns": self.service_ns}
        nothing = {"count": self.answered, "ns": 0}
        inference = dict.fromkeys(("queue", "compute_input", "compute_output"), nothing)
        return {
            "name": MODEL,
            "version": "1",
            "inference_count": self.answered,
            "execution_count": self.answered,
            "inference_stats": {"success": total, "compute_infer": total, **inference},
            "batch_stats": [{"batch_size": 1, "compute_input": nothing, "compute_infer": total, "compute_output": nothing}],
        }
