"""POST /generate of the Flask baseline: a line of JSON for each token, as it is made."""

import json
import queue
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from bench.runtime.scheduler import Scheduler

LINES = "application/x-ndjson"
DEFAULT_TOKENS = 16

_FORM = 'expected {"prompt": [TOKEN, ...], "max_tokens": N, "ignore_eos": true or false}'


class BadPrompt(Exception):
    """What is wrong with a request's body."""


class Asked(NamedTuple):
    """What a request asks for."""

    ids: np.ndarray  # int64 [n]
    max_tokens: int
    ignore_eos: bool


def read_prompt(body: bytes) -> Asked:
    """The prompt in a request's body; BadPrompt says what is none."""
    try:
        document = json.loads(body)
    except ValueError as error:
        raise BadPrompt(f"the body is no JSON: {error}") from None
    if not isinstance(document, dict):
        raise BadPrompt(_FORM)
    prompt, wanted = document.get("prompt"), document.get("max_tokens", DEFAULT_TOKENS)
    ignore_eos = document.get("ignore_eos", False)
    tokens = isinstance(prompt, list) and all(type(token) is int and abs(token) < 2**63 for token in prompt)
    if not tokens or type(wanted) is not int or type(ignore_eos) is not bool:
        raise BadPrompt(_FORM)
    return Asked(np.array(prompt, np.int64), wanted, ignore_eos)


def answer(scheduler: Scheduler, asked: Asked) -> tuple[Iterator[bytes], Callable[[], None]]:
    """The lines of an answer, each as soon as its token is made, and what cancels it. BadPrompt, before any line."""
    made: queue.SimpleQueue[tuple[int, bool, str]] = queue.SimpleQueue()

    def emit(token: int, last: bool, error: str) -> None:
        made.put((token, last, error))

    try:
        cancel = scheduler.submit(asked.ids, asked.max_tokens, emit, asked.ignore_eos)
    except ValueError as error:
        raise BadPrompt(str(error)) from None
    return _lines(made), cancel


def _lines(made: "queue.SimpleQueue[tuple[int, bool, str]]") -> Iterator[bytes]:
    last, count = False, 0
    while not last:
        token, last, error = made.get()
        if error:
            yield _line({"error": error})
            return
        count += 1
        yield _line({"token": token})
    yield _line({"done": True, "tokens": count})


def _line(document: dict[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"
