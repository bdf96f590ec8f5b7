"""Qwen2.5-1.5B: text generation with a cache of keys and values, tensors named as Hugging Face names them."""

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bench.errors import UsageError
from bench.recipes import config_json, quantize
from bench.recipes.graph import MICROSOFT, Architecture, Graph, Port
from bench.recipes.quantize import Blocks
from bench.recipes.recipe import Recipe

# Deviations of seeded matrices, times the root of their width. With these, greedy streams do not run into a loop and change
# with every early token of the prompt; with equal ones a stream repeats one token.
EMBEDDING_STD, BIAS_STD = 0.02, 0.1
ATTENTION_GAIN, OUTPUT_GAIN, GATE_GAIN, DOWN_GAIN = 1.6, 0.4, 1.5, 2.0
# Seeded matrices are of 15 values, which 4 bits can hold. Other random ones lose so much by rounding, layer after layer, that
# answers in int4 would have little in common with those in fp32 (correlation 0.5), and a fault could not be told from it.
LEVELS = 15
HEAD_STEP = 16  # GroupQueryAttention with rotary positions takes heads of no other width

TOKENS, HEAD = "model.embed_tokens.weight", "lm_head.weight"


@dataclass(frozen=True, slots=True)
class Size:
    """The numbers that tell one Qwen2 from another, called what config.json calls them where it has them."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_size: int
    intermediate: int
    vocabulary: int
    context: int
    theta: float = 1e6  # of the rotary positions
    epsilon: float = 1e-6
    tied: bool = True  # the embedding is the last layer too
    eos: tuple[int, ...] = ()


def qwen2(size: Size) -> Architecture:
    """A Qwen2. `last` names the row of each sequence whose logits are wanted; `seqlens_k` is one less than its tokens in all.

    Calls may be: prompts, padded on the right, nothing past (`sequence` equals `total_length`); one row that goes on with
    several tokens; one token for each of several rows. Past and present may share their buffers.
    """

    def body(graph: Graph, ids: str, seqlens: str, total: str, last: str, *past: str) -> list[str]:
        tokens = _table(graph, TOKENS, size, EMBEDDING_STD)
        tables = [graph.constant(table) for table in _rotary(size)]
        layout = _Layout.of(graph, ids)
        x, presents = _rows(graph, tokens, layout.ids), []
        for layer in range(size.layers):
            name = f"model.layers.{layer}"
            y = _norm(graph, x, f"{name}.input_layernorm", size)
            fixed = (*past[2 * layer : 2 * layer + 2], seqlens, total, *tables)
            y, *present = _attention(graph, y, f"{name}.self_attn", size, layout, fixed)
            presents += present
            x = graph.Add(x, y)
            y = _norm(graph, x, f"{name}.post_attention_layernorm", size)
            x = graph.Add(x, _feed_forward(graph, y, f"{name}.mlp", size))
        wanted = graph.GatherND(layout.split(graph, x), graph.Unsqueeze(last, graph.constant([1])), batch_dims=1)
        head = tokens if size.tied else _table(graph, HEAD, size, EMBEDDING_STD)
        return [_logits(graph, _norm(graph, wanted, "model.norm", size), head), *presents]

    return Architecture(
        inputs=(
            Port("input_ids", "INT64", ("batch", "sequence")),
            Port("seqlens_k", "INT32", ("batch",)),
            Port("total_length", "INT32", ()),
            Port("last", "INT64", ("batch",)),
            *_cache_ports("past_key_values", "length", size),
        ),
        outputs=(Port("logits", "FP32", ("batch", size.vocabulary)), *_cache_ports("present", "total", size)),
        body=body,
        context=size.context,
        metadata={"context": str(size.context), "vocabulary": str(size.vocabulary), "eos": json.dumps(size.eos)},
    )


def _cache_ports(name: str, length: str, size: Size) -> list[Port]:
    dims = ("batch", size.kv_heads, length, size.head_size)
    kinds = [(layer, kind) for layer in range(size.layers) for kind in ("key", "value")]
    return [Port(f"{name}.{layer}.{kind}", "FP32", dims, native=True) for layer, kind in kinds]


@dataclass(frozen=True, slots=True)
class _Layout:
    """How the tokens lie between attentions: in int4 and int8 as rows, [batch * sequence, width], an even number of them.

    MatMulNBits takes rows by twos, and adds an odd one up in another order; that changes a few roundings of the activations,
    which 28 layers turn into 5 % of a logit, and the same prompt would get other tokens alone than in a batch. With an even
    number each row has the same bits whatever runs beside it. In other precisions tokens stay [batch, sequence, width]: a graph
    that computes no shapes has nothing that ONNX Runtime would leave to the CPU beside a GPU.
    """

    ids: str  # as the embedding takes them
    shape: str = ""  # [3]: batch, sequence, -1
    count: str = ""  # [1]: batch * sequence
    odd: str = ""  # [1]: rows to add

    @classmethod
    def of(cls, graph: Graph, ids: str) -> "_Layout":
        if graph.precision not in quantize.BITS:
            return cls(ids)
        flat = graph.Reshape(ids, graph.constant([-1]))
        shape = graph.Concat(graph.Shape(ids), graph.constant([-1]), axis=0)
        count = graph.Shape(flat)
        odd = graph.Mod(count, graph.constant([2]))
        return cls(graph.Pad(flat, graph.Concat(graph.constant([0]), odd, axis=0)), shape, count, odd)

    def join(self, graph: Graph, x: str, width: int) -> str:
        """[batch, sequence, width] as rows."""
        if not self.shape:
            return x
        rows = graph.Reshape(x, graph.constant([-1, width]))
        return graph.Pad(rows, graph.Concat(graph.constant([0, 0]), self.odd, graph.constant([0]), axis=0))

    def split(self, graph: Graph, x: str) -> str:
        """Rows as [batch, sequence, width]."""
        if not self.shape:
            return x
        rows = graph.Slice(x, graph.constant([0]), self.count, graph.constant([0]))
        return graph.Reshape(rows, self.shape)


def _attention(graph: Graph, x: str, name: str, size: Size, layout: _Layout, fixed: Sequence[str]) -> tuple[str, ...]:
    """The layer's output, and its keys and values so far; `fixed` is what GroupQueryAttention takes beside the projections."""
    parts = []
    for part, heads in (("q", size.heads), ("k", size.kv_heads), ("v", size.kv_heads)):
        width = heads * size.head_size
        bias = graph.weight(f"{name}.{part}_proj.bias", (width,), std=BIAS_STD)
        projected = graph.Add(_linear(graph, x, f"{name}.{part}_proj", size.hidden, width, ATTENTION_GAIN), bias)
        parts.append(layout.split(graph, projected))
    attended, key, value = graph.node(
        "GroupQueryAttention",
        *parts,
        *fixed,
        outputs=3,
        domain=MICROSOFT,
        num_heads=size.heads,
        kv_num_heads=size.kv_heads,
        do_rotary=1,
    )
    width = size.heads * size.head_size
    return _linear(graph, layout.join(graph, attended, width), f"{name}.o_proj", width, size.hidden, OUTPUT_GAIN), key, value


