"""ONNX Runtime in the load process itself: the model without a server around it."""

import ctypes
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from onnxruntime import OrtValue

from bench.errors import RunError, UsageError
from bench.record import SHAPE, STATUS
from bench.runtime import providers
from bench.runtime import session as sessions
from bench.targets.base import FINE, CallReply, Facts, Verdict, check_inputs
from bench.tensors import NUMPY_TYPES, Tensors, TensorSpec
from bench.words import Word
from bench.workload import Workload

_DATATYPES = {
    "tensor(bool)": "BOOL", "tensor(float16)": "FP16", "tensor(float)": "FP32", "tensor(double)": "FP64",
    "tensor(int8)": "INT8", "tensor(int16)": "INT16", "tensor(int32)": "INT32", "tensor(int64)": "INT64",
    "tensor(uint8)": "UINT8", "tensor(uint16)": "UINT16", "tensor(uint32)": "UINT32", "tensor(uint64)": "UINT64",
    "tensor(string)": "BYTES",
}  # fmt: skip

Run = Callable[[int], Sequence[Any]]  # payload -> outputs, as arrays or as values that lie where the model ran


class Onnx:
    """`onnx://cuda:0?graphs=on`: the built model in one session that all users share."""

    def __init__(self, word: Word, workload: Workload, onnx: Path | None = None) -> None:
        check(word, workload)
        if onnx is None:
            raise RunError(f"target {word}: model {workload.model.name!r} is not built; see `bench models list`")
        self._word, self._workload = word, workload
        self._provider, self._device = place_of(word)
        self._binding = _bound(word)
        self._graphs = word.options.get("graphs") == "on"
        self._threads = int(word.options.get("threads", sessions.default_threads()))
        self._lock = threading.Lock()
        self._runs: Run | None = None
        began = time.perf_counter_ns()
        self._session = self._open(onnx)
        self._load_ns = time.perf_counter_ns() - began

    def _open(self, onnx: Path) -> Any:
        try:
            return sessions.make_session(onnx, self._threads, self._provider, self._device, self._graphs)
        except Exception as error:  # ONNX Runtime's exceptions have no common base but this
            raise RunError(f"target {self._word}: {str(error).splitlines()[0]}") from None

    def probe(self) -> Facts:
        inputs, outputs = _specs(self._session.get_inputs()), _specs(self._session.get_outputs())
        check_inputs(self._word, self._workload, inputs)
        details = sessions.session_options_facts(self._threads, self._provider != "cpu") | {
            "model_load_ns": self._load_ns,
            "providers": self._session.get_providers(),
            "io_binding": int(self._binding),
            "cuda_graphs": int(self._graphs),
        }
        return Facts("onnxruntime", onnxruntime.__version__, inputs, outputs, details)

    def caller(self, payloads: Sequence[Tensors]) -> Callable[[int, int], CallReply]:
        requests = [{name: self._as_onnx(name, array) for name, array in tensors.items()} for tensors in payloads]
        expected = [self._expected(tensors) for tensors in requests]
        run = self._run(requests)

        def call(payload: int, number: int) -> CallReply:
            try:
                answer = run(payload)
            except Exception as error:  # ONNX Runtime's exceptions have no common base but this
                return CallReply(0, Verdict(STATUS, f"{type(error).__name__}: {str(error)[:200]}"), None)
            shapes = [_shape(output) for output in answer]
            fits = all(map(_fits, expected[payload], shapes))
            return CallReply(0, FINE if fits else Verdict(SHAPE, f"answered {shapes}; expected {expected[payload]}"), answer)

        return call

    def _run(self, requests: list[Tensors]) -> Run:
        """How one user runs the model."""
        names = [output.name for output in self._session.get_outputs()]
        if not self._binding:
            return lambda payload: self._session.run(names, requests[payload])
        place = ("cpu" if self._provider == "cpu" else "cuda", self._device)
        if not self._graphs:
            return _binding_run(self._session, names, requests, place)
        with self._lock:
            if self._runs is None:
                shapes = self._expected(requests[0])
                if free := [f"{name} {list(shape)}" for name, shape in zip(names, shapes, strict=True) if -1 in shape]:
                    raise RunError(
                        f"target {self._word}: option graphs: the shapes of these outputs are not known before the run: "
                        f"{', '.join(free)}"
                    )
                self._runs = _captured_run(self._session, names, requests, shapes, place)
        return self._runs

    def _as_onnx(self, name: str, array: np.ndarray) -> np.ndarray:
        """A tensor as ONNX Runtime takes it, whose texts are str."""
        if array.dtype.kind != "O":
            return np.ascontiguousarray(array)
        try:
            return np.array([text.decode() for text in array.ravel().tolist()], np.object_).reshape(array.shape)
        except UnicodeDecodeError:
            raise UsageError(
                f"target {self._word}: payload.inputs.{name}: ONNX Runtime takes no texts from Python but UTF-8"
            ) from None

    def _expected(self, tensors: Tensors) -> list[tuple[int, ...]]:
        """The shapes of the outputs, as far as dimensions of the same name in the inputs tell; else -1."""
        known = {
            n: size
            for i in self._session.get_inputs() if i.name in tensors
            for n, size in zip(i.shape, tensors[i.name].shape, strict=False) if isinstance(n, str)
        }  # fmt: skip
        return [
            tuple(n if isinstance(n, int) else known.get(n, -1) for n in output.shape) for output in self._session.get_outputs()
        ]

    def outputs(self, answer: Any) -> Tensors:
        arrays = [output.numpy() if isinstance(output, OrtValue) else output for output in answer]
        return {o.name: _from_onnx(array) for o, array in zip(self._session.get_outputs(), arrays, strict=True)}

    def close(self) -> None:
        self._runs = self._session = None


