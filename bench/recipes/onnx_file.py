"""How a traced graph becomes the two files of an ONNX model, its weights made piece by piece while they are written."""

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from onnx import TensorProto, ValueInfoProto, helper, numpy_helper

from bench.recipes.catalog import MODEL, WEIGHTS
from bench.recipes.graph import IR, MICROSOFT, OPSET, Architecture, Graph, Port, Stored
from bench.recipes.weights import WHOLE, Source
from bench.tensors import NUMPY_TYPES

PAGE = 4096  # ONNX Runtime maps tensors that start at a page, and reads the others
INLINE_BYTES = 1024  # larger constants lie among the weights
PIECE = 2**20  # values made at once: what they pass through on their way stays in a core's cache
THREADS = 2


class _Hashed:
    """A file that is hashed while it is written."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self.size = 0

    def write(self, data: np.ndarray | bytes) -> None:
        flat = data if isinstance(data, bytes) else data.reshape(-1).view(np.uint8).data
        self._file.write(flat)
        self._hash.update(flat)
        self.size += len(flat)

    def start_page(self) -> int:
        """Fill up to the next page and say where it starts."""
        self.write(bytes(-self.size % PAGE))
        return self.size

    def digest(self) -> bytes:
        return self._hash.digest()


def write(
    folder: Path,
    name: str,
    architecture: Architecture,
    graph: Graph,
    source: Source,
    progress: Callable[[float], None] = lambda share: None,
    threads: int = THREADS,
) -> str:
    """model.onnx and weights.bin in `folder`, and their digest: sha256 over the sha256 of the two in this order.

    The same graph and source give the same bytes whatever the number of threads. `progress` is told the share that is done.
    """
    with (folder / WEIGHTS).open("wb") as raw:
        file = _Hashed(raw)
        tensors = _write_weights(file, graph, source, progress, threads)
    with (folder / MODEL).open("wb") as raw:
        model = _Hashed(raw)
        model.write(_model(name, architecture, graph, tensors))
    return _joined(model.digest(), file.digest())


def digest(folder: Path) -> str:
    """The digest of a model that stands, as `write` gives it; reads both files."""
    hashed = []
    for name in (MODEL, WEIGHTS):
        with (folder / name).open("rb") as file:
            hashed.append(hashlib.file_digest(file, "sha256").digest())
    return _joined(*hashed)


def _joined(model: bytes, weights: bytes) -> str:
    return hashlib.sha256(model + weights).hexdigest()


def _write_weights(
    file: _Hashed, graph: Graph, source: Source, progress: Callable[[float], None], threads: int
) -> list[TensorProto]:
    """Write all weights and large constants; how the model finds them, with the small constants."""
    found: dict[str, TensorProto] = {}
    done, total = 0, graph.nbytes()
    with _pieces(graph.stored.values(), source, threads) as pieces:
        for stored in graph.stored.values():
            first, *others = stored.tensors
            kept: list[list[np.ndarray]] = [[] for _ in others]
            found[first.name] = _external(first.name, first.dtype, first.shape, file.start_page(), first.nbytes)
            for _ in _rows(stored):
                # the first tensor is written as it comes; the others, which are small, wait for its end
                array, *rest = next(pieces)
                file.write(array)
                for list_, part in zip(kept, rest, strict=True):
                    list_.append(part)
                done += array.nbytes + sum(part.nbytes for part in rest)
                progress(done / total)
            for tensor, parts in zip(others, kept, strict=True):
                found[tensor.name] = _external(tensor.name, tensor.dtype, tensor.shape, file.start_page(), tensor.nbytes)
                file.write(np.concatenate(parts))
    for name, array in graph.constants.items():
        if array.nbytes <= INLINE_BYTES:
            found[name] = numpy_helper.from_array(array, name)
        else:
            found[name] = _external(name, array.dtype, array.shape, file.start_page(), array.nbytes)
            file.write(np.ascontiguousarray(array))
    for name, (other, shape) in graph.aliases.items():
        found[name] = TensorProto()
        found[name].CopyFrom(found[other])
        found[name].name = name
        found[name].dims[:] = shape
    return list(found.values())


def _rows(stored: Stored) -> list[slice]:
    """The pieces in which a weight is made."""
    if stored.whole:
        return [WHOLE]
    rows = stored.weight.shape[0]
    step = max(1, PIECE * rows // max(stored.weight.count, 1))
    return [slice(start, min(start + step, rows)) for start in range(0, rows, step)]


@contextmanager
def _pieces(weights: Iterable[Stored], source: Source, threads: int) -> Iterator[Iterator[list[np.ndarray]]]:
    """All pieces of all weights in order, made by `threads` threads (numpy lets go of the interpreter) a little ahead."""
    jobs = ((stored, rows) for stored in weights for rows in _rows(stored))
    with ThreadPoolExecutor(threads) as pool:

        def made() -> Iterator[list[np.ndarray]]:
            ahead: deque[Future[list[np.ndarray]]] = deque()
            for stored, rows in jobs:
                ahead.append(pool.submit(_piece, stored, rows, source))
                if len(ahead) > 2 * threads:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()

        try:
            yield made()
        finally:
            pool.shutdown(cancel_futures=True)


def _piece(stored: Stored, rows: slice, source: Source) -> list[np.ndarray]:
    weight = stored.weight
    start, stop, _ = rows.indices(weight.shape[0])
    shape = (stop - start, *weight.shape[1:])
    array = source(weight, rows)
    if array.shape != shape or array.dtype != np.float32:
        raise ValueError(f"weight {weight.name}: expected float32{list(shape)}, got {array.dtype}{list(array.shape)}")
    return list(stored.convert(array))


def _model(name: str, architecture: Architecture, graph: Graph, tensors: list[TensorProto]) -> bytes:
    domains = {"": OPSET} | ({MICROSOFT: 1} if any(node.domain == MICROSOFT for node in graph.nodes) else {})
    used = {name for node in graph.nodes for name in node.input}
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            name,
            [_value_info(port, graph.precision) for port in architecture.inputs],
            [_value_info(port, graph.precision) for port in architecture.outputs],
            [tensor for tensor in tensors if tensor.name in used],
        ),
        producer_name="inference-bench",
        opset_imports=[helper.make_opsetid(domain, version) for domain, version in domains.items()],
        ir_version=IR,
    )
    helper.set_model_props(model, dict(architecture.metadata))
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def _value_info(port: Port, precision: str) -> ValueInfoProto:
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(NUMPY_TYPES[port.kind(precision)]))
    return helper.make_tensor_value_info(port.name, kind, port.dims)


def _external(name: str, dtype: np.dtype[np.generic], shape: tuple[int, ...], offset: int, nbytes: int) -> TensorProto:
    """A tensor that lies in the file of weights."""
    tensor = TensorProto(name=name, data_type=helper.np_dtype_to_tensor_dtype(dtype), dims=shape)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", WEIGHTS), ("offset", offset), ("length", nbytes)):
        tensor.external_data.add(key=key, value=str(value))
    return tensor
