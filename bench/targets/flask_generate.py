"""The Flask baseline that generates: a line of JSON a token."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.errors import RunError, UsageError
from bench.payloads import Prompt
from bench.record import BROKEN, PROTOCOL, STATUS
from bench.targets import streams, transport
from bench.targets.base import Facts, Streamed, Verdict
from bench.targets.control import ask, instead
from bench.targets.kserve import error_text
from bench.targets.kserve_generate import check_context
from bench.tensors import Tensors
from bench.wire import http1
from bench.wire.line import Reply, WireRequest
from bench.words import Word
from bench.workload import Workload

_ID_HEADER = "X-Request-Id"


class FlaskGenerate:
    """A model behind `POST /generate`."""

    line = http1.Http1Line

    def __init__(self, word: Word, workload: Workload, onnx: Path | None = None) -> None:
        self._word, self._workload = word, workload
        self.address, self.tls = word.address(5000), transport.tls(word, transport.HTTP1)
        generate = workload.payload.generate
        if generate is not None and generate.form != "tokens":
            raise UsageError(
                f"target {word}: the Flask baseline takes token ids, the workload sends texts; "
                'set payload.generate.form = "tokens"'
            )

    def probe(self) -> Facts:
        status, metadata = ask(self._word, self.address, "/metadata")
        if status != 200 or not isinstance(metadata, dict) or "model" not in metadata:
            told = instead("Flask baseline (see `bench serve flask`)", status)
            raise RunError(f"target {self._word}: GET /metadata answered {status}: {told}")
        model, generate = self._workload.model, self._workload.payload.generate
        if (metadata["model"], str(metadata["version"])) != (model.name, model.version):
            raise RunError(
                f"target {self._word}: no model {model.name!r} version {model.version}; "
                f"it has: {metadata['model']} ({metadata['version']})"
            )
        if not metadata.get("generates"):
            raise RunError(
                f"target {self._word}: model {model.name!r} does not generate there: it takes tensors, by POST /predict"
            )
        assert generate is not None
        vocabulary = int(metadata.get("vocabulary", 0))
        if vocabulary and generate.vocabulary > vocabulary:
            raise RunError(
                f"target {self._word}: workload {self._workload.name!r} has token ids below {generate.vocabulary}, "
                f"model {model.name!r} a vocabulary of {vocabulary}"
            )
        check_context(self._word, self._workload, int(metadata.get("context", 0)))
        details = {k: v for k, v in metadata.items() if k not in ("inputs", "outputs", "flask_version")}
        return Facts("flask", str(metadata.get("flask_version", "")), details=details | {"tokens_counted": "one a line"})

    def requests(self, payloads: Sequence[Prompt]) -> list[WireRequest]:
        return [self._request(prompt) for prompt in payloads]

    def _request(self, prompt: Prompt) -> WireRequest:
        document = {"prompt": prompt.ids.tolist(), "max_tokens": prompt.max_tokens, "ignore_eos": prompt.ignore_eos}
        body = json.dumps(document, separators=(",", ":")).encode()
        headers = {"Content-Type": "application/json", _ID_HEADER: "0" * 16} | self._word.fields()
        head = http1.request_head("/generate", self._word.authority(5000), headers, len(body))
        return WireRequest(bytearray(head), head.index(_ID_HEADER.encode()) + len(_ID_HEADER) + 2, body)

    def judge(self, reply: Reply, id_: bytes) -> Verdict:
        if reply.head.status == 200 and reply.head.headers.get(b"x-request-id", id_) != id_:
            return Verdict(PROTOCOL, f"the reply to request {id_.decode()} carries another id")
        return streams.judge_head(reply)

    def streamed(self, answer: Reply, prompt: Prompt) -> Streamed:
        taken, done = streams.Taken(), False
        for t_ns, line in streams.line_texts(answer):
            try:
                document = streams.document(line)
                if "error" in document:
                    taken.fail(STATUS, f"an error in the stream: {error_text(document)}")
                elif document.get("done"):
                    done = True
                else:
                    taken.ids.append(int(document["token"]))
                    taken.add(t_ns, 1)
            except (ValueError, KeyError, TypeError):
                taken.verdict = streams.not_a_stream(line, "line of the Flask baseline")
                break
        if not done and not answer.ended:
            taken.fail(BROKEN, 'the stream ended without {"done": true}')
        return taken.streamed(prompt, answer.ended)

    def outputs(self, answer: Any) -> Tensors:
        raise AssertionError("a streamed reply is taken apart by `streamed`")

    def close(self) -> None:
        pass
