"""The two files of a model."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx.reference import ReferenceEvaluator

from bench.recipes import onnx_file
from bench.recipes.graph import Architecture, Graph, Port, Stored, Tensor, trace
from bench.recipes.weights import Source, Weight, seeded

TABLE = np.arange(600, dtype=np.float32)


def body(graph: Graph, x: str, y: str) -> list[str]:
    """x @ w transposed + b, and y + the first of a large table and of a small constant."""
    total = graph.Add(graph.MatMul(x, graph.weight("w", (2, 3), std=1.0, transposed=True)), graph.weight("b", (2,)))
    first = graph.Gather(graph.constant(TABLE), graph.constant(1))
    return [total, graph.Add(y, first)]


LINEAR = Architecture(
    inputs=(Port("x", "FP32", ("batch", 3)), Port("y", "FP32", ("batch", "length"))),
    outputs=(Port("sum", "FP32", ("batch", 2)), Port("more", "FP32", ("batch", "length"))),
    body=body,
    metadata={"said": "of itself"},
)
# many pieces: a vocabulary of 5 Mi values in rows of 4, in two tensors, with an alias of the first
ROWS = 5 * 2**18


def halves(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first two values of each row, and its last."""
    return np.ascontiguousarray(rows[:, :2]), rows[:, 3].copy()


def large() -> Graph:
    """A graph with one large weight in two tensors, and an alias of the first."""
    graph = Graph()
    tensors = (Tensor("w.a", np.dtype(np.float32), (ROWS, 2)), Tensor("w.b", np.dtype(np.float32), (ROWS,)))
    graph.store(Stored(Weight("w", (ROWS, 4), std=1.0), tensors, halves))
    flat = graph.alias("w.a", (2 * ROWS,))
    graph.nodes.append(onnx.helper.make_node("Concat", ["w.b", flat], ["out"], axis=0))
    return graph


LARGE = Architecture(inputs=(), outputs=(Port("out", "FP32", (3 * ROWS,)),), body=lambda graph: ["out"])


def test_a_file_computes_what_its_body_says(tmp_path: Path) -> None:
    """Two inputs, two outputs: ONNX Runtime gives x @ w^T + b and y + 1 under the names of the ports."""
    values = {"w": np.array([[1, 3, 5], [2, 4, 6]], np.float32), "b": np.array([10, 20], np.float32)}
    onnx_file.write(tmp_path, "linear", LINEAR, trace(LINEAR), lambda weight, rows: values[weight.name][rows])
    x, y = np.array([[1, 0, 2]], np.float32), np.array([[1, 2, 3, 4, 5]], np.float32)
    total, more = onnxruntime.InferenceSession(tmp_path / "model.onnx").run(["sum", "more"], {"x": x, "y": y})
    assert total.tolist() == [[1 + 10 + 10, 2 + 12 + 20]]
    assert more.tolist() == [[2, 3, 4, 5, 6]]


def test_a_file_keeps_to_the_opset_and_ir_that_triton_reads(tmp_path: Path) -> None:
    """Opset 17 and IR 8 load in the ONNX Runtime of Triton 24.07; the checker finds nothing wrong in it."""
    onnx_file.write(tmp_path, "linear", LINEAR, trace(LINEAR), seeded(0))
    onnx.checker.check_model(tmp_path / "model.onnx", full_check=True)
    model = onnx.load(tmp_path / "model.onnx")
    assert model.ir_version == 8
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 17)]
    assert {entry.key: entry.value for entry in model.metadata_props} == {"said": "of itself"}
    assert [d.dim_param for d in model.graph.input[1].type.tensor_type.shape.dim] == ["batch", "length"]


