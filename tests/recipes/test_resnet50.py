"""ResNet-50: the right size, the right answers, and answers that depend on the input."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx.reference import ReferenceEvaluator
from safetensors.numpy import load_file

from bench import answers, payloads, resources
from bench.errors import UsageError
from bench.recipes import onnx_file, recipe
from bench.recipes.build import build
from bench.recipes.catalog import BuiltModel
from bench.recipes.graph import trace
from bench.recipes.recipe import adopt
from bench.recipes.reference import reference
from bench.recipes.weights import WHOLE, Weight, seeded
from bench.tensors import TensorSpec

GOLDEN = Path(__file__).parents[1] / "golden" / "resnet"
RECIPE = recipe.load("resnet50")


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> dict[str, BuiltModel]:
    """Precision -> the full model in it, built as users build it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        return {precision: build("resnet50", precision) for precision in RECIPE.precisions}


def answered(model: BuiltModel) -> np.ndarray:
    """The model's answers to the requests of the bundled workload, which were made when it was built."""
    workload = resources.load_workload("resnet50")
    kept, _ = answers.read(reference(model, workload, lambda text: None))
    logits = np.concatenate([outputs["logits"] for _, outputs in sorted(kept.items())])
    assert len(logits) == workload.payload.distinct
    return logits


def smallest_difference(model: BuiltModel) -> float:
    """How far the two most alike of the bundled workload's answers are apart, as a share of the largest value."""
    logits = answered(model)
    apart = np.abs(logits[:, None] - logits[None]).max(-1) + np.diag(np.full(len(logits), np.inf))
    return float(apart.min() / np.abs(logits).max())


def test_the_full_model_has_the_published_number_of_parameters() -> None:
    """25,557,032, running statistics not counted, which are 2 for each of 26,560 normalised channels."""
    graph = trace(RECIPE.presets["full"])
    assert graph.parameters() == 25_557_032
    assert graph.nbytes() == 4 * (25_557_032 + 2 * 26_560)


@pytest.mark.parametrize("preset", ["full", "tiny"])
def test_every_preset_takes_the_same_image(preset: str) -> None:
    """A batch of 3x224x224 images, whatever the preset: one workload drives both."""
    architecture = RECIPE.presets[preset]
    assert [architecture.spec(port) for port in architecture.inputs] == [TensorSpec("input", "FP32", (-1, 3, 224, 224))]


def test_tiny_has_the_operators_of_full() -> None:
    """What works for the tiny preset is no surprise for the full one."""
    full, tiny = ({node.op_type for node in trace(RECIPE.presets[preset]).nodes} for preset in ("full", "tiny"))
    assert full == tiny


def test_a_hugging_face_checkpoint_gives_the_reference_logits() -> None:
    """The golden checkpoint, built as users build it, is within 1e-4 of what transformers computed, at its own image size."""
    model = build("resnet50", weights=str(GOLDEN))
    assert model.weights.startswith("resnet-")
    with np.load(GOLDEN / "ref.npz") as golden:
        logits = onnxruntime.InferenceSession(model.onnx).run(["logits"], {"input": golden["input"]})[0]
        assert np.abs(logits - golden["logits"]).max() < 1e-4 * np.abs(golden["logits"]).max()


def test_every_tensor_of_a_hugging_face_checkpoint_has_its_place() -> None:
    """All but the counters of batches, which inference does not need: none is left out, none read twice."""
    config = json.loads((GOLDEN / "config.json").read_text())
    names = load_file(GOLDEN / "model.safetensors").keys()
    architecture, mapping = adopt("resnet50", RECIPE, config, names)
    used = [mapping(name) for name in trace(architecture).weights]
    assert sorted(filter(None, used)) == sorted(name for name in names if not name.endswith("num_batches_tracked"))


def torchvision_names() -> list[str]:
    """The names of torchvision's ResNet-50, which timm's has too."""
    names = list(trace(RECIPE.presets["full"]).weights)
    return names + [name.replace("running_var", "num_batches_tracked") for name in names if name.endswith("running_var")]


def test_a_checkpoint_with_torchvisions_names_is_read_as_it_is() -> None:
    """Its config.json need not state the sizes: the blocks are counted, the widths are those of every such ResNet."""
    architecture, mapping = adopt("resnet50", RECIPE, {"architecture": "resnet50", "num_classes": 1000}, torchvision_names())
    graph = trace(architecture)
    assert graph.weights == trace(RECIPE.presets["full"]).weights
    assert all(mapping(name) == name for name in graph.weights)


