"""Dynamic batching in a real Triton: which requests it joins, by its own statistics, and each gets its own answer."""

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from bench import servers, words
from bench.recipes.build import build
from bench.recipes.catalog import BuiltModel
from bench.servers.base import Server
from bench.tensors import TensorSpec

LIMIT_S = 20.0  # what Triton has not counted by then it never will


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


@pytest.mark.real
def test_dynamic_batching_really_joins_requests(row_counter: BuiltModel, tmp_path: Path, ask: Callable[..., str]) -> None:
    """Requests at once run as one batch: the model saw their rows together, and Triton's own statistics say the same."""
    # a long delay ended by a full batch: four requests of two rows meet in one batch whatever the machine does meanwhile
    word = words.parse("triton?max_batch=8,max_queue_delay=20s")
    tensor = {"name": "x", "datatype": "FP32", "shape": [2, 1], "data": [0.0, 0.0]}
    with servers.start(word, row_counter, tmp_path / "log") as server:
        with ThreadPoolExecutor(4) as pool:
            replies = list(pool.map(lambda _: ask(server, "POST", "/v2/models/rows/infer", {"inputs": [tensor]}), range(4)))
        stats = statistics(server, ask, "rows", 8)
        server.kill()  # quicker than to stop it, which the contract tests do
    assert [json.loads(reply)["outputs"][0]["data"] for reply in replies] == [[8, 8]] * 4
    assert executed(stats) == {8: 1}
    assert (stats["inference_count"], stats["execution_count"]) == (8, 1)


@pytest.mark.real
@pytest.mark.parametrize(("batching", "batches"), [("dynamic", {4: 1}), ("off", {1: 4})])
def test_requests_of_different_lengths_are_joined_only_under_dynamic_batching(
    batching: str, batches: dict[int, int], tmp_path: Path, ask: Callable[..., str]
) -> None:
    """BERT's lengths share a batch by padding, and each answer is that of the request alone, in values and in shape."""
    model = build("bert-base", preset="tiny")
    session = onnxruntime.InferenceSession(model.onnx)
    requests = [sequence(length) for length in (3, 5, 17, 8)]
    word = words.parse(f"triton?batching={batching},max_batch=4,max_queue_delay=20s")
    with servers.start(word, model, tmp_path / "log") as server:
        with ThreadPoolExecutor(len(requests)) as pool:
            answers = list(pool.map(lambda request: infer(server, ask, request), requests))
        stats = statistics(server, ask, "bert-base", len(requests))
        server.kill()
    for request, answer in zip(requests, answers, strict=True):
        for name, alone in zip(answer, session.run(list(answer), request), strict=True):
            np.testing.assert_allclose(answer[name], alone, atol=1e-4 * np.abs(alone).max())
    assert executed(stats) == batches


def sequence(length: int) -> dict[str, np.ndarray]:
    """A request of one row of `length` tokens."""
    ids = np.arange(1, length + 1, dtype=np.int64).reshape(1, length)
    return {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}


def infer(server: Server, ask: Callable[..., str], request: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """BERT's outputs."""
    inputs = [
        {"name": name, "datatype": "INT64", "shape": array.shape, "data": array.ravel().tolist()}
        for name, array in request.items()
    ]
    reply = json.loads(ask(server, "POST", "/v2/models/bert-base/infer", {"inputs": inputs}))
    return {output["name"]: np.array(output["data"], np.float32).reshape(output["shape"]) for output in reply["outputs"]}


def statistics(server: Server, ask: Callable[..., str], model: str, rows: int) -> dict[str, Any]:
    """What Triton counted of a model once it had counted `rows`, which it does after it has replied."""
    deadline = time.monotonic() + LIMIT_S
    while True:
        (stats,) = json.loads(ask(server, "GET", f"/v2/models/{model}/stats"))["model_stats"]
        counted = sum(size * count for size, count in executed(stats).items())
        if counted >= rows or time.monotonic() > deadline:
            assert isinstance(stats, dict)
            return stats
        time.sleep(0.02)


def executed(stats: dict[str, Any]) -> dict[int, int]:
    """Executed batch size -> how often."""
    return {batch["batch_size"]: batch["compute_infer"]["count"] for batch in stats["batch_stats"]}
