"""Safetensors files: where each tensor lies in one, and its rows as float32."""

import json
import math
import os
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from bench.errors import RunError, UsageError

READABLE = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}  # numpy has no bfloat16: it is the upper half of a float32
_LARGEST_HEADER = 100 * 2**20


@dataclass(frozen=True, slots=True)
class FileTensor:
    """A tensor in an open file."""

    file: BinaryIO
    path: Path
    dtype: str
    shape: tuple[int, ...]
    start: int  # bytes from the beginning of the file
    nbytes: int


def open_tensors(path: Path, files: ExitStack) -> dict[str, FileTensor]:
    """The tensors of a file, which `files` closes; UsageError where it is damaged or shorter than its header says.

    The format: 8 bytes with the size of a JSON header, the header, the tensors' bytes.
    """
    try:
        file = files.enter_context(path.open("rb"))
        actual = path.stat().st_size
        start = file.read(8)
        if start.startswith(b"version "):
            raise UsageError(f"{path}: Git LFS left its pointer here in place of the weights; run `git lfs pull` there")
        size = int.from_bytes(start, "little")
        if not 2 <= size <= _LARGEST_HEADER:
            raise _no_header(path)
        if actual < 8 + size:
            raise _truncated(path, 8 + size, actual)
        entries = json.loads(file.read(size))
        tensors = {name: _stored(file, path, 8 + size, e) for name, e in entries.items() if name != "__metadata__"}
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        raise _no_header(path) from None
    expected = max([8 + size, *(tensor.start + tensor.nbytes for tensor in tensors.values())])
    if actual < expected:
        raise _truncated(path, expected, actual)
    return tensors


def read_rows(tensor: FileTensor, rows: slice) -> np.ndarray:
    """Rows of the first dimension as float32, of a tensor whose type is one of READABLE."""
    first, last, _ = rows.indices(tensor.shape[0])
    kind, row = np.dtype(READABLE[tensor.dtype]), math.prod(tensor.shape[1:])
    values = np.empty((max(last - first, 0), *tensor.shape[1:]), kind)
    read_into(tensor, first * row * kind.itemsize, values)
    if tensor.dtype == "BF16":
        return (values.astype("<u4") << np.uint32(16)).view("<f4")
    return values.astype("<f4", copy=False)


def read_into(tensor: FileTensor, start: int, values: np.ndarray) -> None:
    """Fill `values` with the tensor's bytes from `start` on, from any thread. RunError."""
    # read, not mapped: a mapped file that another program cuts short ends this one by a signal
    into = values.reshape(-1).view(np.uint8).data
    done = 0
    try:
        while done < len(into):  # one call reads 2 GiB at the most
            got = os.preadv(tensor.file.fileno(), [into[done:]], tensor.start + start + done)
            if not got:
                raise RunError(f"{tensor.path}: became shorter while it was read")
            done += got
    except OSError as error:
        raise RunError(f"{tensor.path}: cannot be read: {error.strerror or error}") from None


def _stored(file: BinaryIO, path: Path, data: int, entry: dict[str, Any]) -> FileTensor:
    start, end = map(int, entry["data_offsets"])
    tensor = FileTensor(file, path, str(entry["dtype"]), tuple(map(int, entry["shape"])), data + start, end - start)
    kind = READABLE.get(tensor.dtype)
    fits = kind is None or tensor.nbytes == np.dtype(kind).itemsize * math.prod(tensor.shape)
    if start < 0 or tensor.nbytes < 0 or not fits or any(n < 0 for n in tensor.shape):
        raise ValueError
    return tensor


def _no_header(path: Path) -> UsageError:
    return UsageError(f"{path}: damaged: no header of a safetensors file in it")


def _truncated(path: Path, expected: int, actual: int) -> UsageError:
    return UsageError(f"{path}: truncated: expected {expected:,} bytes or more, it has {actual:,}; fetch or copy it again")
