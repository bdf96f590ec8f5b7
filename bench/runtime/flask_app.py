"""The Flask baseline: a model behind POST /predict, written the way such services usually are (JSON, numpy, session.run, JSON).

A model that generates is behind POST /generate instead. Every worker process makes its own session when it starts, from
environment variables: BENCH_MODEL_FILE, BENCH_MODEL_NAME, BENCH_MODEL_VERSION, BENCH_THREADS, BENCH_PROVIDER (cpu or cuda),
BENCH_ENCODING (json or base64), BENCH_SERVER_ID, and for a model that generates BENCH_BATCHING (off), BENCH_SLOTS (8),
BENCH_CONTEXT (1024, or as many as the model can have), BENCH_PREFILL_CHUNK (what suits the device).
"""

import atexit
import base64
import importlib.metadata
import json
import os
import sys
from collections.abc import Mapping
from typing import Any

import flask
import numpy as np
import onnxruntime
from werkzeug.exceptions import HTTPException

from bench.runtime import flask_generate
from bench.runtime.flask_generate import BadPrompt
from bench.runtime.generation import generates, schedule
from bench.runtime.scheduler import Scheduler
from bench.runtime.session import make_session, session_options_facts

DATATYPES = {
    "tensor(bool)": ("BOOL", np.bool_), "tensor(float16)": ("FP16", np.float16), "tensor(float)": ("FP32", np.float32),
    "tensor(double)": ("FP64", np.float64), "tensor(int8)": ("INT8", np.int8), "tensor(int16)": ("INT16", np.int16),
    "tensor(int32)": ("INT32", np.int32), "tensor(int64)": ("INT64", np.int64), "tensor(uint8)": ("UINT8", np.uint8),
    "tensor(uint16)": ("UINT16", np.uint16), "tensor(uint32)": ("UINT32", np.uint32), "tensor(uint64)": ("UINT64", np.uint64),
}  # fmt: skip
READY = "ready to serve"


class BadRequest(Exception):
    """What is wrong with a request's body."""


def create_app(environ: Mapping[str, str] = os.environ) -> flask.Flask:
    """The application, its session made."""
    name, version = environ["BENCH_MODEL_NAME"], environ.get("BENCH_MODEL_VERSION", "1")
    encoding, threads = environ.get("BENCH_ENCODING", "json"), int(environ["BENCH_THREADS"])
    session = make_session(environ["BENCH_MODEL_FILE"], threads, environ.get("BENCH_PROVIDER", "cpu"))
    scheduler = _schedule(session, environ) if generates(session) else None
    app = flask.Flask("bench.runtime.flask_app")
    if scheduler is None:
        _add_predict(app, session, name, version, encoding)
    else:
        _add_generate(app, scheduler)

    @app.get("/health")
    def health() -> flask.Response:
        return _reply({"status": "ok", "id": environ.get("BENCH_SERVER_ID", "")})

    @app.get("/metadata")
    def metadata() -> flask.Response:
        return _reply(
            {
                "model": name,
                "version": version,
                "inputs": [_describe(tensor) for tensor in session.get_inputs()],
                "outputs": [_describe(tensor) for tensor in session.get_outputs()],
                "encoding": encoding,
                "flask_version": importlib.metadata.version("flask"),
                "onnxruntime_version": onnxruntime.__version__,
                "providers": session.get_providers(),
                "session_options": session_options_facts(threads),
            }
            | ({"generates": True} | scheduler.facts() if scheduler else {})
        )

    @app.errorhandler(BadRequest)
    @app.errorhandler(BadPrompt)
    def refuse(error: Exception) -> flask.Response:
        return _reply({"error": str(error)}, 400)

    @app.errorhandler(Exception)
    def fail(error: Exception) -> flask.Response:
        if isinstance(error, HTTPException):
            return _reply({"error": f"{error.name}: {flask.request.method} {flask.request.path}"}, error.code or 500)
        app.logger.exception("a request failed")
        return _reply({"error": f"{type(error).__name__}: {error}"}, 500)

    # who started the workers reads this in the log and counts them
    print(f"worker {os.getpid()} {READY} {name} version {version}", file=sys.stderr, flush=True)
    return app


def _add_predict(app: flask.Flask, session: Any, name: str, version: str, encoding: str) -> None:
    outputs = [tensor.name for tensor in session.get_outputs()]

    @app.post("/predict")
    def predict() -> flask.Response:
        feeds = read_inputs(flask.request.get_data(), session.get_inputs(), encoding)
        return _reply(write_outputs(name, version, dict(zip(outputs, session.run(outputs, feeds), strict=True)), encoding))


