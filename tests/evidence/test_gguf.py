"""The tiny checkpoint for servers that are not ours; that one of them reads it is shown by `make verify-openai`."""

import struct
from pathlib import Path

import numpy as np
import pytest

from bench.evidence import gguf
from bench.payloads import WORDS


@pytest.mark.parametrize("words_only", [True, False])
def test_the_same_checkpoint_is_written_every_time(tmp_path: Path, words_only: bool) -> None:
    """Whoever runs the command measures the same model."""
    for name in ("a", "b"):
        gguf.write(tmp_path / name, words_only=words_only)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_the_file_states_what_follows_and_ends_with_the_last_weight(tmp_path: Path) -> None:
    """A reader finds every tensor where its offset says; magic, version and the three counts come first."""
    shape = gguf.Shape(width=8, layers=1, hidden=16)
    count = gguf.write(tmp_path / "tiny.gguf", shape)
    data = (tmp_path / "tiny.gguf").read_bytes()
    magic, version, tensors, facts = struct.unpack_from("<4sIQQ", data)
    assert (magic, version, tensors, facts) == (b"GGUF", 3, 3 + 9 * shape.layers, 17)
    # the down projection is written last, as it is drawn
    drawn = gguf._weights(shape, gguf.vocabulary(), True)[f"blk.{shape.layers - 1}.ffn_down.weight"]
    assert np.array_equal(np.frombuffer(data[-drawn.nbytes :], "<f4").reshape(drawn.shape), drawn)
    assert (len(data) - drawn.nbytes) % 32 == 0
    assert count == len(gguf.vocabulary())


def test_every_word_of_our_prompts_is_one_token_that_a_tokenizer_can_reach() -> None:
    """It joins two neighbours at a time: all beginnings of a word are tokens, the longer the better."""
    tokens = gguf.vocabulary()
    assert len(set(tokens)) == len(tokens)
    for word in WORDS:
        assert {"▁" + word[:n] for n in range(len(word) + 1)} <= set(tokens)


@pytest.mark.parametrize("words_only", [True, False])
def test_each_token_leads_to_a_next_one_by_a_wide_margin(words_only: bool) -> None:
    """A server rounds differently when others share a batch; the answers stay the same."""
    tokens = gguf.vocabulary()
    weights = gguf._weights(gguf.Shape(), tokens, words_only)
    embedding = weights["token_embd.weight"]
    logits = embedding @ weights["output.weight"].T
    second, first = np.partition(logits, -2, axis=1)[:, -2:].T
    assert ((first - second) / first).min() > 0.3
    nexts = set(logits.argmax(axis=1).tolist())
    assert nexts == set(gguf._answered(tokens, words_only))
