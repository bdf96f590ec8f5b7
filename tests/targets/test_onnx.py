"""ONNX Runtime in process: what is asked of it for a GPU, and texts and free dimensions on the CPU."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from onnxruntime import OrtValue

from bench import payloads, words
from bench import workload as workloads
from bench.errors import RunError, UsageError
from bench.record import ERRORS
from bench.runtime import session as sessions
from bench.targets import open_target
from bench.targets.base import FINE
from bench.workload import Workload


def make_workload(shape: tuple[int | str, ...], datatype: str = "FP32", **more: Any) -> Workload:
    """Three requests of one input x."""
    lengths = {"n": {"distribution": "uniform", "low": 1, "high": 9}} if "n" in shape else {}
    payload = {"inputs": {"x": {"datatype": datatype, "shape": list(shape)} | more}, "lengths": lengths, "distinct": 3}
    document = {"name": "mine", "model": {"name": "m"}, "payload": payload, "load": {"arrivals": "closed"}}
    return workloads.from_builtins(document, "mine.toml")


@pytest.fixture
def model(tmp_path: Path) -> Callable[..., Path]:
    """Writes a model of one operator: x [rows, n] in, y out."""

    def write(operator: str, kind: int = TensorProto.FLOAT, out: tuple[Any, ...] = ("rows", "n"), out_kind: int = 0) -> Path:
        x = helper.make_tensor_value_info("x", kind, ["rows", "n"])
        y = helper.make_tensor_value_info("y", out_kind or kind, list(out))
        graph = helper.make_graph([helper.make_node(operator, ["x"], ["y"])], "g", [x], [y])
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "model.onnx")
        return tmp_path / "model.onnx"

    return write


class _Gpu:
    """A GPU of the CPU's: what is asked of it is noted and done on the CPU."""

    def __init__(self, onnx_file: Path, *asked: Any) -> None:
        self.asked, self.bound, self.runs = asked, list[tuple[Any, ...]](), 0
        self._session = onnxruntime.InferenceSession(str(onnx_file), providers=["CPUExecutionProvider"])
        self.get_inputs, self.get_outputs = self._session.get_inputs, self._session.get_outputs

    def get_providers(self) -> list[str]:
        return ["CUDAExecutionProvider"]

    def io_binding(self) -> Any:
        binding = self._session.io_binding()
        bind = binding.bind_output

        def bind_output(name: str, device: str, number: int) -> None:
            self.bound.append((name, device, number))
            bind(name, "cpu", 0)

        binding.bind_output = bind_output
        return binding

    def run_with_iobinding(self, binding: Any) -> None:
        self.runs += 1
        self._session.run_with_iobinding(binding)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> list[_Gpu]:
    """The sessions that were made on it."""
    made: list[_Gpu] = []

    def make_session(*asked: Any) -> _Gpu:
        made.append(_Gpu(*asked))
        return made[-1]

    moved: list[tuple[Any, ...]] = []
    for name in ("ortvalue_from_numpy", "ortvalue_from_shape_and_type"):
        real = getattr(OrtValue, name)

        def place(*args: Any, _real: Any = real) -> Any:
            *content, device, number = args
            moved.append((device, number))
            assert (device, number) == ("cuda", 1)
            return _real(*content, "cpu", 0)

        monkeypatch.setattr(OrtValue, name, staticmethod(place))
    monkeypatch.setattr(sessions, "make_session", make_session)
    return made


@pytest.mark.parametrize(
    ("word", "provider", "device", "graphs"),
    [
        ("onnx://cuda", "cuda", 0, False),
        ("onnx://cuda:1?threads=3", "cuda", 1, False),
        ("onnx://cuda:0?provider=tensorrt,threads=3", "tensorrt", 0, False),
        ("onnx://cuda:2?provider=cuda,graphs=on", "cuda", 2, True),
    ],
)
def test_the_word_says_what_the_session_is_made_with(
    word: str, provider: str, device: int, graphs: bool, model: Callable[..., Path], gpu: list[_Gpu]
) -> None:
    """Threads, provider, GPU and graphs; the record of the run has them."""
    open_target(words.parse(word), make_workload((1, 4)), model("Neg")).probe()
    threads = 3 if "threads" in word else sessions.default_threads()
    assert gpu[0].asked == (threads, provider, device, graphs)


