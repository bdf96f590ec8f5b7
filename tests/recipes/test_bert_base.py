"""BERT-base: the right size, the right answers for every padding, and answers that depend on the input."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx.reference import ReferenceEvaluator
from safetensors.numpy import load_file, save_file

from bench import answers, payloads, resources
from bench.errors import UsageError
from bench.recipes import onnx_file, recipe
from bench.recipes.build import build
from bench.recipes.catalog import BuiltModel
from bench.recipes.graph import trace
from bench.recipes.reference import reference
from bench.recipes.weights import seeded
from bench.tensors import Tensors

GOLDEN = Path(__file__).parents[1] / "golden" / "bert"
RECIPE = recipe.load("bert-base")
OUTPUTS = ("last_hidden_state", "pooler_output")
Tiny = Callable[[str], onnxruntime.InferenceSession]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
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


def golden() -> tuple[Tensors, Tensors]:
    """The inputs of the golden answers, and the answers."""
    with np.load(GOLDEN / "ref.npz") as arrays:
        stored = dict(arrays)
    return {name: array for name, array in stored.items() if name not in OUTPUTS}, {name: stored[name] for name in OUTPUTS}


def requests() -> list[Tensors]:
    """The requests of the bundled workload."""
    made = payloads.make(resources.load_workload("bert-base"))
    return [request for request in made if isinstance(request, dict)]


def difference(got: list[np.ndarray], wanted: list[np.ndarray]) -> float:
    """How far answers are apart, as a share of the largest value."""
    return max(float(np.abs(g - w).max() / np.abs(w).max()) for g, w in zip(got, wanted, strict=True))


def smallest_difference(answered: list[list[np.ndarray]]) -> float:
    """How far the two most alike of the bundled workload's pooled answers are apart, as a share of the largest value."""
    pooled = np.concatenate([pooled for _, pooled in answered])
    apart = np.abs(pooled[:, None] - pooled[None]).max(-1) + np.diag(np.full(len(pooled), np.inf))
    return float(apart.min() / np.abs(pooled).max())


def answered(model: BuiltModel) -> list[list[np.ndarray]]:
    """The model's OUTPUTS for each request of the bundled workload, which were made when it was built."""
    workload = resources.load_workload("bert-base")
    kept, _ = answers.read(reference(model, workload, lambda text: None))
    assert len(kept) == workload.payload.distinct
    return [[outputs[name] for name in OUTPUTS] for _, outputs in sorted(kept.items())]


def changed(folder: Path, rename: Callable[[str], str | None], config: dict[str, Any]) -> Path:
    """The golden checkpoint with other names (None: left out) and another config.json."""
    state = load_file(GOLDEN / "model.safetensors")
    folder.mkdir(exist_ok=True)
    save_file({new: array for name, array in state.items() if (new := rename(name)) is not None}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(json.loads((GOLDEN / "config.json").read_text()) | config))
    return folder


def test_the_full_model_has_the_published_number_of_parameters() -> None:
    """109,482,240, pooler included, and nothing but parameters is stored beside them but a few numbers."""
    graph = trace(RECIPE.presets["full"])
    assert graph.parameters() == 109_482_240
    assert graph.nbytes() - 4 * graph.parameters() < 1000


@pytest.mark.parametrize("precision", RECIPE.precisions)
def test_tiny_has_the_operators_and_the_inputs_of_full(precision: str) -> None:
    """What works for the tiny preset is no surprise for the full one, and one workload drives both."""
    full, tiny = (RECIPE.presets[preset] for preset in ("full", "tiny"))
    operators = [{node.op_type for node in trace(each, precision).nodes} for each in (full, tiny)]
    assert operators[0] == operators[1]
    assert full.inputs == tiny.inputs
    shapes = [{name: weight.shape[0] for name, weight in trace(each).weights.items()} for each in (full, tiny)]
    for name in ("embeddings.word_embeddings.weight", "embeddings.position_embeddings.weight"):
        assert shapes[0][name] == shapes[1][name]


@pytest.mark.parametrize("precision", RECIPE.precisions)
def test_all_operators_are_onnxs_own(precision: str) -> None:
    """Then Triton's ONNX Runtime, which is years older, runs them too."""
    assert {node.domain for node in trace(RECIPE.presets["tiny"], precision).nodes} == {""}


@pytest.mark.parametrize("row", range(4), ids=["none", "right", "left", "middle"])
def test_a_checkpoint_gives_the_reference_answers_for_every_padding(row: int) -> None:
    """The golden checkpoint, built as users build it, is within 1e-4 of what transformers computed, alone and in a batch."""
    model = build("bert-base", weights=str(GOLDEN))
    assert model.weights.startswith("bert-")
    session = onnxruntime.InferenceSession(model.onnx)
    inputs, outputs = golden()
    batch = session.run(OUTPUTS, inputs)
    alone = session.run(OUTPUTS, {name: array[row : row + 1] for name, array in inputs.items()})
    wanted = [outputs[name][row : row + 1] for name in OUTPUTS]
    assert difference(alone, wanted) < 1e-4
    assert difference([array[row : row + 1] for array in batch], wanted) < 1e-4


@pytest.mark.parametrize("precision", [p for p in RECIPE.precisions if p != "fp32"])
def test_a_checkpoint_in_fewer_bits_keeps_the_recipes_promise(precision: str) -> None:
    """Converted from the same tensors, it is as near to the reference as the recipe says."""
    session = onnxruntime.InferenceSession(build("bert-base", precision, weights=str(GOLDEN)).onnx)
    inputs, outputs = golden()
    off = difference(session.run(OUTPUTS, inputs), [outputs[name] for name in OUTPUTS])
    assert 1e-4 < off < RECIPE.precisions[precision]


