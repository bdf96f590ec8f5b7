"""What stands beside a model in a model repository: its configuration, read by Triton's own schema, and its code."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import model_config_pb2

from bench.recipes.catalog import BuiltModel
from bench.recipes.repository import config_text, vllm_config_text, write_stock
from bench.tensors import TensorSpec

MODEL = BuiltModel(
    name="mixed",
    precision="fp32",
    preset="full",
    folder=Path("mixed"),
    onnx=Path("mixed/1/model.onnx"),
    digest="0" * 64,
    parameters=1,
    inputs=(TensorSpec("ids", "INT64", (-1, -1)), TensorSpec("text", "BYTES", (-1, 1))),
    outputs=(TensorSpec("logits", "FP32", (-1, 5, -1)),),
    max_batch=16,
)


PADDED = replace(MODEL, padded=True)
GENERATING = replace(MODEL, context=2048)


def config(model: BuiltModel = MODEL, **changes: Any) -> Any:
    """The configuration of a model as Triton reads it."""
    options: dict[str, Any] = {
        "backend": "python", "batching": "off", "instances": 1, "max_batch": 8, "max_queue_delay_us": 0, "gpu": False,
        "parameters": {},
    }  # fmt: skip
    return text_format.Parse(config_text(model, **options | changes), model_config_pb2.ModelConfig())


def test_a_configuration_names_the_model_the_backend_and_the_batch() -> None:
    """What Triton needs to load it at all."""
    read = config(backend="onnxruntime", max_batch=4)
    assert (read.name, read.backend, read.max_batch_size) == ("mixed", "onnxruntime", 4)


def test_inputs_and_outputs_are_stated_without_the_batch() -> None:
    """Triton adds the batch dimension itself; a free dimension stays -1 and BYTES is called STRING."""
    read = config()
    assert [(i.name, model_config_pb2.DataType.Name(i.data_type), list(i.dims)) for i in read.input] == [
        ("ids", "TYPE_INT64", [-1]),
        ("text", "TYPE_STRING", [1]),
    ]
    assert [(o.name, model_config_pb2.DataType.Name(o.data_type), list(o.dims)) for o in read.output] == [
        ("logits", "TYPE_FP32", [5, -1])
    ]


def test_batching_is_on_only_when_asked_for() -> None:
    """With batching off there is no scheduler; with dynamic the delay is the one given."""
    assert not config(batching="off", max_queue_delay_us=500).HasField("dynamic_batching")
    assert config(batching="dynamic", max_queue_delay_us=500).dynamic_batching.max_queue_delay_microseconds == 500


def test_an_unknown_batching_is_refused() -> None:
    """It must not pass for off."""
    with pytest.raises(ValueError, match="batching: expected off or dynamic, got 'continuous'"):
        config(batching="continuous")


@pytest.mark.parametrize(("gpu", "kind"), [(True, "KIND_GPU"), (False, "KIND_CPU"), (None, "KIND_AUTO")])
def test_instances_are_of_the_kind_and_count_asked_for(gpu: bool | None, kind: str) -> None:
    """One group, of `instances` instances, on the device asked for or on the server's own choice."""
    (group,) = config(gpu=gpu, instances=3).instance_group
    assert group.count == 3
    assert model_config_pb2.ModelInstanceGroup.Kind.Name(group.kind) == kind


@given(st.dictionaries(st.text(min_size=1), st.text()))
def test_parameters_come_back_as_they_were(parameters: dict[str, str]) -> None:
    """Quotes, backslashes, line ends and letters beyond ASCII survive."""
    read = config(parameters=parameters)
    assert {key: value.string_value for key, value in read.parameters.items()} == parameters


@pytest.mark.parametrize(("model", "backend", "ragged"), [
    (PADDED, "python", {"ids"}), (PADDED, "onnxruntime", set()), (MODEL, "python", set()),
])  # fmt: skip
def test_requests_of_different_lengths_are_joined_only_where_something_pads_them(
    model: BuiltModel, backend: str, ragged: set[str]
) -> None:
    """Triton's ONNX Runtime backend would refuse a ragged batch; an input of one fixed shape has nothing to pad."""
    assert {i.name for i in config(model, backend=backend).input if i.allow_ragged_batch} == ragged


def test_a_model_that_generates_streams_by_the_names_of_tritons_vllm_backend() -> None:
    """Decoupled, without a batch dimension, and never behind Triton's own batching: what it batches it says by parameters."""
    read = config(GENERATING, batching="continuous", max_batch=8, parameters={"slots": "8"})
    assert read.model_transaction_policy.decoupled
    assert (read.max_batch_size, read.HasField("dynamic_batching")) == (0, False)
    kinds = {i.name: (model_config_pb2.DataType.Name(i.data_type), *i.dims, i.optional) for i in read.input}
    assert kinds.pop("text_input") == ("TYPE_STRING", 1, False)
    assert kinds.pop("sampling_parameters") == ("TYPE_STRING", 1, True)
    assert {"stream", "exclude_input_in_output", "return_num_output_tokens"} < kinds.keys()
    assert {*kinds.values()} == {("TYPE_BOOL", 1, True)}
    assert {o.name: list(o.dims) for o in read.output}["text_output"] == [-1]
    assert read.parameters["slots"].string_value == "8"


def test_a_model_for_vllm_leaves_its_inputs_and_outputs_to_the_backend() -> None:
    """They differ from release to release; where it runs is the engine's business."""
    read = text_format.Parse(vllm_config_text('say "hi"'), model_config_pb2.ModelConfig())
    assert (read.name, read.backend, read.max_batch_size) == ('say "hi"', "vllm", 0)
    assert read.model_transaction_policy.decoupled
    assert (len(read.input), len(read.output)) == (0, 0)
    assert [model_config_pb2.ModelInstanceGroup.Kind.Name(group.kind) for group in read.instance_group] == ["KIND_MODEL"]


def test_the_stock_configuration_reads_as_written_here(tmp_path: Path) -> None:
    """The whole text, as a person finds it in the repository, and no code: this backend needs none."""
    write_stock(tmp_path, MODEL)
    assert [path.name for path in tmp_path.iterdir()] == ["config.pbtxt"]
    assert (tmp_path / "config.pbtxt").read_text() == (
        'name: "mixed"\n'
        'backend: "onnxruntime"\n'
        "max_batch_size: 16\n"
        'input { name: "ids" data_type: TYPE_INT64 dims: [-1] }\n'
        'input { name: "text" data_type: TYPE_STRING dims: [1] }\n'
        'output { name: "logits" data_type: TYPE_FP32 dims: [5, -1] }\n'
        "instance_group { count: 1 kind: KIND_AUTO }\n"
        "dynamic_batching { max_queue_delay_microseconds: 0 }\n"
    )


def test_a_stock_server_gets_the_code_of_a_model_that_generates(tmp_path: Path) -> None:
    """Beside the model, which is looked for there: the folder may be moved, or mounted in a container."""
    (tmp_path / "1").mkdir()
    write_stock(tmp_path, GENERATING)
    read = text_format.Parse((tmp_path / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())
    assert (read.backend, read.model_transaction_policy.decoupled) == ("python", True)
    assert "onnx_file" not in read.parameters
    assert read.parameters["slots"].string_value == "16"
    assert "class TritonPythonModel" in (tmp_path / "1" / "model.py").read_text()
    assert (tmp_path / "1" / "bench" / "runtime" / "session.py").is_file()
    assert not (tmp_path / "1" / "bench" / "__init__.py").exists()
