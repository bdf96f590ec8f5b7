"""ONNX Runtime in the load process itself: the model without a server around it."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench.errors import RunError, UsageError
from bench.record import SHAPE, STATUS
from bench.runtime import session as sessions
from bench.targets.base import FINE, CallReply, Facts, Verdict, check_inputs
from bench.tensors import Tensors, TensorSpec
from bench.words import Word
from bench.workload import Workload

_DATATYPES = {
    "tensor(float)": "FP32", "tensor(float16)": "FP16", "tensor(double)": "FP64", "tensor(int64)": "INT64",
    "tensor(int32)": "INT32", "tensor(int8)": "INT8", "tensor(uint8)": "UINT8", "tensor(bool)": "BOOL",
}  # fmt: skip


class Onnx:
    """`onnx://cpu?threads=2`: the built model in one session that all users share."""

    def __init__(self, word: Word, workload: Workload, onnx: Path | None = None) -> None:
        if word.place != "cpu":
            raise UsageError(f"target {word}: expected onnx://cpu, got {word.place!r} as device")
        if onnx is None:
            raise RunError(f"target {word}: model {workload.model.name!r} is not built; see `bench models list`")
        import onnxruntime

        self._word, self._workload = word, workload
        self._version = onnxruntime.__version__
        began = time.perf_counter_ns()
        self._threads = int(word.options.get("threads", sessions.default_threads()))
        self._session = sessions.make_session(onnx, threads=self._threads, provider="cpu")
        self._load_ns = time.perf_counter_ns() - began

    def probe(self) -> Facts:
        inputs, outputs = _specs(self._session.get_inputs()), _specs(self._session.get_outputs())
        check_inputs(self._word, self._workload, inputs)
        details = sessions.session_options_facts(self._threads) | {"model_load_ns": self._load_ns}
        return Facts("onnxruntime", self._version, inputs, outputs, details)

    def caller(self, payloads: Sequence[Tensors]) -> Callable[[int, int], CallReply]:
        names = [o.name for o in self._session.get_outputs()]
        run = self._session.run

        def call(payload: int, number: int) -> CallReply:
            try:
                answer = run(names, payloads[payload])
            except Exception as error:  # ONNX Runtime's exceptions have no common base but this
                return CallReply(0, Verdict(STATUS, f"{type(error).__name__}: {str(error)[:200]}"), None)
            fits = all(o.shape[0] == i for o, i in zip(answer, [_batch(payloads[payload])] * len(answer), strict=True))
            return CallReply(0, FINE if fits else Verdict(SHAPE, f"answered {[o.shape for o in answer]}"), answer)

        return call

    def outputs(self, answer: Any) -> Tensors:
        return dict(zip((o.name for o in self._session.get_outputs()), answer, strict=True))

    def close(self) -> None:
        pass


def _batch(tensors: Tensors) -> int:
    return len(next(iter(tensors.values())))


def _specs(values: Any) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(v.name, _DATATYPES.get(v.type, v.type), tuple(n if isinstance(n, int) else -1 for n in v.shape))
        for v in values
    )
