"""Qwen2.5-1.5B: the right size, the right tokens however they are asked for, and answers that depend on the input."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
import pytest
from safetensors.numpy import load_file, save_file

from bench import payloads, resources
from bench.errors import UsageError
from bench.recipes import onnx_file, quantize, recipe
from bench.recipes.build import build
from bench.recipes.graph import trace
from bench.recipes.weights import Weight, seeded

GOLDEN = Path(__file__).parents[1] / "golden" / "qwen2"
RECIPE = recipe.load("qwen-1.5b")
PAST = "past_key_values"
BITS = {"int4": 4, "int8": 8}


class Said(NamedTuple):
    """What a call of the graph gave: logits [rows, vocabulary], and the keys and values so far by the names of inputs."""

    logits: np.ndarray
    past: dict[str, np.ndarray]


def call(
    session: onnxruntime.InferenceSession,
    ids: np.ndarray,
    lengths: Sequence[int],
    past: dict[str, np.ndarray] | None = None,
    last: Sequence[int] | None = None,
) -> Said:
    """One call over rows of `ids` that have `lengths` tokens in all; `last`: whose logits, the last column's by default."""
    rows, columns = ids.shape
    feed = {
        "input_ids": ids,
        "seqlens_k": np.array(lengths, np.int32) - np.int32(1),
        "total_length": np.array(max(lengths), np.int32),
        "last": np.array(last or [columns - 1] * rows, np.int64),
    }
    for tensor in session.get_inputs():
        if tensor.name.startswith(PAST):
            kind = np.float16 if "16" in tensor.type else np.float32
            nothing = np.zeros((rows, tensor.shape[1], 0, tensor.shape[3]), kind)
            feed[tensor.name] = nothing if past is None else past[tensor.name]
    logits, *present = session.run(None, feed)
    names = [output.name.replace("present", PAST) for output in session.get_outputs()[1:]]
    return Said(logits, dict(zip(names, present, strict=True)))


def joined(rows: Sequence[Said], room: int) -> dict[str, np.ndarray]:
    """The keys and values of rows that were read one by one, as buffers of `room` tokens that the rows share."""
    return {
        name: np.concatenate([np.pad(r.past[name], ((0, 0), (0, 0), (0, room - r.past[name].shape[2]), (0, 0))) for r in rows])
        for name in rows[0].past
    }


def greedy(session: onnxruntime.InferenceSession, prompt: np.ndarray, count: int) -> list[int]:
    """The likeliest `count` tokens after a prompt, one after the other."""
    said = call(session, prompt[None], [len(prompt)])
    tokens = [int(said.logits.argmax())]
    while len(tokens) < count:
        said = call(session, np.array([tokens[-1:]]), [len(prompt) + len(tokens)], said.past)
        tokens.append(int(said.logits.argmax()))
    return tokens


def difference(got: np.ndarray, wanted: np.ndarray) -> float:
    """How far answers are apart, as a share of the largest value."""
    return float(np.abs(got - wanted).max() / np.abs(wanted).max())


def golden_session(precision: str = "fp32") -> onnxruntime.InferenceSession:
    """The golden checkpoint, built as users build it."""
    return onnxruntime.InferenceSession(build("qwen-1.5b", precision, weights=str(GOLDEN)).onnx)


def golden(name: str) -> np.ndarray:
    """input_ids [3, 20], logits [3, 20, 320] or greedy [3, 24]."""
    with np.load(GOLDEN / "ref.npz") as arrays:
        return np.asarray(arrays[name])


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], onnxruntime.InferenceSession]:
    """The tiny preset in a precision."""
    sessions: dict[str, onnxruntime.InferenceSession] = {}

    def session(precision: str) -> onnxruntime.InferenceSession:
        if precision not in sessions:
            folder = tmp_path_factory.mktemp(precision)
            architecture = RECIPE.presets["tiny"]
            onnx_file.write(folder, "tiny", architecture, trace(architecture, precision), seeded(RECIPE.seed))
            sessions[precision] = onnxruntime.InferenceSession(folder / "model.onnx")
        return sessions[precision]

    return session


Tiny = Callable[[str], onnxruntime.InferenceSession]


def prompts() -> list[np.ndarray]:
    """The prompts of the bundled workload."""
    made = payloads.make(resources.load_workload("qwen-1.5b"))
    return [request.ids for request in made if isinstance(request, payloads.Prompt)]


@pytest.mark.parametrize("precision", RECIPE.precisions)
def test_the_full_model_has_the_published_number_of_parameters(precision: str) -> None:
    """1,543,714,304, the embedding counted once, in whatever bits they are stored."""
    assert trace(RECIPE.presets["full"], precision).parameters() == 1_543_714_304


