"""KServe v2 over HTTP, with binary tensors where the server takes them: Triton and what speaks like it."""

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from bench.errors import RunError, UsageError
from bench.record import PROTOCOL, SHAPE, STATUS
from bench.record import VERSION as WRONG_VERSION
from bench.targets import kserve_model, transport, triton_stats
from bench.targets.base import FINE, Facts, ShapeMemo, Verdict, check_inputs
from bench.targets.control import ask, instead
from bench.targets.kserve_model import Config, Served
from bench.tensors import NUMPY_TYPES, Tensors, TensorSpec
from bench.wire import http1
from bench.wire.line import Reply, Varying, WireRequest
from bench.words import Word
from bench.workload import Workload

_ID = b'{"id":"'
_HEADER_LENGTH = b"inference-header-content-length"
_BINARY = frozenset({"binary_tensor_data", "binary_data"})  # as Triton names the extension, and as others do


class KServeHttp:
    """A model behind `POST /v2/models/NAME/versions/V/infer`."""

    line = http1.Http1Line

    def __init__(self, word: Word, workload: Workload, onnx: Path | None = None) -> None:
        self._word, self._workload = word, workload
        self.address, self.tls = word.address(8000), transport.tls(word, transport.HTTP1)
        self._outputs: dict[str, TensorSpec] = {}
        self._memo = ShapeMemo()
        self.binary = True

    def probe(self) -> Facts:
        model = self._workload.model
        served = describe(self._word, model.name, model.version)
        left_out = {spec.name for spec in served.inputs} - self._workload.payload.inputs.keys()
        optional = getattr(configuration(self._word, model.name, model.version), "optional", ()) if left_out else ()
        check_inputs(self._word, self._workload, served.inputs, optional)
        self._outputs = {spec.name: spec for spec in served.outputs}
        self.binary = bool(served.extensions & _BINARY)
        details = {"platform": served.platform}
        return Facts(served.server, served.server_version, served.inputs, served.outputs, details)

    def requests(self, payloads: Sequence[Tensors]) -> list[WireRequest]:
        return [self._request(tensors) for tensors in payloads]

    def _request(self, tensors: Tensors) -> WireRequest:
        inputs, parts = [], []
        for name, i in self._workload.payload.inputs.items():
            described: dict[str, Any] = {"name": name, "shape": list(tensors[name].shape), "datatype": i.datatype}
            if self.binary:
                parts.append(kserve_model.encode(tensors[name]))
                described["parameters"] = {"binary_data_size": len(parts[-1])}
            else:
                described["data"] = self._listed(name, tensors[name])
            inputs.append(described)
        document: dict[str, Any] = {"id": "0" * 16, "inputs": inputs}
        if self.binary:
            document["parameters"] = {"binary_data_output": True}
        text, body = json.dumps(document, separators=(",", ":")).encode(), b"".join(parts)
        headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(text))}
        model = self._workload.model
        head = http1.request_head(
            f"{model_path(model.name, model.version)}/infer",
            self._word.authority(8000),
            (headers if self.binary else {"Content-Type": "application/json"}) | self._word.fields(),
            len(text) + len(body),
        )
        return WireRequest(bytearray(head + text), len(head) + len(_ID), body)

    def _listed(self, name: str, array: np.ndarray) -> list[Any]:
        try:
            return [v.decode() if isinstance(v, bytes) else v for v in array.ravel().tolist()]
        except UnicodeDecodeError:
            raise UsageError(
                f"target {self._word}: payload.inputs.{name}: this server takes no binary tensors, and JSON no texts but UTF-8"
            ) from None

    def judge(self, reply: Reply, id_: bytes) -> Verdict:
        if reply.head.status != 200:
            return Verdict(STATUS, f"HTTP {reply.head.status}: {error_text(reply.body[:300].decode('utf-8', 'replace'))}")
        # Triton puts the id first: what follows it, shapes and sizes too, is the same in every good reply to a payload
        text = reply.body[: _header_length(reply)]
        begin = _ID + id_
        key = text[len(begin) :] if text.startswith(begin) else text
        known = self._memo.get(key, len(reply.body))
        return known if known is not None else self._parse(key, reply, id_.decode())

    def _parse(self, key: bytes, reply: Reply, id_: str) -> Verdict:
        try:
            document = _document(reply)
            verdict = judge_document(document, id_, self._workload.model.version, self._outputs)
            if verdict == FINE:
                verdict = _weighed(document, reply)
        except (ValueError, KeyError, TypeError, AttributeError):
            return Verdict(PROTOCOL, f"the reply is no KServe v2 inference reply: {reply.body[:80]!r}")
        return self._memo.put(key, len(reply.body), verdict) if _HEADER_LENGTH in reply.head.headers else verdict

    def varying(self, reply: Reply, id_: bytes) -> Varying | None:
        """What is another in every good reply: the id that Triton puts first, and binary tensors, which come last."""
        text = _header_length(reply)
        return Varying(len(_ID), ((text, len(reply.body)),)) if reply.body.startswith(_ID + id_) else None

    def outputs(self, answer: Reply) -> Tensors:
        document = _document(answer)
        at, tensors = _header_length(answer), {}
        for output in document["outputs"]:
            name, datatype, shape = output["name"], output["datatype"], output["shape"]
            size = output.get("parameters", {}).get("binary_data_size")
            if size is None:
                tensors[name] = _unlisted(datatype, output["data"], shape)
            else:
                tensors[name] = kserve_model.decode(datatype, shape, answer.body[at : at + size])
                at += size
        return tensors

    def batches(self) -> dict[int, int] | None:
        """Executed batch size -> how often, since the model was loaded; None where the server does not say."""
        model = self._workload.model
        return triton_stats.over_http(self._word, model_path(model.name, model.version))

    def close(self) -> None:
        pass


