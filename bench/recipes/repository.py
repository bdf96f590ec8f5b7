"""What stands beside a model in a Triton model repository: its configuration, and the code of the Python backend."""

from pathlib import Path

from bench import runtime
from bench.recipes.catalog import BuiltModel
from bench.tensors import TensorSpec

# of what Triton's vLLM backend completes a configuration with, all that a model which takes and gives token ids can answer
_STREAM_INPUTS = (
    ("text_input", "TYPE_STRING", "[1]", False),
    ("stream", "TYPE_BOOL", "[1]", True),
    ("sampling_parameters", "TYPE_STRING", "[1]", True),
    ("exclude_input_in_output", "TYPE_BOOL", "[1]", True),
    ("return_finish_reason", "TYPE_BOOL", "[1]", True),
    ("return_num_input_tokens", "TYPE_BOOL", "[1]", True),
    ("return_num_output_tokens", "TYPE_BOOL", "[1]", True),
)
_STREAM_OUTPUTS = (
    ("text_output", "TYPE_STRING", "[-1]"),
    ("finish_reason", "TYPE_STRING", "[-1]"),
    ("num_input_tokens", "TYPE_UINT32", "[1]"),
    ("num_output_tokens", "TYPE_UINT32", "[-1]"),
)
_DECOUPLED = "model_transaction_policy { decoupled: true }"


def config_text(
    model: BuiltModel,
    *,
    backend: str,
    batching: str,
    instances: int,
    max_batch: int,
    max_queue_delay_us: int,
    gpu: bool | None,
    parameters: dict[str, str],
) -> str:
    """A whole config.pbtxt. `batching` is "off" or "dynamic"; `gpu` None leaves the device to the server.

    A model that generates batches by itself, as its `parameters` say: of Triton's own batching there is none.
    """
    if model.context:
        batch, inputs, outputs = 0, _stream_inputs(), _stream_outputs()
        lines = [_DECOUPLED]
    else:
        batch, lines = max_batch, _batching(batching, max_queue_delay_us)
        # inputs and outputs are always stated: where they are not, Triton's ONNX Runtime backend completes the configuration
        # and turns dynamic batching on for every model with max_batch_size > 1, which nobody would see under batching=off
        inputs = [_port("input", spec, model.padded and backend == "python") for spec in model.inputs]
        outputs = [_port("output", spec) for spec in model.outputs]
    lines = [
        f"name: {_quoted(model.name)}",
        f"backend: {_quoted(backend)}",
        f"max_batch_size: {batch}",
        *inputs,
        *outputs,
        _instances(instances, gpu),
        *lines,
    ]
    lines += [f"parameters {{ key: {_quoted(k)} value {{ string_value: {_quoted(v)} }} }}" for k, v in parameters.items()]
    return "\n".join(lines) + "\n"


def vllm_config_text(name: str) -> str:
    """The config.pbtxt of a model in Triton's vLLM backend, which adds the inputs and outputs that its release has."""
    lines = [f"name: {_quoted(name)}", 'backend: "vllm"', "max_batch_size: 0", "instance_group { count: 1 kind: KIND_MODEL }"]
    return "\n".join([*lines, _DECOUPLED]) + "\n"


def write_stock(folder: Path, model: BuiltModel) -> None:
    """Make the folder of a model servable by a tritonserver that bench did not start.

    A model that generates is run by its own code in the Python backend, which then needs onnxruntime: NVIDIA's images come
    without it, and Triton says so when it loads the model. All others are for the ONNX Runtime backend, which joins only
    requests of equal shape.
    """
    backend, parameters = "onnxruntime", {}
    if model.context:
        backend, parameters = "python", {"batching": "continuous", "slots": str(model.max_batch)}
        runtime.copy_beside(code(model), folder / "1")
    text = config_text(
        model,
        backend=backend,
        batching="dynamic",
        instances=1,
        max_batch=model.max_batch,
        max_queue_delay_us=0,
        gpu=None,
        parameters=parameters,
    )
    (folder / "config.pbtxt").write_text(text, encoding="utf-8")


def code(model: BuiltModel) -> str:
    """The module of `bench.runtime` that runs this model in the Python backend."""
    return "triton_stream_model" if model.context else "triton_model"


def _batching(batching: str, max_queue_delay_us: int) -> list[str]:
    if batching not in ("off", "dynamic"):
        raise ValueError(f"batching: expected off or dynamic, got {batching!r}")
    return [f"dynamic_batching {{ max_queue_delay_microseconds: {max_queue_delay_us} }}"] if batching == "dynamic" else []


def _port(field: str, spec: TensorSpec, padded: bool = False) -> str:
    dims = list(spec.shape[1:])
    # without it Triton joins only requests of equal shape, whatever model.py could do with the others
    ragged = " allow_ragged_batch: true" if padded and -1 in dims else ""
    return f"{field} {{ name: {_quoted(spec.name)} data_type: {_data_type(spec)} dims: {dims}{ragged} }}"


def _stream_inputs() -> list[str]:
    return [
        f'input {{ name: "{name}" data_type: {kind} dims: {dims}{" optional: true" if optional else ""} }}'
        for name, kind, dims, optional in _STREAM_INPUTS
    ]


def _stream_outputs() -> list[str]:
    return [f'output {{ name: "{name}" data_type: {kind} dims: {dims} }}' for name, kind, dims in _STREAM_OUTPUTS]


def _data_type(spec: TensorSpec) -> str:
    # the protocol calls them BYTES, the configuration STRING
    return "TYPE_STRING" if spec.datatype == "BYTES" else f"TYPE_{spec.datatype}"


def _instances(count: int, gpu: bool | None) -> str:
    kind = {None: "KIND_AUTO", True: "KIND_GPU", False: "KIND_CPU"}[gpu]
    # one GPU, the first, as every other side uses: without this Triton puts `count` instances on each GPU there is
    gpus = " gpus: [ 0 ]" if gpu else ""
    return f"instance_group {{ count: {count} kind: {kind}{gpus} }}"


def _quoted(text: str) -> str:
    """A string of the protobuf text format: bytes outside printable ASCII as octal escapes."""
    return '"' + "".join(chr(b) if 32 <= b < 127 and b not in b'"\\' else f"\\{b:03o}" for b in text.encode()) + '"'
