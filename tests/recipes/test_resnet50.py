"""ResNet-50: the right size, the right answers, and answers that depend on the input."""

import importlib.util
import re
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx.reference import ReferenceEvaluator
from safetensors.numpy import load_file

from bench import resources
from bench.recipes import recipe
from bench.recipes.build import build
from bench.recipes.catalog import BuiltModel
from bench.recipes.graph import Architecture, serialize, trace
from bench.recipes.reference import reference
from bench.recipes.weights import Weight, seeded
from bench.tensors import TensorSpec

GOLDEN = Path(__file__).parents[1] / "golden" / "resnet"
RECIPE = recipe.load("resnet50")


def resnet(stem: int, stages: list[tuple[int, int]], classes: int) -> Architecture:
    """The recipe's own builder, for sizes that are no preset."""
    spec = importlib.util.spec_from_file_location("resnet50_recipe", resources.model_source("resnet50") / "recipe.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    architecture = module.resnet(stem, stages, classes)
    assert isinstance(architecture, Architecture)
    return architecture


def hugging_face_name(name: str) -> str:
    """The name in a Hugging Face checkpoint of the tensor that torchvision calls `name`: another view of the same layers."""
    module, tensor = name.rsplit(".", 1)
    if module == "fc":
        return f"classifier.1.{tensor}"
    if module in ("conv1", "bn1"):
        kind = "convolution" if module == "conv1" else "normalization"
        return f"resnet.embedder.embedder.{kind}.{tensor}"
    match = re.fullmatch(r"layer(\d)\.(\d+)\.(?:(conv|bn)(\d)|downsample\.(\d))", module)
    assert match is not None, name
    block = f"resnet.encoder.stages.{int(match[1]) - 1}.layers.{match[2]}"
    if match[5]:
        return f"{block}.shortcut.{('convolution', 'normalization')[int(match[5])]}.{tensor}"
    return f"{block}.layer.{int(match[4]) - 1}.{'convolution' if match[3] == 'conv' else 'normalization'}.{tensor}"


def smallest_difference(model: BuiltModel) -> float:
    """How far the two most alike of the bundled workload's answers are apart, as a share of the largest value."""
    workload = resources.load_workload("resnet50")
    with np.load(reference(model, workload, lambda text: None)) as answers:
        logits = answers["logits"].reshape(workload.payload.distinct, -1)
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
    """The golden checkpoint, run by our graph at its own image size, is within 1e-4 of what transformers computed."""
    state = load_file(GOLDEN / "model.safetensors")
    architecture = resnet(16, [(1, 32), (2, 64), (1, 96), (1, 128)], 10)
    graph = trace(architecture)
    used = {hugging_face_name(name) for name in graph.weights}
    assert used == {name for name in state if not name.endswith("num_batches_tracked")}

    def source(weight: Weight) -> np.ndarray:
        array: np.ndarray = state[hugging_face_name(weight.name)]
        return array

    session = onnxruntime.InferenceSession(serialize("golden", architecture, graph, source))
    with np.load(GOLDEN / "ref.npz") as golden:
        logits = session.run(["logits"], {"input": golden["input"]})[0]
        assert np.abs(logits - golden["logits"]).max() < 1e-4 * np.abs(golden["logits"]).max()


def test_onnx_reference_evaluator_agrees_with_onnx_runtime() -> None:
    """ONNX's own Python evaluation of the tiny preset, on two small images of unequal sides, is within 1e-4."""
    architecture = RECIPE.presets["tiny"]
    data = serialize("tiny", architecture, trace(architecture), seeded(RECIPE.seed))
    image = seeded(7)(Weight("image", (2, 3, 40, 56), std=1.0))
    expected = ReferenceEvaluator(onnx.load_from_string(data)).run(None, {"input": image})[0]  # type: ignore[index]
    actual = onnxruntime.InferenceSession(data).run(None, {"input": image})[0]
    assert np.abs(actual - expected).max() < 1e-4 * np.abs(expected).max()


def test_tiny_answers_depend_on_the_input() -> None:
    """Any two answers of the bundled workload differ by over 5 %: a server that mixes them up cannot pass a check of 0.1 %."""
    assert smallest_difference(build("resnet50", preset="tiny")) > 0.05


@pytest.mark.real
def test_full_answers_depend_on_the_input() -> None:
    """The same at full size, built as users build it."""
    model = build("resnet50")
    assert model.parameters == 25_557_032
    assert smallest_difference(model) > 0.05
