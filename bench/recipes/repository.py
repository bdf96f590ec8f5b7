"""How a Triton model repository describes a model: the whole text of its config.pbtxt."""

from collections.abc import Iterable

from bench.recipes.catalog import BuiltModel
from bench.tensors import TensorSpec


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
    """A whole config.pbtxt. `batching` is "off" or "dynamic"; `gpu` None leaves the device to the server."""
    if batching not in ("off", "dynamic"):
        raise ValueError(f"batching: expected off or dynamic, got {batching!r}")
    # inputs and outputs are always stated: where they are not, Triton's ONNX Runtime backend completes the configuration
    # and turns dynamic batching on for every model with max_batch_size > 1, which nobody would see under batching=off
    lines = [
        f"name: {_quoted(model.name)}",
        f"backend: {_quoted(backend)}",
        f"max_batch_size: {max_batch}",
        *_ports("input", model.inputs),
        *_ports("output", model.outputs),
        *_instances(instances, gpu),
    ]
    if batching == "dynamic":
        lines.append(f"dynamic_batching {{ max_queue_delay_microseconds: {max_queue_delay_us} }}")
    lines += [f"parameters {{ key: {_quoted(k)} value {{ string_value: {_quoted(v)} }} }}" for k, v in parameters.items()]
    return "\n".join(lines) + "\n"


def stock_config(model: BuiltModel) -> str:
    """The configuration that lies in the repository itself, for a tritonserver that bench did not start."""
    return config_text(
        model,
        backend="onnxruntime",
        batching="dynamic",
        instances=1,
        max_batch=model.max_batch,
        max_queue_delay_us=0,
        gpu=None,
        parameters={},
    )


def _ports(field: str, specs: Iterable[TensorSpec]) -> list[str]:
    return [
        f"{field} {{ name: {_quoted(spec.name)} data_type: {_data_type(spec)} dims: {list(spec.shape[1:])} }}" for spec in specs
    ]


def _data_type(spec: TensorSpec) -> str:
    # the protocol calls them BYTES, the configuration STRING
    return "TYPE_STRING" if spec.datatype == "BYTES" else f"TYPE_{spec.datatype}"


def _instances(count: int, gpu: bool | None) -> list[str]:
    kind = {None: "KIND_AUTO", True: "KIND_GPU", False: "KIND_CPU"}[gpu]
    # one GPU, the first, as every other side uses: without this Triton puts `count` instances on each GPU there is
    gpus = " gpus: [ 0 ]" if gpu else ""
    return [f"instance_group {{ count: {count} kind: {kind}{gpus} }}"]


def _quoted(text: str) -> str:
    """A string of the protobuf text format: bytes outside printable ASCII as octal escapes."""
    return '"' + "".join(chr(b) if 32 <= b < 127 and b not in b'"\\' else f"\\{b:03o}" for b in text.encode()) + '"'
