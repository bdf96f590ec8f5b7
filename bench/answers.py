"""Answers to a workload's distinct requests, as they lie in a file: what a run kept, and the reference it is held to."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from bench.errors import UsageError
from bench.tensors import Tensors

# payload -> output name -> array; a generated answer has the one output `tokens` (int64 [n], the ids), or `text` (BYTES [1]),
# and a reference of it also `margin`: how far the greedy token led, as a share of the largest |logit| (float32 [n])
Answers = dict[int, Tensors]

TOLERANCE = "tolerance"  # in what is written about a reference: numbers may differ by this share of the largest

_TEXT = "BYTES"
_SCHEMA = pa.schema(
    [("payload", pa.uint32()), ("name", pa.string()), ("dtype", pa.string()), ("shape", pa.list_(pa.int64())),
     ("content", pa.binary())]
)  # fmt: skip


def write(path: Path, answers: Mapping[int, Tensors], about: Mapping[str, str] | None = None, limit: int | None = None) -> None:
    """Write answers until `limit` bytes are reached, and `about`, whatever names what they answer. OSError."""
    rows, size = [], 0
    for payload, name, array in _each(answers):
        content = _content(array)
        size += len(content)
        if limit is not None and size > limit:
            break
        dtype = _TEXT if array.dtype.kind == "O" else array.dtype.str
        rows.append({"payload": payload, "name": name, "dtype": dtype, "shape": list(array.shape), "content": content})
    table = pa.Table.from_pylist(rows, _SCHEMA).replace_schema_metadata(dict(about or {}))
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


def read(path: Path) -> tuple[Answers, dict[str, str]]:
    """The answers in a file, and what was written about them; UsageError where it is missing or damaged."""
    try:
        with pa.OSFile(str(path)) as file, pa.ipc.open_file(file) as reader:
            table = reader.read_all()
            about = {key.decode(): value.decode() for key, value in (reader.schema.metadata or {}).items()}
        answers: Answers = {}
        for row in table.to_pylist():
            answers.setdefault(row["payload"], {})[row["name"]] = _array(row)
        return answers, about
    except (pa.ArrowException, OSError, KeyError, ValueError, TypeError) as error:
        reason = str(error.args[-1] if error.args else error).splitlines()[0]
        raise UsageError(f"{path}: no answers can be read from it: {reason}") from None


def _each(answers: Mapping[int, Tensors]) -> Iterator[tuple[int, str, np.ndarray]]:
    for payload, tensors in sorted(answers.items()):
        for name, array in tensors.items():
            yield payload, name, array


def _content(array: np.ndarray) -> bytes:
    if array.dtype.kind != "O":
        return np.ascontiguousarray(array).tobytes()
    return encode_texts(array)


def _array(row: dict[str, Any]) -> np.ndarray:
    if row["dtype"] == _TEXT:
        return decode_texts(row["content"]).reshape(row["shape"])
    return np.frombuffer(row["content"], np.dtype(row["dtype"])).reshape(row["shape"])


def encode_texts(array: np.ndarray) -> bytes:
    """BYTES as KServe v2 has them in binary: the length of each in 4 bytes, little-endian, before it."""
    parts = []
    for value in array.ravel().tolist():
        text = value if isinstance(value, bytes) else str(value).encode()
        parts += [len(text).to_bytes(4, "little"), text]
    return b"".join(parts)


def decode_texts(data: bytes) -> np.ndarray:
    """The texts of `encode_texts`, as bytes in an object array [n]; ValueError where they are cut off."""
    texts, at = [], 0
    while at < len(data):
        end = at + 4 + int.from_bytes(data[at : at + 4], "little")
        if at + 4 > len(data) or end > len(data):
            raise ValueError("a text is cut off")
        texts.append(data[at + 4 : end])
        at = end
    made = np.empty(len(texts), np.object_)
    made[:] = texts
    return made
