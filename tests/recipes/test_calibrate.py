"""Static int8."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper

from bench.recipes import calibrate, onnx_file, recipe
from bench.recipes.build import build
from bench.recipes.graph import Architecture, Graph, Port, trace
from bench.recipes.weights import WHOLE, Weight, seeded

finite = st.floats(-(2.0**99), 2.0**99, width=32, allow_subnormal=False)


def conv_norm(graph: Graph, image: str, bias: bool = False) -> list[str]:
    """A convolution, with or without a bias, and its normalisation."""
    parts = [graph.weight("conv", (4, 3, 3, 3), std=0.3)] + ([graph.weight("bias", (4,))] if bias else [])
    x = graph.Conv(image, *parts, kernel_shape=[3, 3])
    norm = [graph.weight(name, (4,), std=0.2, mean=mean) for name, mean in (("g", 1.0), ("b", 0.0), ("m", 0.5), ("v", 1.0))]
    return [graph.Relu(graph.BatchNormalization(x, *norm, epsilon=0.1))]


def write(folder: Path, bias: bool = False) -> onnx.ModelProto:
    """`conv_norm` as a model in a folder, and read back."""
    architecture = Architecture(
        inputs=(Port("input", "FP32", ("batch", 3, "height", "width")),),
        outputs=(Port("output", "FP32", ("batch", 4, "h", "w")),),
        body=lambda graph, image: conv_norm(graph, image, bias),
    )
    onnx_file.write(folder, "conv", architecture, trace(architecture), seeded(0))
    return onnx.load(folder / "model.onnx")


def test_a_folded_normalisation_computes_the_same(tmp_path: Path) -> None:
    """One convolution with a bias gives what a convolution and its normalisation gave, within float32's rounding."""
    model = write(tmp_path)
    calibrate._fold_batch_norms(model)
    assert [node.op_type for node in model.graph.node] == ["Conv", "Relu"]
    image = {"input": seeded(1)(Weight("image", (2, 3, 9, 9), std=1.0), WHOLE)}
    folded = onnxruntime.InferenceSession(model.SerializeToString()).run(None, image)[0]
    expected = onnxruntime.InferenceSession(tmp_path / "model.onnx").run(None, image)[0]
    np.testing.assert_allclose(folded, expected, atol=1e-6)
    assert folded.max() > 0.5


def test_a_normalisation_that_cannot_be_folded_is_refused(tmp_path: Path) -> None:
    """Rather than folded wrongly."""
    with pytest.raises(ValueError, match="expected a convolution without bias"):
        calibrate._fold_batch_norms(write(tmp_path, bias=True))


@given(finite)
def test_a_range_is_rounded_away_from_zero_and_by_little(value: float) -> None:
    """No value that was seen lies outside, and at most a 32nd of the range is given away."""
    rounded = calibrate._outward(np.float32(value))
    assert abs(value) <= abs(rounded) <= abs(value) * (1 + 1 / 32)
    assert np.signbit(rounded) == np.signbit(np.float32(value))


@given(finite.filter(bool))
def test_a_rounded_range_stays_where_it_is(value: float) -> None:
    """Rounding once more, or a value a little smaller, gives the same: what a CPU adds in another order does not show."""
    rounded = calibrate._outward(np.float32(value))
    assert calibrate._outward(rounded) == rounded
    assert calibrate._outward(rounded * np.float32(0.999)) == rounded


@pytest.fixture
def int8() -> onnx.ModelProto:
    """The tiny ResNet-50 in int8."""
    return onnx.load(build("resnet50", "int8", "tiny").onnx)


def test_every_convolution_is_quantized_with_a_scale_for_each_filter(int8: onnx.ModelProto) -> None:
    """Its weight is symmetric int8, its input comes out of 8 bits, and no float weight of it is left in the file."""
    made_by = {output: node for node in int8.graph.node for output in node.output}
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in int8.graph.initializer}
    convolutions = [node for node in int8.graph.node if node.op_type == "Conv"]
    assert len(convolutions) == 17
    for node in convolutions:
        data, weight = made_by[node.input[0]], made_by[node.input[1]]
        assert (data.op_type, weight.op_type) == ("DequantizeLinear",) * 2
        quantized, scale, zero = (values[name] for name in weight.input)
        assert quantized.dtype == np.int8
        assert scale.shape == quantized.shape[:1]
        assert not zero.any()
    assert sum(value.size for value in values.values() if value.dtype == np.float32 and value.ndim > 1) == 0


def test_no_sum_of_an_int8_model_saturates_in_16_bits(int8: onnx.ModelProto) -> None:
    """CPUs without VNNI add two products of an activation (0 to 255) and a weight in 16 bits; those of its weights fit."""
    values = [numpy_helper.to_array(tensor) for tensor in int8.graph.initializer]
    largest = {int(np.abs(value.astype(int)).max()) for value in values if value.dtype == np.int8 and value.ndim > 1}
    assert largest == {64}
    assert 2 * 255 * max(largest) <= np.iinfo(np.int16).max


def test_an_int8_model_keeps_to_the_opset_and_ir_that_triton_reads(int8: onnx.ModelProto) -> None:
    """Opset 17, IR 8 and standard operators load in the ONNX Runtime of Triton 24.07."""
    assert int8.ir_version == 8
    assert [(entry.domain, entry.version) for entry in int8.opset_import] == [("", 17)]
    assert {node.domain for node in int8.graph.node} == {""}


def test_an_int8_model_is_the_same_every_time(tmp_path: Path) -> None:
    """Quantized twice, the two files are the same bytes."""
    model = build("resnet50", preset="tiny")
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        recipe.load("resnet50").quantize["int8"](model.onnx.parent, tmp_path / name)
    for file in ("model.onnx", "weights.bin"):
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes()
