"""KServe v2 over gRPC by NVIDIA's client: one channel a user, on native threads."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import tritonclient.grpc as client
from tritonclient.utils import InferenceServerException

from bench.errors import RunError
from bench.record import CONNECT, PROTOCOL, SHAPE, STATUS, TIMEOUT
from bench.record import VERSION as WRONG_VERSION
from bench.targets import kserve_model, triton_stats
from bench.targets.base import FINE, CallReply, Facts, Verdict, check_inputs, request_id
from bench.targets.kserve_model import Config, Served
from bench.tensors import NUMPY_TYPES, Tensors, TensorSpec
from bench.words import Word
from bench.workload import Workload

CONTROL_S = 10.0  # for questions outside the measurement

_KINDS = {grpc.StatusCode.DEADLINE_EXCEEDED: TIMEOUT, grpc.StatusCode.UNAVAILABLE: CONNECT}


class KServeGrpc:
    """A model behind `inference.GRPCInferenceService/ModelInfer`."""

    def __init__(self, word: Word, workload: Workload, onnx: Path | None = None) -> None:
        self._word, self._workload = word, workload
        word.address(8001)  # a slip is told before anything starts
        self._outputs: dict[str, TensorSpec] = {}
        self._clients: list[Any] = []
        self._prepared: list[list[Any]] = []

    def probe(self) -> Facts:
        model = self._workload.model
        served = describe(self._word, model.name, model.version)
        left_out = {spec.name for spec in served.inputs} - self._workload.payload.inputs.keys()
        optional = getattr(configuration(self._word, model.name, model.version), "optional", ()) if left_out else ()
        check_inputs(self._word, self._workload, served.inputs, optional)
        self._outputs = {spec.name: spec for spec in served.outputs}
        return Facts(served.server, served.server_version, served.inputs, served.outputs, {"platform": served.platform})

    def caller(self, payloads: Sequence[Tensors]) -> Callable[[int, int], CallReply]:
        connection, model, timeout_s = self._connect(), self._workload.model, self._workload.timeout_ns / 1e9
        if not self._prepared:  # once for all users, who only read it
            types = {name: i.datatype for name, i in self._workload.payload.inputs.items()}
            self._prepared = [[_input(name, types[name], tensors[name]) for name in types] for tensors in payloads]
        prepared = self._prepared

        def call(payload: int, number: int) -> CallReply:
            id_ = request_id(number).decode()
            try:
                result = connection.infer(
                    model.name, prepared[payload], model.version, request_id=id_, client_timeout=timeout_s
                )  # fmt: skip
            except InferenceServerException as error:
                return _failed(error)
            return CallReply(0, self._judge(result.get_response(), id_), result)

        return call

    def _connect(self) -> Any:
        self._clients.append(connect(self._word))
        return self._clients[-1]

    def _judge(self, reply: Any, id_: str) -> Verdict:
        if reply.id != id_:
            return Verdict(PROTOCOL, f"the reply to request {id_} carries the id {reply.id[:32]}")
        wanted, expected = self._workload.model.version, self._outputs
        if wanted and reply.model_version not in ("", wanted):  # which KServe v2 lets a server leave out
            return Verdict(WRONG_VERSION, f"answered by model version {reply.model_version!r}, asked was {wanted!r}")
        fits = len(reply.outputs) == len(expected) and all(
            o.name in expected and expected[o.name].fits(o.datatype, tuple(o.shape)) for o in reply.outputs
        )
        if not fits or not _complete(reply):
            got = ", ".join(map(str, _specs(reply.outputs))) or "no output"
            return Verdict(SHAPE, f"answered {got}; expected {', '.join(map(str, expected.values()))}, each with its contents")
        return FINE

    def outputs(self, answer: Any) -> Tensors:
        reply = answer.get_response()
        if not reply.raw_output_contents:
            return {output.name: _unpacked(output) for output in reply.outputs}
        return {
            output.name: kserve_model.decode(output.datatype, output.shape, data)
            for output, data in zip(reply.outputs, reply.raw_output_contents, strict=True)
        }

    def batches(self) -> dict[int, int] | None:
        """Executed batch size -> how often, since the model was loaded; None where the server does not say."""
        return triton_stats.over_grpc(connect(self._word), self._workload.model)

    def close(self) -> None:
        for connection in self._clients:
            connection.close()


def connect(word: Word) -> Any:
    """A client for the server at `word`, on a channel of its own: else all would share one connection and its flow control."""
    host, port = word.address(8001)
    return client.InferenceServerClient(
        f"[{host}]:{port}" if ":" in host else f"{host}:{port}", channel_args=[("grpc.use_local_subchannel_pool", 1)]
    )


def describe(word: Word, name: str, version: str) -> Served:
    """The server and its model `name`, of `version` or of the one that it takes where that is ""; RunError.

    The message says what was asked for and which models there are.
    """
    connection = connect(word)
    try:
        server = connection.get_server_metadata(as_json=True, client_timeout=CONTROL_S)
    except InferenceServerException as error:
        connection.close()
        place = "{}:{}".format(*word.address(8001))
        raise RunError(f"target {word}: nothing answers at {place} ({_words(error)}); is the server running?") from None
    try:
        metadata = connection.get_model_metadata(name, version, as_json=True, client_timeout=CONTROL_S)
        for tensor in [*metadata.get("inputs", ()), *metadata.get("outputs", ())]:
            tensor.setdefault("shape", [])  # the JSON of a message leaves out what is empty
        return kserve_model.served(server, metadata)
    except InferenceServerException as error:
        which = f"model {name!r}" + (f" version {version}" if version else "")
        raise RunError(f"target {word}: no {which}: {_words(error)}; it has: {_served(connection)}") from None
    finally:
        connection.close()


def configuration(word: Word, name: str, version: str) -> Config | None:
    """Triton's configuration of a model; None from a server that has none to show."""
    connection = connect(word)
    try:
        return kserve_model.config(connection.get_model_config(name, version, as_json=True, client_timeout=CONTROL_S)["config"])
    except InferenceServerException:
        return None
    finally:
        connection.close()