def test_outputs_stay_on_the_gpu_until_they_are_looked_at(model: Callable[..., Path], gpu: list[_Gpu]) -> None:
    """Bound to the device before each run; what the check needs is copied when it asks, and nothing else."""
    workload = make_workload((1, "n"))
    target: Any = open_target(words.parse("onnx://cuda:1"), workload, model("Neg"))
    facts = target.probe()
    assert (facts.details["io_binding"], facts.details["cuda_graphs"]) == (1, 0)
    requests: Any = payloads.make(workload)
    call = target.caller(requests)
    replies = [call(n % 3, n) for n in range(6)]
    assert gpu[0].bound == [("y", "cuda", 1)] * 6
    for n, reply in enumerate(replies):
        assert reply.verdict == FINE
        assert all(isinstance(output, OrtValue) for output in reply.answer)
        np.testing.assert_array_equal(target.outputs(reply.answer)["y"], -requests[n % 3]["x"])


def test_a_captured_graph_is_one_for_all_users_and_its_answers_stay(model: Callable[..., Path], gpu: list[_Gpu]) -> None:
    """Its buffers are written over by the next run; what was answered before is not."""
    workload = make_workload((2, 4))
    target: Any = open_target(words.parse("onnx://cuda:1?graphs=on"), workload, model("Neg"))
    target.probe()
    requests: Any = payloads.make(workload)
    calls = [target.caller(requests) for _ in range(3)]
    assert gpu[0].runs == 1, "captured before the clock starts, once"
    replies = [calls[n % 3](n % 3, n) for n in range(6)]
    for n, reply in enumerate(replies):
        assert reply.verdict == FINE
        np.testing.assert_array_equal(target.outputs(reply.answer)["y"], -requests[n % 3]["x"])
    assert gpu[0].runs == 7


def test_what_cannot_be_a_graph_is_refused(model: Callable[..., Path], gpu: list[_Gpu]) -> None:
    """Lengths that vary, a run whose inputs are not bound, a CPU, and an output whose size is found out on the way."""
    fixed, free = make_workload((1, 4)), make_workload((1, "n"))
    for word, workload, message in (
        ("onnx://cuda?graphs=on", free, r"replays one shape, and workload 'mine' sends x FP32\[1, -1\]"),
        ("onnx://cuda?graphs=on,binding=off", fixed, r"CUDA graphs need onnx://cuda:N and binding=on"),
        ("onnx://cpu?graphs=on", fixed, r"CUDA graphs need onnx://cuda:N and binding=on"),
    ):
        with pytest.raises(UsageError, match=rf"option graphs: .*{message}"):
            open_target(words.parse(word), workload, model("Neg"))
    assert not gpu
    onnx_file = model("NonZero", out=(2, "found"), out_kind=TensorProto.INT64)
    target: Any = open_target(words.parse("onnx://cuda:1?graphs=on"), fixed, onnx_file)
    with pytest.raises(RunError, match=r"option graphs: the shapes of these outputs are not known before the run: y \[2, -1\]"):
        target.caller(payloads.make(fixed))