def test_int4_takes_about_four_bits_a_parameter() -> None:
    """A scale of 32 bits to 128 values, and tables of 17 MB for the positions."""
    graph = trace(RECIPE.presets["full"], "int4")
    assert graph.nbytes() < (4.25 / 8) * graph.parameters() + 18e6


@pytest.mark.parametrize("precision", RECIPE.precisions)
def test_tiny_has_the_operators_and_the_vocabulary_of_full(precision: str) -> None:
    """What works for the tiny preset is no surprise for the full one, and one workload drives both."""
    full, small = (RECIPE.presets[preset] for preset in ("full", "tiny"))
    operators = [{node.op_type for node in trace(each, precision).nodes} for each in (full, small)]
    assert operators[0] == operators[1]
    assert full.metadata["vocabulary"] == small.metadata["vocabulary"] == "151936"


def test_a_model_says_what_a_runtime_needs_to_know(tiny: Tiny) -> None:
    """Its context, vocabulary and ends of text, in the ONNX file; the context also in what was built."""
    assert tiny("int4").get_modelmeta().custom_metadata_map == {"context": "2048", "vocabulary": "151936", "eos": "[151643]"}
    model = build("qwen-1.5b", weights=str(GOLDEN))
    assert (model.precision, model.context) == ("int4", 256)
    described = onnxruntime.InferenceSession(model.onnx).get_modelmeta().custom_metadata_map
    assert described == {"context": "256", "vocabulary": "320", "eos": "[]"}


def test_prompts_of_every_length_get_the_reference_logits() -> None:
    """The golden checkpoint is within 1e-4 of what transformers computed, wherever a prompt ends."""
    session, ids, wanted = golden_session(), golden("input_ids"), golden("logits")
    for length in range(1, 21):
        assert difference(call(session, ids[:, :length], [length] * 3).logits, wanted[:, length - 1]) < 1e-4


def test_prompts_of_different_lengths_get_them_together() -> None:
    """Padded on the right, with `last` naming each one's end."""
    session, ids, wanted = golden_session(), golden("input_ids").copy(), golden("logits")
    lengths = [7, 20, 12]
    for row, length in enumerate(lengths):
        ids[row, length:] = 319 - row
    got = call(session, ids, lengths, last=[length - 1 for length in lengths]).logits
    assert difference(got, np.stack([wanted[row, length - 1] for row, length in enumerate(lengths)])) < 1e-4


@pytest.mark.parametrize("cuts", [(1, 2), (6, 15), (16, 17), (19,)])
def test_a_prompt_may_be_read_in_pieces(cuts: tuple[int, ...]) -> None:
    """Each piece goes on from the keys and values of those before."""
    session, ids, wanted = golden_session(), golden("input_ids"), golden("logits")
    said, start = None, 0
    for stop in (*cuts, 20):
        said = call(session, ids[:1, start:stop], [stop], said and said.past)
        assert difference(said.logits, wanted[:1, stop - 1]) < 1e-4
        start = stop


def test_rows_of_different_lengths_go_on_together() -> None:
    """One token for each of three rows that have 5, 11 and 18 tokens so far, in buffers longer than any."""
    session, ids, wanted = golden_session(), golden("input_ids"), golden("logits")
    lengths = [5, 11, 18]
    read = [call(session, ids[row : row + 1, :length], [length]) for row, length in enumerate(lengths)]
    following = np.stack([ids[row, length : length + 1] for row, length in enumerate(lengths)])
    got = call(session, following, [length + 1 for length in lengths], joined(read, room=40)).logits
    assert difference(got, np.stack([wanted[row, length] for row, length in enumerate(lengths)])) < 1e-4


@pytest.mark.parametrize("row", range(3))
def test_greedy_tokens_are_the_references(row: int) -> None:
    """All 24 of them."""
    assert greedy(golden_session(), golden("input_ids")[row], 24) == golden("greedy")[row].tolist()


def restored(folder: Path, bits: int) -> Path:
    """The golden checkpoint with its matrices as blocks of so many bits keep them."""
    folder.mkdir()
    state = load_file(GOLDEN / "model.safetensors")
    for name, array in state.items():
        if array.ndim == 2:
            stored, scales = quantize.to_blocks(array, bits, quantize.block_size(array.shape[1]))
            if bits == 4:
                stored = np.stack([stored & 15, stored >> 4], -1).reshape(*stored.shape[:2], -1)
            state[name] = ((stored.astype(np.float32) - 2 ** (bits - 1)) * scales[..., None]).reshape(array.shape)
    save_file(state, folder / "model.safetensors")
    (folder / "config.json").write_text((GOLDEN / "config.json").read_text())
    return folder