def _feed_forward(graph: Graph, x: str, name: str, size: Size) -> str:
    gate = _linear(graph, x, f"{name}.gate_proj", size.hidden, size.intermediate, GATE_GAIN)
    up = _linear(graph, x, f"{name}.up_proj", size.hidden, size.intermediate, GATE_GAIN)
    inner = graph.Mul(graph.Mul(gate, graph.Sigmoid(gate)), up)
    return _linear(graph, inner, f"{name}.down_proj", size.intermediate, size.hidden, DOWN_GAIN)


def _norm(graph: Graph, x: str, name: str, size: Size) -> str:
    weight = graph.weight(f"{name}.weight", (size.hidden,), mean=1.0)
    return graph.node("SimplifiedLayerNormalization", x, weight, axis=-1, epsilon=size.epsilon, stash_type=1)[0]


def _linear(graph: Graph, x: str, name: str, width: int, out: int, gain: float) -> str:
    weight, std = f"{name}.weight", gain * width**-0.5
    if graph.precision in quantize.BITS:
        return quantize.multiply(graph, x, quantize.blocks(graph, weight, (out, width), std, LEVELS))
    return graph.MatMul(x, graph.weight(weight, (out, width), std=std, levels=LEVELS, transposed=True))


def _table(graph: Graph, name: str, size: Size, std: float) -> str | Blocks:
    """A matrix with a row for every token, which is read both by rows and as the last layer."""
    shape = (size.vocabulary, size.hidden)
    if graph.precision in quantize.BITS:
        return quantize.blocks(graph, name, shape, std, LEVELS)
    return graph.weight(name, shape, std=std, levels=LEVELS)


