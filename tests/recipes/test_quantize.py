"""Matrices in fewer bits."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from bench.errors import UsageError
from bench.recipes import onnx_file, quantize
from bench.recipes.graph import Architecture, Graph, Port, trace
from bench.recipes.weights import WHOLE, Weight, seeded

values = st.floats(-1000, 1000, width=32)
matrices = arrays.arrays(np.float32, st.tuples(st.integers(1, 4), st.sampled_from([16, 32, 48])), elements=values)
bits_of = {"int4": 4, "int8": 8}


def from_blocks(stored: np.ndarray, scales: np.ndarray, bits: int) -> np.ndarray:
    """What the operators make of stored blocks, in numpy."""
    if bits == 4:
        stored = np.stack([stored & 15, stored >> 4], -1).reshape(*stored.shape[:2], -1)
    return np.asarray((stored.astype(np.float32) - 2 ** (bits - 1)) * scales[..., None]).reshape(len(stored), -1)


@given(matrices, st.sampled_from([4, 8]))
def test_blocks_come_back_within_half_a_step(matrix: np.ndarray, bits: int) -> None:
    """A step is the block's farthest value from 0 by 7 or 127."""
    stored, scales = quantize.to_blocks(matrix, bits, 16)
    off = np.abs(from_blocks(stored, scales, bits) - matrix).reshape(len(matrix), -1, 16)
    assert (off <= 0.5001 * scales[..., None] + 1e-27).all()
    np.testing.assert_allclose(scales * (2 ** (bits - 1) - 1), np.abs(matrix.reshape(off.shape)).max(-1), rtol=1e-6, atol=1e-30)


@given(matrices, st.sampled_from([4, 8]))
def test_the_farthest_value_of_a_block_is_kept(matrix: np.ndarray, bits: int) -> None:
    """Large weights matter most: the largest comes back as it was, up to float32."""
    stored, scales = quantize.to_blocks(matrix, bits, 16)
    back = from_blocks(stored, scales, bits).reshape(len(matrix), -1, 16)
    np.testing.assert_allclose(np.abs(back).max(-1), np.abs(matrix.reshape(back.shape)).max(-1), rtol=1e-6, atol=1e-27)


@given(matrices, st.sampled_from([4, 8]))
def test_rows_are_stored_apart_from_one_another(matrix: np.ndarray, bits: int) -> None:
    """A matrix may be converted in pieces."""
    whole = quantize.to_blocks(matrix, bits, 16)
    rows = [quantize.to_blocks(row[None], bits, 16) for row in matrix]
    for n in (0, 1):
        np.testing.assert_array_equal(whole[n], np.concatenate([row[n] for row in rows]))


@given(st.integers(1, 5), st.sampled_from([16, 64, 128]), st.floats(1e-3, 1e3))
def test_seeded_values_of_15_levels_lose_nothing_in_4_bits(rows: int, size: int, std: float) -> None:
    """Where a block has one of the farthest values, which one of 128 lacks once in 7,000."""
    matrix = seeded(0)(Weight("w", (rows, 256), std, levels=15), WHOLE)
    kept = np.abs(matrix.reshape(-1, size)).max(-1) == np.abs(matrix).max()
    back = from_blocks(*quantize.to_blocks(matrix, 4, size), 4)
    np.testing.assert_allclose(back.reshape(-1, size)[kept], matrix.reshape(-1, size)[kept], rtol=1e-6)
    assert kept.mean() > 0.5


@given(matrices)
def test_channels_come_back_within_half_a_step(matrix: np.ndarray) -> None:
    """Bytes lie as MatMulInteger wants them, [in, out], with a scale for each output."""
    stored, scales = quantize.to_channels(matrix)
    back = ((stored.astype(np.float32) - 128) * scales).T
    assert (np.abs(back - matrix) <= 0.5001 * scales[:, None] + 1e-27).all()


@pytest.mark.parametrize(("width", "size"), [(1536, 128), (8960, 128), (64, 64), (96, 32), (48, 16)])
def test_the_block_is_the_largest_that_divides_a_row(width: int, size: int) -> None:
    """128 where it can be."""
    assert quantize.block_size(width) == size


def test_rows_that_no_block_divides_are_refused() -> None:
    """The smallest that the operators take is 16."""
    with pytest.raises(UsageError, match="rows of 40 values cannot be stored in blocks: expected a multiple of 16"):
        quantize.block_size(40)