def test_a_deeper_resnet_with_other_classes_is_served_too() -> None:
    """ResNet-101 has 23 blocks in its third stage: 44,549,160 parameters with 1000 classes, as published."""
    more = [name.replace("layer3.1.", f"layer3.{n}.") for name in torchvision_names() for n in range(6, 23) if ".1." in name]
    names = torchvision_names() + [name for name in more if name.startswith("layer3")]
    assert trace(adopt("resnet50", RECIPE, {}, names)[0]).parameters() == 44_549_160
    assert trace(adopt("resnet50", RECIPE, {"num_classes": 10}, names)[0]).parameters() == 44_549_160 - 990 * 2049


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "vit"}, "model resnet50: the checkpoint is of another architecture: expected model_type 'resnet'"),
        ({"layer_type": "basic"}, "layer_type: only 'bottleneck' can be served, got 'basic'"),
        ({"downsample_in_bottleneck": True}, "downsample_in_bottleneck: only False can be served, got True"),
        ({"downsample_in_first_stage": True}, "downsample_in_first_stage: only False can be served, got True"),
        ({"hidden_act": "gelu"}, "hidden_act: only 'relu' can be served"),
        ({"num_channels": 1}, "num_channels: only 3 can be served, got 1"),
        ({"depths": [1, 2]}, "config.json does not describe such a model"),
        ({"hidden_sizes": "wide"}, "config.json does not describe such a model"),
    ],
)
def test_a_resnet_of_another_kind_is_refused_by_its_config(config: dict[str, Any], message: str) -> None:
    """What would be answered wrongly is never built."""
    stated = json.loads((GOLDEN / "config.json").read_text()) | config
    with pytest.raises(UsageError, match=message):
        adopt("resnet50", RECIPE, stated, load_file(GOLDEN / "model.safetensors").keys())


def test_basic_blocks_are_refused_by_their_names_too() -> None:
    """torchvision's ResNet-18 states nothing in a config.json."""
    names = [name for name in torchvision_names() if "conv3" not in name and "bn3" not in name]
    with pytest.raises(UsageError, match="basic blocks"):
        adopt("resnet50", RECIPE, {}, names)


@pytest.mark.parametrize("layout", ["torchvision", "hugging face"])
def test_a_resnet_with_more_to_it_is_refused(layout: str) -> None:
    """Squeeze and excitation, for example: it would answer, and wrongly."""
    if layout == "torchvision":
        config, names = {}, torchvision_names()
    else:
        config = json.loads((GOLDEN / "config.json").read_text())
        names = list(load_file(GOLDEN / "model.safetensors"))
    with pytest.raises(UsageError, match=r"no place for 1 of the checkpoint's tensors: layer1.0.se.fc1.weight"):
        adopt("resnet50", RECIPE, config, [*names, "layer1.0.se.fc1.weight"])


def differences(models: dict[str, BuiltModel]) -> dict[str, float]:
    """How far each precision's answers are from fp32's over the bundled workload, as a share of the largest value."""
    wanted = answered(models["fp32"])
    return {name: float(np.abs(answered(model) - wanted).max() / np.abs(wanted).max()) for name, model in models.items()}


def test_tiny_precisions_keep_their_promise() -> None:
    """fp16 and int8 are as near to fp32 as the recipe says they are."""
    models = {precision: build("resnet50", precision, "tiny") for precision in RECIPE.precisions}
    for precision, difference in differences(models).items():
        assert difference <= RECIPE.precisions[precision]


@pytest.mark.real
def test_full_precisions_keep_their_promise_and_it_is_not_idle(full: dict[str, BuiltModel]) -> None:
    """At full size too, and a promise is at most four times what is measured."""
    for precision, difference in differences(full).items():
        assert difference <= RECIPE.precisions[precision] <= 4 * difference


@pytest.mark.real
def test_int8_in_float_steps_is_no_wrong_answer_and_another_request_s_is(full: dict[str, BuiltModel]) -> None:
    """A runtime that fuses nothing moves answers by less than the recipe allows for, which is less than they are apart."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(full["int8"].onnx, options)
    images = [request["input"] for request in payloads.make(resources.load_workload("resnet50"))[:3]]  # type: ignore[index]
    moved = [session.run(["logits"], {"input": image})[0] - answered(full["int8"])[n] for n, image in enumerate(images)]
    largest = float(np.abs(moved).max() / np.abs(answered(full["int8"])[:3]).max())
    assert 0.03 < largest < RECIPE.moves["int8"] < smallest_difference(full["int8"])


def test_onnx_reference_evaluator_agrees_with_onnx_runtime(tmp_path: Path) -> None:
    """ONNX's own Python evaluation of the tiny preset, on two small images of unequal sides, is within 1e-4."""
    architecture = RECIPE.presets["tiny"]
    onnx_file.write(tmp_path, "tiny", architecture, trace(architecture), seeded(RECIPE.seed))
    image = seeded(7)(Weight("image", (2, 3, 40, 56), std=1.0), WHOLE)
    expected = ReferenceEvaluator(onnx.load(tmp_path / "model.onnx")).run(None, {"input": image})[0]  # type: ignore[index]
    actual = onnxruntime.InferenceSession(tmp_path / "model.onnx").run(None, {"input": image})[0]
    assert np.abs(actual - expected).max() < 1e-4 * np.abs(expected).max()


def test_tiny_answers_depend_on_the_input() -> None:
    """Any two answers of the bundled workload differ by over 5 %: a server that mixes them up cannot pass a check of 0.1 %."""
    assert smallest_difference(build("resnet50", preset="tiny")) > 0.05


@pytest.mark.real
def test_full_answers_depend_on_the_input(full: dict[str, BuiltModel]) -> None:
    """The same at full size, built as users build it."""
    assert full["fp32"].parameters == 25_557_032
    assert smallest_difference(full["fp32"]) > 0.05