@pytest.mark.parametrize("precision", BITS)
def test_a_checkpoint_in_blocks_answers_as_its_rounded_matrices_do(precision: str, tmp_path: Path) -> None:
    """What is left is the rounding of activations, 7 % of the largest logit here.

    4 bits change the logits of this checkpoint, whose matrices are random and 64 wide, by up to 97 %: a fault would not show.
    """
    rounded = build("qwen-1.5b", "fp32", weights=str(restored(tmp_path / "rounded", BITS[precision])))
    ids = golden("input_ids")
    got = call(golden_session(precision), ids, [20] * 3).logits
    assert difference(got, call(onnxruntime.InferenceSession(rounded.onnx), ids, [20] * 3).logits) < 0.1


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_a_checkpoint_in_fewer_bits_keeps_the_recipes_promise(precision: str) -> None:
    """Converted from the same tensors, it is as near to the reference as the recipe says."""
    got = call(golden_session(precision), golden("input_ids"), [20] * 3).logits
    assert 1e-4 < difference(got, golden("logits")[:, 19]) < RECIPE.precisions[precision]


@pytest.mark.parametrize("precision", [p for p in RECIPE.precisions if p != "fp32"])
def test_tiny_precisions_keep_their_promise(precision: str, tiny: Tiny) -> None:
    """Over the prompts of the bundled workload."""
    off = []
    for ids in prompts():
        got, wanted = (call(tiny(each), ids[None], [len(ids)]).logits for each in (precision, "fp32"))
        off.append(difference(got, wanted))
    assert 1e-4 < max(off) < RECIPE.precisions[precision]


def test_fp16_keeps_its_cache_in_fp16_and_gives_logits_in_fp32(tiny: Tiny) -> None:
    """Half the memory for each token; whoever reads logits need not know."""
    said = call(tiny("fp16"), prompts()[0][None], [len(prompts()[0])])
    assert said.logits.dtype == np.float32
    assert {array.dtype for array in said.past.values()} == {np.dtype(np.float16)}


@pytest.mark.parametrize("precision", ["int4", "int8"])
def test_a_row_has_the_same_bits_alone_and_beside_others(precision: str, tiny: Tiny) -> None:
    """Roundings of activations would make 5 % of a logit from the last bit, and the same prompt get other tokens in a batch.

    Keys and values of the last layer are compared, because only the logits after them are not kept to the same order.
    """
    session, lengths = tiny(precision), [9, 14, 20]
    ids = [prompt[:length] for prompt, length in zip(prompts()[3:6], lengths, strict=True)]
    read = [call(session, row[None], [len(row)]) for row in ids]
    following = np.array([[1], [2], [3]])
    after = [length + 1 for length in lengths]
    together = call(session, following, after, joined(read, room=32))
    for row, length in enumerate(after):
        alone = call(session, following[row : row + 1], [length], joined(read[row : row + 1], room=32))
        for name in (f"{PAST}.1.key", f"{PAST}.1.value"):
            np.testing.assert_array_equal(alone.past[name][0, :, :length], together.past[name][row, :, :length])


def changed(folder: Path, state: dict[str, np.ndarray], config: dict[str, Any]) -> str:
    """A checkpoint of these tensors, with the golden config.json changed."""
    folder.mkdir()
    save_file(state, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(json.loads((GOLDEN / "config.json").read_text()) | config))
    return str(folder)


def test_a_checkpoint_without_prefix_gives_the_same_model(tmp_path: Path) -> None:
    """As it is saved without its last layer, which is the embedding: the same bytes."""
    state = {name.removeprefix("model."): array for name, array in load_file(GOLDEN / "model.safetensors").items()}
    usual = build("qwen-1.5b", weights=str(GOLDEN))
    assert build("qwen-1.5b", weights=changed(tmp_path / "bare", state, {})).digest == usual.digest


@pytest.mark.parametrize("precision", ["fp32", "int4"])
def test_a_last_layer_of_its_own_is_used(precision: str, tmp_path: Path) -> None:
    """Twice the embedding gives twice the logits, where it is not tied; where it is, one that lies there is not read."""
    state = load_file(GOLDEN / "model.safetensors")
    state["lm_head.weight"] = 2 * state["model.embed_tokens.weight"]
    ids, logits = golden("input_ids"), []
    for tied in (True, False):
        weights = changed(tmp_path / str(tied), state, {"tie_word_embeddings": tied})
        session = onnxruntime.InferenceSession(build("qwen-1.5b", precision, weights=weights).onnx)
        logits.append(call(session, ids, [20] * 3).logits)
    assert difference(logits[1], 2 * logits[0]) < 1e-6
    assert difference(logits[0], call(golden_session(precision), ids, [20] * 3).logits) == 0