def test_only_small_constants_lie_in_the_model_and_all_else_starts_at_a_page(tmp_path: Path) -> None:
    """A runtime maps what starts at a page, so that processes share it and the start need not read it."""
    onnx_file.write(tmp_path, "linear", LINEAR, trace(LINEAR), seeded(0))
    stored = onnx.load(tmp_path / "model.onnx", load_external_data=False).graph.initializer
    outside = {t.name: {e.key: e.value for e in t.external_data} for t in stored if t.external_data}
    assert sorted(outside) == ["b", "constant_0", "w"]
    assert all(entry["location"] == "weights.bin" and int(entry["offset"]) % 4096 == 0 for entry in outside.values())
    assert [t.name for t in stored if not t.external_data] == ["constant_1"]


def digest_of(folder: Path, graph: Callable[[], Graph], architecture: Architecture, source: Source, threads: int = 2) -> str:
    """The digest of a model written to a new folder."""
    folder.mkdir()
    return onnx_file.write(folder, "m", architecture, graph(), source, threads=threads)


def test_the_same_arguments_give_the_same_bytes(tmp_path: Path) -> None:
    """A build can be told by its hash: another seed, another hash."""
    made = [digest_of(tmp_path / str(n), lambda: trace(LINEAR), LINEAR, seeded(seed)) for n, seed in enumerate((0, 0, 1))]
    assert made[0] == made[1] != made[2]


def test_the_number_of_threads_changes_no_byte(tmp_path: Path) -> None:
    """A weight of many pieces, made by one thread and by five."""
    one, five = (digest_of(tmp_path / str(threads), large, LARGE, seeded(0), threads) for threads in (1, 5))
    assert one == five


def test_the_digest_is_that_of_both_files(tmp_path: Path) -> None:
    """sha256 over the two sha256, as `digest` reads it back; it notices a change in either file."""
    written = digest_of(tmp_path / "m", lambda: trace(LINEAR), LINEAR, seeded(0))
    files = [(tmp_path / "m" / name) for name in ("model.onnx", "weights.bin")]
    hashes = b"".join(hashlib.sha256(file.read_bytes()).digest() for file in files)
    assert written == onnx_file.digest(tmp_path / "m") == hashlib.sha256(hashes).hexdigest()
    for file in files:
        file.write_bytes(file.read_bytes() + b"\0")
        assert onnx_file.digest(tmp_path / "m") != written
        file.write_bytes(file.read_bytes()[:-1])


def test_a_weight_in_pieces_and_several_tensors_is_whole_in_the_file(tmp_path: Path) -> None:
    """Each tensor has its share of all rows in order, and an alias sees the same bytes in another shape."""
    asked: list[slice] = []

    def source(weight: Weight, rows: slice) -> np.ndarray:
        asked.append(rows)
        return seeded(0)(weight, rows)

    progress: list[float] = []
    onnx_file.write(tmp_path, "large", LARGE, large(), source, progress.append)
    assert len(asked) == 5
    values = seeded(0)(Weight("w", (ROWS, 4), std=1.0), slice(None))
    expected = np.concatenate([values[:, 3], values[:, :2].reshape(-1)])
    (got,) = ReferenceEvaluator(onnx.load(tmp_path / "model.onnx")).run(None, {})  # type: ignore[misc]
    np.testing.assert_array_equal(got, expected)
    assert progress == sorted(progress)
    assert len(progress) == 5
    assert 0.1 < progress[0] < progress[-1] <= 1
    assert (tmp_path / "weights.bin").stat().st_size == 12 * ROWS


@pytest.mark.parametrize("array", [np.zeros((2, 2), np.float32), np.zeros((2, 3), np.float64)])
def test_a_source_that_gives_another_tensor_is_refused(array: np.ndarray, tmp_path: Path) -> None:
    """A checkpoint's tensor of another shape or type never gets into a file."""

    def source(weight: Weight, rows: slice) -> np.ndarray:
        return array if weight.name == "w" else np.zeros(weight.shape, np.float32)

    with pytest.raises(ValueError, match=r"weight w: expected float32\[2, 3\], got float"):
        onnx_file.write(tmp_path, "linear", LINEAR, trace(LINEAR), source)