def is_ready(word: Word, name: str, version: str) -> bool:
    """Whether the model can be asked now."""
    connection = connect(word)
    try:
        return bool(connection.is_model_ready(name, version, client_timeout=CONTROL_S))
    except InferenceServerException:
        return False
    finally:
        connection.close()


def _failed(error: InferenceServerException) -> CallReply:
    code = next((c for c in grpc.StatusCode if str(c) == error.status()), grpc.StatusCode.UNKNOWN)
    return CallReply(int(code.value[0]), Verdict(_KINDS.get(code, STATUS), f"gRPC {code.name}: {_words(error)}"), None)


def _words(error: InferenceServerException) -> str:
    return str(error.message()).splitlines()[0][:200] if error.message() else str(error.status())


def _served(connection: Any) -> str:
    try:
        index = connection.get_model_repository_index(as_json=True, client_timeout=CONTROL_S)
    except InferenceServerException:
        return "(it does not list its models)"
    return kserve_model.listed(index.get("models", ()))


def _input(name: str, datatype: str, array: np.ndarray) -> Any:
    tensor = client.InferInput(name, list(array.shape), datatype)
    tensor.set_data_from_numpy(array)
    return tensor


def _complete(reply: Any) -> bool:
    """Whether each output has as much as its shape says: raw, as Triton sends it, or in its own field."""
    raw = reply.raw_output_contents
    if not raw:
        return all(len(_contents(o)) == math.prod(o.shape) for o in reply.outputs)
    sizes = zip(reply.outputs, raw, strict=True) if len(raw) == len(reply.outputs) else ()
    fits = [kserve_model.weighs(o.datatype, o.shape, len(data)) for o, data in sizes]
    return len(fits) == len(reply.outputs) and all(fits)


def _contents(output: Any) -> list[Any]:
    """The values of an output that are not raw."""
    return [value for _, values in output.contents.ListFields() for value in values]


def _unpacked(output: Any) -> np.ndarray:
    values = _contents(output)
    array: np.ndarray = np.empty(len(values), NUMPY_TYPES.get(output.datatype, np.float32))
    array[:] = values
    return array.reshape(tuple(output.shape))


def _specs(tensors: Any) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(t.name, t.datatype, tuple(t.shape)) for t in tensors)
