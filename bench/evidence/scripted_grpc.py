"""The scripted server over gRPC: the same script behind Triton's ModelStreamInfer."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from bench.evidence.script import METADATA, MODEL, Book, play

_USERS = 32  # at the most


class Scripted(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    """As much of KServe v2 as a target asks for."""

    def __init__(self, book: Book) -> None:
        self._book = book

    def ServerMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
        return service_pb2.ServerMetadataResponse(name=MODEL, version="1")

    def ModelMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
        if request.name != MODEL:
            context.abort(grpc.StatusCode.NOT_FOUND, f"unknown model {request.name!r}")
        return service_pb2.ModelMetadataResponse(**METADATA)

    def ModelStreamInfer(self, requests: Any, context: Any) -> Iterator[Any]:  # noqa: N802
        for request in requests:
            arrived_ns = time.perf_counter_ns()
            contents = dict(zip((i.name for i in request.inputs), request.raw_input_contents, strict=True))
            max_tokens = json.loads(contents["sampling_parameters"][4:])["max_tokens"]  # a text's length stands before it
            yield from play(self._book, int(request.id, 16), max_tokens, arrived_ns, _piece)
            yield _final()


def serve(book: Book) -> int:
    """Listen on a port of its own until the process ends; the port."""
    server = grpc.server(ThreadPoolExecutor(_USERS))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Scripted(book), server)
    port = int(server.add_insecure_port("127.0.0.1:0"))
    server.start()
    _kept.append(server)
    return port


_kept: list[Any] = []  # a server that nothing names ends


def _piece(tokens: int, before: int) -> Any:
    text = "".join(f" {n}" for n in range(before, before + tokens)).encode()
    outputs = [
        {"name": "text_output", "datatype": "BYTES", "shape": [1]},
        {"name": "num_output_tokens", "datatype": "UINT32", "shape": [1]},
    ]
    contents = [len(text).to_bytes(4, "little") + text, tokens.to_bytes(4, "little")]
    reply = service_pb2.ModelInferResponse(model_name=MODEL, model_version="1", outputs=outputs, raw_output_contents=contents)
    return service_pb2.ModelStreamInferResponse(infer_response=reply)


def _final() -> Any:
    reply = service_pb2.ModelInferResponse(model_name=MODEL, model_version="1")
    reply.parameters["triton_final_response"].bool_param = True
    return service_pb2.ModelStreamInferResponse(infer_response=reply)
