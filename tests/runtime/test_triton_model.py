"""The model for Triton's Python backend, under a stand-in for the backend's own module."""

import importlib.util
import json
import shutil
import subprocess
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.runtime import copy_beside, session

RUNTIME = Path(session.__file__).parent


@dataclass
class Tensor:
    """A tensor as the backend hands it over."""

    name: str
    array: np.ndarray

    def as_numpy(self) -> np.ndarray:
        return self.array


@dataclass
class Request:
    """A request as the backend hands it over."""

    tensors: dict[str, np.ndarray]
    wanted: list[str] = field(default_factory=lambda: ["scaled", "total"])

    def requested_output_names(self) -> list[str]:
        return self.wanted


@dataclass
class Response:
    """What the model answers."""

    output_tensors: list[Tensor] = field(default_factory=list)
    error: Exception | None = None


def backend_module() -> types.ModuleType:
    """What `import triton_python_backend_utils` finds inside Triton, as far as the model uses it."""
    module: Any = types.ModuleType("triton_python_backend_utils")

    def get(request: Request, name: str) -> Tensor | None:
        return Tensor(name, request.tensors[name]) if name in request.tensors else None

    module.Tensor, module.InferenceResponse, module.TritonError = Tensor, Response, RuntimeError
    module.get_input_tensor_by_name = get
    return module  # type: ignore[no-any-return]


@pytest.fixture
def load(tmp_path: Path, onnx_file: Path, padded_onnx_file: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Loads the model as the backend does, from its folder in a repository, and counts its session's runs in `runs`."""

    def initialized(max_batch: int = 8, padded: bool = False, **parameters: str) -> Any:
        shutil.copy(RUNTIME / "triton_model.py", tmp_path / "model.py")
        shutil.copy(padded_onnx_file if padded else onnx_file, tmp_path / parameters.get("onnx_file", "model.onnx"))
        monkeypatch.setitem(sys.modules, "triton_python_backend_utils", backend_module())
        spec = importlib.util.spec_from_file_location("triton_model_copy", tmp_path / "model.py")
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        model = module.TritonPythonModel()
        parameters |= {"threads": "1"} | ({"padded": "true"} if padded else {})
        config = {
            "max_batch_size": max_batch,
            "input": [{"name": name} for name in (("x", "mask") if padded else ("x", "k"))],
            "output": [{"name": name} for name in (("distance", "mean") if padded else ("scaled", "total"))],
            "parameters": {key: {"string_value": value} for key, value in parameters.items()},
        }
        model.initialize({"model_config": json.dumps(config), "model_instance_kind": "CPU", "model_instance_device_id": "0"})
        model.runs = []
        model.sizes_met = [set() for _ in model._sessions]

        class Counted:
            def __init__(self, session: Any, met: set[int]) -> None:
                self._session, self._met = session, met

            def run(self, names: list[str], feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
                model.runs.append(len(feeds["x"]))
                self._met.add(len(feeds["x"]))
                return self._session.run(names, feeds)  # type: ignore[no-any-return]

        model._sessions = list(map(Counted, model._sessions, model.sizes_met))
        return model

    return initialized


def request(batch: int, width: int, first: int = 0) -> Request:
    """A request whose values no other request with a distant `first` has; all products are exact in 24 bits."""
    x = np.arange(first, first + batch * width, dtype=np.float32).reshape(batch, width)
    return Request({"x": x, "k": np.arange(first + 1, first + 1 + batch).reshape(batch, 1)})


def check(response: Response, asked: Request) -> None:
    """The response answers this very request."""
    scaled = asked.tensors["x"] * asked.tensors["k"]
    assert response.error is None
    assert [tensor.name for tensor in response.output_tensors] == ["scaled", "total"]
    np.testing.assert_array_equal(response.output_tensors[0].array, scaled)
    np.testing.assert_array_equal(response.output_tensors[1].array, scaled.sum(axis=1, keepdims=True))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 3)), min_size=1, max_size=8))
def test_requests_of_one_shape_run_as_one_batch_and_each_gets_its_own_rows(
    load: Callable[..., Any], shapes: list[tuple[int, int]]
) -> None:
    """Whatever mixture of sizes and widths comes: one run for each width, and nobody gets another's answer."""
    model = load()
    requests = [request(batch, width, first=100 * n) for n, (batch, width) in enumerate(shapes)]
    for response, asked in zip(model.execute(requests), requests, strict=True):
        check(response, asked)
    widths = {width for _, width in shapes}
    assert sorted(model.runs) == sorted(sum(b for b, w in shapes if w == width) for width in widths)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(1, 3), min_size=1, max_size=3), min_size=1, max_size=4))
def test_with_batch_sizes_no_session_meets_two_of_them(load: Callable[..., Any], batches: list[list[int]]) -> None:
    """Up to 4 rows each batch has the next larger size, filled up; everybody gets their own rows all the same."""
    model = load(batch_sizes="1,2,4")
    for rows in batches:
        requests = [request(batch, 2, first=100 * n) for n, batch in enumerate(rows)]
        for response, asked in zip(model.execute(requests), requests, strict=True):
            check(response, asked)
    assert model.runs == [next(size for size in (1, 2, 4, sum(rows)) if size >= sum(rows)) for rows in batches]
    if all(sum(rows) <= 4 for rows in batches):
        assert all(met <= {size} for met, size in zip(model.sizes_met, (1, 2, 4), strict=True))


