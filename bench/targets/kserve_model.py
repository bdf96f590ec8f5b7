"""What KServe v2 is whichever protocol carries it: what a server says of a model, and tensors as binary data."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bench.answers import decode_texts, encode_texts
from bench.tensors import NUMPY_TYPES, TensorSpec


@dataclass(frozen=True, slots=True)
class Config:
    """What Triton's configuration of a model has beyond the metadata that every KServe v2 server has."""

    max_batch: int  # 0: no dimension of the inputs is a batch
    optional: frozenset[str]  # inputs that may be left out
    decoupled: bool  # may answer one request with several replies
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Served:
    """A model as a server describes it."""

    server: str
    server_version: str
    extensions: frozenset[str]
    name: str
    versions: tuple[str, ...]
    platform: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


def served(server: Mapping[str, Any], metadata: Mapping[str, Any]) -> Served:
    """From the documents of a server's and a model's metadata; KeyError, TypeError or ValueError where they are none."""
    return Served(
        str(server.get("name", "unknown")),
        str(server.get("version", "unknown")),
        frozenset(server.get("extensions") or ()),
        str(metadata["name"]),
        tuple(str(v) for v in metadata.get("versions") or ()),
        str(metadata.get("platform", "")),
        specs(metadata.get("inputs", ())),
        specs(metadata.get("outputs", ())),
    )


def config(document: Mapping[str, Any]) -> Config:
    """From the document of a model's configuration."""
    inputs = document.get("input") or ()
    policy = document.get("model_transaction_policy") or {}
    parameters = document.get("parameters") or {}
    return Config(
        int(document.get("max_batch_size") or 0),
        frozenset(str(i["name"]) for i in inputs if i.get("optional")),
        bool(policy.get("decoupled")),
        {name: str(value.get("string_value", "")) for name, value in parameters.items()},
    )


def specs(tensors: Iterable[Mapping[str, Any]]) -> tuple[TensorSpec, ...]:
    """The tensors in a document."""
    return tuple(TensorSpec(t["name"], t["datatype"], tuple(int(n) for n in t["shape"])) for t in tensors)


def encode(array: np.ndarray) -> bytes:
    """A tensor as binary data."""
    return encode_texts(array) if array.dtype.kind == "O" else np.ascontiguousarray(array).tobytes()


def decode(datatype: str, shape: Iterable[int], data: bytes) -> np.ndarray:
    """The tensor in binary data, BF16 as float32; ValueError where it is another size."""
    if datatype == "BYTES":
        array = decode_texts(data)
    elif datatype == "BF16":
        array = (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
    else:
        array = np.frombuffer(data, NUMPY_TYPES[datatype])
    return array.reshape(tuple(shape))


def weighs(datatype: str, shape: Iterable[int], size: int) -> bool:
    """Whether `size` bytes can be a tensor of this type and shape."""
    count = math.prod(shape)
    if datatype == "BYTES":
        return size >= 4 * count
    return size == count * (2 if datatype == "BF16" else np.dtype(NUMPY_TYPES[datatype]).itemsize)


def listed(models: Iterable[Mapping[str, Any]]) -> str:
    """A repository's index in words."""
    told = []
    for m in models:
        reason = f": {m['reason']}" if m.get("reason") else ""
        told.append(f"{m['name']} ({m.get('version') or '-'}, {m.get('state') or '?'}{reason})")
    return ", ".join(told) or "no model"
