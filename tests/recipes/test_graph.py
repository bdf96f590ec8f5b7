"""The graph layer."""

import numpy as np
import onnx
import onnxruntime
import pytest

from bench.recipes.graph import Architecture, Graph, Port, serialize, trace
from bench.recipes.weights import Weight, seeded
from bench.tensors import TensorSpec

LINEAR = Architecture(
    inputs=(Port("x", "FP32", ("batch", 3)), Port("y", "FP32", ("batch", "length"))),
    outputs=(Port("sum", "FP32", ("batch", 2)), Port("same", "FP32", ("batch", "length"))),
    body=lambda graph, x, y: [
        graph.Add(graph.MatMul(x, graph.weight("w", (3, 2), std=1.0)), graph.weight("b", (2,), trained=False)),
        graph.Neg(graph.Neg(y)),
    ],
    served={"length": 7},
)


def test_a_file_computes_what_its_body_says() -> None:
    """Two inputs, two outputs: ONNX Runtime gives x @ w + b and y back, under the names of the ports."""
    w, b = np.array([[1, 2], [3, 4], [5, 6]], np.float32), np.array([10, 20], np.float32)
    data = serialize("linear", LINEAR, trace(LINEAR), lambda weight: {"w": w, "b": b}[weight.name])
    x, y = np.array([[1, 0, 2]], np.float32), np.array([[1, 2, 3, 4, 5]], np.float32)
    total, same = onnxruntime.InferenceSession(data).run(["sum", "same"], {"x": x, "y": y})
    assert total.tolist() == [[1 + 10 + 10, 2 + 12 + 20]]
    assert same.tolist() == y.tolist()


def test_a_file_keeps_to_the_opset_and_ir_that_triton_reads() -> None:
    """Opset 17 and IR 8 load in the ONNX Runtime of Triton 24.07; the checker finds nothing wrong in it."""
    model = onnx.load_from_string(serialize("linear", LINEAR, trace(LINEAR), seeded(0)))
    onnx.checker.check_model(model, full_check=True)
    assert model.ir_version == 8
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 17)]


def test_the_same_arguments_give_the_same_bytes() -> None:
    """A build can be told by its hash."""
    first, second = (serialize("linear", LINEAR, trace(LINEAR), seeded(0)) for _ in range(2))
    assert first == second
    assert first != serialize("linear", LINEAR, trace(LINEAR), seeded(1))


def test_ports_are_free_in_the_file_and_fixed_as_served() -> None:
    """A named dimension stays free in the ONNX file; the served shape has the size it is fixed to, else -1."""
    model = onnx.load_from_string(serialize("linear", LINEAR, trace(LINEAR), seeded(0)))
    assert [d.dim_param for d in model.graph.input[1].type.tensor_type.shape.dim] == ["batch", "length"]
    assert [LINEAR.spec(port) for port in LINEAR.inputs] == [TensorSpec("x", "FP32", (-1, 3)), TensorSpec("y", "FP32", (-1, 7))]


def test_only_trained_weights_are_parameters_and_all_have_bytes() -> None:
    """w has 6 trained values, b 2 that are not: 6 parameters, 32 bytes."""
    graph = trace(LINEAR)
    assert graph.parameters() == 6
    assert graph.nbytes() == 32


def test_an_unknown_operator_is_refused_by_name() -> None:
    """A misspelt operator fails where it is written, not when a runtime loads the file."""
    with pytest.raises(AttributeError, match="ONNX has no operator 'Convolve'"):
        Graph().Convolve("x")


def test_a_weight_is_asked_for_once() -> None:
    """Two weights of one name would silently share their values."""
    graph = Graph()
    graph.weight("w", (1,))
    with pytest.raises(ValueError, match="weight 'w' was asked for twice"):
        graph.weight("w", (2,))


@pytest.mark.parametrize("array", [np.zeros((2, 3), np.float32), np.zeros((3, 2), np.float64)])
def test_a_source_that_gives_another_tensor_is_refused(array: np.ndarray) -> None:
    """A checkpoint's tensor of another shape or type never gets into a file."""

    def source(weight: Weight) -> np.ndarray:
        return array if weight.name == "w" else np.zeros(weight.shape, np.float32)

    with pytest.raises(ValueError, match=r"weight w: expected float32\[3, 2\], got float"):
        serialize("linear", LINEAR, trace(LINEAR), source)
