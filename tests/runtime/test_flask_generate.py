"""The Flask baseline that generates, through its test client."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient

from bench.runtime import flask_app, flask_generate, generation
from bench.runtime.flask_generate import Asked

PROMPT = [5, 6, 7]


@pytest.fixture(scope="module")
def service(ending_qwen: Path) -> FlaskClient:
    """A service with a context of 64, as its environment says."""
    environ = {
        "BENCH_MODEL_FILE": str(ending_qwen),
        "BENCH_MODEL_NAME": "qwen",
        "BENCH_THREADS": "1",
        "BENCH_CONTEXT": "64",
        "BENCH_PREFILL_CHUNK": "2",
        "BENCH_BATCHING": "continuous",
        "BENCH_SLOTS": "2",
    }
    return flask_app.create_app(environ).test_client()


@pytest.fixture(scope="module")
def tokens(ending_qwen: Path) -> list[int]:
    """What the model answers PROMPT with."""
    ((made, _),) = generation.greedy(ending_qwen, [(np.array(PROMPT), 12)], threads=1)
    return made.tolist()  # type: ignore[no-any-return]


def test_a_line_comes_for_each_token_and_one_at_the_end(service: FlaskClient, tokens: list[int]) -> None:
    """To the byte."""
    reply = service.post("/generate", json={"prompt": PROMPT, "max_tokens": 3, "ignore_eos": True})
    assert (reply.status_code, reply.content_type) == (200, "application/x-ndjson")
    assert reply.data.decode() == "".join(f'{{"token":{t}}}\n' for t in tokens[:3]) + '{"done":true,"tokens":3}\n'


def test_an_end_of_text_ends_the_stream_unless_it_is_to_be_ignored(service: FlaskClient, tokens: list[int]) -> None:
    """Every fourth token ends a text here."""
    until = next(n for n, token in enumerate(tokens) if token % 4 == 0)
    assert until < 11
    reply = service.post("/generate", json={"prompt": PROMPT, "max_tokens": 12})
    assert json.loads(reply.data.splitlines()[-1]) == {"done": True, "tokens": until + 1}


def test_the_request_s_id_comes_back(service: FlaskClient) -> None:
    """With a stream and with a refusal."""
    for document in ({"prompt": PROMPT, "max_tokens": 1}, {}):
        assert service.post("/generate", json=document, headers={"X-Request-Id": "00ff"}).headers["X-Request-Id"] == "00ff"


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        (b"", "the body is no JSON"),
        (b"[1]", 'expected {"prompt": [TOKEN, ...], "max_tokens": N, "ignore_eos": true or false}'),
        (b'{"prompt": "text"}', "expected {"),
        (b'{"prompt": [1.5]}', "expected {"),
        (b'{"prompt": [true]}', "expected {"),
        (b'{"prompt": [99999999999999999999]}', "expected {"),
        (b'{"prompt": [1], "max_tokens": "9"}', "expected {"),
        (b'{"prompt": [1], "ignore_eos": 1}', "expected {"),
        (b'{"prompt": []}', "at least one"),
        (b'{"prompt": [320]}', "token id 320 is not in the vocabulary, 0 to 319"),
        (b'{"prompt": [1, 2], "max_tokens": 63}', "a prompt of 2 tokens and an answer of 63 are 65 tokens, the context has 64"),
    ],
)
def test_a_bad_prompt_is_answered_400_with_what_was_expected(service: FlaskClient, sent: bytes, message: str) -> None:
    """Before anything is streamed."""
    reply = service.post("/generate", data=sent)
    assert reply.status_code == 400
    assert reply.json
    assert message in reply.json["error"]


def test_a_model_that_generates_predicts_nothing(service: FlaskClient) -> None:
    """Its tensors are nobody's business but the scheduler's."""
    assert service.post("/predict", json={"inputs": {}}).status_code == 404


def test_metadata_tells_how_it_generates(service: FlaskClient) -> None:
    """Beside what it tells of every model."""
    metadata = service.get("/metadata").json
    assert metadata
    told = {"generates": True, "context": 64, "vocabulary": 320, "batching": "continuous", "slots": 2, "prefill_chunk": 2}
    assert {key: metadata[key] for key in told} == told
    assert (metadata["model"], metadata["inputs"][0]) == ("qwen", {"name": "input_ids", "datatype": "INT64", "shape": [-1, -1]})


def test_one_request_at_a_time_is_the_default(ending_qwen: Path) -> None:
    """As such services are usually written."""
    environ = {"BENCH_MODEL_FILE": str(ending_qwen), "BENCH_MODEL_NAME": "qwen", "BENCH_THREADS": "1"}
    metadata = flask_app.create_app(environ).test_client().get("/metadata").json
    assert metadata
    assert [metadata[key] for key in ("batching", "slots", "context")] == ["off", 1, 256]


class Scripted:
    """A scheduler that makes what it is told, and counts who cancels."""

    def __init__(self, *made: tuple[int, bool, str]) -> None:
        self._made, self.cancelled = made, 0

    def submit(self, ids: np.ndarray, wanted: int, emit: Any, ignore_eos: bool) -> Any:
        for each in self._made:
            emit(*each)

        def cancel() -> None:
            self.cancelled += 1

        return cancel

    def facts(self) -> dict[str, int]:
        return {}

    def close(self) -> None:
        pass


def test_an_error_on_the_way_is_a_line_of_its_own() -> None:
    """The status has gone out long before."""
    scheduler: Any = Scripted((4, False, ""), (-1, True, "RuntimeError: out of memory"))
    lines, _ = flask_generate.answer(scheduler, Asked(np.array([1]), 3, True))
    assert list(lines) == [b'{"token":4}\n', b'{"error":"RuntimeError: out of memory"}\n']


@pytest.mark.parametrize("read", [0, 1])
def test_a_client_that_goes_away_cancels(ending_qwen: Path, monkeypatch: pytest.MonkeyPatch, read: int) -> None:
    """Also before it has read anything."""
    scheduler = Scripted((4, False, ""))
    monkeypatch.setattr(flask_app, "schedule", lambda session, **options: scheduler)
    environ = {"BENCH_MODEL_FILE": str(ending_qwen), "BENCH_MODEL_NAME": "qwen", "BENCH_THREADS": "1"}
    service = flask_app.create_app(environ).test_client()
    reply = service.post("/generate", json={"prompt": PROMPT, "max_tokens": 9}, buffered=False)
    stream: Iterator[bytes] = reply.iter_encoded()
    for _ in range(read):
        assert next(stream) == b'{"token":4}\n'
    reply.close()
    assert scheduler.cancelled == 1


def test_requests_at_the_same_time_get_their_own_answers(service: FlaskClient, tokens: list[int]) -> None:
    """Threads of a worker share the scheduler."""
    found: list[bytes] = []

    def ask() -> None:
        client = service.application.test_client()
        found.append(client.post("/generate", json={"prompt": PROMPT, "max_tokens": 12, "ignore_eos": True}).data)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert {tuple(json.loads(line)["token"] for line in body.splitlines()[:-1]) for body in found} == {tuple(tokens)}
    assert len(found) == 4
