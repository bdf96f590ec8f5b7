"""ResNet-50 v1.5: image classification, 25,557,032 parameters, tensors named as torchvision names them."""

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import numpy as np

from bench.errors import UsageError
from bench.recipes import calibrate, config_json
from bench.recipes.graph import Architecture, Graph, Port, trace
from bench.recipes.recipe import Recipe
from bench.recipes.weights import WHOLE, Weight, seeded

# Under plain He initialisation all images get nearly the same answer, and a server that mixes its replies up would pass.
# Filters that sum to 0, a branch gain below 1 and a wide classifier make answers differ by a tenth of their size and more.
GAIN, BRANCH_GAIN, SHORTCUT_GAIN, CLASSIFIER_GAIN = 1.2, 0.5, 0.7, 4.0


def resnet(stem: int, stages: Sequence[tuple[int, int]], classes: int) -> Architecture:
    """A ResNet v1.5 of bottleneck blocks; each stage is (blocks, channels after it), and all but the first halve the image."""

    def body(graph: Graph, image: str) -> list[str]:
        x = graph.Relu(_conv_norm(graph, image, "conv1", "bn1", 3, stem, kernel=7, stride=2))
        x = graph.MaxPool(x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
        width = stem
        for stage, (blocks, channels) in enumerate(stages):
            for block in range(blocks):
                stride = 2 if stage and not block else 1
                x = _bottleneck(graph, x, f"layer{stage + 1}.{block}", width, channels, stride)
                width = channels
        features = graph.Flatten(graph.GlobalAveragePool(x))
        weight = graph.weight("fc.weight", (classes, width), std=CLASSIFIER_GAIN * width**-0.5)
        return [graph.Gemm(features, weight, graph.weight("fc.bias", (classes,), std=0.1), transB=1)]

    return Architecture(
        inputs=(Port("input", "FP32", ("batch", 3, "height", "width")),),
        outputs=(Port("logits", "FP32", ("batch", classes)),),
        body=body,
        served={"height": 224, "width": 224},
    )


def _bottleneck(graph: Graph, x: str, name: str, width: int, channels: int, stride: int) -> str:
    inner = channels // 4
    y = graph.Relu(_conv_norm(graph, x, f"{name}.conv1", f"{name}.bn1", width, inner))
    # v1.5 strides here, in the 3x3; the paper's v1 did in the 1x1 before it
    y = graph.Relu(_conv_norm(graph, y, f"{name}.conv2", f"{name}.bn2", inner, inner, kernel=3, stride=stride))
    y = _conv_norm(graph, y, f"{name}.conv3", f"{name}.bn3", inner, channels, gain=BRANCH_GAIN)
    if stride != 1 or width != channels:
        down = f"{name}.downsample"
        x = _conv_norm(graph, x, f"{down}.0", f"{down}.1", width, channels, stride=stride, gain=SHORTCUT_GAIN)
    return graph.Relu(graph.Add(x, y))


def _conv_norm(
    graph: Graph,
    x: str,
    conv: str,
    norm: str,
    width: int,
    channels: int,
    *,
    kernel: int = 1,
    stride: int = 1,
    gain: float = GAIN,
) -> str:
    shape = (channels, width, kernel, kernel)
    weight = graph.weight(f"{conv}.weight", shape, std=(2 / (width * kernel**2)) ** 0.5, centered=True)
    x = graph.Conv(x, weight, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[kernel // 2] * 4)
    return graph.BatchNormalization(
        x,
        graph.weight(f"{norm}.weight", (channels,), std=0.1 * gain, mean=gain),
        graph.weight(f"{norm}.bias", (channels,), std=0.02),
        graph.weight(f"{norm}.running_mean", (channels,), std=0.02, trained=False),
        graph.weight(f"{norm}.running_var", (channels,), std=0.1, mean=1.0, trained=False),
        epsilon=1e-5,
    )


def from_checkpoint(config: dict[str, Any], names: Collection[str]) -> tuple[Architecture, Callable[[str], str | None]]:
    """A checkpoint of Hugging Face's ResNet, or of torchvision's (which timm's have the names of): its size, its names."""
    torchvision = "conv1.weight" in names
    architecture = _torchvision(config, names) if torchvision else _hugging_face(config)
    mapping = _same_name if torchvision else hugging_face_name
    used = {mapping(name) for name in trace(architecture).stored}
    # a ResNet with more to it (a deep stem, squeeze and excitation) would answer, and wrongly
    extra = sorted(name for name in names if name not in used and not name.endswith(".num_batches_tracked"))
    if extra:
        raise UsageError(
            f"model resnet50: this ResNet has no place for {len(extra)} of the checkpoint's tensors: {extra[0]}, ..."
        )
    return architecture, mapping


def _hugging_face(config: dict[str, Any]) -> Architecture:
    config_json.only(config, "layer_type", "bottleneck")
    config_json.only(config, "hidden_act", "relu")
    config_json.only(config, "num_channels", 3)
    config_json.only(config, "downsample_in_bottleneck", False)
    config_json.only(config, "downsample_in_first_stage", False)
    depths, widths = config.get("depths", (3, 4, 6, 3)), config.get("hidden_sizes", (256, 512, 1024, 2048))
    # two classes are the default there, which is not written down
    stem = config_json.size(config, "embedding_size", 64)
    return resnet(stem, list(zip(depths, widths, strict=True)), len(config.get("id2label", "01")))


def _torchvision(config: dict[str, Any], names: Collection[str]) -> Architecture:
    """Sizes are not stated there: the blocks are counted, and every ResNet of bottleneck blocks has the same widths."""
    blocks = [len({name.split(".")[1] for name in names if name.startswith(f"layer{stage}.")}) for stage in (1, 2, 3, 4)]
    if "layer1.0.conv3.weight" not in names:
        raise UsageError("model resnet50: the checkpoint has basic blocks; served are bottleneck blocks only")
    classes = config.get("num_classes") or len(config.get("id2label", ())) or 1000
    return resnet(64, list(zip(blocks, (256, 512, 1024, 2048), strict=True)), classes)


def _same_name(name: str) -> str:
    return name


def hugging_face_name(name: str) -> str:
    """What a Hugging Face checkpoint calls the tensor that torchvision calls `name`: another view of the same layers."""
    module, tensor = name.rsplit(".", 1)
    if module == "fc":
        return f"classifier.1.{tensor}"
    kinds = {"conv": "convolution", "bn": "normalization", "0": "convolution", "1": "normalization"}
    if module in ("conv1", "bn1"):
        return f"resnet.embedder.embedder.{kinds[module[:-1]]}.{tensor}"
    match = re.fullmatch(r"layer(\d)\.(\d+)\.(?:(conv|bn)(\d)|downsample\.(\d))", module)
    assert match is not None, name
    block = f"resnet.encoder.stages.{int(match[1]) - 1}.layers.{match[2]}"
    if match[5]:
        return f"{block}.shortcut.{kinds[match[5]]}.{tensor}"
    return f"{block}.layer.{int(match[4]) - 1}.{kinds[match[3]]}.{tensor}"


def calibration_images() -> Iterator[dict[str, np.ndarray]]:
    """Seeded images in the workload's range, of even patches of 1, 8 and 32 pixels: no photographs, but of their scales."""
    for image in range(12):
        patch = (1, 8, 32)[image % 3]
        weight = Weight(f"calibration/{image}", (1, 3, 224 // patch, 224 // patch), std=2.0 * 3**-0.5)
        yield {"input": seeded(0)(weight, WHOLE).repeat(patch, axis=2).repeat(patch, axis=3)}


RECIPE = Recipe(
    title="ResNet-50 v1.5, image classification",
    presets={
        "full": resnet(64, [(3, 256), (4, 512), (6, 1024), (3, 2048)], 1000),
        "tiny": resnet(8, [(1, 32), (1, 64), (1, 128), (1, 256)], 10),
    },
    precisions={"fp32": 0.0, "fp16": 0.02, "int8": 0.15},
    max_batch=32,
    # a processor that has fp16 rounds otherwise than one that computes it in float32; so does a runtime that computes int8's
    # steps in float32: by up to 0.10 with ONNX Runtime's optimizations off, and the answers to two requests are 0.15 apart
    moves={"fp16": 0.02, "int8": 0.12},
    model_type="resnet",
    from_checkpoint=from_checkpoint,
    quantize={"int8": calibrate.static_int8(calibration_images)},
)