def _add_generate(app: flask.Flask, scheduler: Scheduler) -> None:
    @app.post("/generate")
    def generate() -> flask.Response:
        lines, cancel = flask_generate.answer(scheduler, flask_generate.read_prompt(flask.request.get_data()))
        reply = flask.Response(lines, mimetype=flask_generate.LINES)
        reply.call_on_close(cancel)  # also when the client went away
        return _with_id(reply)


def _schedule(session: Any, environ: Mapping[str, str]) -> Scheduler:
    scheduler = schedule(
        session,
        provider=environ.get("BENCH_PROVIDER", "cpu"),
        batching=environ.get("BENCH_BATCHING", "off"),
        slots=int(environ.get("BENCH_SLOTS", 8)),
        context=int(environ.get("BENCH_CONTEXT", 0)),
        prefill_chunk=int(environ.get("BENCH_PREFILL_CHUNK", -1)),
    )
    # its thread must not be inside the model when the interpreter goes down
    atexit.register(scheduler.close)
    return scheduler


def read_inputs(body: bytes, inputs: list[Any], encoding: str) -> dict[str, np.ndarray]:
    """The tensors in a request's body, each fitting the session's input of its name; BadRequest says what does not."""
    try:
        document = json.loads(body)
    except ValueError as error:
        raise BadRequest(f"the body is no JSON: {error}") from None
    given = document.get("inputs") if isinstance(document, dict) else None
    if not isinstance(given, dict):
        raise BadRequest('expected {"inputs": {NAME: TENSOR, ...}}')
    expected = [tensor.name for tensor in inputs]
    if given.keys() != set(expected):
        raise BadRequest(f"inputs: expected {', '.join(expected)}, got {', '.join(given) or 'none'}")
    return {tensor.name: _array(tensor, given[tensor.name], encoding) for tensor in inputs}


def write_outputs(name: str, version: str, outputs: dict[str, np.ndarray], encoding: str) -> dict[str, Any]:
    """A reply's document: what is small and always the same stands first, so that a client can check a reply by its head."""
    shapes = {key: list(array.shape) for key, array in outputs.items()}
    predictions = {key: _to_base64(array) if encoding == "base64" else array.tolist() for key, array in outputs.items()}
    return {"model": name, "version": version, "shapes": shapes, "predictions": predictions}


def _array(tensor: Any, value: Any, encoding: str) -> np.ndarray:
    datatype, kind = DATATYPES[tensor.type]
    if encoding == "base64":
        array = _from_base64(tensor.name, value, datatype, kind)
    else:
        array = _from_lists(tensor.name, value, datatype, kind)
    expected = _shape(tensor)
    if len(expected) != array.ndim or any(e not in (-1, n) for e, n in zip(expected, array.shape, strict=True)):
        raise BadRequest(f"input {tensor.name}: expected shape {expected} (-1: any size), got {list(array.shape)}")
    return array


def _from_lists(name: str, value: Any, datatype: str, kind: type[np.generic]) -> np.ndarray:
    refusal = BadRequest(f"input {name}: expected nested lists of {datatype} numbers, all rows equally long")
    try:
        given = np.array(value)
    except ValueError:
        raise refusal from None
    target = np.dtype(kind)
    if given.dtype.kind not in {"f": "iuf", "b": "b"}.get(target.kind, "iu"):  # a text or null would become a number unseen
        raise refusal
    array = given.astype(kind)
    if target.kind in "iu" and not np.array_equal(array, given):
        raise refusal
    return array


def _from_base64(name: str, value: Any, datatype: str, kind: type[np.generic]) -> np.ndarray:
    form = f'input {name}: expected {{"datatype": "{datatype}", "shape": [...], "data": BASE64}}'
    if not isinstance(value, dict) or value.get("datatype") != datatype:
        raise BadRequest(form)
    try:
        return np.frombuffer(base64.b64decode(value["data"], validate=True), kind).reshape(value["shape"])
    except (KeyError, TypeError, ValueError) as error:
        raise BadRequest(f"{form}: {error}") from None


def _to_base64(array: np.ndarray) -> dict[str, Any]:
    datatype = next(name for name, kind in DATATYPES.values() if kind == array.dtype)
    return {"datatype": datatype, "shape": list(array.shape), "data": base64.b64encode(array.tobytes()).decode()}


def _shape(tensor: Any) -> list[int]:
    return [n if isinstance(n, int) else -1 for n in tensor.shape]


def _describe(tensor: Any) -> dict[str, Any]:
    return {"name": tensor.name, "datatype": DATATYPES[tensor.type][0], "shape": _shape(tensor)}


def _reply(document: dict[str, Any], status: int = 200) -> flask.Response:
    return _with_id(flask.Response(json.dumps(document, separators=(",", ":")), status, mimetype="application/json"))


def _with_id(reply: flask.Response) -> flask.Response:
    if "X-Request-Id" in flask.request.headers:
        reply.headers["X-Request-Id"] = flask.request.headers["X-Request-Id"]
    return reply
