"""Requests that lie in a file: .npy, .npz or .json, the first dimension counting the requests."""

import hashlib
import json
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from bench.errors import UsageError
from bench.tensors import NUMPY_TYPES
from bench.workload import Input


def sha256(name: str, path: str) -> str:
    """Of the file of input `name`; UsageError where it cannot be read."""
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UsageError(f"payload.inputs.{name}: {path}: cannot be read: {error.strerror or error}") from None


def count(name: str, i: Input) -> int:
    """How many requests the file of input `name` holds; UsageError where it cannot be read."""
    return len(_values(name, i))


def read(name: str, i: Input, requests: int) -> Sequence[np.ndarray]:
    """The first `requests` values of input `name`, each of the stated type and shape; UsageError where the file has others."""
    where = f"payload.inputs.{name}: {i.file}"
    if i.sha256 and sha256(name, i.file) != i.sha256:
        raise UsageError(f"{where}: is not the file that the workload was made with: its sha256 is another")
    values = _values(name, i)
    if len(values) < requests:
        raise UsageError(f"{where}: holds {len(values)} requests, payload.distinct asks for {requests}")
    return [_fitting(value, i, f"{where}: request {number}") for number, value in enumerate(values[:requests])]


def _fitting(value: Any, i: Input, where: str) -> np.ndarray:
    array = _array(value, np.dtype(NUMPY_TYPES[i.datatype]), i.datatype, where)
    stated = [n if isinstance(s, str) else s for s, n in zip(i.shape, array.shape, strict=False)]
    if len(i.shape) != array.ndim or stated != list(array.shape):
        raise UsageError(
            f"{where} has the shape {list(array.shape)}; the workload states {list(i.shape)} "
            "(the file's first dimension counts the requests)"
        )
    return array


def _values(name: str, i: Input) -> Any:
    """A sequence with one value for each request."""
    path, where = Path(i.file), f"payload.inputs.{name}: {i.file}"
    if path.suffix not in _READERS:
        raise UsageError(f"{where}: expected a file ending in .npy, .npz or .json")
    try:
        values: Any = _READERS[path.suffix](path, name, where)
    except OSError as error:
        raise UsageError(f"{where}: cannot be read: {error.strerror or error}") from None
    except (ValueError, EOFError, RecursionError, zipfile.BadZipFile, zlib.error) as error:
        raise UsageError(f"{where}: damaged, or no {path.suffix} file: {str(error).splitlines()[0]}") from None
    if isinstance(values, np.ndarray) and values.ndim == 0:
        raise UsageError(f"{where}: holds a single value; its first dimension would count the requests")
    if not len(values):
        raise UsageError(f"{where}: holds no request")
    return values


def _npy(path: Path, name: str, where: str) -> np.ndarray:
    with path.open("rb") as file:
        return _array_in(file)


def _npz(path: Path, name: str, where: str) -> np.ndarray:
    with zipfile.ZipFile(path) as archive:
        names = [entry.removesuffix(".npy") for entry in archive.namelist()]
        if name not in names:
            raise UsageError(f"{where}: no array {name!r} in it; there are: {', '.join(names) or 'none'}")
        with archive.open(f"{name}.npy") as file:
            return _array_in(file)


def _array_in(file: IO[bytes]) -> np.ndarray:
    try:
        array: np.ndarray = np.lib.format.read_array(file, allow_pickle=False)
    except ValueError as error:
        if "Object arrays" in str(error):
            raise ValueError("an array of Python objects, which could run code; save texts as an array of str") from None
        raise
    return array


def _json(path: Path, name: str, where: str) -> list[Any]:
    document = json.loads(path.read_text(encoding="utf-8"))
    values = document.get(name) if isinstance(document, dict) else document
    if not isinstance(values, list):
        there = f"; it has: {', '.join(document)}" if isinstance(document, dict) else ""
        raise UsageError(f'{where}: expected a list with one value for each request, or {{"{name}": such a list}}{there}')
    return values


_READERS = {".npy": _npy, ".npz": _npz, ".json": _json}


def _array(value: Any, kind: np.dtype, datatype: str, where: str) -> np.ndarray:
    try:
        given = np.asarray(value)
    except ValueError:
        raise UsageError(f"{where}: its rows are not equally long") from None
    if kind.kind == "O":
        return _texts(given, where)
    if given.dtype.kind not in "biuf":
        raise UsageError(f"{where}: expected {datatype} numbers, got {_what(given)}")
    with np.errstate(all="ignore"):
        array = given.astype(kind)
        exact = np.array_equal(array, given) if kind.kind in "iub" else np.array_equal(np.isfinite(array), np.isfinite(given))
    if not exact:
        raise UsageError(f"{where}: has values that are no {datatype}")
    return array


def _texts(given: np.ndarray, where: str) -> np.ndarray:
    values = given.ravel().tolist()
    if not all(isinstance(v, bytes | str) for v in values):
        raise UsageError(f"{where}: expected texts, which is what BYTES are, got {_what(given)}")
    made = np.empty(len(values), np.object_)
    made[:] = [v if isinstance(v, bytes) else v.encode() for v in values]
    return made.reshape(given.shape)


def _what(given: np.ndarray) -> str:
    return {"U": "texts", "S": "texts", "O": "a mixture"}.get(given.dtype.kind, "numbers")
