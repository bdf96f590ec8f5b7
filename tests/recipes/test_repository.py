"""The text of config.pbtxt, read by Triton's own schema."""

from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import model_config_pb2

from bench.recipes.catalog import BuiltModel
from bench.recipes.repository import config_text, stock_config
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


def config(**changes: Any) -> Any:
    """The configuration of MODEL as Triton reads it."""
    options: dict[str, Any] = {
        "backend": "python", "batching": "off", "instances": 1, "max_batch": 8, "max_queue_delay_us": 0, "gpu": False,
        "parameters": {},
    }  # fmt: skip
    return text_format.Parse(config_text(MODEL, **options | changes), model_config_pb2.ModelConfig())


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


def test_the_stock_configuration_reads_as_written_here() -> None:
    """The whole text, as a person finds it in the repository."""
    assert stock_config(MODEL) == (
        'name: "mixed"\n'
        'backend: "onnxruntime"\n'
        "max_batch_size: 16\n"
        'input { name: "ids" data_type: TYPE_INT64 dims: [-1] }\n'
        'input { name: "text" data_type: TYPE_STRING dims: [1] }\n'
        'output { name: "logits" data_type: TYPE_FP32 dims: [5, -1] }\n'
        "instance_group { count: 1 kind: KIND_AUTO }\n"
        "dynamic_batching { max_queue_delay_microseconds: 0 }\n"
    )
