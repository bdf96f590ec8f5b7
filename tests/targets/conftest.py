"""A tiny model behind every protocol that a target speaks, each served in this process."""

import json
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf import json_format
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import deserialize_bytes_tensor, serialize_byte_tensor, triton_to_np_dtype
from werkzeug.serving import make_server

from bench import workload as workloads
from bench.answers import read
from bench.recipes.build import build
from bench.recipes.catalog import BuiltModel
from bench.recipes.reference import reference
from bench.runtime.flask_app import create_app
from bench.runtime.session import make_session
from bench.tensors import Tensors, TensorSpec
from bench.workload import Workload

INDEX = [{"name": "resnet50", "version": "1", "state": "READY"}, {"name": "other", "version": "3", "state": "READY"}]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the model is served; `spoil` takes what will be done to each gRPC reply, None for nothing."""

    word: str
    onnx: Path | None = None
    spoil: Callable[[Any], None] = lambda change: None


@dataclass(frozen=True, slots=True)
class Model:
    """What a stand-in serves as version 1, and what it says of it; `config` is for Triton only."""

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    answer: Callable[[Tensors], Tensors]
    config: dict[str, Any] | None = None
    extensions: tuple[str, ...] = ("binary_tensor_data",)
    index: Sequence[dict[str, str]] = ()


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
        stored, _ = read(reference(model, workload, lambda text: None))
        outputs = {name: np.stack([stored[n][name] for n in range(3)]) for name in stored[0]}
        yield Made(model, workload, outputs)


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
def own() -> Model:
    """A user's model: a text, numbers as many as there are, and a factor that may be left out; two outputs."""

    def answer(feeds: Tensors) -> Tensors:
        texts, factor = feeds["text"], feeds.get("factor", np.ones((1, 1), np.float32))
        label = np.empty(texts.size, np.object_)
        label[:] = [text.upper() for text in texts.ravel().tolist()]
        lengths = np.array([[len(text)] for text in texts.ravel().tolist()], np.float32)
        return {"label": label.reshape(texts.shape), "scaled": feeds["values"] * lengths * factor}

    inputs = (
        TensorSpec("text", "BYTES", (-1, 1)),
        TensorSpec("values", "FP32", (-1, -1)),
        TensorSpec("factor", "FP32", (-1, 1)),
    )
    outputs = (TensorSpec("label", "BYTES", (-1, 1)), TensorSpec("scaled", "FP32", (-1, -1)))
    described = [
        {
            "name": spec.name,
            "data_type": "TYPE_STRING" if spec.datatype == "BYTES" else "TYPE_FP32",
            "dims": list(spec.shape[1:]),
        }
        | ({"optional": True} if spec.name == "factor" else {})
        for spec in inputs
    ]
    index = [{"name": "own", "version": "1", "state": "READY"}]
    return Model("own", inputs, outputs, answer, {"name": "own", "max_batch_size": 8, "input": described}, index=index)


