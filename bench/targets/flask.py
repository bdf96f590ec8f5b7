"""The Flask baseline: tensors as JSON over HTTP, the way such services are usually written."""

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.answers import decode_texts, encode_texts
from bench.errors import RunError, UsageError
from bench.record import PROTOCOL, SHAPE, STATUS
from bench.record import VERSION as WRONG_VERSION
from bench.targets import transport
from bench.targets.base import FINE, Facts, ShapeMemo, Verdict, check_inputs
from bench.targets.control import ask, instead
from bench.targets.kserve import error_text
from bench.tensors import NUMPY_TYPES, Tensors, TensorSpec
from bench.wire import http1
from bench.wire.line import Reply, WireRequest
from bench.words import Word
from bench.workload import Workload

_ID_HEADER = "X-Request-Id"
_PREDICTIONS = b'"predictions"'


class Flask:
    """A model behind `POST /predict`."""

    line = http1.Http1Line

    def __init__(self, word: Word, workload: Workload, onnx: Path | None = None) -> None:
        self._word, self._workload = word, workload
        self.address, self.tls = word.address(5000), transport.tls(word, transport.HTTP1)
        self._encoding = word.options.get("encoding", "json")
        self._outputs: dict[str, TensorSpec] = {}
        self._memo = ShapeMemo()

    def probe(self) -> Facts:
        status, metadata = ask(self._word, self.address, "/metadata")
        if status != 200 or not isinstance(metadata, dict) or "model" not in metadata:
            told = instead("Flask baseline (see `bench serve flask`)", status)
            raise RunError(f"target {self._word}: GET /metadata answered {status}: {told}")
        model = self._workload.model
        if (metadata["model"], str(metadata["version"])) != (model.name, model.version):
            raise RunError(
                f"target {self._word}: no model {model.name!r} version {model.version}; "
                f"it has: {metadata['model']} ({metadata['version']})"
            )
        inputs, outputs = _specs(metadata["inputs"]), _specs(metadata["outputs"])
        check_inputs(self._word, self._workload, inputs)
        self._outputs = {spec.name: spec for spec in outputs}
        details = {k: v for k, v in metadata.items() if k not in ("inputs", "outputs", "flask_version")}
        return Facts("flask", str(metadata.get("flask_version", "")), inputs, outputs, details)

    def requests(self, payloads: Sequence[Tensors]) -> list[WireRequest]:
        return [self._request(tensors) for tensors in payloads]

    def _request(self, tensors: Tensors) -> WireRequest:
        body = json.dumps({"inputs": {name: self._encode(name, array) for name, array in tensors.items()}}).encode()
        headers = {"Content-Type": "application/json", _ID_HEADER: "0" * 16} | self._word.fields()
        head = http1.request_head("/predict", self._word.authority(5000), headers, len(body))
        return WireRequest(bytearray(head), head.index(_ID_HEADER.encode()) + len(_ID_HEADER) + 2, body)

    def _encode(self, name: str, array: np.ndarray) -> Any:
        texts = array.dtype.kind == "O"
        if self._encoding == "json":
            return _decoded(array, f"target {self._word}: payload.inputs.{name}") if texts else array.tolist()
        datatype = self._workload.payload.inputs[name].datatype
        data = encode_texts(array) if texts else array.tobytes()
        return {"datatype": str(datatype), "shape": list(array.shape), "data": base64.b64encode(data).decode()}

    def judge(self, reply: Reply, id_: bytes) -> Verdict:
        if reply.head.status != 200:
            return Verdict(STATUS, f"HTTP {reply.head.status}: {error_text(reply.body[:300].decode('utf-8', 'replace'))}")
        if reply.head.headers.get(b"x-request-id", id_) != id_:
            return Verdict(PROTOCOL, f"the reply to request {id_.decode()} carries another id")
        # the document begins with model, version and shapes, and is then as long as its digits happen to be
        key = reply.body.partition(_PREDICTIONS)[0]
        return self._memo.get(key, 0) or self._memo.put(key, 0, self._verdict(reply))

    def _verdict(self, reply: Reply) -> Verdict:
        try:
            document = json.loads(reply.body)
            version, shapes = str(document["version"]), {n: tuple(s) for n, s in document["shapes"].items()}
            document["predictions"].keys()
        except (ValueError, KeyError, TypeError, AttributeError):
            return Verdict(PROTOCOL, f"the reply is no prediction of the Flask baseline: {reply.body[:80]!r}")
        if version != self._workload.model.version:
            return Verdict(WRONG_VERSION, f"answered by model version {version!r}, asked was {self._workload.model.version!r}")
        expected = self._outputs
        if shapes.keys() != expected.keys() or not all(expected[n].fits(expected[n].datatype, s) for n, s in shapes.items()):
            return Verdict(SHAPE, f"answered {shapes}; expected {', '.join(map(str, expected.values()))}")
        return FINE

    def outputs(self, answer: Reply) -> Tensors:
        predictions = json.loads(answer.body)["predictions"]
        return {name: self._decode(name, value) for name, value in predictions.items()}

    def _decode(self, name: str, value: Any) -> np.ndarray:
        kind = NUMPY_TYPES[self._outputs[name].datatype]
        if isinstance(value, dict):
            data = base64.b64decode(value["data"])
            array = decode_texts(data) if kind is np.object_ else np.frombuffer(data, kind)
            return array.reshape(value["shape"])
        array = np.array(value, kind)
        if kind is np.object_:
            array.flat[:] = [text.encode() for text in array.ravel().tolist()]
        return array

    def close(self) -> None:
        pass


def _decoded(texts: np.ndarray, where: str) -> Any:
    """Texts as JSON has them."""
    try:
        return np.array([text.decode() for text in texts.ravel().tolist()], np.object_).reshape(texts.shape).tolist()
    except UnicodeDecodeError:
        raise UsageError(f"{where}: JSON has no texts but UTF-8; encoding=base64 sends any bytes") from None


def _specs(tensors: list[dict[str, Any]]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(t["name"], t["datatype"], tuple(t["shape"])) for t in tensors)
