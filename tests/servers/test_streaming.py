"""A model that generates, in real servers: the same tokens however requests share it, and an end without waiting."""

import contextlib
import http.client
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import servers, words
from bench.recipes.build import build
from bench.recipes.catalog import BuiltModel
from bench.runtime import generation
from bench.servers.base import Server

pytestmark = pytest.mark.real

PROMPTS = [([7 * n + 1, *range(3 * n)], 4 + 3 * n) for n in range(6)]  # (token ids, tokens wanted): no two of a length
LONG = ([1, 2, 3], 1500)  # takes a while
MODEL = "qwen-1.5b"


@pytest.fixture(scope="module")
def model() -> BuiltModel:
    """Qwen's operators in a few MB."""
    return build(MODEL, preset="tiny")


@pytest.fixture(scope="module")
def expected(model: BuiltModel) -> list[list[int]]:
    """The tokens of each prompt alone."""
    prompts = [(np.array(ids), wanted) for ids, wanted in PROMPTS]
    return [tokens.tolist() for tokens, _ in generation.greedy(model.onnx, prompts, threads=1)]


def stream(server: Server, ids: list[int], wanted: int) -> Iterator[int]:
    """The tokens that the server streams."""
    connection = http.client.HTTPConnection(*words.parse(server.words["http"]).address(0), timeout=30)
    flask = server.facts.kind == "flask"
    path, body = (
        ("/generate", flask_body(ids, wanted)) if flask else (f"/v2/models/{MODEL}/generate_stream", body_of(ids, wanted))
    )
    try:
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        for line in connection.getresponse():
            if text := line.decode().removeprefix("data: ").strip():
                said = json.loads(text)
                yield from [said["token"]] if "token" in said else map(int, said.get("text_output", "").split())
    finally:
        connection.close()


def flask_body(ids: list[int], wanted: int) -> dict[str, Any]:
    return {"prompt": ids, "max_tokens": wanted, "ignore_eos": True}


def body_of(ids: list[int], wanted: int) -> dict[str, Any]:
    sampling = {"max_tokens": wanted, "ignore_eos": True}
    return {"text_input": " ".join(map(str, ids)), "stream": True, "sampling_parameters": json.dumps(sampling)}


@pytest.mark.parametrize("batching", ["off", "dynamic", "continuous"])
@pytest.mark.parametrize("kind", ["triton", "flask"])
def test_tokens_are_the_same_however_requests_share_the_model(
    kind: str, batching: str, model: BuiltModel, expected: list[list[int]], tmp_path: Path
) -> None:
    """Six prompts at once, no two of a length, each answered as it is alone."""
    word = words.parse(f"{kind}?batching={batching},max_batch=3,prefill_chunk=4")
    with servers.start(word, model, tmp_path / "log") as server:
        with ThreadPoolExecutor(len(PROMPTS)) as pool:
            answers = list(pool.map(lambda prompt: list(stream(server, *prompt)), PROMPTS))
        assert server.facts.options["batching"] == batching
        server.kill()
    assert answers == expected


def test_a_triton_that_has_streamed_unloads_its_model_and_stops_in_order(
    model: BuiltModel, tmp_path: Path, eventually: Callable[[Callable[[], bool]], bool], ask: Callable[..., Any]
) -> None:
    """A model that keeps anything of a request, answered or refused, would hold up both until the server gives up on it."""
    arguments = f"--model-control-mode=explicit+--load-model={MODEL}"
    with servers.start(words.parse(f"triton?args={arguments}"), model, tmp_path / "log") as server:
        assert len(list(stream(server, *PROMPTS[0]))) == PROMPTS[0][1]
        assert "token ids" in ask(
            server, "POST", f"/v2/models/{MODEL}/generate_stream", body_of([], 1) | {"text_input": "hello"}
        )
        ask(server, "POST", f"/v2/repository/models/{MODEL}/unload", {})
        assert eventually(lambda: "successfully unloaded" in server.log.read_text())
    assert server.exited() == 0
    assert "Exit timeout expired" not in server.log.read_text()


def test_a_triton_that_is_killed_while_it_streams_leaves_nothing(
    model: BuiltModel, tmp_path: Path, descendants: Callable[[int], set[int]], alive: Callable[[int], bool]
) -> None:
    """A fault: the stream breaks off, the model's process and its shared memory are gone."""
    with servers.start(words.parse("triton?context=2048"), model, tmp_path / "log") as server:
        tokens = stream(server, *LONG)
        next(tokens)
        tree = descendants(server.pid)
        regions = [Path(line.split()[5]) for pid in tree for line in maps(pid) if "/dev/shm/" in line]
        assert regions
        server.kill()
        assert server.exited() == -9
    came = 1
    with contextlib.suppress(http.client.HTTPException, OSError):
        for _ in tokens:
            came += 1
    assert came < LONG[1]
    assert not [pid for pid in tree if alive(pid)]
    assert not [path for path in regions if path.exists()]


def maps(pid: int) -> list[str]:
    """What a process has mapped into its memory."""
    return Path(f"/proc/{pid}/maps").read_text().splitlines()
