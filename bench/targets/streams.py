"""What streamed replies of every kind come to: pieces with their times, token counts, and the verdict on the whole."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from bench.payloads import Prompt
from bench.record import BROKEN, PROTOCOL, STATUS, TOKENS
from bench.targets.base import FINE, Streamed, Verdict
from bench.targets.kserve import error_text
from bench.tensors import Tensors
from bench.wire.line import Reply
from bench.wire.lines import LineReader
from bench.wire.sse import EventReader

# how the tokens in a piece were counted; all but the first are assumptions
TOLD, BY_TOTAL, BY_PIECE = (
    "told piece by piece",
    "one a piece, what the total at the end has more spread by characters",
    "one a piece",
)


class Taken:
    """A streamed reply while it is taken apart."""

    __slots__ = ("ids", "t_ns", "texts", "tokens", "verdict")

    def __init__(self) -> None:
        self.t_ns: list[int] = []
        self.tokens: list[int] = []
        self.texts: list[str] = []
        self.ids: list[int] = []  # stays empty where the server answers with text
        self.verdict = FINE

    def add(self, t_ns: int, tokens: int, text: str = "") -> None:
        """One more piece."""
        self.t_ns.append(t_ns)
        self.tokens.append(tokens)
        self.texts.append(text)

    def fail(self, error: int, message: str) -> None:
        """What went wrong; the first thing is what counts."""
        if self.verdict == FINE:
            self.verdict = Verdict(error, message)

    def streamed(self, prompt: Prompt, ended: str = "", hint: str = "") -> Streamed:
        """The whole; `ended` says how it broke off, `hint` what the user may do about a number of tokens that is wrong."""
        if ended:
            self.fail(BROKEN, ended)
        if problem := count_problem(sum(self.tokens), prompt):
            self.fail(TOKENS, problem + hint)
        return Streamed(self.t_ns, self.tokens, self._outputs(), self.verdict)

    def _outputs(self) -> Tensors:
        if self.ids:
            return {"tokens": np.array(self.ids, np.int64)}
        return {"text": np.array(["".join(self.texts).encode()], np.object_)}


def count_problem(count: int, prompt: Prompt) -> str:
    """What is wrong with the number of tokens that came; "" where nothing is."""
    if count > prompt.max_tokens or (prompt.ignore_eos and count < prompt.max_tokens):
        wanted = "" if prompt.ignore_eos else "at most "
        return f"the stream came to {count} tokens, asked for were {wanted}{prompt.max_tokens}"
    return ""


def judge_head(reply: Reply) -> Verdict:
    """The verdict on a streamed reply's status."""
    if reply.head.status == 200:
        return FINE
    return Verdict(STATUS, f"HTTP {reply.head.status}: {error_text(reply.body[:300].decode('utf-8', 'replace'))}")


def event_texts(reply: Reply) -> Iterator[tuple[int, bytes]]:
    """(time in ns, data) of each server-sent event in a reply."""
    reader = EventReader()
    for t_ns, piece in _pieces(reply):
        for event in reader.feed(piece):
            yield t_ns, event.data
    if not reply.ended:
        for event in reader.end():
            yield reply.marks[-1][0] if reply.marks else 0, event.data


def line_texts(reply: Reply) -> Iterator[tuple[int, bytes]]:
    """(time in ns, line) of each line in a reply that is not empty."""
    reader = LineReader()
    for t_ns, piece in _pieces(reply):
        for line in reader.feed(piece):
            if line.strip():
                yield t_ns, line
    if not reply.ended and (last := reader.end().strip()):
        yield reply.marks[-1][0] if reply.marks else 0, last


def document(text: bytes) -> dict[str, Any]:
    """The JSON object in a piece; ValueError where it is none."""
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError("no object")
    return found


def not_a_stream(text: bytes, wanted: str) -> Verdict:
    """The verdict on a piece that cannot be read."""
    return Verdict(PROTOCOL, f"a piece of the stream is no {wanted}: {text[:80]!r}")


def spread(total: int, weights: Sequence[int]) -> list[int]:
    """Whole numbers that sum to `total`, in proportion to `weights` as they add up; alike where all weights are 0."""
    if not any(weights):
        weights = [1] * len(weights)
    edges = (np.cumsum(weights) * total + sum(weights) // 2) // sum(weights) if weights else np.empty(0, np.int64)
    return [int(n) for n in np.diff(edges, prepend=0)]


def _pieces(reply: Reply) -> Iterator[tuple[int, bytes]]:
    at = 0
    for t_ns, upto in reply.marks:
        yield t_ns, reply.body[at:upto]
        at = upto