@pytest.fixture
def stand_in() -> Iterator[Callable[[str, Model], Endpoint]]:
    """Serves a model by a scheme, in this process."""
    with ExitStack() as stack:
        yield lambda scheme, model: stack.enter_context(_KSERVE[scheme](model))


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
def _kserve_http(model: Model) -> Iterator[Endpoint]:
    path = f"/v2/models/{model.name}/versions/1"

    class Handler(BaseHTTPRequestHandler):
        """As much of KServe v2 as a target asks for, in the order and form of Triton's replies."""

        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            documents: dict[str, Any] = {
                "/v2": {"name": "stand-in", "version": "9.9", "extensions": model.extensions},
                path: {"name": model.name, **_metadata(model)},
                f"{path}/ready": {},
            }
            documents[path.partition("/versions")[0]] = documents[path]
            if model.config is not None:
                documents[f"{path}/config"] = model.config
            found = documents.get(self.path)
            self._reply(
                200 if found is not None else 400, json.dumps({"error": "unknown model"} if found is None else found).encode()
            )

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"] or 0))
            if self.path == "/v2/repository/index":
                self._reply(200, json.dumps(model.index).encode())
                return
            binary = "Inference-Header-Content-Length" in self.headers
            assert binary == ("binary_tensor_data" in model.extensions)
            at = int(self.headers["Inference-Header-Content-Length"]) if binary else len(body)
            document = json.loads(body[:at])
            feeds = {}
            for tensor in document["inputs"]:
                size = tensor["parameters"]["binary_data_size"] if binary else 0
                flat = _from_wire(tensor["datatype"], body[at : at + size]) if binary else _from_list(tensor)
                feeds[tensor["name"]] = flat.reshape(tensor["shape"])
                at += size
            assert at == len(body)
            answers = model.answer(feeds)
            outputs, contents = [], []
            for spec in model.outputs:
                array = answers[spec.name]
                output = {"name": spec.name, "datatype": spec.datatype, "shape": list(array.shape)}
                if binary:
                    contents.append(_to_wire(array))
                    output["parameters"] = {"binary_data_size": len(contents[-1])}
                else:
                    output["data"] = [v.decode() if isinstance(v, bytes) else v for v in array.ravel().tolist()]
                outputs.append(output)
            head = {"id": document["id"], "model_name": model.name, "model_version": "1", "outputs": outputs}
            text = json.dumps(head, separators=(",", ":")).encode()
            headers = {"Inference-Header-Content-Length": str(len(text))} if binary else {}
            self._reply(200, text + b"".join(contents), headers)

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
def _kserve_grpc(model: Model) -> Iterator[Endpoint]:
    changes: list[Any] = [None]

    class Servicer(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
        """As much of KServe v2 as a target asks for."""

        def ServerMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
            return service_pb2.ServerMetadataResponse(name="stand-in", version="9.9", extensions=model.extensions)

        def ModelMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
            self._know(request, context)
            return service_pb2.ModelMetadataResponse(name=model.name, **_metadata(model))

        def ModelReady(self, request: Any, context: Any) -> Any:  # noqa: N802
            return service_pb2.ModelReadyResponse(ready=True)

        def ModelConfig(self, request: Any, context: Any) -> Any:  # noqa: N802
            if model.config is None:
                context.abort(grpc.StatusCode.UNIMPLEMENTED, "no configuration")
            return json_format.ParseDict({"config": model.config}, service_pb2.ModelConfigResponse())

        def RepositoryIndex(self, request: Any, context: Any) -> Any:  # noqa: N802
            return service_pb2.RepositoryIndexResponse(models=model.index)

        def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802
            feeds = {
                tensor.name: _from_wire(tensor.datatype, data).reshape(tensor.shape)
                for tensor, data in zip(request.inputs, request.raw_input_contents, strict=True)
            }
            answers = model.answer(feeds)
            reply = service_pb2.ModelInferResponse(
                id=request.id,
                model_name=model.name,
                model_version="1",
                outputs=[{"name": s.name, "datatype": s.datatype, "shape": answers[s.name].shape} for s in model.outputs],
                raw_output_contents=[_to_wire(answers[s.name]) for s in model.outputs],
            )
            if isinstance(changes[0], grpc.StatusCode):
                context.abort(changes[0], "as the test asks")
            elif changes[0] is not None:
                changes[0](reply)
            return reply

        def _know(self, request: Any, context: Any) -> None:
            if request.name != model.name or request.version not in ("", "1"):
                context.abort(grpc.StatusCode.NOT_FOUND, f"unknown model {request.name!r}")

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


_KSERVE = {"triton-http": _kserve_http, "triton-grpc": _kserve_grpc}
_SERVED = {
    **{scheme: lambda made, serve=serve: serve(_resnet(made.model)) for scheme, serve in _KSERVE.items()},
    "flask": _flask,
    "onnx": _onnx,
    "echo": _echo,
}


def _resnet(built: BuiltModel) -> Model:
    session = make_session(built.onnx, 1, "cpu")
    names = [spec.name for spec in built.outputs]
    return Model(
        "resnet50",
        built.inputs,
        built.outputs,
        lambda feeds: dict(zip(names, session.run(names, feeds), strict=True)),
        index=INDEX,
    )


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


def _metadata(model: Model) -> dict[str, Any]:
    return {
        "versions": ["1"],
        "platform": "onnxruntime_onnx",
        **{
            key: [{"name": s.name, "datatype": s.datatype, "shape": list(s.shape)} for s in specs]
            for key, specs in (("inputs", model.inputs), ("outputs", model.outputs))
        },
    }


# by NVIDIA's own functions, which the targets do not use
def _to_wire(array: np.ndarray) -> bytes:
    return bytes(serialize_byte_tensor(array).item()) if array.dtype.kind == "O" and array.size else array.tobytes()


def _from_wire(datatype: str, data: bytes) -> np.ndarray:
    array: np.ndarray = (
        deserialize_bytes_tensor(data) if datatype == "BYTES" else np.frombuffer(data, triton_to_np_dtype(datatype))
    )
    return array


def _from_list(tensor: dict[str, Any]) -> np.ndarray:
    if tensor["datatype"] == "BYTES":
        return np.array([text.encode() for text in tensor["data"]], np.object_)
    return np.array(tensor["data"], triton_to_np_dtype(tensor["datatype"]))