def test_without_a_batch_dimension_nothing_is_joined(load: Callable[..., Any]) -> None:
    """max_batch_size 0 says that the first dimension is not a batch."""
    model = load(max_batch=0)
    requests = [request(2, 3), request(2, 3, first=100)]
    for response, asked in zip(model.execute(requests), requests, strict=True):
        check(response, asked)
    assert model.runs == [2, 2]


def test_a_request_that_fails_fails_alone(load: Callable[..., Any]) -> None:
    """An input that is missing, or of a shape that the model refuses, is that request's error and no other's."""
    model = load()
    missing, refused = Request({"x": np.ones((1, 3), np.float32)}), request(2, 3)
    refused.tensors["k"] = np.ones((2, 2), np.int64)
    good = request(1, 3)
    answers = model.execute([missing, refused, good])
    assert "AttributeError" in str(answers[0].error)
    assert "InvalidArgument" in str(answers[1].error)
    check(answers[2], good)


def test_only_the_outputs_that_were_asked_for_are_sent(load: Callable[..., Any]) -> None:
    """What nobody wants is not copied through shared memory."""
    model = load()
    asked = request(1, 2)
    asked.wanted = ["total"]
    (response,) = model.execute([asked])
    assert [tensor.name for tensor in response.output_tensors] == ["total"]


def test_a_file_of_another_name_can_be_served(load: Callable[..., Any], tmp_path: Path) -> None:
    """The parameter onnx_file names it, from the model's folder or from the root."""
    asked = request(1, 2)
    check(load(onnx_file="other.onnx").execute([asked])[0], asked)
    check(load(onnx_file=str(tmp_path / "far.onnx")).execute([asked])[0], asked)


LENGTHS = st.lists(st.tuples(st.integers(1, 3), st.integers(1, 7)), min_size=1, max_size=8)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(LENGTHS, st.integers(0, 100))
def test_requests_of_any_length_run_as_one_batch_where_the_model_is_padded(
    load: Callable[..., Any], shapes: list[tuple[int, int]], seed: int
) -> None:
    """Each answer is what it is alone, and as long as its request."""
    draw = np.random.default_rng(seed)
    requests = []
    for batch, length in shapes:
        mask = draw.integers(0, 2, (batch, length))
        mask[:, draw.integers(length)] = 1
        tensors: dict[str, np.ndarray] = {"x": draw.integers(0, 8, (batch, length)).astype(np.float32), "mask": mask}
        requests.append(Request(tensors, ["distance", "mean"]))
    model = load(padded=True)
    together = model.execute(requests)
    assert model.runs == [sum(batch for batch, _ in shapes)]
    for asked, answered in zip(requests, together, strict=True):
        (alone,) = model.execute([asked])
        for ours, theirs in zip(answered.output_tensors, alone.output_tensors, strict=True):
            np.testing.assert_array_equal(ours.array, theirs.array)
        assert [tensor.array.shape for tensor in answered.output_tensors] == [
            asked.tensors["x"].shape,
            (len(asked.tensors["x"]), 1),
        ]


def test_requests_of_different_lengths_run_apart_where_the_model_is_not_padded(load: Callable[..., Any]) -> None:
    """What a model without a mask would make of zeros is anybody's guess."""
    model = load()
    requests = [request(1, 2), request(1, 3), request(2, 2)]
    for response, asked in zip(model.execute(requests), requests, strict=True):
        check(response, asked)
    assert sorted(model.runs) == [1, 3]


def test_beside_a_model_the_code_runs_without_the_rest_of_bench(tmp_path: Path, onnx_file: Path) -> None:
    """In an interpreter that has the libraries and the model's folder, as in Triton's own environment."""
    for name in ("triton_model", "triton_stream_model"):
        version = tmp_path / name
        version.mkdir()
        copy_beside(name, version)
        (version / "triton_python_backend_utils.py").write_text("TRITONSERVER_RESPONSE_COMPLETE_FINAL = 1")
        libraries = [str(Path(library.__path__[0]).parent) for library in (np, onnxruntime)]
        code = f"import sys; sys.path += [{str(version)!r}, *{libraries!r}]; import model; from bench.runtime import session"
        code += "; print(session.__file__); import bench.errors"
        found = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False)
        assert found.stdout.strip() == str(version / "bench" / "runtime" / "session.py")
        assert found.stderr.strip().endswith("No module named 'bench.errors'")


def test_inputs_that_disagree_in_length_are_refused_as_they_are_alone(load: Callable[..., Any]) -> None:
    """Padding must neither hide the mistake nor make it that of the others in the batch."""
    wrong = Request({"x": np.ones((1, 5), np.float32), "mask": np.ones((1, 7), np.int64)}, ["mean"])
    fine = Request({"x": np.ones((1, 7), np.float32), "mask": np.ones((1, 7), np.int64)}, ["mean"])
    refused, answered = load(padded=True).execute([wrong, fine])
    assert refused.error is not None
    assert answered.error is None
