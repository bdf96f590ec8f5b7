"""Static int8: a whole fp32 model with its convolutions and activations quantized, by ranges taken from seeded inputs."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper, shape_inference
from onnxruntime.quantization import CalibrationMethod, QuantType
from onnxruntime.quantization.calibrate import TensorData, TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

from bench.recipes.catalog import MODEL, WEIGHTS
from bench.recipes.onnx_file import INLINE_BYTES

Ranges = dict[str, tuple[np.float32, np.float32]]  # value -> its least and its greatest


def static_int8(images: Callable[[], Iterator[dict[str, np.ndarray]]]) -> Callable[[Path, Path], None]:
    """What makes, of the fp32 model in one folder, its int8 model in another; the same files every time.

    Plain QuantizeLinear and DequantizeLinear of opset 17, which runtimes fuse with what stands between them. Weights are
    symmetric, -64 to 64, with a scale for each filter; activations are uint8 with one range each, as seen over `images`.
    """

    def quantize(fp32: Path, out: Path) -> None:
        model = onnx.load(fp32 / MODEL)
        _fold_batch_norms(model)
        model = shape_inference.infer_shapes(model)
        quantizer = QDQQuantizer(
            model,
            per_channel=True,
            # CPUs without VNNI add two products of an activation and a weight up in 16 bits, where those of 8-bit weights
            # saturate: the same model would answer otherwise there. 2 x 255 x 64 fits, and unsigned weights are slower.
            reduce_range=True,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QUInt8,
            tensors_range=_as_tensors_data(_ranges(model, images())),
            nodes_to_quantize=[],
            nodes_to_exclude=[],
            op_types_to_quantize=sorted({node.op_type for node in model.graph.node}),
            extra_options={},
        )
        quantizer.quantize_model()
        made: ModelProto = quantizer.model.model
        del made.graph.value_info[:]
        onnx.save(made, out / MODEL, save_as_external_data=True, location=WEIGHTS, size_threshold=INLINE_BYTES)

    return quantize


def _fold_batch_norms(model: ModelProto) -> None:
    """Put each batch normalisation into the convolution before it: w g / sqrt(v + e), and b - m g / sqrt(v + e) as its bias."""
    graph = model.graph
    values = {tensor.name: tensor for tensor in graph.initializer}
    made_by = {output: node for node in graph.node for output in node.output}
    for norm in [node for node in graph.node if node.op_type == "BatchNormalization"]:
        conv = made_by.get(norm.input[0])
        if conv is None or conv.op_type != "Conv" or len(conv.input) != 2:
            raise ValueError(f"{norm.name}: expected a convolution without bias before it")
        gain, bias, mean, variance = (numpy_helper.to_array(values[name]).astype(np.float64) for name in norm.input[1:])
        gain = gain / np.sqrt(variance + _epsilon(norm))
        weight = values[conv.input[1]]
        folded = numpy_helper.to_array(weight) * gain[:, None, None, None]
        weight.CopyFrom(numpy_helper.from_array(folded.astype(np.float32), weight.name))
        shift = values[norm.input[2]]
        shift.CopyFrom(numpy_helper.from_array((bias - mean * gain).astype(np.float32), shift.name))
        conv.input.append(shift.name)
        conv.output[0] = norm.output[0]
        graph.node.remove(norm)
    used = {name for node in graph.node for name in node.input}
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in used]:
        graph.initializer.remove(tensor)


def _epsilon(norm: NodeProto) -> float:
    return next((attribute.f for attribute in norm.attribute if attribute.name == "epsilon"), 1e-5)


def _ranges(model: ModelProto, inputs: Iterator[dict[str, np.ndarray]]) -> Ranges:
    """The range of every value in the model over `inputs`."""
    watched = ModelProto()
    watched.CopyFrom(model)
    outputs = {output.name for output in watched.graph.output}
    names = [name for node in watched.graph.node for name in node.output]
    watched.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names if name not in outputs
    )
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL  # else values are fused away
    session = onnxruntime.InferenceSession(watched.SerializeToString(), options, providers=["CPUExecutionProvider"])
    seen: Ranges = {}
    for given in inputs:
        for name, value in [*given.items(), *zip(names, session.run(names, given), strict=True)]:
            low, high = seen.get(name, (np.float32(0), np.float32(0)))
            seen[name] = (np.minimum(low, value.min()), np.maximum(high, value.max()))
    return {name: (_outward(low), _outward(high)) for name, (low, high) in seen.items()}


def _outward(value: np.float32) -> np.float32:
    """The next of 32 steps to each power of two, away from 0: a CPU that adds in another order still finds the same range."""
    mantissa, exponent = np.frexp(np.abs(value))
    return np.float32(np.copysign(np.ldexp(np.ceil(mantissa * 64) / 64, exponent), value))


def _as_tensors_data(ranges: Ranges) -> TensorsData:
    data = {name: TensorData(lowest=low, highest=high) for name, (low, high) in ranges.items()}
    return TensorsData(CalibrationMethod.MinMax, data)
