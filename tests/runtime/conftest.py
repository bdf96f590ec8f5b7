"""Models small enough to compute by hand, and one that generates."""

import shutil
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from bench.recipes.build import build

GOLDEN = Path(__file__).parents[1] / "golden" / "qwen2"


@pytest.fixture(scope="session")
def onnx_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """x FP32 [batch, any], k INT64 [batch, 1] -> scaled = x * k, total = the sum of each row of scaled [batch, 1]."""
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["k"], ["factor"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["x", "factor"], ["scaled"]),
            helper.make_node("ReduceSum", ["scaled", "axes"], ["total"], keepdims=1),
        ],
        "scale",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", "width"]),
            helper.make_tensor_value_info("k", TensorProto.INT64, ["batch", 1]),
        ],
        [
            helper.make_tensor_value_info("scaled", TensorProto.FLOAT, ["batch", "width"]),
            helper.make_tensor_value_info("total", TensorProto.FLOAT, ["batch", 1]),
        ],
        [helper.make_tensor("axes", TensorProto.INT64, [1], [1])],
    )
    path = tmp_path_factory.mktemp("model") / "scale.onnx"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


@pytest.fixture(scope="session")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The file of a Qwen2 of 320 tokens and a context of 256, in a precision: its weights are those of the golden answers."""
    cache = tmp_path_factory.mktemp("cache")

    def built(precision: str = "fp32") -> Path:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("BENCH_CACHE", str(cache))
            return build("qwen-1.5b", precision, weights=str(GOLDEN)).onnx

    return built


@pytest.fixture(scope="session")
def ending_qwen(qwen: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same in fp32, where every fourth token ends a text."""
    folder = tmp_path_factory.mktemp("ending")
    shutil.copytree(qwen("fp32").parent, folder, dirs_exist_ok=True)
    model = onnx.load(folder / "model.onnx", load_external_data=False)
    for entry in model.metadata_props:
        if entry.key == "eos":
            entry.value = str(list(range(0, 320, 4)))
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    return folder / "model.onnx"


@pytest.fixture(scope="session")
def padded_onnx_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """x FP32 [batch, length], mask INT64 [batch, length] -> mean of x + 1 where the mask is, and x + 1 - mean."""
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["mask"], ["present"], to=TensorProto.FLOAT),
            helper.make_node("Add", ["x", "one"], ["shifted"]),
            helper.make_node("Mul", ["shifted", "present"], ["kept"]),
            helper.make_node("ReduceSum", ["kept", "axes"], ["sum"], keepdims=1),
            helper.make_node("ReduceSum", ["present", "axes"], ["count"], keepdims=1),
            helper.make_node("Div", ["sum", "count"], ["mean"]),
            helper.make_node("Sub", ["shifted", "mean"], ["distance"]),
        ],
        "masked",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", "length"]),
            helper.make_tensor_value_info("mask", TensorProto.INT64, ["batch", "length"]),
        ],
        [
            helper.make_tensor_value_info("distance", TensorProto.FLOAT, ["batch", "length"]),
            helper.make_tensor_value_info("mean", TensorProto.FLOAT, ["batch", 1]),
        ],
        [helper.make_tensor("axes", TensorProto.INT64, [1], [1]), helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0])],
    )
    path = tmp_path_factory.mktemp("model") / "masked.onnx"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path
