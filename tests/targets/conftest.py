"""A tiny model behind every protocol that a target speaks, each served in this process."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc
from werkzeug.serving import make_server

from bench import workload as workloads
from bench.recipes.build import build
from bench.recipes.catalog import BuiltModel
from bench.recipes.reference import reference
from bench.runtime.flask_app import create_app
from bench.runtime.session import make_session
from bench.tensors import Tensors
from bench.workload import Workload

INDEX = [{"name": "resnet50", "version": "1", "state": "READY"}, {"name": "other", "version": "3", "state": "READY"}]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the model is served; `spoil` takes what will be done to each gRPC reply, None for nothing."""

    word: str
    onnx: Path | None = None
    spoil: Callable[[Any], None] = lambda change: None


@dataclass(frozen=True, slots=True)
class Made:
    """The tiny model, a workload of three requests for it, and the right answers."""

    model: BuiltModel
    workload: Workload
    answers: Tensors


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    document = {
        "name": "small",
        "model": {"name": "resnet50", "preset": "tiny"},
        "payload": {"distinct": 3, "inputs": {"input": {"datatype": "FP32", "shape": [1, 3, 224, 224]}}},
        "load": {"arrivals": "closed"},
    }
    workload = workloads.from_builtins(document, "small.toml")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        model = build("resnet50", preset="tiny")
        with np.load(reference(model, workload, lambda text: None)) as stored:
            answers = dict(stored)
        yield Made(model, workload, answers)


@pytest.fixture(scope="session")
def serve(made: Made) -> Iterator[Callable[[str], Endpoint]]:
    """The endpoint of each scheme, started when it is first asked for."""
    started: dict[str, Endpoint] = {}
    with ExitStack() as stack:

        def start(scheme: str) -> Endpoint:
            if scheme not in started:
                started[scheme] = stack.enter_context(_SERVED[scheme](made))
            return started[scheme]

        yield start


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address where nobody listens, and nobody else can begin to."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        yield "{}:{}".format(*reserved.getsockname())


@contextmanager
def _flask(made: Made) -> Iterator[Endpoint]:
    environ = {"BENCH_MODEL_FILE": str(made.model.onnx), "BENCH_MODEL_NAME": "resnet50", "BENCH_THREADS": "1"}
    server = make_server("127.0.0.1", 0, create_app(environ), threaded=True)
    with _running(server):
        yield Endpoint(f"flask://127.0.0.1:{server.server_port}")


@contextmanager
def _kserve_http(made: Made) -> Iterator[Endpoint]:
    session = make_session(made.model.onnx, 1, "cpu")

    class Handler(BaseHTTPRequestHandler):
        """As much of KServe v2 as a target asks for, in the order and form of Triton's replies."""

        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            documents: dict[str, Any] = {
                "/v2": {"name": "stand-in", "version": "9.9", "extensions": []},
                "/v2/models/resnet50/versions/1": {"name": "resnet50", **_metadata(made.model)},
            }
            found = documents.get(self.path)
            self._reply(200 if found else 400, json.dumps(found or {"error": "unknown model"}).encode())

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"] or 0))
            if self.path == "/v2/repository/index":
                self._reply(200, json.dumps(INDEX).encode())
                return
            length = int(self.headers["Inference-Header-Content-Length"])
            document = json.loads(body[:length])
            (tensor,) = document["inputs"]
            feeds = {tensor["name"]: np.frombuffer(body[length:], np.float32).reshape(tensor["shape"])}
            names = [spec.name for spec in made.model.outputs]
            arrays = session.run(names, feeds)
            outputs = [
                {"name": n, "datatype": "FP32", "shape": list(a.shape), "parameters": {"binary_data_size": a.nbytes}}
                for n, a in zip(names, arrays, strict=True)
            ]
            head = {"id": document["id"], "model_name": "resnet50", "model_version": "1", "outputs": outputs}
            text = json.dumps(head, separators=(",", ":")).encode()
            self._reply(200, text + b"".join(a.tobytes() for a in arrays), {"Inference-Header-Content-Length": str(len(text))})

        def _reply(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    with _running(server):
        yield Endpoint(f"triton-http://127.0.0.1:{server.server_port}")


@contextmanager
def _kserve_grpc(made: Made) -> Iterator[Endpoint]:
    session = make_session(made.model.onnx, 1, "cpu")
    changes: list[Any] = [None]

    class Servicer(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
        """As much of KServe v2 as a target asks for."""

        def ServerMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
            return service_pb2.ServerMetadataResponse(name="stand-in", version="9.9")

        def ModelMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
            if (request.name, request.version) != ("resnet50", "1"):
                context.abort(grpc.StatusCode.NOT_FOUND, f"unknown model {request.name!r}")
            return service_pb2.ModelMetadataResponse(name="resnet50", **_metadata(made.model))

        def RepositoryIndex(self, request: Any, context: Any) -> Any:  # noqa: N802
            return service_pb2.RepositoryIndexResponse(models=INDEX)

        def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802
            (tensor,) = request.inputs
            feeds = {tensor.name: np.frombuffer(request.raw_input_contents[0], np.float32).reshape(tensor.shape)}
            names = [spec.name for spec in made.model.outputs]
            arrays = session.run(names, feeds)
            reply = service_pb2.ModelInferResponse(
                id=request.id,
                model_name="resnet50",
                model_version="1",
                outputs=[{"name": n, "datatype": "FP32", "shape": a.shape} for n, a in zip(names, arrays, strict=True)],
                raw_output_contents=[a.tobytes() for a in arrays],
            )
            if isinstance(changes[0], grpc.StatusCode):
                context.abort(changes[0], "as the test asks")
            elif changes[0] is not None:
                changes[0](reply)
            return reply

    server = grpc.server(ThreadPoolExecutor(2))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Servicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()

    def spoil(change: Any) -> None:
        changes[0] = change

    yield Endpoint(f"triton-grpc://127.0.0.1:{port}", spoil=spoil)
    server.stop(None).wait()


@contextmanager
def _onnx(made: Made) -> Iterator[Endpoint]:
    yield Endpoint("onnx://cpu?threads=1", made.model.onnx)


@contextmanager
def _echo(made: Made) -> Iterator[Endpoint]:
    yield Endpoint("echo://?service=1ms")


_SERVED = {"flask": _flask, "triton-http": _kserve_http, "triton-grpc": _kserve_grpc, "onnx": _onnx, "echo": _echo}


@contextmanager
def _running(server: Any) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _metadata(model: BuiltModel) -> dict[str, Any]:
    return {
        "versions": ["1"],
        "platform": "onnxruntime_onnx",
        **{
            key: [{"name": s.name, "datatype": s.datatype, "shape": list(s.shape)} for s in specs]
            for key, specs in (("inputs", model.inputs), ("outputs", model.outputs))
        },
    }
