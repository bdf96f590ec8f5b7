"""Tokens streamed by Triton as server-sent events, with inputs and outputs named as its vLLM backend names them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import lengths
from bench.errors import RunError
from bench.payloads import Prompt
from bench.record import STATUS
from bench.record import VERSION as WRONG_VERSION
from bench.targets import kserve, streams, transport
from bench.targets.base import Facts, Streamed, Verdict
from bench.targets.kserve import error_text
from bench.targets.kserve_model import Config, Served
from bench.tensors import Tensors, TensorSpec
from bench.wire import http1
from bench.wire.line import Reply, WireRequest
from bench.words import Word
from bench.workload import Workload

TEXT_IN, SAMPLING, TEXT_OUT, COUNT_OUT = "text_input", "sampling_parameters", "text_output", "num_output_tokens"
NEEDED = {TEXT_IN: "BYTES", SAMPLING: "BYTES"}
# inputs that a model may have, and what they are set to
FLAGS = {"stream": True, "exclude_input_in_output": True, "return_num_output_tokens": True}
_BEGIN = b'{"id":"'


class KServeGenerate:
    """A decoupled model behind `POST /v2/models/NAME/versions/V/generate_stream`."""

    line = http1.Http1Line

    def __init__(self, word: Word, workload: Workload, onnx: Path | None = None) -> None:
        self._word, self._workload = word, workload
        self.address, self.tls = word.address(8000), transport.tls(word, transport.HTTP1)
        self._inputs: dict[str, TensorSpec] = {}
        self.counted: dict[str, int] = {}

    def probe(self) -> Facts:
        model = self._workload.model
        served = kserve.describe(self._word, model.name, model.version)
        facts = generating(self._word, self._workload, served, kserve.configuration(self._word, model.name, model.version))
        self._inputs = {spec.name: spec for spec in served.inputs}
        return facts

    def requests(self, payloads: Sequence[Prompt]) -> list[WireRequest]:
        return [self._request(prompt) for prompt in payloads]

    def _request(self, prompt: Prompt) -> WireRequest:
        document = {"id": "0" * 16} | values(prompt, self._inputs)
        body = json.dumps(document, separators=(",", ":")).encode()
        model = self._workload.model
        head = http1.request_head(
            f"{kserve.model_path(model.name, model.version)}/generate_stream",
            self._word.authority(8000),
            {"Content-Type": "application/json"} | self._word.fields(),
            len(body),
        )
        id_end = len(_BEGIN) + 16
        return WireRequest(bytearray(head + body[:id_end]), len(head) + len(_BEGIN), body[id_end:])

    def judge(self, reply: Reply, id_: bytes) -> Verdict:
        return streams.judge_head(reply)

    def streamed(self, answer: Reply, prompt: Prompt) -> Streamed:
        pieces: list[tuple[int, Mapping[str, Any]]] = []
        problem: Verdict | None = None
        for t_ns, text in streams.event_texts(answer):
            try:
                pieces.append((t_ns, streams.document(text)))
            except ValueError:
                problem = streams.not_a_stream(text, "event of Triton's generate extension")
                break
        return take_apart(pieces, prompt, self._workload.model.version, self.counted, problem, answer.ended)

    def outputs(self, answer: Any) -> Tensors:
        raise AssertionError("a streamed reply is taken apart by `streamed`")

    def close(self) -> None:
        pass


def take_apart(
    pieces: Sequence[tuple[int, Mapping[str, Any]]],
    prompt: Prompt,
    version: str,
    counted: dict[str, int],
    problem: Verdict | None,
    ended: str,
) -> Streamed:
    """What pieces come to that have an `error`, or the outputs by name and `model_version`; notes how tokens were counted."""
    taken, good = streams.Taken(), []
    for t_ns, piece in pieces:
        if "error" in piece:
            taken.fail(STATUS, f"an error in the stream: {error_text(piece)}")
        elif version and (got := str(piece.get("model_version", version))) != version:
            taken.fail(WRONG_VERSION, f"answered by model version {got!r}, asked was {version!r}")
        else:
            good.append((t_ns, _text(piece.get(TEXT_OUT, "")), piece.get(COUNT_OUT)))
    # only a prompt of ids is answered with ids; digits in a text are text
    ids = [_ids(text) for _, text, _ in good] if not prompt.text else [None]
    told = [count for _, text, count in good if text]
    if told and None not in told:
        way, counts = streams.TOLD, [_number(count) for _, _, count in good]
    elif None not in ids:
        way, counts = streams.TOLD, [len(found or ()) for found in ids]
    else:
        way, counts = streams.BY_PIECE, [int(bool(text)) for _, text, _ in good]
    counted[way] = counted.get(way, 0) + 1
    for (t_ns, text, _), count in zip(good, counts, strict=True):
        taken.add(t_ns, count, text)
    if None not in ids:
        taken.ids = [i for found in ids for i in found or ()]
    if problem is not None:
        taken.fail(*problem)
    return taken.streamed(prompt, ended)


def values(prompt: Prompt, inputs: Mapping[str, TensorSpec]) -> dict[str, Any]:
    """Input name -> what is sent for a prompt, of the inputs that the model has."""
    sampling = {"max_tokens": prompt.max_tokens, "temperature": 0}
    if prompt.ignore_eos:
        sampling |= {"min_tokens": prompt.max_tokens, "ignore_eos": True}
    text = prompt.text or " ".join(map(str, prompt.ids.tolist()))
    return {TEXT_IN: text, SAMPLING: json.dumps(sampling)} | {name: value for name, value in FLAGS.items() if name in inputs}


def generating(word: Word, workload: Workload, served: Served, config: Config | None) -> Facts:
    """The facts of a model that streams tokens; `config` None: the server shows none.

    RunError where it does not stream, does not take prompts, or cannot hold the longest.
    """
    if config is not None and not config.decoupled:
        raise RunError(
            f"target {word}: model {workload.model.name!r} does not stream: its configuration has no "
            "model_transaction_policy { decoupled: true }"
        )
    inputs = {spec.name: spec.datatype for spec in served.inputs}
    outputs = {spec.name: spec.datatype for spec in served.outputs}
    unmet = inputs.keys() - NEEDED.keys() - FLAGS.keys() - config.optional if config is not None else ()
    if not NEEDED.items() <= inputs.items() or unmet or outputs.get(TEXT_OUT) != "BYTES":
        raise RunError(
            f"target {word}: workload {workload.name!r} does not fit model {workload.model.name!r}: it sends "
            f"{', '.join(f'{name} {kind}[1]' for name, kind in NEEDED.items())} and expects {TEXT_OUT} BYTES[-1]; "
            f"the model takes {', '.join(map(str, served.inputs))} and gives {', '.join(map(str, served.outputs))}"
        )
    context = config.parameters.get("context", "") if config is not None else ""
    check_context(word, workload, int(context) if context.isdecimal() else 0)
    counted = f"by the output {COUNT_OUT}" if COUNT_OUT in outputs else f"token ids in {TEXT_OUT}, else {streams.BY_PIECE}"
    details = {"platform": served.platform, "tokens_counted": counted}
    return Facts(served.server, served.server_version, served.inputs, served.outputs, details)


def check_context(word: Word, workload: Workload, context: int) -> None:
    """RunError where the longest prompt and its answer are more than `context` tokens; 0: not known."""
    generate = workload.payload.generate
    assert generate is not None
    prompt, output = lengths.most(generate.prompt_tokens), lengths.most(generate.output_tokens)
    if context and prompt + output > context:
        raise RunError(
            f"target {word}: workload {workload.name!r} has prompts of up to {prompt} tokens and answers of up to {output}, "
            f"together more than the context of {context} tokens that the server gives model {workload.model.name!r}"
        )


def _text(value: Any) -> str:
    return "".join(map(str, value)) if isinstance(value, list) else str(value)


def _number(value: Any) -> int:
    return sum(map(int, value)) if isinstance(value, list) else int(value or 0)


def _ids(text: str) -> list[int] | None:
    parts = text.split()
    return [int(part) for part in parts] if all(part.isascii() and part.isdecimal() for part in parts) else None
