"""Tokens streamed by real servers, and by ONNX Runtime in process: through each target the same, those of the model alone."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import payloads, servers, words
from bench import workload as workloads
from bench.recipes.build import build
from bench.recipes.catalog import BuiltModel
from bench.runtime import generation
from bench.targets import open_target
from bench.targets.base import FINE, Streamed, request_id
from bench.targets.streams import TOLD
from bench.targets.talk import Talk
from bench.workload import Workload

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def model() -> BuiltModel:
    """Qwen's operators in a few MB."""
    return build("qwen-1.5b", preset="tiny")


@pytest.fixture(scope="module")
def places(model: BuiltModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Kind of target -> its word: one Triton, one gunicorn, and the model in process."""
    logs = tmp_path_factory.mktemp("logs")
    with (
        servers.start(words.parse("triton?batching=continuous"), model, logs / "triton") as triton,
        servers.start(words.parse("flask?batching=continuous"), model, logs / "flask") as flask,
    ):
        yield {
            "triton-http": triton.words["http"],
            "triton-grpc": triton.words["grpc"],
            "flask": flask.words["http"],
            "onnx": "onnx://cpu?threads=1",
        }
        triton.kill()
        flask.kill()


def workload(**generate: Any) -> Workload:
    """Four prompts of different lengths."""
    asked = {"prompt_tokens": {"distribution": "uniform", "low": 2, "high": 30}, "output_tokens": 6, "vocabulary": 200}
    document = {
        "name": "small",
        "model": {"name": "qwen-1.5b", "preset": "tiny"},
        "payload": {"distinct": 4, "generate": asked | generate},
        "load": {"arrivals": "closed"},
    }
    return workloads.from_builtins(document, "small.toml")


def streams(target: Any, made: Workload) -> list[Streamed]:
    """Each prompt's answer, one at a time."""
    prompts: Any = payloads.make(made)
    if not hasattr(target, "requests"):
        call = target.caller(prompts)
        replies = [call(n, n) for n in range(len(prompts))]
        assert [reply.verdict for reply in replies] == [FINE] * len(prompts)
        return [target.streamed(reply.answer, prompt) for reply, prompt in zip(replies, prompts, strict=True)]
    answers = []
    for n, (request, prompt) in enumerate(zip(target.requests(prompts), prompts, strict=True)):
        request.head[request.id_at : request.id_at + 16] = request_id(n)
        with Talk(target, 30) as talk:
            reply = talk.ask(request)
        assert target.judge(reply, request_id(n)) == FINE
        answers.append(target.streamed(reply, prompt))
    return answers


@pytest.mark.parametrize("kind", ["triton-http", "triton-grpc", "flask", "onnx"])
def test_every_target_streams_the_tokens_of_the_model_alone(kind: str, places: dict[str, str], model: BuiltModel) -> None:
    """As many as asked for, a piece each, with times that rise."""
    made = workload()
    target: Any = open_target(words.parse(places[kind]), made, model.onnx)
    try:
        facts = target.probe()
        assert facts.details
        got = streams(target, made)
    finally:
        target.close()
    asked = [(prompt.ids, prompt.max_tokens) for prompt in payloads.make(made)]  # type: ignore[union-attr]
    alone = [tokens.tolist() for tokens, _ in generation.greedy(model.onnx, asked, threads=1)]
    assert [streamed.verdict for streamed in got] == [FINE] * 4
    assert [streamed.outputs["tokens"].tolist() for streamed in got] == alone
    for streamed in got:
        assert sum(streamed.tokens) == 6
        assert np.all(np.diff(streamed.t_ns) >= 0)
    if kind.startswith("triton"):
        assert target.counted == {TOLD: 4}


@pytest.mark.parametrize("kind", ["triton-http", "triton-grpc"])
def test_what_triton_refuses_within_the_stream_is_told_in_its_words(kind: str, places: dict[str, str]) -> None:
    """A text where the model takes token ids; the next request of the same user is good."""
    texts, ids = workload(form="text"), workload()
    target: Any = open_target(words.parse(places[kind]), texts)
    try:
        target.probe()
        refused, good = target.requests([payloads.make(texts)[0], payloads.make(ids)[0]])
        with Talk(target, 30) as talk:
            reply = talk.ask(refused)
            verdict = target.judge(reply, b"")
            if verdict == FINE:
                verdict = target.streamed(reply, payloads.make(texts)[0]).verdict
            assert "this model takes token ids" in verdict.message
        with Talk(target, 30) as talk:
            assert target.streamed(talk.ask(good), payloads.make(ids)[0]).verdict == FINE
    finally:
        target.close()


def test_executed_batch_sizes_are_read_from_triton_over_both_protocols(tmp_path: Path) -> None:
    """None before the first request, then two batches of one."""
    made = build("resnet50", preset="tiny")
    document = {
        "name": "images",
        "model": {"name": "resnet50", "preset": "tiny"},
        "payload": {"distinct": 1, "inputs": {"input": {"datatype": "FP32", "shape": [1, 3, 224, 224]}}},
        "load": {"arrivals": "closed"},
    }
    images = workloads.from_builtins(document, "images.toml")
    with servers.start(words.parse("triton?batching=dynamic"), made, tmp_path / "log") as server:
        targets: list[Any] = [open_target(words.parse(server.words[protocol]), images) for protocol in ("http", "grpc")]
        try:
            targets[1].probe()
            before = [target.batches() for target in targets]
            request = targets[1].requests(payloads.make(images))[0]
            with Talk(targets[1], 30) as talk:
                assert [targets[1].judge(talk.ask(request), b"0" * 16) for _ in range(2)] == [FINE, FINE]
            deadline = time.monotonic() + 20  # Triton counts an execution after it has replied
            while (after := [target.batches() for target in targets]) != [{1: 2}] * 2 and time.monotonic() < deadline:
                time.sleep(0.02)
        finally:
            for target in targets:
                target.close()
        server.kill()
    assert before == [{}, {}]
    assert after == [{1: 2}, {1: 2}]
