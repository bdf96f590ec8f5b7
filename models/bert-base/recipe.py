"""BERT-base: an encoder of 109,482,240 parameters with its pooler, tensors named as Hugging Face names them."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from bench.recipes import config_json, quantize
from bench.recipes.graph import Architecture, Graph, Port
from bench.recipes.recipe import Recipe

STD = 0.04  # twice what training starts with: answers differ more between inputs
MASKED = 10_000.0  # exp(-10,000) is 0 in float32, and fp16 can hold the number

POOLER = "pooler."


@dataclass(frozen=True, slots=True)
class Size:
    """The numbers that tell one BERT from another."""

    vocabulary: int = 30_522
    hidden: int = 768
    layers: int = 12
    heads: int = 12
    intermediate: int = 3072
    positions: int = 512
    segments: int = 2
    epsilon: float = 1e-12


def bert(size: Size) -> Architecture:
    """A BERT encoder. The mask has 1 where a token is and 0 where there is none, which may be anywhere in a sequence."""

    def body(graph: Graph, ids: str, mask: str, segments: str) -> list[str]:
        x = _embedded(graph, ids, segments, size)
        present = graph.Cast(graph.Unsqueeze(mask, graph.constant([1, 2])), to=graph.float_type)
        masked = graph.Mul(graph.Sub(present, graph.constant(1.0)), graph.constant(MASKED))
        for layer in range(size.layers):
            name = f"encoder.layer.{layer}"
            y = _linear(graph, _attention(graph, x, masked, name, size), f"{name}.attention.output.dense", (size.hidden,) * 2)
            x = _norm(graph, graph.Add(x, y), f"{name}.attention.output.LayerNorm", size)
            y = _gelu(graph, _linear(graph, x, f"{name}.intermediate.dense", (size.intermediate, size.hidden)))
            y = _linear(graph, y, f"{name}.output.dense", (size.hidden, size.intermediate))
            x = _norm(graph, graph.Add(x, y), f"{name}.output.LayerNorm", size)
        first = graph.Gather(x, graph.constant(0), axis=1)
        return [x, graph.Tanh(_linear(graph, first, f"{POOLER}dense", (size.hidden,) * 2))]

    return Architecture(
        inputs=tuple(Port(name, "INT64", ("batch", "sequence")) for name in ("input_ids", "attention_mask", "token_type_ids")),
        outputs=(
            Port("last_hidden_state", "FP32", ("batch", "sequence", size.hidden)),
            Port("pooler_output", "FP32", ("batch", size.hidden)),
        ),
        body=body,
        largest={"sequence": size.positions},
    )


def _embedded(graph: Graph, ids: str, segments: str, size: Size) -> str:
    words = graph.weight("embeddings.word_embeddings.weight", (size.vocabulary, size.hidden), std=STD)
    types = graph.weight("embeddings.token_type_embeddings.weight", (size.segments, size.hidden), std=STD)
    table = graph.weight("embeddings.position_embeddings.weight", (size.positions, size.hidden), std=STD)
    positions = graph.Slice(table, graph.constant([0]), graph.Shape(ids, start=1, end=2))
    tokens = graph.Add(graph.Gather(words, ids), graph.Gather(types, segments))
    return _norm(graph, graph.Add(tokens, positions), "embeddings.LayerNorm", size)


def _attention(graph: Graph, x: str, masked: str, name: str, size: Size) -> str:
    width = size.hidden // size.heads
    shape = graph.constant([0, 0, size.heads, width])

    def heads(part: str, order: list[int]) -> str:
        projected = _linear(graph, x, f"{name}.attention.self.{part}", (size.hidden,) * 2)
        return graph.Transpose(graph.Reshape(projected, shape), perm=order)

    query, key, value = heads("query", [0, 2, 1, 3]), heads("key", [0, 2, 3, 1]), heads("value", [0, 2, 1, 3])
    scores = graph.Mul(graph.MatMul(query, key), graph.constant(width**-0.5))
    shares = graph.Softmax(graph.Add(scores, masked), axis=-1)
    attended = graph.Transpose(graph.MatMul(shares, value), perm=[0, 2, 1, 3])
    return graph.Reshape(attended, graph.constant([0, 0, size.hidden]))


def _linear(graph: Graph, x: str, name: str, shape: tuple[int, int]) -> str:
    weight, bias = f"{name}.weight", graph.weight(f"{name}.bias", shape[:1], std=STD)
    if graph.precision == "int8":
        return graph.Add(quantize.multiply_dynamically(graph, x, weight, shape, STD), bias)
    return graph.Add(graph.MatMul(x, graph.weight(weight, shape, std=STD, transposed=True)), bias)


def _norm(graph: Graph, x: str, name: str, size: Size) -> str:
    weight = graph.weight(f"{name}.weight", (size.hidden,), std=0.1, mean=1.0)
    bias = graph.weight(f"{name}.bias", (size.hidden,), std=0.1)
    return graph.LayerNormalization(x, weight, bias, axis=-1, epsilon=size.epsilon)


def _gelu(graph: Graph, x: str) -> str:
    error = graph.Erf(graph.Div(x, graph.constant(2**0.5)))
    return graph.Mul(graph.Mul(x, graph.Add(error, graph.constant(1.0))), graph.constant(0.5))


def from_checkpoint(config: dict[str, Any], names: Collection[str]) -> tuple[Architecture, Callable[[str], str | None]]:
    """A BERT checkpoint: its size and its names, of which there are older ones; its pooler may be missing, as in masked LMs."""
    config_json.only(config, "hidden_act", "gelu")
    config_json.only(config, "position_embedding_type", "absolute", None)
    config_json.only(config, "is_decoder", False)
    config_json.only(config, "add_cross_attention", False)
    config_json.only(config, "quantization_config", None)
    usual = Size()
    size = Size(
        vocabulary=config_json.size(config, "vocab_size", usual.vocabulary),
        hidden=config_json.size(config, "hidden_size", usual.hidden),
        layers=config_json.size(config, "num_hidden_layers", usual.layers),
        heads=config_json.size(config, "num_attention_heads", usual.heads),
        intermediate=config_json.size(config, "intermediate_size", usual.intermediate),
        positions=config_json.size(config, "max_position_embeddings", usual.positions),
        segments=config_json.size(config, "type_vocab_size", usual.segments),
        epsilon=config_json.number(config, "layer_norm_eps", usual.epsilon),
    )
    config_json.divides("num_attention_heads", size.heads, "hidden_size", size.hidden)
    prefix = "bert." if "bert.embeddings.word_embeddings.weight" in names else ""
    old = f"{prefix}embeddings.LayerNorm.gamma" in names

    def name_there(name: str) -> str | None:
        there = prefix + name
        if old and "LayerNorm" in name:
            there = there.replace(".weight", ".gamma").replace(".bias", ".beta")
        return None if name.startswith(POOLER) and there not in names else there

    return bert(size), name_there


RECIPE = Recipe(
    title="BERT-base, text encoding",
    presets={
        "full": bert(Size()),
        # the vocabulary and the positions stay, so that one workload drives both
        "tiny": bert(Size(hidden=64, layers=2, heads=2, intermediate=128)),
    },
    # measured at full size: 0.0074 and 0.14, both of the pooler's output; hidden states keep to 0.002 and 0.04
    precisions={"fp32": 0.0, "fp16": 0.015, "int8": 0.3},
    max_batch=32,
    # int8 takes one scale for all of a batch: joined, the requests of the workload moved by up to 0.153, and the answers to two
    # of them are 0.34 apart; fp16 moved by 0.0023 on a CPU, and lies 0.0074 from fp32, which others may come nearer to
    moves={"fp16": 0.015, "int8": 0.2},
    padded=True,
    model_type="bert",
    from_checkpoint=from_checkpoint,
)
