"""The graph layer."""

import numpy as np
import pytest
from onnx import helper

from bench.recipes.graph import Architecture, Graph, Port, Stored, Tensor, trace
from bench.recipes.weights import Weight
from bench.tensors import TensorSpec


def body(graph: Graph, x: str, y: str) -> list[str]:
    """x @ w + b, and y."""
    product = graph.MatMul(x, graph.weight("w", (3, 2), std=1.0))
    return [graph.Add(product, graph.weight("b", (2,), trained=False)), y]


LINEAR = Architecture(
    inputs=(Port("x", "FP32", ("batch", 3)), Port("y", "FP32", ("batch", "length"), native=True)),
    outputs=(Port("sum", "FP32", ("batch", 2)), Port("same", "FP32", ("batch", "length"), native=True)),
    body=body,
    served={"length": 7},
)


def operators(graph: Graph) -> list[tuple[str, list[str], list[str]]]:
    """Each node as (operator, inputs, outputs)."""
    return [(node.op_type, list(node.input), list(node.output)) for node in graph.nodes]


def test_outputs_bear_the_names_of_their_ports() -> None:
    """A value that a node makes is renamed, so that no copy of it is made; only an input that is an output is copied."""
    assert operators(trace(LINEAR)) == [
        ("MatMul", ["x", "w"], ["MatMul_0"]),
        ("Add", ["MatMul_0", "b"], ["sum"]),
        ("Identity", ["y"], ["same"]),
    ]


def test_a_value_that_is_an_output_is_still_read_by_its_name() -> None:
    """An output that other nodes read, and that is asked for twice."""
    architecture = Architecture(
        inputs=(Port("x", "FP32", ("batch",)),),
        outputs=tuple(Port(name, "FP32", ("batch",)) for name in ("once", "after", "twice")),
        body=lambda graph, x: [first := graph.Neg(x), graph.Abs(first), first],
    )
    assert operators(trace(architecture)) == [
        ("Neg", ["x"], ["once"]),
        ("Abs", ["once"], ["after"]),
        ("Identity", ["once"], ["twice"]),
    ]


def test_fp16_is_inside_and_fp32_outside() -> None:
    """Inputs and outputs are cast where they come in and go out; native ones have the type of the arithmetic themselves."""
    graph = trace(LINEAR, "fp16")
    assert [operator for operator, _, _ in operators(graph)] == ["Cast", "MatMul", "Add", "Cast", "Identity"]
    assert [port.kind("fp16") for port in LINEAR.inputs] == ["FP32", "FP16"]
    assert LINEAR.spec(LINEAR.inputs[1], "fp16") == TensorSpec("y", "FP16", (-1, 7))
    assert graph.stored["w"].tensors[0].dtype == np.float16


def test_ports_are_fixed_as_served() -> None:
    """The served shape has the size that a named dimension is fixed to, else -1."""
    assert [LINEAR.spec(port) for port in LINEAR.inputs] == [TensorSpec("x", "FP32", (-1, 3)), TensorSpec("y", "FP32", (-1, 7))]


@pytest.mark.parametrize(("precision", "nbytes"), [("fp32", 32), ("fp16", 16)])
def test_only_trained_weights_are_parameters_and_all_have_bytes(precision: str, nbytes: int) -> None:
    """w has 6 trained values, b 2 that are not: 6 parameters, and 32 bytes, or 16 in fp16."""
    graph = trace(LINEAR, precision)
    assert graph.parameters() == 6
    assert graph.nbytes() == nbytes


def test_a_weight_stored_in_a_form_of_its_own_counts_its_own_bytes() -> None:
    """A matrix of 8 values in half a byte each and one scale has 8 parameters and 8 bytes."""
    graph = Graph()
    tensors = (Tensor("w.q", np.dtype(np.uint8), (4,)), Tensor("w.s", np.dtype(np.float32), (1,)))
    assert graph.store(Stored(Weight("w", (2, 4)), tensors, lambda rows: ())) == ("w.q", "w.s")
    assert (graph.parameters(), graph.nbytes()) == (8, 8)


def test_a_transposed_weight_is_stored_the_other_way_round() -> None:
    """A checkpoint's [out, in] becomes [in, out], which needs all of its rows at once."""
    graph = Graph()
    graph.weight("w", (2, 3), transposed=True)
    stored = graph.stored["w"]
    assert stored.whole
    assert stored.tensors[0].shape == (3, 2)
    assert stored.convert(np.arange(6, dtype=np.float32).reshape(2, 3))[0].tolist() == [[0, 3], [1, 4], [2, 5]]


def test_equal_constants_are_one_and_floats_have_the_type_of_the_arithmetic() -> None:
    """1 and 1.0 are two constants; 1.0 twice is one, in float16 where the arithmetic is."""
    graph = Graph("fp16")
    assert graph.constant(1.0) == graph.constant(np.float32(1.0)) != graph.constant(1)
    assert [array.dtype for array in graph.constants.values()] == [np.float16, np.int64]
    assert graph.constant(np.uint8(1)) != graph.constant(1)


def test_a_node_of_another_domain_may_have_several_outputs() -> None:
    """What ONNX does not define is asked for by name and domain; a left-out input is the empty name."""
    graph = Graph()
    names = graph.node("Split3", "x", "", "y", outputs=3, domain="com.microsoft", axis=1)
    assert len(set(names)) == 3
    node = graph.nodes[0]
    assert (node.domain, list(node.input), list(node.output)) == ("com.microsoft", ["x", "", "y"], list(names))
    assert helper.get_node_attr_value(node, "axis") == 1


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