def check_device(word: Word) -> None:
    """RunError where the GPU that a word names cannot be had, before a model is built for it."""
    provider, device = place_of(word)
    if provider == "cpu":
        return
    providers.preload()
    if problem := providers.obstacle(provider, device, providers.installed(), ctypes.CDLL):
        raise RunError(f"target {word}: {problem}")


def _bound(word: Word) -> bool:
    """Whether inputs and outputs are bound to where the model runs."""
    return word.options.get("binding", "off" if place_of(word)[0] == "cpu" else "on") == "on"


def place_of(word: Word) -> tuple[str, int]:
    """(provider, GPU) of `onnx://cpu` or `onnx://cuda:0`; UsageError where the word's place is neither."""
    device, _, number = word.place.partition(":")
    if device == "cpu" and not number and word.options.get("provider", "cpu") == "cpu":
        return "cpu", 0
    if device == "cuda" and (number or "0").isdecimal() and word.options.get("provider") != "cpu":
        return word.options.get("provider", "cuda"), int(number or 0)
    raise UsageError(f"target {word}: expected onnx://cpu or onnx://cuda:0 (provider=cuda or tensorrt), got {word.place!r}")


def check(word: Word, workload: Workload | None = None) -> None:
    """UsageError where a word names no place, or asks for CUDA graphs where runs of `workload` cannot be captured as one."""
    provider, _ = place_of(word)
    if word.options.get("graphs") != "on":
        return
    if provider == "cpu" or not _bound(word):
        raise UsageError(f"target {word}: option graphs: CUDA graphs need onnx://cuda:N and binding=on")
    if workload and (free := [spec for spec in workload.input_specs() if -1 in spec.shape]):
        raise UsageError(
            f"target {word}: option graphs: a CUDA graph replays one shape, and workload {workload.name!r} sends "
            f"{', '.join(map(str, free))} (-1: as long as drawn)"
        )


def _binding_run(session: Any, names: list[str], requests: list[Tensors], place: tuple[str, int]) -> Run:
    """Inputs go to the device within the run; outputs stay there until somebody looks at them."""

    def run(payload: int) -> Sequence[Any]:
        binding = session.io_binding()
        for name, array in requests[payload].items():
            binding.bind_cpu_input(name, array)
        for name in names:
            binding.bind_output(name, *place)
        session.run_with_iobinding(binding)
        binding.synchronize_outputs()
        values: Sequence[Any] = binding.get_outputs()
        return values

    return run


def _captured_run(
    session: Any, names: list[str], requests: list[Tensors], shapes: list[tuple[int, ...]], place: tuple[str, int]
) -> Run:
    """One run for all users, one at a time, captured and then replayed over buffers that stay where they are."""
    binding, kinds = session.io_binding(), {o.name: NUMPY_TYPES[_DATATYPES[o.type]] for o in session.get_outputs()}
    inputs = {name: OrtValue.ortvalue_from_numpy(array.copy(), *place) for name, array in requests[0].items()}
    outputs = []
    for name, value in inputs.items():
        binding.bind_ortvalue_input(name, value)
    for name, shape in zip(names, shapes, strict=True):
        outputs.append(OrtValue.ortvalue_from_shape_and_type(shape, kinds[name], *place))
        binding.bind_ortvalue_output(name, outputs[-1])
    lock = threading.Lock()

    def run(payload: int) -> Sequence[Any]:
        with lock:
            for name, array in requests[payload].items():
                inputs[name].update_inplace(array)
            session.run_with_iobinding(binding)
            return [np.array(value.numpy()) for value in outputs]  # copied, because the next run writes over them

    run(0)  # captures
    return run


def _shape(output: Any) -> tuple[int, ...]:
    return tuple(output.shape() if isinstance(output, OrtValue) else output.shape)


def _fits(expected: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    return len(expected) == len(shape) and all(e in (-1, n) for e, n in zip(expected, shape, strict=True))


def _from_onnx(array: np.ndarray) -> np.ndarray:
    if array.dtype.kind != "O":
        return array
    texts = np.empty(array.size, np.object_)
    texts[:] = [text.encode() for text in array.ravel().tolist()]
    return texts.reshape(array.shape)


def _specs(values: Any) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(v.name, _DATATYPES.get(v.type, v.type), tuple(n if isinstance(n, int) else -1 for n in v.shape))
        for v in values
    )
