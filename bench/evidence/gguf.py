"""A tiny language model as a GGUF file, the checkpoint that llama.cpp's servers read: seeded weights, a few hundred tokens."""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.payloads import WORDS

UNKNOWN, BEGIN, END = 0, 1, 2
LEADS = range(3 + 0xC2, 3 + 0xF5)  # tokens of one byte that begins a letter of several

_CONTROL, _BYTE, _NORMAL, _UNKNOWN = 3, 6, 1, 2  # kinds of tokens
_ALIGNMENT = 32
_SPACE = "▁"

Value = str | int | float | Sequence[str] | Sequence[int] | Sequence[float]


@dataclass(frozen=True, slots=True)
class Shape:
    """What a Llama model is made of; every head has size `width / heads`."""

    width: int = 128
    layers: int = 2
    heads: int = 4
    kv_heads: int = 2
    hidden: int = 128
    context: int = 2048


def write(path: Path, shape: Shape = Shape(), words_only: bool = True) -> int:
    """Write the checkpoint and return the size of its vocabulary.

    Its greedy answers go round in a fixed order of words, or of words and bytes that begin a letter whose rest never comes.
    """
    tokens = vocabulary()
    weights = _weights(shape, tokens, words_only)
    facts = _facts(shape, tokens)
    with path.open("wb") as file:
        file.write(b"GGUF" + struct.pack("<IQQ", 3, len(weights), len(facts)))
        for key, value in facts.items():
            file.write(_text(key) + _typed(value))
        offset = 0
        for name, array in weights.items():
            # the fastest dimension first; type 0 is FP32
            dimensions = struct.pack(f"<I{array.ndim}Q", array.ndim, *reversed(array.shape))
            file.write(_text(name) + dimensions + struct.pack("<IQ", 0, offset))
            offset += -(-array.nbytes // _ALIGNMENT) * _ALIGNMENT
        for array in weights.values():
            file.write(b"\0" * (-file.tell() % _ALIGNMENT) + array.astype("<f4").tobytes())
    return len(tokens)


def vocabulary() -> list[str]:
    """The tokens by id: three special ones, all bytes, then words, each with its beginnings."""
    special = ["<unk>", "<s>", "</s>", *(f"<0x{n:02X}>" for n in range(256))]
    # a tokenizer of this kind joins two neighbours at a time, so the way to a word has to be in the vocabulary too
    beginnings = {_SPACE + word[:n]: None for word in WORDS for n in range(len(word) + 1)}
    letters = dict.fromkeys("".join(sorted(set("".join(WORDS)))))
    return [*special, *beginnings, *letters]


def _facts(shape: Shape, tokens: Sequence[str]) -> Mapping[str, Value]:
    kinds = [_UNKNOWN, _CONTROL, _CONTROL, *[_BYTE] * 256]
    return {
        "general.architecture": "llama",
        "general.name": "tiny",
        "llama.context_length": shape.context,
        "llama.embedding_length": shape.width,
        "llama.block_count": shape.layers,
        "llama.feed_forward_length": shape.hidden,
        "llama.attention.head_count": shape.heads,
        "llama.attention.head_count_kv": shape.kv_heads,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.rope.dimension_count": shape.width // shape.heads,
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": tokens,
        # of two ways to join neighbours, the one to the longer piece goes first
        "tokenizer.ggml.scores": [float(len(token)) for token in tokens],
        "tokenizer.ggml.token_type": [*kinds, *[_NORMAL] * (len(tokens) - len(kinds))],
        "tokenizer.ggml.unknown_token_id": UNKNOWN,
        "tokenizer.ggml.bos_token_id": BEGIN,
        "tokenizer.ggml.eos_token_id": END,
    }


def _weights(shape: Shape, tokens: Sequence[str], words_only: bool) -> dict[str, np.ndarray]:
    rng = np.random.Generator(np.random.PCG64(1))

    def drawn(rows: int, columns: int) -> np.ndarray:
        return rng.standard_normal((rows, columns), np.float32) * np.float32(0.1 / columns**0.5)

    kv, ones = shape.width * shape.kv_heads // shape.heads, np.ones(shape.width, np.float32)
    embedding, output = _round(rng, len(tokens), shape.width, rng.permutation(_answered(tokens, words_only)))
    weights = {"token_embd.weight": embedding, "output_norm.weight": ones, "output.weight": output}
    for n in range(shape.layers):
        weights |= {
            f"blk.{n}.attn_norm.weight": ones,
            f"blk.{n}.attn_q.weight": drawn(shape.width, shape.width),
            f"blk.{n}.attn_k.weight": drawn(kv, shape.width),
            f"blk.{n}.attn_v.weight": drawn(kv, shape.width),
            f"blk.{n}.attn_output.weight": drawn(shape.width, shape.width),
            f"blk.{n}.ffn_norm.weight": ones,
            f"blk.{n}.ffn_gate.weight": drawn(shape.hidden, shape.width),
            f"blk.{n}.ffn_up.weight": drawn(shape.hidden, shape.width),
            f"blk.{n}.ffn_down.weight": drawn(shape.width, shape.hidden),
        }
    return weights


def _answered(tokens: Sequence[str], words_only: bool) -> list[int]:
    """The tokens that answers are made of."""
    words = {_SPACE + word for word in WORDS}
    return [n for n, token in enumerate(tokens) if token in words or (n in LEADS and not words_only)]


def _round(rng: np.random.Generator, tokens: int, width: int, answered: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Embedding and output weights under which `answered` follow each other in a round; other tokens stand for one of them.

    The layers between add so little that no rounding, which depends on who shares a batch, changes who comes next.
    """
    embedding, output = rng.standard_normal((tokens, width), np.float32), np.zeros((tokens, width), np.float32)
    others = np.setdiff1d(np.arange(tokens), answered)
    embedding[others] = embedding[answered[others % len(answered)]]
    output[answered] = embedding[np.roll(answered, 1)]
    return embedding, output


def _typed(value: Value) -> bytes:
    """A value after the number of its type."""
    match value:
        case str():
            return struct.pack("<I", 8) + _text(value)
        case int():
            return struct.pack("<II", 4, value)
        case float():
            return struct.pack("<If", 6, value)
    # in lists signed numbers are expected, alone unsigned ones
    kind = {str: 8, int: 5, float: 6}[type(value[0])]
    parts = (_text(one) if isinstance(one, str) else struct.pack("<i" if kind == 5 else "<f", one) for one in value)
    return struct.pack("<IIQ", 9, kind, len(value)) + b"".join(parts)


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data
