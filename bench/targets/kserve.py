"""KServe v2 over HTTP with the binary tensor extension: Triton and what speaks like it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.errors import RunError
from bench.record import PROTOCOL, SHAPE, STATUS
from bench.record import VERSION as WRONG_VERSION
from bench.targets.base import FINE, Facts, ShapeMemo, Verdict, WireRequest, check_inputs
from bench.targets.control import ask
from bench.tensors import NUMPY_TYPES, Tensors, TensorSpec
from bench.wire import http1
from bench.wire.http1 import Reply
from bench.words import Word
from bench.workload import Workload

_ID = b'{"id":"'
_HEADER_LENGTH = b"inference-header-content-length"


class KServeHttp:
    """A model behind `POST /v2/models/NAME/versions/V/infer`."""

    def __init__(self, word: Word, workload: Workload, onnx: Path | None = None) -> None:
        self._word, self._workload = word, workload
        self.address = word.address(8000)
        self._outputs: dict[str, TensorSpec] = {}
        self._memo = ShapeMemo()

    def probe(self) -> Facts:
        status, server = ask(self._word, self.address, "/v2")
        if status != 200 or not isinstance(server, dict):
            raise RunError(f"target {self._word}: GET /v2 answered {status}: no KServe v2 server")
        model = self._workload.model
        status, metadata = ask(self._word, self.address, f"/v2/models/{model.name}/versions/{model.version}")
        if status != 200:
            raise RunError(
                f"target {self._word}: no model {model.name!r} version {model.version}: {error_text(metadata)}; "
                f"it has: {self._served()}"
            )
        inputs, outputs = _specs(metadata["inputs"]), _specs(metadata["outputs"])
        check_inputs(self._word, self._workload, inputs)
        self._outputs = {spec.name: spec for spec in outputs}
        details = {"platform": metadata.get("platform", "")}
        return Facts(server.get("name", "unknown"), server.get("version", "unknown"), inputs, outputs, details)

    def _served(self) -> str:
        status, models = ask(self._word, self.address, "/v2/repository/index", "POST")
        if status != 200 or not isinstance(models, list):
            return "(it does not list its models)"
        return ", ".join(f"{m['name']} ({m.get('version', '?')}, {m.get('state', '?')})" for m in models) or "no model"

    def requests(self, payloads: Sequence[Tensors]) -> list[WireRequest]:
        return [self._request(tensors) for tensors in payloads]

    def _request(self, tensors: Tensors) -> WireRequest:
        inputs = [
            {
                "name": spec.name,
                "shape": list(spec.shape),
                "datatype": spec.datatype,
                "parameters": {"binary_data_size": tensors[spec.name].nbytes},
            }
            for spec in self._workload.input_specs()
        ]
        document = {"id": "0" * 16, "inputs": inputs, "parameters": {"binary_data_output": True}}
        text = json.dumps(document, separators=(",", ":")).encode()
        body = b"".join(np.ascontiguousarray(tensors[spec.name]).tobytes() for spec in self._workload.input_specs())
        model = self._workload.model
        head = http1.request_head(
            f"/v2/models/{model.name}/versions/{model.version}/infer",
            "{}:{}".format(*self.address),
            {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(text))},
            len(text) + len(body),
        )
        return WireRequest(bytearray(head + text), len(head) + len(_ID), body)

    def judge(self, reply: Reply, id_: bytes) -> Verdict:
        if reply.head.status != 200:
            return Verdict(STATUS, f"HTTP {reply.head.status}: {error_text(reply.body[:300].decode('utf-8', 'replace'))}")
        # Triton puts the id first: what follows it is the same in every good reply to a payload
        text = reply.body[: _header_length(reply)]
        begin = _ID + id_
        key = text[len(begin) :] if text.startswith(begin) else text
        known = self._memo.get(key, len(reply.body))
        return known if known is not None else self._parse(key, reply, id_.decode())

    def _parse(self, key: bytes, reply: Reply, id_: str) -> Verdict:
        try:
            document = _document(reply)
            got = document.get("id", id_)
            if got != id_:
                return Verdict(PROTOCOL, f"the reply to request {id_} carries the id {str(got)[:32]}")
            verdict = self._verdict(document, reply)
        except (ValueError, KeyError, TypeError, AttributeError):
            return Verdict(PROTOCOL, f"the reply is no KServe v2 inference reply: {reply.body[:80]!r}")
        return self._memo.put(key, len(reply.body), verdict) if _HEADER_LENGTH in reply.head.headers else verdict

    def _verdict(self, document: dict[str, Any], reply: Reply) -> Verdict:
        version, wanted = str(document.get("model_version", "")), self._workload.model.version
        if version != wanted:
            return Verdict(WRONG_VERSION, f"answered by model version {version!r}, asked was {wanted!r}")
        got = {spec.name: spec for spec in _specs(document.get("outputs", []))}
        fits = got.keys() == self._outputs.keys() and all(self._outputs[n].fits(s.datatype, s.shape) for n, s in got.items())
        if not fits:
            expected = ", ".join(map(str, self._outputs.values()))
            return Verdict(SHAPE, f"answered {', '.join(map(str, got.values())) or 'no output'}; expected {expected}")
        sizes = [o.get("parameters", {}).get("binary_data_size") for o in document["outputs"]]
        if all(isinstance(size, int) for size in sizes) and _header_length(reply) + sum(sizes) != len(reply.body):
            return Verdict(SHAPE, f"outputs of {sum(sizes)} bytes announced, {len(reply.body) - _header_length(reply)} sent")
        return FINE

    def outputs(self, answer: Reply) -> Tensors:
        document = _document(answer)
        at, tensors = _header_length(answer), {}
        for output in document["outputs"]:
            kind, shape = NUMPY_TYPES[output["datatype"]], output["shape"]
            size = output.get("parameters", {}).get("binary_data_size")
            if size is None:
                tensors[output["name"]] = np.array(output["data"], kind).reshape(shape)
            else:
                tensors[output["name"]] = np.frombuffer(answer.body[at : at + size], kind).reshape(shape)
                at += size
        return tensors

    def close(self) -> None:
        pass


def error_text(reply: Any) -> str:
    """The message in an error's reply, however it was wrapped."""
    if isinstance(reply, str):
        try:
            reply = json.loads(reply)
        except ValueError:
            return str(reply)[:200]
    return str(reply["error"] if isinstance(reply, dict) and "error" in reply else reply)[:200]


def _header_length(reply: Reply) -> int:
    text = reply.head.headers.get(_HEADER_LENGTH)
    return int(text) if text is not None and text.isdigit() else len(reply.body)


def _document(reply: Reply) -> dict[str, Any]:
    document = json.loads(reply.body[: _header_length(reply)])
    if not isinstance(document, dict) or not isinstance(document.get("outputs"), list):
        raise ValueError("no document with outputs")
    return document


def _specs(tensors: list[dict[str, Any]]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(t["name"], t["datatype"], tuple(int(n) for n in t["shape"])) for t in tensors)
