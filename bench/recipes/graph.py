"""The graph layer: a model's architecture, its nodes and weights as they are asked for, and the ONNX file made of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, ValueInfoProto, defs, helper, numpy_helper

from bench.recipes.weights import Source, Weight
from bench.tensors import NUMPY_TYPES, TensorSpec

OPSET, IR = 17, 8  # with plain operators these load in ONNX Runtime 1.18 (Triton 24.07's) as in 1.32


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output in the ONNX file; a dimension is a size, or the name of a free one. The first is "batch"."""

    name: str
    datatype: str
    dims: tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class Architecture:
    """One size of a model. `body(graph, *input names)` adds the nodes and returns the values of the outputs in order."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    body: Callable[..., Sequence[str]]
    served: Mapping[str, int] = field(default_factory=dict)  # free dimensions that a server's configuration fixes

    def spec(self, port: Port) -> TensorSpec:
        """The port as it is served: dimensions that stay free are -1."""
        shape = tuple(self.served.get(d, -1) if isinstance(d, str) else d for d in port.dims)
        return TensorSpec(port.name, port.datatype, shape)


class Graph:
    """Nodes and weights in the making: `graph.Conv(x, w, strides=[1, 1])` adds that operator and returns its output's name."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.weights: dict[str, Weight] = {}

    def __getattr__(self, operator: str) -> Callable[..., str]:
        if not defs.has(operator, OPSET):
            raise AttributeError(f"ONNX has no operator {operator!r}")

        def add(*inputs: str, **attributes: Any) -> str:
            output = f"{operator}_{len(self.nodes)}"
            self.nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
            return output

        return add

    def weight(
        self,
        name: str,
        shape: tuple[int, ...],
        *,
        std: float = 0.0,
        mean: float = 0.0,
        centered: bool = False,
        trained: bool = True,
    ) -> str:
        """Ask for a tensor (see `Weight`) and return its name. It is made only when the file is written."""
        if name in self.weights:
            raise ValueError(f"weight {name!r} was asked for twice")
        self.weights[name] = Weight(name, shape, std, mean, centered, trained)
        return name

    def parameters(self) -> int:
        """Trained values, as papers and model cards count them."""
        return sum(weight.count for weight in self.weights.values() if weight.trained)

    def nbytes(self) -> int:
        """Bytes of all weights in float32."""
        return 4 * sum(weight.count for weight in self.weights.values())


def trace(architecture: Architecture) -> Graph:
    """The graph of `architecture`, no weight made yet."""
    graph = Graph()
    values = architecture.body(graph, *(port.name for port in architecture.inputs))
    for value, port in zip(values, architecture.outputs, strict=True):
        graph.nodes.append(helper.make_node("Identity", [value], [port.name], name=port.name))
    return graph


def serialize(name: str, architecture: Architecture, graph: Graph, source: Source) -> bytes:
    """The ONNX file of a traced graph with weights from `source`; the same arguments give the same bytes."""
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            name,
            [_value_info(port) for port in architecture.inputs],
            [_value_info(port) for port in architecture.outputs],
            [_tensor(weight, source) for weight in graph.weights.values()],
        ),
        producer_name="inference-bench",
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR,
    )
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def _value_info(port: Port) -> ValueInfoProto:
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(NUMPY_TYPES[port.datatype]))
    return helper.make_tensor_value_info(port.name, kind, port.dims)


def _tensor(weight: Weight, source: Source) -> TensorProto:
    array = source(weight)
    if array.shape != weight.shape or array.dtype != np.float32:
        raise ValueError(f"weight {weight.name}: expected float32{list(weight.shape)}, got {array.dtype}{list(array.shape)}")
    return numpy_helper.from_array(np.ascontiguousarray(array), weight.name)