@pytest.mark.parametrize("precision", [p for p in RECIPE.precisions if p != "fp32"])
def test_tiny_precisions_keep_their_promise(precision: str, tiny: Tiny) -> None:
    """Over the bundled workload."""
    off = [difference(tiny(precision).run(OUTPUTS, r), tiny("fp32").run(OUTPUTS, r)) for r in requests()]
    assert 1e-4 < max(off) < RECIPE.precisions[precision]


def test_onnx_reference_evaluator_agrees_with_onnx_runtime(tiny: Tiny, tmp_path: Path) -> None:
    """ONNX's own Python evaluation of the tiny preset is within 1e-4, with and without 8-bit products."""
    request = requests()[0]
    for precision in ("fp32", "int8"):
        architecture = RECIPE.presets["tiny"]
        onnx_file.write(tmp_path, "tiny", architecture, trace(architecture, precision), seeded(RECIPE.seed))
        expected: Any = ReferenceEvaluator(onnx.load(tmp_path / "model.onnx")).run(None, request)
        assert difference(tiny(precision).run(OUTPUTS, request), expected) < 1e-4


@given(
    tokens=st.integers(1, 12), after=st.integers(0, 12), segment=st.integers(0, 1), precision=st.sampled_from(["fp32", "fp16"])
)
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_masked_changes_nothing(tokens: int, after: int, segment: int, precision: str, tiny: Tiny) -> None:
    """However many positions are added, and whatever stands in them: the tokens' own states stay."""
    random = np.random.default_rng(after)
    ids = random.integers(0, 30_522, (1, tokens))
    request = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    padded = {name: np.pad(array, ((0, 0), (0, after))) for name, array in request.items()}
    padded["input_ids"][:, tokens:] = random.integers(0, 30_522, (1, after))
    padded["token_type_ids"][:, tokens:] = segment
    states, pooled = tiny(precision).run(OUTPUTS, padded)
    limit = 1e-5 if precision == "fp32" else 5e-3
    assert difference([states[:, :tokens], pooled], tiny(precision).run(OUTPUTS, request)) < limit


@pytest.mark.parametrize(
    "rename",
    [
        lambda name: f"bert.{name}",
        lambda name: name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"),
        lambda name: "bert." + name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"),
    ],
    ids=["prefixed", "old", "both"],
)
def test_a_checkpoint_of_other_names_gives_the_same_model(rename: Callable[[str], str], tmp_path: Path) -> None:
    """With a head's prefix and with TensorFlow's names of the normalisation: the same bytes."""
    usual = build("bert-base", weights=str(GOLDEN))
    assert build("bert-base", weights=str(changed(tmp_path / "other", rename, {}))).digest == usual.digest


def test_a_checkpoint_without_a_pooler_is_given_a_seeded_one(tmp_path: Path) -> None:
    """As masked language models are saved: the states are the reference's, the pooler's output is something else."""
    folder = changed(tmp_path / "masked", lambda name: None if name.startswith("pooler") else f"bert.{name}", {})
    session = onnxruntime.InferenceSession(build("bert-base", weights=str(folder)).onnx)
    inputs, outputs = golden()
    states, pooled = session.run(OUTPUTS, inputs)
    assert difference([states], [outputs["last_hidden_state"]]) < 1e-4
    assert difference([pooled], [outputs["pooler_output"]]) > 0.1


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "roberta"}, "another architecture: expected model_type 'bert'"),
        ({"hidden_act": "relu"}, "hidden_act: only 'gelu' can be served, got 'relu'"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type: only 'absolute' or None can be served"),
        ({"is_decoder": True}, "is_decoder: only False can be served"),
        ({"num_attention_heads": 5}, "hidden_size: expected a multiple of num_attention_heads, 5, got 48"),
        ({"hidden_size": "48"}, "hidden_size: expected a whole number above 0, got '48'"),
        ({"num_hidden_layers": 3}, "no tensor 'encoder.layer.2"),
        ({"vocab_size": 301}, r"expected the shape \[301, 48\], got \[300, 48\]"),
    ],
)
def test_a_checkpoint_that_would_be_served_wrongly_is_refused(config: dict[str, Any], message: str, tmp_path: Path) -> None:
    """By its config.json, or by tensors that are not as it says."""
    with pytest.raises(UsageError, match=message):
        build("bert-base", weights=str(changed(tmp_path / "other", lambda name: name, config)))


def test_tiny_answers_depend_on_the_input(tiny: Tiny) -> None:
    """Any two answers of the bundled workload differ by over 20 %: a server that mixes them up cannot pass a check of 1 %."""
    assert smallest_difference([tiny("fp32").run(OUTPUTS, request) for request in requests()]) > 0.2


@pytest.mark.real
def test_full_answers_depend_on_the_input_and_precisions_keep_their_promise() -> None:
    """The same at full size, built as users build it; and a promise is at most four times what is measured."""
    model = build("bert-base")
    assert model.parameters == 109_482_240
    wanted = answered(model)
    assert smallest_difference(wanted) > 0.2
    for precision in ("fp16", "int8"):
        off = max(difference(got, w) for got, w in zip(answered(build("bert-base", precision)), wanted, strict=True))
        assert off < RECIPE.precisions[precision] < 4 * off
