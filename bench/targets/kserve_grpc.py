"""KServe v2 over gRPC by NVIDIA's client: one channel a user, on native threads."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import grpc
import tritonclient.grpc as client
from tritonclient.utils import InferenceServerException

from bench.errors import RunError
from bench.record import CONNECT, PROTOCOL, SHAPE, STATUS, TIMEOUT
from bench.record import VERSION as WRONG_VERSION
from bench.targets.base import FINE, CallReply, Facts, Verdict, check_inputs, request_id
from bench.tensors import Tensors, TensorSpec
from bench.words import Word
from bench.workload import Workload

_KINDS = {grpc.StatusCode.DEADLINE_EXCEEDED: TIMEOUT, grpc.StatusCode.UNAVAILABLE: CONNECT}


class KServeGrpc:
    """A model behind `inference.GRPCInferenceService/ModelInfer`."""

    def __init__(self, word: Word, workload: Workload, onnx: Path | None = None) -> None:
        self._word, self._workload = word, workload
        host, port = word.address(8001)
        self._url = f"{host}:{port}"
        self._outputs: dict[str, TensorSpec] = {}
        self._clients: list[Any] = []
        self._prepared: list[list[Any]] = []

    def probe(self) -> Facts:
        connection, model = self._connect(), self._workload.model
        try:
            server = connection.get_server_metadata(client_timeout=10.0)
        except InferenceServerException as error:
            raise RunError(
                f"target {self._word}: nothing answers at {self._url} ({_words(error)}); is the server running?"
            ) from None
        try:
            metadata = connection.get_model_metadata(model.name, model.version, client_timeout=10.0)
        except InferenceServerException as error:
            raise RunError(
                f"target {self._word}: no model {model.name!r} version {model.version}: {_words(error)}; "
                f"it has: {_served(connection)}"
            ) from None
        inputs, outputs = _specs(metadata.inputs), _specs(metadata.outputs)
        check_inputs(self._word, self._workload, inputs)
        self._outputs = {spec.name: spec for spec in outputs}
        return Facts(server.name, server.version, inputs, outputs, {"platform": metadata.platform})

    def caller(self, payloads: Sequence[Tensors]) -> Callable[[int, int], CallReply]:
        connection, model, timeout_s = self._connect(), self._workload.model, self._workload.timeout_ns / 1e9
        if not self._prepared:  # once for all users, who only read it
            self._prepared = [[_input(s, tensors[s.name]) for s in self._workload.input_specs()] for tensors in payloads]
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
        # a channel of its own, or all users would share one connection and its flow control
        connection = client.InferenceServerClient(self._url, channel_args=[("grpc.use_local_subchannel_pool", 1)])
        self._clients.append(connection)
        return connection

    def _judge(self, reply: Any, id_: str) -> Verdict:
        if reply.id != id_:
            return Verdict(PROTOCOL, f"the reply to request {id_} carries the id {reply.id[:32]}")
        if reply.model_version != self._workload.model.version:
            return Verdict(
                WRONG_VERSION, f"answered by model version {reply.model_version!r}, asked was {self._workload.model.version!r}"
            )
        expected = self._outputs
        fits = len(reply.outputs) == len(expected) and all(
            o.name in expected and expected[o.name].fits(o.datatype, tuple(o.shape)) for o in reply.outputs
        )
        if not fits or len(reply.raw_output_contents) != len(expected) or not all(reply.raw_output_contents):
            got = ", ".join(map(str, _specs(reply.outputs))) or "no output"
            return Verdict(SHAPE, f"answered {got}; expected {', '.join(map(str, expected.values()))}, each with its contents")
        return FINE

    def outputs(self, answer: Any) -> Tensors:
        return {name: answer.as_numpy(name) for name in self._outputs}

    def close(self) -> None:
        for connection in self._clients:
            connection.close()


def _failed(error: InferenceServerException) -> CallReply:
    code = next((c for c in grpc.StatusCode if str(c) == error.status()), grpc.StatusCode.UNKNOWN)
    return CallReply(int(code.value[0]), Verdict(_KINDS.get(code, STATUS), f"gRPC {code.name}: {_words(error)}"), None)


def _words(error: InferenceServerException) -> str:
    return str(error.message()).splitlines()[0][:200] if error.message() else str(error.status())


def _served(connection: Any) -> str:
    try:
        models = connection.get_model_repository_index(client_timeout=10.0).models
    except InferenceServerException:
        return "(it does not list its models)"
    return ", ".join(f"{m.name} ({m.version}, {m.state})" for m in models) or "no model"


def _input(spec: TensorSpec, array: Any) -> Any:
    tensor = client.InferInput(spec.name, list(spec.shape), spec.datatype)
    tensor.set_data_from_numpy(array)
    return tensor


def _specs(tensors: Any) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(t.name, t.datatype, tuple(t.shape)) for t in tensors)