OUT, WIDTH = 24, 64


def table(graph: Graph, x: str, ids: str) -> list[str]:
    """One matrix, both multiplied by and looked up in."""
    matrix = quantize.blocks(graph, "w", (OUT, WIDTH), 1.0)
    return [quantize.multiply(graph, x, matrix), quantize.rows(graph, matrix, ids)]


TABLE = Architecture(
    inputs=(Port("x", "FP32", ("batch", WIDTH)), Port("ids", "INT64", ("batch",))),
    outputs=(Port("product", "FP32", ("batch", OUT)), Port("rows", "FP32", ("batch", WIDTH))),
    body=table,
)


@pytest.mark.parametrize("precision", ["int4", "int8"])
def test_the_operators_read_blocks_as_they_are_stored(precision: str, tmp_path: Path) -> None:
    """Rows come back exactly as numpy restores them; products with them within the 8 bits that activations are given."""
    onnx_file.write(tmp_path, "table", TABLE, trace(TABLE, precision), seeded(0))
    matrix = seeded(0)(Weight("w", (OUT, WIDTH), 1.0), WHOLE)
    bits = bits_of[precision]
    restored = from_blocks(*quantize.to_blocks(matrix, bits, WIDTH), bits)
    x = seeded(1)(Weight("x", (5, WIDTH), 1.0), WHOLE)
    ids = np.array([3, 0, 23, 3, 7])
    product, rows = onnxruntime.InferenceSession(tmp_path / "model.onnx").run(None, {"x": x, "ids": ids})
    np.testing.assert_array_equal(rows, restored[ids])
    assert np.abs(product - x @ restored.T).max() < 0.01 * np.abs(product).max()
    assert (tmp_path / "weights.bin").stat().st_size == 4096 + OUT * 4  # one matrix, although it is used twice


DYNAMIC = Architecture(
    inputs=(Port("x", "FP32", ("batch", "n", WIDTH)),),
    outputs=(Port("product", "FP32", ("batch", "n", OUT)),),
    body=lambda graph, x: [quantize.multiply_dynamically(graph, x, "w", (OUT, WIDTH), 1.0)],
)


def test_a_dynamic_product_is_near_that_in_floats(tmp_path: Path) -> None:
    """Weights and activations in 8 bits each, of activations that are not centered and of weights of unequal channels."""
    matrix = seeded(0)(Weight("w", (OUT, WIDTH), 1.0), WHOLE) * np.logspace(-3, 3, OUT, dtype=np.float32)[:, None]
    onnx_file.write(tmp_path, "dynamic", DYNAMIC, trace(DYNAMIC, "int8"), lambda weight, rows: matrix)
    x = seeded(1)(Weight("x", (2, 5, WIDTH), 1.0, mean=1.0), WHOLE)
    (product,) = onnxruntime.InferenceSession(tmp_path / "model.onnx").run(None, {"x": x})
    expected = x @ matrix.T
    assert (np.abs(product - expected).max((0, 1)) < 0.02 * np.abs(expected).max((0, 1))).all()


@pytest.mark.parametrize("rows", [1, 2, 5])
@pytest.mark.parametrize("kind", ["int4", "int8", "dynamic"])
def test_the_largest_products_are_added_up_exactly(kind: str, rows: int, tmp_path: Path) -> None:
    """On every CPU: one without VNNI adds some of them up in 16 bits, in which a few of the largest would saturate."""
    matrix = np.where(np.arange(OUT)[:, None] < OUT // 2, 1.0, -1.0).astype(np.float32) * np.ones(WIDTH, np.float32)
    architecture, precision = (DYNAMIC, "int8") if kind == "dynamic" else (TABLE, kind)
    onnx_file.write(tmp_path, "extremes", architecture, trace(architecture, precision), lambda weight, rows: matrix)
    x = np.full((rows, WIDTH), 255.0, np.float32)
    given = {"x": x[None]} if kind == "dynamic" else {"x": x, "ids": np.zeros(rows, np.int64)}
    product = onnxruntime.InferenceSession(tmp_path / "model.onnx").run(["product"], given)[0]
    np.testing.assert_allclose(product.reshape(rows, OUT), x @ matrix.T, rtol=1e-6)