def judge_document(document: dict[str, Any], id_: str, wanted: str, expected: dict[str, TensorSpec]) -> Verdict:
    """The verdict on a reply's document: its id, its version (any where `wanted` is ""), and its outputs.

    ValueError, KeyError, TypeError or AttributeError where it is no such document.
    """
    if (sent := document.get("id", id_)) != id_:
        return Verdict(PROTOCOL, f"the reply to request {id_} carries the id {str(sent)[:32]}")
    version = str(document.get("model_version") or wanted)  # which KServe v2 lets a server leave out
    if wanted and version != wanted:
        return Verdict(WRONG_VERSION, f"answered by model version {version!r}, asked was {wanted!r}")
    got = {spec.name: spec for spec in kserve_model.specs(document.get("outputs", []))}
    if got.keys() == expected.keys() and all(expected[n].fits(s.datatype, s.shape) for n, s in got.items()):
        return FINE
    told = ", ".join(map(str, got.values())) or "no output"
    return Verdict(SHAPE, f"answered {told}; expected {', '.join(map(str, expected.values()))}")


def describe(word: Word, name: str, version: str) -> Served:
    """The server and its model `name`, of `version` or of the one that it takes where that is ""; RunError.

    The message says what was asked for and which models there are.
    """
    address = word.address(8000)
    status, server = ask(word, address, "/v2")
    if status != 200 or not isinstance(server, dict):
        raise RunError(f"target {word}: GET /v2 answered {status}: {instead('KServe v2 server', status)}")
    status, metadata = ask(word, address, model_path(name, version))
    if status != 200:
        which = f"model {name!r}" + (f" version {version}" if version else "")
        raise RunError(f"target {word}: no {which}: {error_text(metadata)}; it has: {_served(word)}")
    try:
        return kserve_model.served(server, metadata)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise RunError(f"target {word}: what it says of model {name!r} is no KServe v2 metadata: {metadata!r:.200}") from None


def configuration(word: Word, name: str, version: str) -> Config | None:
    """Triton's configuration of a model; None from a server that has none to show."""
    status, document = ask(word, word.address(8000), f"{model_path(name, version)}/config")
    return kserve_model.config(document) if status == 200 and isinstance(document, dict) else None


def is_ready(word: Word, name: str, version: str) -> bool:
    """Whether the model can be asked now."""
    return ask(word, word.address(8000), f"{model_path(name, version)}/ready")[0] == 200


def model_path(name: str, version: str) -> str:
    """Where a model is; without a version, the one that the server takes."""
    return f"/v2/models/{quote(name, safe='')}" + (f"/versions/{quote(version, safe='')}" if version else "")


def _served(word: Word) -> str:
    status, models = ask(word, word.address(8000), "/v2/repository/index", "POST")
    if status != 200 or not isinstance(models, list):
        return "(it does not list its models)"
    return kserve_model.listed(models)


def error_text(reply: Any) -> str:
    """The message in an error's reply, however it was wrapped, on one line."""
    if isinstance(reply, str):
        with contextlib.suppress(ValueError):
            reply = json.loads(reply)
    text = reply["error"] if isinstance(reply, dict) and "error" in reply else reply
    return " ".join(str(text).split())[:200]


def _header_length(reply: Reply) -> int:
    text = reply.head.headers.get(_HEADER_LENGTH)
    return int(text) if text is not None and text.isdigit() else len(reply.body)


def _document(reply: Reply) -> dict[str, Any]:
    document = json.loads(reply.body[: _header_length(reply)])
    if not isinstance(document, dict) or not isinstance(document.get("outputs"), list):
        raise ValueError("no document with outputs")
    return document


def _weighed(document: dict[str, Any], reply: Reply) -> Verdict:
    """The verdict on the sizes of outputs that are binary."""
    sizes = [o.get("parameters", {}).get("binary_data_size") for o in document["outputs"]]
    if all(isinstance(size, int) for size in sizes) and _header_length(reply) + sum(sizes) != len(reply.body):
        return Verdict(SHAPE, f"outputs of {sum(sizes)} bytes announced, {len(reply.body) - _header_length(reply)} sent")
    for spec, size in zip(kserve_model.specs(document["outputs"]), sizes, strict=True):
        if isinstance(size, int) and not kserve_model.weighs(spec.datatype, spec.shape, size):
            return Verdict(SHAPE, f"answered {size} bytes as {spec}")
    return FINE


def _unlisted(datatype: str, data: list[Any], shape: list[int]) -> np.ndarray:
    """The tensor in a JSON list, flat or nested."""
    if datatype != "BYTES":
        return np.array(data, NUMPY_TYPES["FP32" if datatype == "BF16" else datatype]).reshape(shape)
    flat = np.array(data, np.object_).ravel()
    flat[:] = [text.encode() if isinstance(text, str) else text for text in flat.tolist()]
    return flat.reshape(shape)
