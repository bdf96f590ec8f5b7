"""The Flask baseline's protocol with texts and with lengths that vary: nested lists, or base64."""

import base64
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bench import words
from bench import workload as workloads
from bench.errors import UsageError
from bench.targets.base import FINE, request_id
from bench.targets.flask import Flask
from bench.tensors import Tensors, TensorSpec
from bench.wire.line import Head, Reply

TEXTS = np.array([["ä".encode(), b"b"]], np.object_)
NUMBERS = np.array([[1.5, -2.0, 3.0]], np.float32)


@pytest.fixture
def open_flask(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Flask]:
    """The target for a model that gives a text and numbers for a text and numbers."""
    specs = [{"name": "text", "datatype": "BYTES", "shape": [-1, -1]}, {"name": "x", "datatype": "FP32", "shape": [-1, -1]}]
    metadata = {"model": "own", "version": "1", "inputs": specs, "outputs": specs}
    monkeypatch.setattr("bench.targets.flask.ask", lambda *_: (200, metadata))
    lengths = {"n": {"distribution": "uniform", "low": 1, "high": 9}}
    inputs = {
        "text": {"datatype": "BYTES", "shape": [1, "n"], "low": 1, "high": 4},
        "x": {"datatype": "FP32", "shape": [1, "n"]},
    }
    document = {
        "name": "mine",
        "model": {"name": "own"},
        "payload": {"inputs": inputs, "lengths": lengths},
        "load": {"arrivals": "closed"},
    }
    workload = workloads.from_builtins(document, "mine.toml")

    def open_(word: str) -> Flask:
        target = Flask(words.parse(word), workload)
        assert target.probe().inputs == (TensorSpec("text", "BYTES", (-1, -1)), TensorSpec("x", "FP32", (-1, -1)))
        return target

    return open_


def echoed(target: Flask, tensors: Tensors) -> Reply:
    """The baseline's reply, of a model that gives what it takes."""
    inputs = json.loads(target.requests([tensors])[0].body)["inputs"]
    shapes = {name: list(array.shape) for name, array in tensors.items()}
    document = {"model": "own", "version": "1", "shapes": shapes, "predictions": inputs}
    return Reply(Head(200, 0, True, {}), json.dumps(document, separators=(",", ":")).encode())


def test_texts_are_texts_in_json(open_flask: Callable[[str], Flask]) -> None:
    """Nested as the tensor is."""
    body = open_flask("flask://x:1").requests([{"text": TEXTS, "x": NUMBERS}])[0].body
    assert json.loads(body) == {"inputs": {"text": [["ä", "b"]], "x": [[1.5, -2.0, 3.0]]}}


def test_texts_in_base64_are_those_of_kserve(open_flask: Callable[[str], Flask]) -> None:
    """Each after its length in 4 bytes."""
    body = open_flask("flask://x:1?encoding=base64").requests([{"text": TEXTS, "x": NUMBERS}])[0].body
    text = json.loads(body)["inputs"]["text"]
    assert (text["datatype"], text["shape"]) == ("BYTES", [1, 2])
    assert base64.b64decode(text["data"]) == b"\2\0\0\0\xc3\xa4\1\0\0\0b"


@pytest.mark.parametrize("word", ["flask://x:1", "flask://x:1?encoding=base64"])
def test_what_comes_back_is_what_was_sent(word: str, open_flask: Callable[[str], Flask]) -> None:
    """In either form, whatever the length; and a reply of another length is judged by itself."""
    target = open_flask(word)
    for n in (3, 1, 2):
        tensors: Any = {"text": np.array([[b"a" * k for k in range(n)]], np.object_), "x": NUMBERS[:, :n]}
        reply = echoed(target, tensors)
        for _ in range(2):
            assert target.judge(reply, request_id(0)) == FINE
        outputs = target.outputs(reply)
        assert outputs["text"].tolist() == tensors["text"].tolist()
        np.testing.assert_array_equal(outputs["x"], tensors["x"])


def test_texts_that_are_no_utf_8_do_not_go_into_json(open_flask: Callable[[str], Flask]) -> None:
    """The message says what takes them."""
    texts = np.array([[b"\xff"]], np.object_)
    with pytest.raises(
        UsageError, match=r"payload\.inputs\.text: JSON has no texts but UTF-8; encoding=base64 sends any bytes"
    ):
        open_flask("flask://x:1").requests([{"text": texts, "x": NUMBERS}])
    assert open_flask("flask://x:1?encoding=base64").requests([{"text": texts, "x": NUMBERS}])
