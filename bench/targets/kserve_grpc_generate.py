"""Tokens streamed by Triton over gRPC: one `ModelStreamInfer` a request, which ends with its answer."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tritonclient.grpc as client
from tritonclient.grpc import service_pb2

from bench.payloads import Prompt
from bench.record import BROKEN, PROTOCOL, STATUS
from bench.targets import kserve_grpc, kserve_messages, transport
from bench.targets.base import FINE, Facts, Streamed, Verdict
from bench.targets.channels import PORT
from bench.targets.kserve_generate import COUNT_OUT, TEXT_OUT, generating, take_apart, values
from bench.tensors import Tensors, TensorSpec
from bench.wire import grpc
from bench.wire.http2 import Http2Line
from bench.wire.line import ProtocolError, Reply, WireRequest
from bench.words import Word
from bench.workload import Workload


class KServeStream:
    """A decoupled model behind `inference.GRPCInferenceService/ModelStreamInfer`."""

    line = Http2Line

    def __init__(self, word: Word, workload: Workload, onnx: Path | None = None) -> None:
        self._word, self._workload = word, workload
        self.address, self.tls = word.address(PORT), transport.tls(word, transport.HTTP2)
        self._inputs: dict[str, TensorSpec] = {}
        self.counted: dict[str, int] = {}

    def probe(self) -> Facts:
        facts = probe(self._word, self._workload)
        self._inputs = {spec.name: spec for spec in facts.inputs}
        return facts

    def requests(self, payloads: Sequence[Prompt]) -> list[WireRequest]:
        block = kserve_grpc.request_block(self._word, "ModelStreamInfer")
        return [
            kserve_messages.request(self._workload.model, tensors(values(prompt, self._inputs), self._inputs), block)
            for prompt in payloads
        ]

    def judge(self, reply: Reply, id_: bytes) -> Verdict:
        # what came before a status that is not good is looked at too
        return FINE if reply.head.status == grpc.OK or reply.body else Verdict(STATUS, grpc.problem(reply))

    def streamed(self, answer: Reply, prompt: Prompt) -> Streamed:
        pieces: list[tuple[int, Mapping[str, Any]]] = []
        problem: Verdict | None = None
        reached, upto = [there for _, there in answer.marks], 0
        try:
            for upto, message in grpc.messages(answer.body):
                at = min(bisect_left(reached, upto), len(reached) - 1)
                pieces.append((answer.marks[at][0], _piece(message)))
            if upto < len(answer.body) and not answer.ended:
                problem = Verdict(PROTOCOL, f"the stream ended within a message, {len(answer.body) - upto} bytes into it")
        except ProtocolError as error:
            problem = Verdict(PROTOCOL, f"a message of the stream cannot be read: {error}")
        if answer.head.status != grpc.OK:
            problem = Verdict(BROKEN if answer.head.status == grpc.UNAVAILABLE else STATUS, grpc.problem(answer))
        # the final response of a stream may be empty, and nothing but final
        spoken = [(t_ns, piece) for t_ns, piece in pieces if piece.keys() - {"model_version"}]
        return take_apart(spoken, prompt, self._workload.model.version, self.counted, problem, answer.ended)

    def outputs(self, answer: Any) -> Tensors:
        raise AssertionError("a streamed reply is taken apart by `streamed`")

    def close(self) -> None:
        pass


def probe(word: Word, workload: Workload) -> Facts:
    """What the server says of itself and of the workload's model; RunError where that does not stream, or not such prompts."""
    model = workload.model
    served = kserve_grpc.describe(word, model.name, model.version)
    return generating(word, workload, served, kserve_grpc.configuration(word, model.name, model.version))


def tensors(sent: Mapping[str, Any], inputs: Mapping[str, TensorSpec]) -> dict[str, tuple[str, np.ndarray]]:
    """Input name -> (datatype, tensor) of single values, for inputs of the model."""
    made = {}
    for name, value in sent.items():
        array = np.array([value]) if isinstance(value, bool) else np.array([value.encode()], np.object_)
        made[name] = (inputs[name].datatype, array.reshape([1] * len(inputs[name].shape)))
    return made


def outputs_by_name(reply: Any) -> dict[str, Any]:
    """A reply's outputs by name, as the generate extension would have them."""
    piece: dict[str, Any] = {"model_version": reply.model_version}
    result = client.InferResult(reply)
    for name in (TEXT_OUT, COUNT_OUT):
        array = result.as_numpy(name)
        if array is not None:
            piece[name] = [v.decode("utf-8", "replace") if isinstance(v, bytes) else v for v in array.ravel().tolist()]
    return piece


def _piece(message: bytes) -> dict[str, Any]:
    try:
        reply = service_pb2.ModelStreamInferResponse.FromString(message)
    except Exception as problem:  # protobuf's DecodeError is no ValueError, and moves between its implementations
        raise ProtocolError(str(problem)) from None
    return {"error": reply.error_message} if reply.error_message else outputs_by_name(reply.infer_response)
