"""The server that knows the truth over gRPC: HTTP/2 by the h2 library, messages by Triton's own definitions."""

from collections.abc import Callable
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.exceptions
from google.protobuf import json_format
from tritonclient.grpc import service_pb2 as messages

from bench.evidence.truth import CONFIG, INDEX, METADATA, MODEL, OUTPUTS, SERVER, Asked, Book

_SERVICE = "/inference.GRPCInferenceService/"
_UNIMPLEMENTED = 12


def _same(kind: Any, document: Any) -> Callable[[Book], Any]:
    return lambda book: json_format.ParseDict(document, kind())


_ANSWERS: dict[str, Callable[[Book], Any]] = {
    "ServerLive": _same(messages.ServerLiveResponse, {"live": True}),
    "ServerReady": _same(messages.ServerReadyResponse, {"ready": True}),
    "ModelReady": _same(messages.ModelReadyResponse, {"ready": True}),
    "ServerMetadata": _same(messages.ServerMetadataResponse, SERVER),
    "ModelMetadata": _same(messages.ModelMetadataResponse, METADATA),
    "ModelConfig": _same(messages.ModelConfigResponse, {"config": CONFIG}),
    "RepositoryIndex": _same(messages.RepositoryIndexResponse, {"models": INDEX}),
    "ModelStatistics": lambda book: json_format.ParseDict(
        {"model_stats": [book.statistics()]}, messages.ModelStatisticsResponse()
    ),
}


class Grpc:
    """One connection, with any number of calls at a time."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._http2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        self._http2.initiate_connection()
        self._http2.increment_flow_control_window(2**31 - 1 - 65535)
        self._paths: dict[int, str] = {}
        self._bodies: dict[int, bytearray] = {}

    def hear(self, data: bytes) -> list[Asked]:
        asked = []
        for event in self._http2.receive_data(data):
            if isinstance(event, h2.events.RequestReceived):
                self._paths[event.stream_id] = _path(event.headers)
                self._bodies[event.stream_id] = bytearray()
            elif isinstance(event, h2.events.DataReceived):
                self._bodies[event.stream_id] += event.data
                self._http2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamEnded):
                asked.append(self._asked(event.stream_id))
            elif isinstance(event, h2.events.StreamReset):
                self._paths.pop(event.stream_id, None)
        return [Asked(self._http2.data_to_send()), *asked]

    def _asked(self, stream: int) -> Asked:
        name, body = self._paths.pop(stream).removeprefix(_SERVICE), bytes(self._bodies.pop(stream))[5:]
        if name == "ModelInfer":
            id_ = str(messages.ModelInferRequest.FromString(body).id)
            return Asked(b"", id_, lambda: self._reply(stream, _inferred(id_)))
        if name not in _ANSWERS:
            return Asked(self._reply(stream, None, _UNIMPLEMENTED))
        return Asked(self._reply(stream, _ANSWERS[name](self._book)))

    def _reply(self, stream: int, message: Any, status: int = 0) -> bytes:
        first = [(":status", "200"), ("content-type", "application/grpc")]
        last = [("grpc-status", str(status))]
        try:
            if message is None:
                self._http2.send_headers(stream, first + last, end_stream=True)
            else:
                body = message.SerializeToString()
                self._http2.send_headers(stream, first)
                self._http2.send_data(stream, b"\0" + len(body).to_bytes(4, "big") + body)
                self._http2.send_headers(stream, last, end_stream=True)
        except h2.exceptions.ProtocolError:
            return b""  # the client has given the call up
        return self._http2.data_to_send()


def _path(headers: Any) -> str:
    return next(_plain(value) for name, value in headers if _plain(name) == ":path")


def _plain(text: Any) -> str:
    return text.decode() if isinstance(text, bytes) else str(text)


def _inferred(id_: str) -> Any:
    reply = messages.ModelInferResponse(model_name=MODEL, model_version="1", id=id_)
    output = reply.outputs.add(name="y", datatype="FP32")
    output.shape.append(OUTPUTS)
    reply.raw_output_contents.append(bytes(4 * OUTPUTS))
    return reply
