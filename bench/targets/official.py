"""NVIDIA's own clients in place of the lean ones: so that anyone can check that both see the same latencies."""

import ssl
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import grpc
import tritonclient.grpc
from tritonclient.utils import InferenceServerException

from bench import words
from bench.record import CLOSED, CONNECT, PROTOCOL, STATUS, TIMEOUT
from bench.targets import kserve, kserve_grpc, kserve_messages, transport, triton_stats
from bench.targets.base import CallReply, Facts, Verdict, request_id
from bench.targets.channels import PORT, Channels, Headers
from bench.tensors import Tensors, TensorSpec
from bench.units import format_exact_duration
from bench.words import Word
from bench.workload import Workload

_KINDS = {grpc.StatusCode.DEADLINE_EXCEEDED: TIMEOUT, grpc.StatusCode.UNAVAILABLE: CONNECT}


class OfficialGrpc:
    """A model asked by tritonclient.grpc: one channel a user, on native threads."""

    def __init__(self, word: Word, workload: Workload, onnx: Path | None = None) -> None:
        self._word, self._workload = word, workload
        word.address(PORT)  # a slip is told before anything starts
        self._channels: Channels | None = None
        self._outputs: dict[str, TensorSpec] = {}
        self._clients: list[Any] = []
        self._prepared: list[list[Any]] = []

    def probe(self) -> Facts:
        facts = kserve_grpc.probe(self._word, self._workload)
        self._outputs = {spec.name: spec for spec in facts.outputs}
        self._channels = self._channels or Channels(self._word)
        return facts

    def caller(self, payloads: Sequence[Tensors]) -> Callable[[int, int], CallReply]:
        assert self._channels is not None
        connection = self._channels.open()
        self._clients.append(connection)
        model, timeout_s = self._workload.model, self._workload.timeout_ns / 1e9
        if not self._prepared:  # once for all users, who only read it
            self._prepared = [_inputs(self._workload, tensors, tritonclient.grpc.InferInput) for tensors in payloads]
        prepared = self._prepared

        def call(payload: int, number: int) -> CallReply:
            id_ = request_id(number).decode()
            try:
                result = connection.infer(
                    model.name, prepared[payload], model.version, request_id=id_, client_timeout=timeout_s
                )  # fmt: skip
            except InferenceServerException as error:
                return _failed(error)
            reply = result.get_response()
            return CallReply(0, kserve_messages.verdict(reply, id_, model.version, self._outputs), reply)

        return call

    def outputs(self, answer: Any) -> Tensors:
        return kserve_messages.tensors(answer)

    def batches(self) -> dict[int, int] | None:
        """Executed batch size -> how often, since the model was loaded; None where the server does not say."""
        return triton_stats.over_grpc(lambda: kserve_grpc.connect(self._word), self._workload.model)

    def close(self) -> None:
        for connection in self._clients:
            connection.close()


class OfficialHttp:
    """A model asked by tritonclient.http: one client a user, on native threads."""

    def __init__(self, word: Word, workload: Workload, onnx: Path | None = None) -> None:
        self._word, self._workload = word, workload
        self._lean = kserve.KServeHttp(word, workload)
        self._outputs: dict[str, TensorSpec] = {}
        self._prepared: list[list[Any]] = []

    def probe(self) -> Facts:
        facts = self._lean.probe()
        self._outputs = {spec.name: spec for spec in facts.outputs}
        return facts

    def caller(self, payloads: Sequence[Tensors]) -> Callable[[int, int], CallReply]:
        from tritonclient.http import InferInput

        if not self._prepared:  # once for all users, who only read it
            self._prepared = [_inputs(self._workload, tensors, InferInput, self._lean.binary) for tensors in payloads]
        prepared, model, own = self._prepared, self._workload.model, threading.local()

        def call(payload: int, number: int) -> CallReply:
            id_ = request_id(number).decode()
            try:
                if not hasattr(own, "client"):  # its sockets belong to the thread that uses them
                    own.client = self._connect()
                result = own.client.infer(model.name, prepared[payload], model.version, request_id=id_)
            except InferenceServerException as error:
                return _refused(error)
            except TimeoutError:
                silence = format_exact_duration(self._workload.timeout_ns)
                return CallReply(0, Verdict(TIMEOUT, f"no reply within {silence}"), None)
            except Exception as error:  # whatever a server sent
                return CallReply(0, _lost(error), None)
            return CallReply(200, self._judge(result, id_), result)

        return call

    def _connect(self) -> Any:
        from tritonclient.http import InferenceServerClient

        timeout_s, context = self._workload.timeout_ns / 1e9, self._lean.tls
        made = InferenceServerClient(
            words.place(self._lean.address),
            connection_timeout=timeout_s,
            network_timeout=timeout_s,
            ssl=context is not None,
            ssl_context_factory=lambda **_: context,  # which needs no certificates but its own
            insecure=context is not None and not context.check_hostname,
        )
        made.register_plugin(Headers(self._word.fields() | {"Host": self._word.authority(8000)}))
        return made

    def _judge(self, result: Any, id_: str) -> Verdict:
        try:
            return kserve.judge_document(result.get_response(), id_, self._workload.model.version, self._outputs)
        except (ValueError, KeyError, TypeError, AttributeError):
            return Verdict(PROTOCOL, f"the reply is no KServe v2 inference reply: {str(result.get_response())[:80]}")

    def outputs(self, answer: Any) -> Tensors:
        return {name: answer.as_numpy(name) for name in self._outputs}

    def batches(self) -> dict[int, int] | None:
        """Executed batch size -> how often, since the model was loaded; None where the server does not say."""
        return self._lean.batches()

    def close(self) -> None:
        self._lean.close()


def _inputs(workload: Workload, tensors: Tensors, make: Any, *binary: bool) -> list[Any]:
    """The inputs of a request, as a client of NVIDIA's wants them."""
    made = []
    for name, i in workload.payload.inputs.items():
        tensor = make(name, list(tensors[name].shape), i.datatype)
        tensor.set_data_from_numpy(tensors[name], *binary)
        made.append(tensor)
    return made


def _lost(error: Exception) -> Verdict:
    """What became of a call by HTTP that brought no reply."""
    from geventhttpclient.response import HTTPConnectionClosed

    if isinstance(error, HTTPConnectionClosed):
        return Verdict(CLOSED, "the connection was closed before the reply began")
    if isinstance(error, OSError):
        told = transport.plainly(error).strerror or str(error)
        if isinstance(error, ConnectionResetError | BrokenPipeError | ssl.SSLEOFError):
            return Verdict(CLOSED, f"the connection was closed: {told}")
        return Verdict(CONNECT, told)
    return Verdict(PROTOCOL, f"no reply that tritonclient can read: {type(error).__name__}: {str(error)[:80]}")


def _failed(error: InferenceServerException) -> CallReply:
    """What a call by gRPC came to that went wrong."""
    code = next((c for c in grpc.StatusCode if str(c) == error.status()), grpc.StatusCode.UNKNOWN)
    message = f"gRPC {code.name}: {kserve_grpc.words_of(error)}"
    return CallReply(int(code.value[0]), Verdict(_KINDS.get(code, STATUS), message), None)


def _refused(error: InferenceServerException) -> CallReply:
    """What a call by HTTP came to that went wrong."""
    status = int(error.status()) if (error.status() or "").isdigit() else 0
    told = kserve.error_text(error.debug_details() or kserve_grpc.words_of(error))  # a body that is no JSON is in the details
    return CallReply(status, Verdict(STATUS, f"HTTP {status or 'error'}: {told}"), None)
