"""Dynamic batching in a real Triton, with a model that answers how many rows it was run with."""

import http.client
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from bench import servers, words
from bench.recipes.catalog import BuiltModel
from bench.servers.base import Server
from bench.tensors import TensorSpec


@pytest.fixture
def row_counter(tmp_path: Path) -> BuiltModel:
    """x FP32 [batch, 1] -> rows INT64 [batch, 1]: in each row, how many rows there were."""
    graph = helper.make_graph(
        [
            helper.make_node("Shape", ["x"], ["shape"]),
            helper.make_node("Slice", ["shape", "zero", "one"], ["batch"]),
            helper.make_node("Expand", ["batch", "shape"], ["rows"]),
        ],
        "rows",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 1])],
        [helper.make_tensor_value_info("rows", TensorProto.INT64, ["batch", 1])],
        [helper.make_tensor(name, TensorProto.INT64, [1], [value]) for name, value in (("zero", 0), ("one", 1))],
    )
    path = tmp_path / "rows.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    inputs, outputs = TensorSpec("x", "FP32", (-1, 1)), TensorSpec("rows", "INT64", (-1, 1))
    return BuiltModel("rows", "fp32", "full", tmp_path, path, "0" * 64, 0, (inputs,), (outputs,), 8)


def ask(server: Server, path: str, document: Any = None) -> Any:
    """The JSON that the server answers."""
    connection = http.client.HTTPConnection(*words.parse(server.words["http"]).address(0), timeout=30)
    try:
        connection.request("POST" if document else "GET", path, json.dumps(document) if document else None)
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


def rows(server: Server, count: int) -> list[int]:
    """What the model answers to a request of `count` rows."""
    tensor = {"name": "x", "datatype": "FP32", "shape": [count, 1], "data": [0.0] * count}
    (output,) = ask(server, "/v2/models/rows/infer", {"inputs": [tensor]})["outputs"]
    data: list[int] = output["data"]
    return data


@pytest.mark.real
def test_dynamic_batching_really_joins_requests(row_counter: BuiltModel, tmp_path: Path) -> None:
    """Requests at once run as one batch: the model saw their rows together, and Triton's own statistics say the same."""
    # a long delay ended by a full batch: four requests of two rows meet in one batch whatever the machine does meanwhile
    word = words.parse("triton?max_batch=8,max_queue_delay=2s")
    with servers.start(word, row_counter, tmp_path / "log") as server:
        with ThreadPoolExecutor(4) as pool:
            seen = list(pool.map(lambda _: rows(server, 2), range(4)))
        (stats,) = ask(server, "/v2/models/rows/stats")["model_stats"]
        server.kill()  # quicker than to stop it, which the contract tests do
    executed = {batch["batch_size"]: batch["compute_infer"]["count"] for batch in stats["batch_stats"]}
    assert seen == [[8, 8]] * 4
    assert executed == {8: 1}
    assert (stats["inference_count"], stats["execution_count"]) == (8, 1)