@pytest.mark.skipif("CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="this package has CUDA")
@pytest.mark.parametrize(
    ("word", "provider"),
    [("onnx://cuda:0", "CUDAExecutionProvider"), ("onnx://cuda?provider=tensorrt", "TensorrtExecutionPro")],
)
def test_a_gpu_that_cannot_be_had_is_told_in_one_line(word: str, provider: str, model: Callable[..., Path]) -> None:
    """The package for CPUs says so, and which one to install; the model is never run on the CPU instead."""
    with pytest.raises(RunError) as refused:
        open_target(words.parse(word), make_workload((1, 4)), model("Neg"))
    assert str(refused.value).startswith(f"target {word}: ")
    assert f"a package without {provider}" in str(refused.value)
    assert "install onnxruntime-gpu[cuda,cudnn]" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.skipif("CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="this package has CUDA")
def test_a_gpu_that_cannot_be_had_is_told_before_a_model_is_built_for_it(
    bench: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 3, one line, nothing in the cache and no run."""
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    said = bench("run", "resnet50", "--target", "onnx://cuda:0", "--output", tmp_path / "results")
    assert (said.code, said.out, said.err.count("\n")) == (3, "", 1)
    assert said.err.startswith("bench: target onnx://cuda:0: ONNX Runtime ")
    assert not (tmp_path / "cache").exists()
    assert not list(tmp_path.glob("results/*"))


@pytest.mark.parametrize("place", ["gpu", "cuda:x", "cuda:-1", "cpu:0", "", "cpu?provider=cuda", "cuda?provider=cpu"])
def test_a_place_that_onnx_runtime_has_not_is_refused(place: str, model: Callable[..., Path]) -> None:
    """With those that it has."""
    with pytest.raises(UsageError, match=r"expected onnx://cpu or onnx://cuda:0 \(provider=cuda or tensorrt\), got"):
        open_target(words.parse(f"onnx://{place}"), make_workload((1, 4)), model("Neg"))


@pytest.mark.parametrize("binding", ["on", "off"])
def test_lengths_that_vary_run_with_binding_and_without(binding: str, model: Callable[..., Path]) -> None:
    """On the CPU, for real."""
    workload = make_workload((1, "n"))
    target: Any = open_target(words.parse(f"onnx://cpu?binding={binding},threads=1"), workload, model("Neg"))
    assert target.probe().details["io_binding"] == (binding == "on")
    requests: Any = payloads.make(workload)
    call = target.caller(requests)
    for n, request in enumerate(requests):
        reply = call(n, n)
        assert reply.verdict == FINE
        np.testing.assert_array_equal(target.outputs(reply.answer)["y"], -request["x"])
    target.close()


def test_texts_go_in_and_come_out_as_bytes(model: Callable[..., Path]) -> None:
    """Those that are no UTF-8 do not go in, and that is told before the clock starts."""
    workload = make_workload((1, "n"), "BYTES", low=1, high=5)
    target: Any = open_target(words.parse("onnx://cpu"), workload, model("Identity", TensorProto.STRING))
    assert target.probe().inputs[0].datatype == "BYTES"
    texts = np.array([["ä".encode(), b"b", b""]], np.object_)
    reply = target.caller([{"x": texts}])(0, 0)
    assert reply.verdict == FINE
    assert target.outputs(reply.answer)["y"].tolist() == texts.tolist()
    with pytest.raises(UsageError, match=r"payload\.inputs\.x: ONNX Runtime takes no texts from Python but UTF-8"):
        target.caller([{"x": np.array([[b"\xff"]], np.object_)}])


def test_an_output_of_another_shape_than_the_model_states_is_wrong(model: Callable[..., Path]) -> None:
    """Dimensions that have the name of an input's are as long as that one."""
    workload = make_workload((2, 4))
    target: Any = open_target(words.parse("onnx://cpu"), workload, model("Transpose"))
    reply = target.caller(payloads.make(workload))(0, 0)
    assert ERRORS[reply.verdict.error] == "shape"
    assert reply.verdict.message == "answered [(4, 2)]; expected [(2, 4)]"


def test_a_file_that_is_no_model_is_told_in_one_line(tmp_path: Path) -> None:
    """ONNX Runtime's own words, after the target's."""
    (tmp_path / "model.onnx").write_bytes(b"nonsense")
    with pytest.raises(RunError, match=r"^target onnx://cpu: [^\n]*model\.onnx[^\n]*$"):
        open_target(words.parse("onnx://cpu"), make_workload((1, 4)), tmp_path / "model.onnx")
