"""The graph layer: a model's architecture, and its nodes, weights and constants as they are asked for."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, defs, helper

from bench.recipes.weights import Weight
from bench.tensors import TensorSpec

OPSET, IR = 17, 8  # with plain operators these load in ONNX Runtime 1.18 (Triton 24.07's) as in 1.32
MICROSOFT = "com.microsoft"  # ONNX Runtime's own operators


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output in the ONNX file; a dimension is a size, or the name of a free one."""

    name: str
    datatype: str
    dims: tuple[int | str, ...]
    native: bool = False  # FP32 becomes FP16 in fp16; other ports keep FP32 outside and are cast

    def kind(self, precision: str) -> str:
        """The data type of a model in this precision."""
        return "FP16" if self.native and precision == "fp16" and self.datatype == "FP32" else self.datatype


@dataclass(frozen=True, slots=True)
class Architecture:
    """One size of a model. `body(graph, *input names)` adds the nodes and returns the values of the outputs in order."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    body: Callable[..., Sequence[str]]
    served: Mapping[str, int] = field(default_factory=dict)  # free dimensions that a server's configuration fixes
    largest: Mapping[str, int] = field(default_factory=dict)  # sizes of free dimensions that the model cannot exceed
    context: int = 0  # tokens a prompt and its answer may have together; 0 where the model does not generate
    metadata: Mapping[str, str] = field(default_factory=dict)  # what the ONNX file says of itself

    def spec(self, port: Port, precision: str = "fp32") -> TensorSpec:
        """The port as it is served: dimensions that stay free are -1."""
        shape = tuple(self.served.get(d, -1) if isinstance(d, str) else d for d in port.dims)
        return TensorSpec(port.name, port.kind(precision), shape)

    def limits(self) -> tuple[TensorSpec, ...]:
        """The inputs with the largest size of each dimension, -1 where it may be any."""
        return tuple(
            TensorSpec(p.name, p.datatype, tuple(self.largest.get(d, -1) if isinstance(d, str) else d for d in p.dims))
            for p in self.inputs
        )


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor in the file of weights."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Bytes in the file."""
        return self.dtype.itemsize * int(np.prod(self.shape, dtype=np.int64))


@dataclass(frozen=True, slots=True)
class Stored:
    """What the file holds of a weight. `convert` turns its float32 rows into each tensor's share of them."""

    weight: Weight
    tensors: tuple[Tensor, ...]
    convert: Callable[[np.ndarray], Sequence[np.ndarray]]
    whole: bool = False  # all rows at once, because a tensor's bytes do not lie in the order of the weight's rows


class Graph:
    """Nodes and weights in the making: `graph.Conv(x, w, strides=[1, 1])` adds that operator and returns its output's name."""

    def __init__(self, precision: str = "fp32") -> None:
        self.precision = precision
        self.nodes: list[NodeProto] = []
        self.stored: dict[str, Stored] = {}  # by the name of the weight
        self.constants: dict[str, np.ndarray] = {}
        self.aliases: dict[str, tuple[str, tuple[int, ...]]] = {}  # name -> tensor whose bytes it has, and its own shape

    @property
    def float_dtype(self) -> np.dtype[Any]:
        """What weights and arithmetic are in where they are floats."""
        return np.dtype(np.float16 if self.precision == "fp16" else np.float32)

    @property
    def float_type(self) -> int:
        """The same as ONNX numbers it, for Cast."""
        return int(helper.np_dtype_to_tensor_dtype(self.float_dtype))

    def __getattr__(self, operator: str) -> Callable[..., str]:
        if not defs.has(operator, OPSET):
            raise AttributeError(f"ONNX has no operator {operator!r}")

        def add(*inputs: str, **attributes: Any) -> str:
            return self.node(operator, *inputs, **attributes)[0]

        return add

    def node(self, operator: str, *inputs: str, outputs: int = 1, domain: str = "", **attributes: Any) -> tuple[str, ...]:
        """Add an operator of any domain and return the names of its outputs; an input "" is one that is left out."""
        name = f"{operator}_{len(self.nodes)}"
        names = (name, *(f"{name}_{n}" for n in range(1, outputs)))
        self.nodes.append(helper.make_node(operator, inputs, names, name=name, domain=domain, **attributes))
        return names

    def constant(self, value: object) -> str:
        """A value that is no weight: floats get the type of the arithmetic, whole numbers INT64, other arrays stay."""
        array = np.asarray(value)
        if array.dtype.kind == "f":
            array = array.astype(self.float_dtype)
        for name, known in self.constants.items():
            if known.dtype == array.dtype and known.shape == array.shape and np.array_equal(known, array):
                return name
        name = f"constant_{len(self.constants)}"
        self.constants[name] = array
        return name

    def weight(
        self,
        name: str,
        shape: tuple[int, ...],
        *,
        std: float = 0.0,
        mean: float = 0.0,
        centered: bool = False,
        trained: bool = True,
        levels: int = 0,
        transposed: bool = False,
    ) -> str:
        """Ask for a tensor (see `Weight`) and return its name. It is made only when the file is written.

        `transposed`: a matrix [out, in], as checkpoints have it, that lies in the file as MatMul wants it, [in, out].
        """
        weight = Weight(name, shape, std, mean, centered, trained, levels)
        dtype = self.float_dtype
        tensor = Tensor(name, dtype, shape[::-1] if transposed else shape)

        def convert(rows: np.ndarray) -> tuple[np.ndarray, ...]:
            return (np.ascontiguousarray(rows.T if transposed else rows, dtype),)

        return self.store(Stored(weight, (tensor,), convert, whole=transposed))[0]

    def store(self, stored: Stored) -> tuple[str, ...]:
        """Ask for a weight in a form of its own and return the names of its tensors."""
        if stored.weight.name in self.stored:
            raise ValueError(f"weight {stored.weight.name!r} was asked for twice")
        self.stored[stored.weight.name] = stored
        return tuple(tensor.name for tensor in stored.tensors)

    def alias(self, tensor: str, shape: tuple[int, ...]) -> str:
        """Another name for the bytes of a tensor, seen in another shape."""
        name = f"{tensor}.{'x'.join(map(str, shape))}"
        self.aliases[name] = (tensor, shape)
        return name

    @property
    def weights(self) -> dict[str, Weight]:
        """What was asked for, by name."""
        return {name: stored.weight for name, stored in self.stored.items()}

    def parameters(self) -> int:
        """Trained values, as papers and model cards count them."""
        return sum(weight.count for weight in self.weights.values() if weight.trained)

    def nbytes(self) -> int:
        """Bytes of all weights and constants in this precision."""
        weights = sum(tensor.nbytes for stored in self.stored.values() for tensor in stored.tensors)
        return weights + sum(array.nbytes for array in self.constants.values())


def trace(architecture: Architecture, precision: str = "fp32") -> Graph:
    """The graph of `architecture`, no weight made yet."""
    graph = Graph(precision)

    def is_cast(port: Port) -> bool:
        return precision == "fp16" and port.kind(precision) == "FP32"

    inputs = [graph.Cast(port.name, to=graph.float_type) if is_cast(port) else port.name for port in architecture.inputs]
    values = architecture.body(graph, *inputs)
    renamed: dict[str, str] = {}
    for value, port in zip(values, architecture.outputs, strict=True):
        if is_cast(port):
            renamed[graph.Cast(value, to=TensorProto.FLOAT)] = port.name
        elif value in inputs or value in renamed:
            renamed[graph.Identity(value)] = port.name
        else:
            renamed[value] = port.name
    for node in graph.nodes:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        node.output[:] = [renamed.get(name, name) for name in node.output]
    return graph