def _rows(graph: Graph, table: str | Blocks, ids: str) -> str:
    return graph.Gather(table, ids) if isinstance(table, str) else quantize.rows(graph, table, ids)


def _logits(graph: Graph, x: str, table: str | Blocks) -> str:
    return graph.Gemm(x, table, transB=1) if isinstance(table, str) else quantize.multiply(graph, x, table)


def _rotary(size: Size) -> tuple[np.ndarray, np.ndarray]:
    """Cosines and sines [context, head size / 2] of the angles; rounded to float32 on the way, where the reference rounds."""
    frequencies = (size.theta ** (-np.arange(0, size.head_size, 2) / size.head_size)).astype(np.float32)
    angles = np.outer(np.arange(size.context, dtype=np.float32), frequencies).astype(np.float64)
    return np.cos(angles), np.sin(angles)


def from_checkpoint(config: dict[str, Any], names: Collection[str]) -> tuple[Architecture, Callable[[str], str | None]]:
    """A Qwen2 checkpoint: its size and its names, which have no "model." where the last layer was left out of it."""
    config = config | (config.get("rope_parameters") or {})
    config_json.only(config, "hidden_act", "silu")
    config_json.only(config, "rope_scaling", None)
    config_json.only(config, "rope_type", "default")
    config_json.only(config, "use_sliding_window", False)
    config_json.only(config, "quantization_config", None)
    for kind in config.get("layer_types") or ():
        config_json.only({"layer_types": kind}, "layer_types", "full_attention")
    hidden, heads = config_json.size(config, "hidden_size"), config_json.size(config, "num_attention_heads")
    eos = config.get("eos_token_id")
    kv_heads = config_json.size(config, "num_key_value_heads", heads)
    config_json.divides("num_key_value_heads", kv_heads, "num_attention_heads", heads)
    head_size = config_json.size(config, "head_dim", hidden // heads)
    if head_size % HEAD_STEP:
        raise UsageError(
            f"the checkpoint's config.json: its heads are {head_size} wide (head_dim, or hidden_size / num_attention_heads): "
            f"expected a multiple of {HEAD_STEP}, as ONNX Runtime's GroupQueryAttention does"
        )
    size = Size(
        hidden=hidden,
        layers=config_json.size(config, "num_hidden_layers"),
        heads=heads,
        kv_heads=kv_heads,
        head_size=head_size,
        intermediate=config_json.size(config, "intermediate_size"),
        vocabulary=config_json.size(config, "vocab_size"),
        context=config_json.size(config, "max_position_embeddings"),
        theta=config_json.number(config, "rope_theta", 1e4),
        epsilon=config_json.number(config, "rms_norm_eps", 1e-6),
        tied=config.get("tie_word_embeddings", HEAD not in names),
        eos=tuple(eos) if isinstance(eos, list) else () if eos is None else (eos,),
    )
    prefixed = TOKENS in names
    return qwen2(size), lambda name: name if prefixed else name.removeprefix("model.")


FULL = Size(
    1536, 28, heads=12, kv_heads=2, head_size=128, intermediate=8960, vocabulary=151_936, context=32_768, eos=(151_643,)
)
# the vocabulary stays, so that one workload drives both
TINY = replace(FULL, hidden=64, layers=2, heads=4, head_size=16, intermediate=128, context=2048)

RECIPE = Recipe(
    title="Qwen2.5-1.5B, text generation",
    presets={"full": qwen2(FULL), "tiny": qwen2(TINY)},
    # measured at full size: 0.15, 0.16 and 0.009; in int4 and int8 most of it comes of activations in 8 bits
    precisions={"int4": 0.3, "int8": 0.3, "fp16": 0.02, "fp32": 0.0},
    # an H100 parted from the CPU's tokens where the best one led by up to 0.0037 of the largest logit
    moves={"fp16": 0.01},
    max_batch=8,
    model_type="qwen2",
    from_checkpoint=from_checkpoint,
)
