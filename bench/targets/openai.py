"""OpenAI-style completions, streamed: vLLM, SGLang, llama.cpp and what else speaks so."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench.errors import RunError, UsageError
from bench.payloads import Prompt
from bench.record import BROKEN, OK, PROTOCOL, STATUS, TOKENS
from bench.targets import streams, transport, trial
from bench.targets.base import FINE, Facts, Streamed, Verdict
from bench.targets.control import ask, instead
from bench.tensors import Tensors
from bench.wire import http1
from bench.wire.line import Reply, WireRequest
from bench.words import Word
from bench.workload import Workload

_ID_HEADER = "X-Request-Id"
_DONE = b"[DONE]"


class _Chunk(NamedTuple):
    """One piece of a completion."""

    t_ns: int
    text: str
    usage: int | None  # tokens so far, where the server says so


class OpenAI:
    """A model behind `POST /v1/completions` or `/v1/chat/completions`."""

    line = http1.Http1Line

    def __init__(self, word: Word, workload: Workload, onnx: Path | None = None) -> None:
        self._word, self._workload = word, workload
        self.address, self.tls = word.address(8000), transport.tls(word, transport.HTTP1)
        self._model = word.options.get("model", workload.model.name)
        self._chat = word.options.get("api", "completions") == "chat"
        self.keeps_connections = True
        self.counted: dict[str, int] = {}
        generate = workload.payload.generate
        if self._chat and generate is not None and generate.form != "text":
            raise UsageError(
                f"target {word}: api=chat takes texts, the workload sends token ids; "
                'set payload.generate.form = "text", or api=completions'
            )

    def probe(self) -> Facts:
        facts = self.who()
        return replace(facts, details=facts.details | self._try())

    def who(self) -> Facts:
        """What the server says of itself, without a request for a token."""
        status, listed = ask(self._word, self.address, "/v1/models")
        if status != 200 or not isinstance(listed, dict) or not isinstance(listed.get("data"), list):
            raise RunError(f"target {self._word}: GET /v1/models answered {status}: {instead('OpenAI-style server', status)}")
        served = {str(model.get("id")): model for model in listed["data"] if isinstance(model, dict)}
        if self._model not in served:
            raise RunError(
                f"target {self._word}: no model {self._model!r}; it has: {', '.join(served) or 'no model'} (?model=NAME)"
            )
        status, version = ask(self._word, self.address, "/version")  # vLLM's; others have none
        known = str(version["version"]) if status == 200 and isinstance(version, dict) and "version" in version else "unknown"
        details = {
            "api": self._path(),
            "served_model": self._model,
            "owned_by": str(served[self._model].get("owned_by", "")),
        }
        return Facts("openai", known, details=details)

    def _try(self) -> dict[str, str]:
        """What a request for one token shows of how the server streams; RunError where it does not."""
        generate = self._workload.payload.generate
        assert generate is not None
        ids = np.ones(0 if generate.form == "text" else 1, np.int64)
        prompt = Prompt(ids, "the" if generate.form == "text" else "", 1, 1, generate.ignore_eos)
        tried = trial.send(self._word, self, self._request(prompt), self._workload.timeout_ns)
        verdict = self.judge(tried.reply, b"")
        if verdict == FINE:
            verdict = self.streamed(tried.reply, prompt).verdict
        if verdict.error not in (OK, TOKENS):  # how many tokens come is for the run to see
            hint = "" if generate.form == "text" else '; if it takes no token ids, set payload.generate.form = "text"'
            raise RunError(f"target {self._word}: a trial request failed: {verdict.message}{hint}")
        self.keeps_connections = tried.kept
        ((counted, _),) = self.counted.items()
        self.counted.clear()
        connections = "kept" if tried.kept else "one a request, as the server closes them"
        return {"tokens_counted": counted, "connections": connections}

    def _path(self) -> str:
        return "/v1/chat/completions" if self._chat else "/v1/completions"

    def requests(self, payloads: Sequence[Prompt]) -> list[WireRequest]:
        return [self._request(prompt) for prompt in payloads]

    def _request(self, prompt: Prompt) -> WireRequest:
        body = json.dumps(self._document(prompt), separators=(",", ":")).encode()
        headers = {"Content-Type": "application/json", "Accept": "text/event-stream", _ID_HEADER: "0" * 32}
        if not self.keeps_connections:  # said beforehand, or the next request would meet the closing on its way
            headers["Connection"] = "close"
        head = http1.request_head(self._path(), self._word.authority(8000), headers | self._word.fields(), len(body))
        # 32 digits, of which the last 16 are the id's: some servers refuse what is no UUID
        return WireRequest(bytearray(head), head.index(_ID_HEADER.encode()) + len(_ID_HEADER) + 2 + 16, body)

    def _document(self, prompt: Prompt) -> dict[str, Any]:
        document: dict[str, Any] = {
            "model": self._model, "max_tokens": prompt.max_tokens, "temperature": 0, "stream": True
        }  # fmt: skip
        if self._chat:
            document["messages"] = [{"role": "user", "content": prompt.text}]
        else:
            document["prompt"] = prompt.text if prompt.text else prompt.ids.tolist()
        usage = self._word.options.get("usage", "end")
        if usage != "none":
            document["stream_options"] = {"include_usage": True} | ({"continuous_usage_stats": True} if usage == "each" else {})
        if prompt.ignore_eos and self._word.options.get("ignore_eos") == "yes":
            document |= {"ignore_eos": True, "min_tokens": prompt.max_tokens}
        return document

    def judge(self, reply: Reply, id_: bytes) -> Verdict:
        if reply.head.status != 200:
            return Verdict(STATUS, f"HTTP {reply.head.status}: {_error_text(reply.body[:2000]) or 'no reason given'}")
        return FINE

    def streamed(self, answer: Reply, prompt: Prompt) -> Streamed:
        taken, chunks, total, done = streams.Taken(), [], None, False
        for t_ns, text in streams.event_texts(answer):
            done = done or text == _DONE
            if done:
                break
            try:
                document = streams.document(text)
                if (error := _error_in(document)) is not None:
                    taken.fail(STATUS, f"an error in the stream: {error}")
                    continue
                chunk = _chunk(t_ns, document)
            except (ValueError, KeyError, TypeError, AttributeError):
                taken.verdict = streams.not_a_stream(text, "piece of an OpenAI-style completion")
                break
            total = chunk.usage if chunk.usage is not None else total
            if document.get("choices"):
                chunks.append(chunk)
        for chunk, tokens in zip(chunks, self._count(chunks, total), strict=True):
            taken.add(chunk.t_ns, tokens, chunk.text)
        if not done and not answer.ended:
            self._no_end(taken, answer)
        return taken.streamed(prompt, answer.ended, self._hint(prompt))

    def _no_end(self, taken: streams.Taken, answer: Reply) -> None:
        if not taken.t_ns and answer.body.lstrip()[:1] == b"{":
            taken.fail(PROTOCOL, f"the server did not stream, though asked to: {answer.body[:80]!r}")
        taken.fail(BROKEN, "the stream ended without data: [DONE]")

    def _hint(self, prompt: Prompt) -> str:
        if not prompt.ignore_eos or self._word.options.get("ignore_eos") == "yes":
            return ""
        return (
            "; where a model may end its answer early: ?ignore_eos=yes if the server knows that, "
            "else payload.generate.ignore_eos = false"
        )

    def _count(self, chunks: Sequence[_Chunk], total: int | None) -> list[int]:
        """Tokens in each piece."""
        texts = [len(chunk.text) for chunk in chunks]
        told = [chunk.usage for chunk in chunks if chunk.text or chunk.usage is not None]
        if told and None not in told:
            way, counts = streams.TOLD, _differences([chunk.usage or 0 for chunk in chunks])
        elif total is not None:
            way, counts = streams.BY_TOTAL, _with_total(texts, total)
        else:
            way, counts = streams.BY_PIECE, [int(n > 0) for n in texts]
        self.counted[way] = self.counted.get(way, 0) + 1
        return counts

    def outputs(self, answer: Any) -> Tensors:
        raise AssertionError("a streamed reply is taken apart by `streamed`")

    def close(self) -> None:
        pass


def _chunk(t_ns: int, document: dict[str, Any]) -> _Chunk:
    choices, usage = document.get("choices") or [{}], document.get("usage")
    part = choices[0].get("delta", choices[0]) or {}
    # a model that thinks aloud sends that under a name of its own; they are tokens like the others
    text = part.get("text") or part.get("content") or part.get("reasoning_content") or part.get("reasoning") or ""
    return _Chunk(t_ns, str(text), int(usage["completion_tokens"]) if usage else None)


def _differences(cumulative: Sequence[int]) -> list[int]:
    seen, counts = 0, []
    for n in cumulative:
        counts.append(max(0, n - seen))
        seen = max(seen, n)
    return counts


def _with_total(characters: Sequence[int], total: int) -> list[int]:
    """One token a piece that is not empty, what `total` has more (or all, where it has less) in proportion to characters."""
    at_least = [int(n > 0) for n in characters]
    surplus = total - sum(at_least)
    if surplus < 0:
        return streams.spread(total, characters)
    return [a + b for a, b in zip(at_least, streams.spread(surplus, characters), strict=True)]


def _error_in(document: dict[str, Any]) -> str | None:
    error = document if document.get("object") == "error" else document.get("error")
    if error is None:
        return None
    said = error.get("message", error) if isinstance(error, dict) else error
    return " ".join(str(said).split())[:200]


def _error_text(body: bytes) -> str:
    try:
        document = json.loads(body)
        return (_error_in(document) if isinstance(document, dict) else None) or str(document)[:200]
    except ValueError:
        return body[:200].decode("utf-8", "replace")
