"""Streamed replies taken apart, of every kind that comes over HTTP: bytes and times in, pieces and a verdict out."""

import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import words
from bench.payloads import Prompt
from bench.record import ERRORS
from bench.targets import open_target, streams
from bench.targets.base import Streamed
from bench.testing import make_workload
from bench.wire.http1 import parse_head
from bench.wire.line import Reply
from bench.workload import Generate, Payload, Workload

HEAD = parse_head(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked")


@dataclass(frozen=True, slots=True)
class Kind:
    """How a server writes pieces of `tokens` tokens after `before` others, and the end."""

    word: str
    piece: Callable[[int, int], bytes]
    end: bytes
    error: bytes
    ids: bool = True
    ends_aloud: bool = True  # else a stream that ends early can only be told by its tokens


def sse(document: Any) -> bytes:
    return b"data: %s\n\n" % json.dumps(document).encode()


def ids(tokens: int, before: int) -> str:
    return "".join(f" {n}" for n in range(before, before + tokens))


KINDS = {
    "openai, usage in each": Kind(
        "openai://x?usage=each",
        lambda n, b: sse({"choices": [{"text": " a" * n}], "usage": {"completion_tokens": b + n}}),
        b"data: [DONE]\n\n",
        sse({"error": {"message": "out of memory"}}),
        ids=False,
    ),
    "openai chat": Kind(
        "openai://x?api=chat",
        lambda n, b: sse({"choices": [{"delta": {"content": " a" * n}}], "usage": {"completion_tokens": b + n}}),
        b"data: [DONE]\n\n",
        sse({"object": "error", "message": "out of memory"}),
        ids=False,
    ),
    "triton": Kind(
        "triton-http://x",
        lambda n, b: sse({"model_version": "1", "text_output": ids(n, b), "num_output_tokens": n}),
        b"",
        sse({"error": "out of memory"}),
        ends_aloud=False,
    ),
    "triton without a count": Kind(
        "triton-http://x", lambda n, b: sse({"text_output": ids(n, b)}), b"", sse({"error": "out of memory"}), ends_aloud=False
    ),
    "flask": Kind(
        "flask://x",
        lambda n, b: b"".join(b'{"token": %d}\n' % i for i in range(b, b + n)),
        b'{"done": true}\n',
        b'{"error": "out of memory"}\n',
    ),
}
SIZES = st.lists(st.integers(0, 4), min_size=1, max_size=8).filter(any)
every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


def workload(**changes: Any) -> Workload:
    form = changes.pop("form", "tokens")
    return make_workload(payload=Payload(generate=Generate(prompt_tokens=3, output_tokens=4, form=form)), **changes)


def opened(kind: Kind) -> Any:
    return open_target(words.parse(kind.word), workload(form="text" if "chat" in kind.word else "tokens"))


def prompt(max_tokens: int, ignore_eos: bool = True, text: str = "") -> Prompt:
    return Prompt(np.arange(0 if text else 3), text, 3, max_tokens, ignore_eos)


def body_of(kind: Kind, sizes: list[int]) -> tuple[bytes, list[int]]:
    """A whole body, and where each piece with tokens ends in it."""
    body, ends = b"", []
    for size, before in zip(sizes, itertools.accumulate(sizes, initial=0), strict=False):
        body += kind.piece(size, before)
        ends += [len(body)] if size else []
    return body + kind.end, ends


def reply(body: bytes, cuts: list[int], ended: str = "") -> Reply:
    """The body as it came in pieces; the n-th came at 10 n."""
    edges = sorted({min(c, len(body)) for c in cuts if c > 0} | {len(body)} - {0})
    return Reply(HEAD, body, tuple((10 * (n + 1), edge) for n, edge in enumerate(edges)), ended)


def kind_of(streamed: Streamed) -> str:
    return ERRORS[streamed.verdict.error]


@every_kind
@given(sizes=SIZES, cuts=st.lists(st.integers(0, 1500)))
def test_every_token_has_the_time_when_its_piece_was_whole(kind: Kind, sizes: list[int], cuts: list[int]) -> None:
    """Wherever the bytes were cut: several tokens in a piece, empty pieces, pieces that came together or in parts."""
    body, ends = body_of(kind, sizes)
    answer = reply(body, cuts)
    streamed = opened(kind).streamed(answer, prompt(sum(sizes)))
    assert kind_of(streamed) == ""
    times = [next(t for t, there in answer.marks if there >= end) for end in ends]
    expected = np.repeat(times, [size for size in sizes if size]).tolist()
    got = np.repeat(streamed.t_ns, streamed.tokens).tolist()
    if kind.word != "flask://x":
        assert got == expected
    else:  # a line is a piece of its own
        assert len(got) == len(expected)
        assert all(a <= b for a, b in zip(got, expected, strict=True))
    if kind.ids:
        assert streamed.outputs["tokens"].tolist() == list(range(sum(sizes)))
    else:
        assert streamed.outputs["text"].tolist() == [b" a" * sum(sizes)]


@every_kind
@given(sizes=SIZES, cut=st.integers(0, 1500))
def test_what_came_of_a_stream_that_broke_off_is_kept(kind: Kind, sizes: list[int], cut: int) -> None:
    """Its whole pieces count, half a piece does not, and the verdict is that it broke."""
    body, ends = body_of(kind, sizes)
    cut = min(cut, len(body) - 1)
    streamed = opened(kind).streamed(reply(body[:cut], [], "the connection was closed"), prompt(sum(sizes)))
    assert kind_of(streamed) == "broken"
    assert streamed.verdict.message == "the connection was closed"
    whole = [size for size in sizes if size][: sum(end <= cut for end in ends)]
    if kind.word == "flask://x":
        assert sum(streamed.tokens) >= sum(whole)
    else:
        assert [n for n in streamed.tokens if n] == whole


@every_kind
def test_an_error_in_the_stream_is_the_servers(kind: Kind) -> None:
    """With its words, and with the tokens before it; also where the connection was closed after it."""
    body = kind.piece(2, 0) + kind.error
    for answer in (reply(body + kind.end, []), reply(body, [], "closed")):
        streamed = opened(kind).streamed(answer, prompt(4))
        assert kind_of(streamed) == "status"
        assert "out of memory" in streamed.verdict.message
        assert sum(streamed.tokens) == 2


@every_kind
def test_a_stream_that_ends_early_is_told_by_its_end_or_by_its_tokens(kind: Kind) -> None:
    """Without the word that ends it, it broke; with it, it has too few tokens, or too many."""
    target = opened(kind)
    silent = target.streamed(reply(kind.piece(2, 0), []), prompt(4))
    assert kind_of(silent) == ("broken" if kind.ends_aloud else "tokens")
    short, long = (target.streamed(reply(kind.piece(n, 0) + kind.end, []), prompt(4)) for n in (3, 5))
    assert [kind_of(short), kind_of(long)] == ["tokens", "tokens"]
    assert "came to 3 tokens, asked for were 4" in short.verdict.message
    assert "came to 5 tokens, asked for were 4" in long.verdict.message


@every_kind
def test_an_answer_may_end_at_the_end_of_text_where_that_is_not_ignored(kind: Kind) -> None:
    """Fewer tokens than asked for are then right, more are not."""
    verdicts = [
        kind_of(opened(kind).streamed(reply(kind.piece(n, 0) + kind.end, []), prompt(4, ignore_eos=False))) for n in (1, 4, 5)
    ]
    assert verdicts == ["", "", "tokens"]


@every_kind
@pytest.mark.parametrize("garbage", [b"no json", b"[1]", b'"text"'])
def test_what_cannot_be_read_is_a_breach_of_protocol(kind: Kind, garbage: bytes) -> None:
    """The message shows it."""
    wrapped = garbage + b"\n" if kind.word == "flask://x" else b"data: %s\n\n" % garbage
    streamed = opened(kind).streamed(reply(kind.piece(4, 0) + wrapped + kind.end, []), prompt(4))
    assert kind_of(streamed) == "protocol"
    assert repr(garbage)[2:-1] in streamed.verdict.message


@every_kind
@given(data=st.binary(max_size=200), ended=st.sampled_from(["", "closed"]))
def test_no_bytes_whatever_raise(kind: Kind, data: bytes, ended: str) -> None:
    """A reply is data, also where it is nonsense; four tokens are not in it."""
    streamed = opened(kind).streamed(reply(data, [7], ended), prompt(4))
    assert kind_of(streamed) in ("protocol", "broken", "tokens", "status")


# ---------------------------------------------------------------- how tokens are counted


def openai(
    pieces: list[dict[str, Any]], max_tokens: int, word: str = "openai://x", text: str = ""
) -> tuple[Streamed, list[str]]:
    """What an OpenAI-style stream of these documents comes to, and the way of counting."""
    target = open_target(words.parse(word), workload(form="text" if text else "tokens"))
    body = b"".join(map(sse, pieces)) + b"data: [DONE]\n\n"
    streamed = target.streamed(reply(body, []), prompt(max_tokens, text=text))  # type: ignore[attr-defined]
    return streamed, [*target.counted]  # type: ignore[attr-defined]


def said(*texts: str, **more: Any) -> list[dict[str, Any]]:
    return [{"choices": [{"text": text}], **more} for text in texts]


def test_without_any_usage_a_piece_is_a_token() -> None:
    """An empty one is none."""
    streamed, ways = openai(said("", " a", " bc", "", " d"), 3)
    assert (streamed.tokens, kind_of(streamed), ways) == ([0, 1, 1, 0, 1], "", [streams.BY_PIECE])


def test_a_usage_at_the_end_spreads_what_it_has_more_by_characters() -> None:
    """One token for each piece that is not empty, and 5 more for 10 characters: one for every two."""
    streamed, ways = openai([*said("", " a", " bcd", " efg"), {"choices": [], "usage": {"completion_tokens": 8}}], 8)
    assert (streamed.tokens, ways) == ([0, 2, 3, 3], [streams.BY_TOTAL])
    assert kind_of(streamed) == ""


def test_a_usage_at_the_end_that_has_less_than_pieces_is_believed() -> None:
    """A server may cut a token's text in two."""
    streamed, _ = openai([*said("a" * 100, "b", "c", "d", "e"), {"choices": [], "usage": {"completion_tokens": 1}}], 1)
    assert (sum(streamed.tokens), min(streamed.tokens), kind_of(streamed)) == (1, 0, "")


def test_a_usage_in_every_piece_counts_also_tokens_without_text() -> None:
    """Letters that come in several tokens, and an end that is a token of its own."""
    pieces = [{"choices": [{"text": t}], "usage": {"completion_tokens": n}} for t, n in (("", 0), ("a", 1), ("", 3), ("é", 4))]
    streamed, ways = openai(pieces, 4)
    assert (streamed.tokens, ways) == ([0, 1, 2, 1], [streams.TOLD])


def test_a_thought_is_made_of_tokens_too() -> None:
    """Models that think aloud send it under another name."""
    deltas = [{"role": "assistant", "content": ""}, {"reasoning_content": "hm"}, {"content": "yes"}]
    streamed, _ = openai([{"choices": [{"delta": delta}]} for delta in deltas], 2, "openai://x?api=chat", text="why")
    assert (streamed.tokens, streamed.outputs["text"].tolist()) == ([0, 1, 1], [b"hmyes"])


@given(st.integers(0, 500), st.lists(st.integers(0, 50), min_size=1, max_size=30))
def test_what_is_spread_stays_as_much_and_goes_by_weight(total: int, weights: list[int]) -> None:
    """The parts sum to the whole, and up to any of them they are in proportion, but for rounding."""
    parts = streams.spread(total, weights)
    assert sum(parts) == total
    assert min(parts) >= 0
    by = weights if any(weights) else [1] * len(weights)
    for n, part in enumerate(itertools.accumulate(parts)):
        assert abs(part - total * sum(by[: n + 1]) / sum(by)) <= 0.5


def triton(documents: list[dict[str, Any]], asked: Prompt, version: str = "1") -> tuple[Streamed, list[str]]:
    made = workload()
    made = msgspec.structs.replace(made, model=msgspec.structs.replace(made.model, version=version))
    target = open_target(words.parse("triton-http://x"), made)
    streamed = target.streamed(reply(b"".join(map(sse, documents)), []), asked)  # type: ignore[attr-defined]
    return streamed, [*target.counted]  # type: ignore[attr-defined]


def test_triton_may_tell_the_number_of_tokens_in_a_text() -> None:
    """As its vLLM backend does: letters that are not yet whole have no text but are a token."""
    told = [("", 1), (" caf", 1), ("é", 2)]
    streamed, ways = triton([{"text_output": t, "num_output_tokens": n} for t, n in told], prompt(4, text="where"))
    assert (streamed.tokens, ways, kind_of(streamed)) == ([1, 1, 2], [streams.TOLD], "")
    assert streamed.outputs["text"].tolist() == [" café".encode()]


def test_digits_in_the_answer_to_a_text_are_text() -> None:
    """Only a prompt of token ids is answered with token ids."""
    streamed, ways = triton([{"text_output": " 12 13"}, {"text_output": " 14"}], prompt(2, text="count"))
    assert (streamed.tokens, ways) == ([1, 1], [streams.BY_PIECE])
    assert streamed.outputs.keys() == {"text"}


def test_an_answer_of_another_version_is_no_answer() -> None:
    """Where the workload asks for one."""
    documents = [{"model_version": "2", "text_output": " 1 2 3 4"}]
    assert kind_of(triton(documents, prompt(4))[0]) == "version"
    assert kind_of(triton(documents, prompt(4), version="")[0]) == ""


def test_the_first_thing_that_is_wrong_is_the_verdict() -> None:
    """An error in the stream is not outdone by the tokens that are missing for it."""
    taken = streams.Taken()
    taken.fail(ERRORS.index("status"), "first")
    taken.fail(ERRORS.index("protocol"), "second")
    assert taken.streamed(prompt(4), "closed").verdict == (ERRORS.index("status"), "first")
