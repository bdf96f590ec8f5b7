"""ResNet-50 v1.5: image classification, 25,557,032 parameters, tensors named as torchvision names them."""

from collections.abc import Sequence

from bench.recipes.graph import Architecture, Graph, Port
from bench.recipes.recipe import Recipe

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


RECIPE = Recipe(
    title="ResNet-50 v1.5, image classification",
    presets={
        "full": resnet(64, [(3, 256), (4, 512), (6, 1024), (3, 2048)], 1000),
        "tiny": resnet(8, [(1, 32), (1, 64), (1, 128), (1, 256)], 10),
    },
    precisions=("fp32",),
    max_batch=32,
)
