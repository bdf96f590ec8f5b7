"""Safetensors files, as the safetensors library and we write them."""

import json
import os
import struct
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from safetensors.numpy import save_file

from bench.errors import RunError, UsageError
from bench.recipes.tensor_files import FileTensor, open_tensors, read_rows

same_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
shapes = arrays.array_shapes(min_dims=1, max_dims=3, max_side=7)
floats = arrays.arrays(np.float32, shapes, elements=st.floats(width=32))


@pytest.fixture
def files() -> Any:
    """Closes what a test opens."""
    with ExitStack() as stack:
        yield stack


def write(path: Path, tensors: dict[str, tuple[str, tuple[int, ...], bytes]], padding: int = 0) -> Path:
    """A file of tensors (type, shape, bytes), the header padded by some spaces."""
    entries, at = {}, 0
    for name, (dtype, shape, data) in tensors.items():
        entries[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    header = json.dumps(entries).encode() + b" " * padding
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"".join(data for _, _, data in tensors.values()))
    return path


def one(path: Path, files: ExitStack) -> FileTensor:
    """The only tensor of a file."""
    return open_tensors(path, files)["w"]


@same_folder
@given(st.data(), floats, st.sampled_from([np.float32, np.float16]))
def test_pieces_equal_the_whole(tmp_path: Path, data: st.DataObject, values: np.ndarray, kind: type) -> None:
    """Whatever is read of a file that the safetensors library wrote, all rows or some, is what was put in, as float32."""
    with np.errstate(over="ignore"):
        stored: np.ndarray = values.astype(kind)
    save_file({"other": np.ones(3, np.int64), "w": stored}, tmp_path / "t")
    start = data.draw(st.integers(0, len(values)))
    stop = data.draw(st.integers(start, len(values)))
    with ExitStack() as files:
        tensor = one(tmp_path / "t", files)
        whole, piece = read_rows(tensor, slice(None)), read_rows(tensor, slice(start, stop))
    assert whole.dtype == piece.dtype == np.float32
    np.testing.assert_array_equal(whole, stored.astype(np.float32))
    np.testing.assert_array_equal(piece, whole[start:stop])


@same_folder
@given(floats, st.integers(0, 8))
def test_bfloat16_is_the_upper_half_of_a_float32(tmp_path: Path, values: np.ndarray, padding: int) -> None:
    """Numbers that bfloat16 can hold come back as they are, wherever in the file they begin."""
    bits = values.view(np.uint32) & np.uint32(0xFFFF0000)
    path = write(tmp_path / "t", {"w": ("BF16", values.shape, (bits >> 16).astype("<u2").tobytes())}, padding)
    with ExitStack() as files:
        read = read_rows(one(path, files), slice(None))
    np.testing.assert_array_equal(read.view(np.uint32), bits)


@pytest.mark.parametrize("missing", [1, 12, 36])
def test_a_truncated_file_is_refused_with_both_sizes(tmp_path: Path, files: ExitStack, missing: int) -> None:
    """It is noticed when the file is opened, before anything is made of it."""
    save_file({"a": np.zeros(5, np.float32), "w": np.zeros(4, np.float32)}, tmp_path / "t")
    size = (tmp_path / "t").stat().st_size
    os.truncate(tmp_path / "t", size - missing)
    with pytest.raises(UsageError, match=f"/t: truncated: expected {size} bytes or more, it has {size - missing}"):
        open_tensors(tmp_path / "t", files)


def test_a_file_cut_within_its_header_is_truncated_too(tmp_path: Path, files: ExitStack) -> None:
    """The size of the header says how long the file is at least."""
    path = write(tmp_path / "t", {"w": ("F32", (1,), bytes(4))})
    header = path.stat().st_size - 4
    os.truncate(path, 20)
    with pytest.raises(UsageError, match=f"/t: truncated: expected {header} bytes or more, it has 20"):
        open_tensors(path, files)


def test_a_file_that_shrinks_after_it_was_opened_is_one_error(tmp_path: Path, files: ExitStack) -> None:
    """No signal ends the program, and no zeros pass for weights."""
    path = write(tmp_path / "t", {"w": ("F32", (4,), bytes(16))})
    tensor = one(path, files)
    os.truncate(path, path.stat().st_size - 8)
    with pytest.raises(RunError, match="/t: became shorter while it was read"):
        read_rows(tensor, slice(None))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no header of a safetensors file"),
        (b"PK\x03\x04 a zip file of PyTorch's", "no header of a safetensors file"),
        (struct.pack("<Q", 5) + b"{nope", "no header of a safetensors file"),
        (struct.pack("<Q", 2) + b"[]", "no header of a safetensors file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "Git LFS left its pointer .*git lfs pull"),
    ],
    ids=["empty", "zip", "no JSON", "no object", "LFS"],
)
def test_a_file_of_another_kind_is_refused(tmp_path: Path, files: ExitStack, content: bytes, message: str) -> None:
    """What is no safetensors file is said to be none."""
    (tmp_path / "t").write_bytes(content)
    with pytest.raises(UsageError, match=message):
        open_tensors(tmp_path / "t", files)


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [2], "data_offsets": [-8, 0]},
        {"dtype": "F32", "shape": [-1, -2], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [2]},
    ],
    ids=["size", "start", "shape", "no offsets"],
)
def test_a_header_that_contradicts_itself_is_damaged(tmp_path: Path, files: ExitStack, entry: dict[str, Any]) -> None:
    """Bytes and shape belong together, and lie within the file."""
    header = json.dumps({"w": entry}).encode()
    (tmp_path / "t").write_bytes(struct.pack("<Q", len(header)) + header + bytes(8))
    with pytest.raises(UsageError, match="damaged"):
        open_tensors(tmp_path / "t", files)


@same_folder
@given(st.binary(max_size=200))
@example(b'{"w": {"dtype": [], "shape": 3, "data_offsets": [0, []]}}')
@example(b'{"w": 3}')
@example(b"{}")
@example(b'{"w": {"dtype": "F32", "shape": [Infinity], "data_offsets": [0, 4]}}')
@example(b"[" * 100_000)
def test_no_content_ends_in_anything_but_the_one_error(tmp_path: Path, content: bytes) -> None:
    """Random bytes behind a size that fits them hold no tensor: a file without any, or refused, and never a traceback."""
    (tmp_path / "t").write_bytes(struct.pack("<Q", len(content)) + content)
    with ExitStack() as files, suppress(UsageError):
        assert open_tensors(tmp_path / "t", files) == {}
