"""Matrices in fewer bits: how they are stored, and the operators that multiply by them."""

from dataclasses import dataclass

import numpy as np

from bench.errors import UsageError
from bench.recipes.graph import MICROSOFT, Graph, Stored, Tensor
from bench.recipes.weights import Weight

BLOCK = 128  # values of a row that share a scale
SMALLEST_BLOCK = 16  # that ONNX Runtime's operators take
BITS = {"int4": 4, "int8": 8}
ZERO = 128  # the unsigned byte that stands for 0


@dataclass(frozen=True, slots=True)
class Blocks:
    """A matrix [out, in] in the graph, in blocks of `size` values along its rows with a scale each."""

    data: str
    scales: str
    shape: tuple[int, int]
    bits: int
    size: int


def blocks(graph: Graph, name: str, shape: tuple[int, int], std: float, levels: int = 0) -> Blocks:
    """Ask for a matrix (see `Weight`) in the bits of the graph's precision; symmetric, so that it needs no zero points."""
    bits, size = BITS[graph.precision], block_size(shape[1])
    stored = Stored(
        Weight(name, shape, std, levels=levels),
        (
            Tensor(f"{name}.blocks", np.dtype(np.uint8), (shape[0], shape[1] // size, size * bits // 8)),
            Tensor(f"{name}.scales", np.dtype(np.float32), (shape[0], shape[1] // size)),
        ),
        lambda rows: to_blocks(rows, bits, size),
    )
    data, scales = graph.store(stored)
    return Blocks(data, scales, shape, bits, size)


def block_size(width: int) -> int:
    """The largest block that a row of `width` values divides into; UsageError where the operators have none so small."""
    size = min(BLOCK, width & -width)
    if size < SMALLEST_BLOCK:
        raise UsageError(f"a matrix with rows of {width} values cannot be stored in blocks: expected a multiple of 16")
    return size


def multiply(graph: Graph, x: str, matrix: Blocks) -> str:
    """x @ matrix transposed."""
    out, width = matrix.shape
    return graph.node(
        "MatMulNBits",
        x,
        matrix.data,
        matrix.scales,
        domain=MICROSOFT,
        K=width,
        N=out,
        bits=matrix.bits,
        block_size=matrix.size,
        accuracy_level=4,  # activations in 8 bits, which is what makes it fast; 0 would be exact
    )[0]


def rows(graph: Graph, matrix: Blocks, ids: str) -> str:
    """The rows of `matrix` that `ids` name, as floats, out of the same bytes that `multiply` reads."""
    flat = graph.alias(matrix.data, (matrix.shape[0], matrix.shape[1] * matrix.bits // 8))
    return graph.node(
        "GatherBlockQuantized",
        flat,
        ids,
        matrix.scales,
        domain=MICROSOFT,
        bits=matrix.bits,
        block_size=matrix.size,
        gather_axis=0,
        quantize_axis=1,
    )[0]


def multiply_dynamically(graph: Graph, x: str, name: str, shape: tuple[int, int], std: float) -> str:
    """x @ the matrix [out, in] `name` transposed, x in 8 bits by the range it has at each call; plain operators."""
    out, width = shape
    stored = Stored(
        Weight(name, shape, std),
        (Tensor(f"{name}.bytes", np.dtype(np.uint8), (width, out)), Tensor(f"{name}.scales", np.dtype(np.float32), (out,))),
        to_channels,
        whole=True,
    )
    matrix, scales = graph.store(stored)
    activations, scale, zero = graph.node("DynamicQuantizeLinear", x, outputs=3)
    # unsigned, because CPUs without VNNI add products of unsigned and signed bytes up in 16 bits, where they saturate
    product = graph.MatMulInteger(activations, matrix, zero, graph.constant(np.uint8(ZERO)))
    return graph.Mul(graph.Cast(product, to=graph.float_type), graph.Mul(scale, scales))


def to_channels(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(bytes [in, out], float32 scales [out]) of a float32 matrix [out, in]; a value is (byte - 128) * its row's scale."""
    scales = np.abs(values).max(1) / np.float32(127)
    steps = np.rint(values * _inverse(scales)[:, None]) + np.float32(ZERO)
    return np.ascontiguousarray(steps.astype(np.uint8).T), scales


def to_blocks(values: np.ndarray, bits: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """(bytes [rows, blocks, size * bits / 8], float32 scales [rows, blocks]) of float32 rows.

    A value is (stored - 2**(bits - 1)) * scale, and those of a block lie symmetrically about 0.
    """
    cut = values.reshape(len(values), -1, size)
    middle = 2 ** (bits - 1)
    scales = np.maximum(cut.max(-1), -cut.min(-1)) / np.float32(middle - 1)
    steps = cut * _inverse(scales)[..., None]
    np.rint(steps, out=steps)
    steps += np.float32(middle)
    stored = steps.astype(np.uint8)
    return (stored if bits == 8 else stored[..., ::2] | stored[..., 1::2] << 4), scales


def _inverse(scales: np.ndarray) -> np.ndarray:
    """1 / scale; 0 where the values are all 0, or so small that float32 could not hold it."""
    inverse: np.ndarray = np.divide(np.float32(1), scales, out=np.zeros_like(scales), where=np.abs(scales) > np.float32(1e-30))
    return inverse
