"""KServe v2 over gRPC: calls on prebuilt frames, and control calls by NVIDIA's client."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tritonclient.utils import InferenceServerException

from bench.errors import RunError
from bench.record import PROTOCOL, STATUS
from bench.targets import kserve_messages, kserve_model, transport, triton_stats
from bench.targets.base import FINE, Facts, Verdict, check_inputs
from bench.targets.channels import PORT, Channels
from bench.targets.kserve_model import Config, Served
from bench.tensors import Tensors, TensorSpec
from bench.wire import frames, grpc
from bench.wire.http2 import Http2Line
from bench.wire.line import ProtocolError, Reply, Varying, WireRequest
from bench.words import Word
from bench.workload import Workload

CONTROL_S = transport.PATIENCE_S


class KServeGrpc:
    """A model behind `inference.GRPCInferenceService/ModelInfer`."""

    line = Http2Line

    def __init__(self, word: Word, workload: Workload, onnx: Path | None = None) -> None:
        self._word, self._workload = word, workload
        self.address, self.tls = word.address(PORT), transport.tls(word, transport.HTTP2)
        self._outputs: dict[str, TensorSpec] = {}
        self._layouts = kserve_messages.Layouts()

    def probe(self) -> Facts:
        facts = probe(self._word, self._workload)
        self._outputs = {spec.name: spec for spec in facts.outputs}
        return facts

    def requests(self, payloads: Sequence[Tensors]) -> list[WireRequest]:
        block, inputs = request_block(self._word, "ModelInfer"), self._workload.payload.inputs
        return [
            kserve_messages.request(
                self._workload.model, {name: (i.datatype, tensors[name]) for name, i in inputs.items()}, block
            )
            for tensors in payloads
        ]

    def judge(self, reply: Reply, id_: bytes) -> Verdict:
        if reply.head.status == grpc.OK and self._layouts.fits(reply.body, id_):
            return FINE
        if reply.head.status != grpc.OK or reply.ended:
            return Verdict(STATUS, grpc.problem(reply))
        try:
            message = kserve_messages.reply_of(reply.body)
        except ProtocolError as error:
            return Verdict(PROTOCOL, f"the reply is no KServe v2 inference reply ({error}): {reply.body[:80]!r}")
        verdict = kserve_messages.verdict(message, id_.decode(), self._workload.model.version, self._outputs)
        if verdict == FINE:
            self._layouts.learn(reply.body)
        return verdict

    def varying(self, reply: Reply, id_: bytes) -> Varying | None:
        """What is another in every good reply: the id, and the raw contents."""
        return kserve_messages.varying(reply.body, id_)

    def outputs(self, answer: Reply) -> Tensors:
        return kserve_messages.tensors(kserve_messages.reply_of(answer.body))

    def batches(self) -> dict[int, int] | None:
        """Executed batch size -> how often, since the model was loaded; None where the server does not say."""
        return triton_stats.over_grpc(lambda: connect(self._word), self._workload.model)

    def close(self) -> None:
        pass


def probe(word: Word, workload: Workload) -> Facts:
    """What the server says of itself and of the workload's model; RunError where that is not there or takes other tensors."""
    model = workload.model
    served = describe(word, model.name, model.version)
    left_out = {spec.name for spec in served.inputs} - workload.payload.inputs.keys()
    optional = getattr(configuration(word, model.name, model.version), "optional", ()) if left_out else ()
    check_inputs(word, workload, served.inputs, optional)
    return Facts(served.server, served.server_version, served.inputs, served.outputs, {"platform": served.platform})


def request_block(word: Word, method: str) -> bytes:
    """The header block of a call."""
    secure = transport.secure(word)
    return frames.request_block(f"/inference.GRPCInferenceService/{method}", word.authority(PORT), word.fields(), secure)


def connect(word: Word) -> Any:
    """A client of NVIDIA's for one question or some; RunError where no server answers."""
    return Channels(word).open()


def describe(word: Word, name: str, version: str) -> Served:
    """The server and its model `name`, of `version` or of the one that it takes where that is ""; RunError.

    The message says what was asked for and which models there are.
    """
    connection = connect(word)
    try:
        server = connection.get_server_metadata(as_json=True, client_timeout=CONTROL_S)
    except InferenceServerException as error:
        connection.close()
        unknown = error.status() in ("StatusCode.UNAUTHENTICATED", "StatusCode.PERMISSION_DENIED")
        hint = "; it does not know who asks: --header 'Authorization: ...'" if unknown else ""
        raise RunError(f"target {word}: the server's metadata cannot be had: {words_of(error)}{hint}") from None
    try:
        metadata = connection.get_model_metadata(name, version, as_json=True, client_timeout=CONTROL_S)
        for tensor in [*metadata.get("inputs", ()), *metadata.get("outputs", ())]:
            tensor.setdefault("shape", [])  # the JSON of a message leaves out what is empty
        return kserve_model.served(server, metadata)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise RunError(f"target {word}: the metadata of model {name!r} is none of KServe v2: {str(metadata)[:200]}") from None
    except InferenceServerException as error:
        which = f"model {name!r}" + (f" version {version}" if version else "")
        raise RunError(f"target {word}: no {which}: {words_of(error)}; it has: {_served(connection)}") from None
    finally:
        connection.close()


def configuration(word: Word, name: str, version: str) -> Config | None:
    """Triton's configuration of a model; None from a server that has none to show."""
    connection = connect(word)
    try:
        told = connection.get_model_config(name, version, as_json=True, client_timeout=CONTROL_S)
        return kserve_model.config(told.get("config", {}))
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


def words_of(error: InferenceServerException) -> str:
    """The first line of what a server said."""
    return str(error.message()).splitlines()[0][:200] if error.message() else str(error.status())


def _served(connection: Any) -> str:
    try:
        index = connection.get_model_repository_index(as_json=True, client_timeout=CONTROL_S)
    except InferenceServerException:
        return "(it does not list its models)"
    return kserve_model.listed(index.get("models", ()))
