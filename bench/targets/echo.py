"""A scripted endpoint without a server: it answers its inputs after a stated time, for rehearsals and tests."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench import units
from bench.errors import UsageError
from bench.record import STATUS
from bench.targets.base import FINE, CallReply, Facts, Verdict
from bench.tensors import Tensors
from bench.words import Word
from bench.workload import Workload


class Echo:
    """`echo://?service=5ms,slots=2,fail=100,wrong=50`: `slots` requests at a time take `service` each.

    Every fail-th request is refused, every wrong-th answered wrongly.
    """

    def __init__(self, word: Word, workload: Workload, onnx: Path | None = None) -> None:
        if word.place:
            raise UsageError(f"target {word}: expected echo:// without a host, with options such as echo://?service=5ms")
        self._workload = workload
        try:
            self.service_ns = units.duration_ns(word.options.get("service", "5ms"))
        except ValueError as error:
            raise UsageError(f"target {word}: option service: {error}") from None
        if self.service_ns <= 0:
            raise UsageError(f"target {word}: option service: expected a duration above 0, or virtual time would stand still")
        self.slots = int(word.options.get("slots", "1"))
        self._fail, self._wrong = int(word.options.get("fail", "0")), int(word.options.get("wrong", "0"))

    def probe(self) -> Facts:
        specs = tuple(self._workload.input_specs())
        return Facts("echo", "1", specs, specs)

    def caller(self, payloads: Sequence[Tensors]) -> Callable[[int, int], CallReply]:
        def call(payload: int, number: int) -> CallReply:
            if self._fail and (number + 1) % self._fail == 0:
                return CallReply(503, Verdict(STATUS, f"refused, as echo://?fail={self._fail} asks"), None)
            if self._wrong and (number + 1) % self._wrong == 0:
                return CallReply(200, FINE, {name: _other(array) for name, array in payloads[payload].items()})
            return CallReply(200, FINE, payloads[payload])

        return call

    def outputs(self, answer: Any) -> Tensors:
        tensors: Tensors = answer
        return tensors

    def close(self) -> None:
        pass


def _other(array: np.ndarray) -> np.ndarray:
    """The same tensor with every value changed."""
    match array.dtype.kind:
        case "b":
            return ~array
        case "O":
            return np.array([text + b"?" for text in array.ravel().tolist()], np.object_).reshape(array.shape)
    return np.asarray(array + array.dtype.type(1))