def test_older_configs_say_the_base_of_positions_elsewhere(tmp_path: Path) -> None:
    """`rope_theta` at the top, and ends of text as a list: the same answers as with today's `rope_parameters`."""
    state = load_file(GOLDEN / "model.safetensors")
    config = {"rope_parameters": None, "rope_theta": 1e6, "eos_token_id": [7, 9]}
    session = onnxruntime.InferenceSession(build("qwen-1.5b", "fp32", weights=changed(tmp_path / "old", state, config)).onnx)
    assert difference(call(session, golden("input_ids"), [20] * 3).logits, golden("logits")[:, 19]) < 1e-4
    assert session.get_modelmeta().custom_metadata_map["eos"] == "[7, 9]"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "llama"}, "another architecture: expected model_type 'qwen2'"),
        ({"hidden_act": "gelu"}, "hidden_act: only 'silu' can be served, got 'gelu'"),
        ({"rope_scaling": {"type": "yarn"}}, "rope_scaling: only None can be served"),
        ({"rope_parameters": {"rope_type": "yarn"}}, "rope_type: only 'default' can be served, got 'yarn'"),
        ({"use_sliding_window": True}, "use_sliding_window: only False can be served"),
        ({"layer_types": ["full_attention", "sliding_attention"]}, "layer_types: only 'full_attention' can be served"),
        ({"quantization_config": {"bits": 4}}, "quantization_config: only None can be served"),
        ({"num_key_value_heads": 3}, "num_attention_heads: expected a multiple of num_key_value_heads, 3, got 4"),
        (
            {"head_dim": 24},
            r"its heads are 24 wide \(head_dim, or .*\): expected a multiple of 16, as ONNX",
        ),
        ({"intermediate_size": None}, "intermediate_size: expected a whole number above 0, got None"),
        ({"num_hidden_layers": 3}, "no tensor 'model.layers.2"),
        ({"tie_word_embeddings": False}, "no tensor 'lm_head.weight'"),
    ],
)
def test_a_checkpoint_that_would_be_served_wrongly_is_refused(config: dict[str, Any], message: str, tmp_path: Path) -> None:
    """By its config.json, or by tensors that are not as it says."""
    with pytest.raises(UsageError, match=message):
        build("qwen-1.5b", weights=changed(tmp_path / "other", load_file(GOLDEN / "model.safetensors"), config))


def test_seeded_streams_do_not_loop_and_depend_on_every_early_token(tiny: Tiny) -> None:
    """60 of 64 tokens are different; another first token of the prompt makes another stream."""
    prompt = prompts()[0]
    stream = greedy(tiny("int4"), prompt, 64)
    assert len(set(stream)) >= 60
    other = greedy(tiny("int4"), np.concatenate([[prompt[0] + 1], prompt[1:]]), 64)
    assert sum(a == b for a, b in zip(stream, other, strict=True)) < 8


def test_rotary_tables_turn_as_fast_as_the_reference() -> None:
    """The first pair of a head by 1 radian a token, the last of 8 by 1e6 ** (-7 / 8), of the tiny preset's 2048 positions."""
    tables = [array for array in trace(RECIPE.presets["tiny"]).constants.values() if array.shape == (2048, 8)]
    cosines, sines = tables
    positions = np.arange(2048)
    np.testing.assert_allclose(cosines[:, 0], np.cos(positions), atol=1e-6)
    np.testing.assert_allclose(sines[:, 7], np.sin(positions * 1e6 ** (-7 / 8)), atol=1e-6)


@pytest.mark.real
def test_full_streams_do_not_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """At full size and in its default precision, built as users build it: the seeded gains need many layers to show."""
    with monkeypatch.context() as patch:
        patch.setattr(resources, "workload_names", list)  # no reference answers: they take four times as long as all the rest
        model = build("qwen-1.5b")
    assert (model.precision, model.parameters, model.context) == ("int4", 1_543_714_304, 32_768)
    session = onnxruntime.InferenceSession(model.onnx)
    streams = [greedy(session, prompt, 12) for prompt in prompts()[:2]]
    assert all(len(set(stream)) >= 11 for stream in streams)
    assert sum(a == b for a, b in zip(*streams, strict=True)) < 3


def test_seeded_weights_are_asked_for_by_the_names_of_checkpoints() -> None:
    """So that a checkpoint is just another source: the golden one has every name, in the same shapes, and no other."""
    state = load_file(GOLDEN / "model.safetensors")
    architecture, mapping = recipe.adopt("qwen-1.5b", RECIPE, json.loads((GOLDEN / "config.json").read_text()), state.keys())
    asked: dict[str, Weight] = trace(architecture).weights
    assert {mapping(name): weight.shape for name, weight in asked.items()} == {k: v.shape for k, v in state.items()}
