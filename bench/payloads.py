"""The distinct requests of a workload: seeded tensors, the same bytes everywhere."""

import hashlib
import json
import zlib

import numpy as np

from bench import workload as workloads
from bench.tensors import NUMPY_TYPES, Tensors
from bench.workload import Input, Workload


def make(workload: Workload) -> list[Tensors]:
    """`payload.distinct` requests, each {input name: array of the stated shape and type}."""
    payload = workload.payload
    return [
        {name: _fill(i, workload.seed, f"{name}/{n}") for name, i in payload.inputs.items()} for n in range(payload.distinct)
    ]


def items(workload: Workload) -> int:
    """Items (images, sequences) in one request: the first dimension of its first input."""
    first = next(iter(workload.payload.inputs.values()), None)
    return first.shape[0] if first and first.shape else 1


def digest(workload: Workload) -> str:
    """Names what `make` makes: 16 hex digits over the inputs, their count and the seed."""
    document = workloads.to_builtins(workload)
    made_of = {"inputs": document["payload"]["inputs"], "distinct": workload.payload.distinct, "seed": workload.seed}
    return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:16]


def _fill(i: Input, seed: int, name: str) -> np.ndarray:
    # raw PCG64 bits and exact float steps: numpy does not promise its distributions across versions
    count = int(np.prod(i.shape, dtype=np.int64))
    bits = np.random.PCG64([seed, zlib.crc32(name.encode())]).random_raw(count)
    unit = (bits >> np.uint64(40)).astype(np.float64) * 2.0**-24
    kind = np.dtype(NUMPY_TYPES[i.datatype])
    if kind.kind == "b":
        return (unit >= 0.5).reshape(i.shape)
    values = unit * (i.high - i.low) + i.low
    if kind.kind in "iu":
        return np.floor(values).astype(kind).reshape(i.shape)
    rounded = values.astype(kind)
    # rounding to the type may reach `high`, which is outside
    return np.minimum(rounded, np.nextafter(kind.type(i.high), kind.type(i.low))).reshape(i.shape)
