"""Requests that lie in files."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import payload_files
from bench.errors import UsageError
from bench.workload import DataType, Input

FLOATS = np.arange(24, dtype=np.float64).reshape(4, 2, 3) / 8
TEXTS = np.array([["ä", "bc"], ["", "d"]])


def an_input(file: Path, datatype: str = "FP32", shape: tuple[int | str, ...] = (2, 3), sha256: str = "") -> Input:
    return Input(DataType(datatype), shape, file=str(file), sha256=sha256)


def stored(folder: Path, suffix: str, array: np.ndarray) -> Path:
    """A file of `array` as input x, and of something else."""
    path = folder / f"requests{suffix}"
    match suffix:
        case ".npy":
            np.save(path, array)
        case ".npz":
            np.savez(path, x=array, other=np.zeros(1))
        case _:
            path.write_text(json.dumps({"x": array.tolist(), "other": [1]}))
    return path


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".json"])
def test_the_first_dimension_counts_the_requests(suffix: str, tmp_path: Path) -> None:
    """Each request is what is below it, in the stated type."""
    i = an_input(stored(tmp_path, suffix, FLOATS))
    assert payload_files.count("x", i) == 4
    read = payload_files.read("x", i, 3)
    assert [array.dtype for array in read] == [np.float32] * 3
    np.testing.assert_array_equal(read, FLOATS[:3])


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".json"])
def test_texts_are_read_as_utf_8(suffix: str, tmp_path: Path) -> None:
    """As bytes, which is what they are on the wire."""
    i = an_input(stored(tmp_path, suffix, TEXTS), "BYTES", (2,))
    assert [a.tolist() for a in payload_files.read("x", i, 2)] == [["ä".encode(), b"bc"], [b"", b"d"]]


def test_requests_in_json_may_differ_in_length(tmp_path: Path) -> None:
    """Where a dimension has a name; a list alone is the only input's."""
    path = tmp_path / "ids.json"
    path.write_text("[[[1, 2, 3]], [[4]]]")
    read = payload_files.read("ids", an_input(path, "INT64", (1, "n")), 2)
    assert [(a.dtype, a.tolist()) for a in read] == [(np.int64, [[1, 2, 3]]), (np.int64, [[4]])]


@pytest.mark.parametrize(
    ("array", "datatype", "shape", "message"),
    [
        (FLOATS, "FP32", (3, 2), "request 0 has the shape [2, 3]; the workload states [3, 2] (the file's first dimension"),
        (FLOATS, "FP32", (2, 3, 1), "request 0 has the shape [2, 3]; the workload states [2, 3, 1]"),
        (FLOATS, "FP32", ("n",), "request 0 has the shape [2, 3]; the workload states ['n']"),
        (FLOATS, "INT32", (2, 3), "request 0: has values that are no INT32"),
        (np.array([[1], [300]]), "UINT8", (1,), "request 1: has values that are no UINT8"),
        (np.array([[1], [-1]]), "UINT64", (1,), "request 1: has values that are no UINT64"),
        (np.array([[1], [2]]), "BOOL", (1,), "request 1: has values that are no BOOL"),
        (np.array([[1e5]]), "FP16", (1,), "request 0: has values that are no FP16"),
        (np.array([[np.nan]]), "INT8", (1,), "request 0: has values that are no INT8"),
        (TEXTS, "FP32", (2,), "request 0: expected FP32 numbers, got texts"),
        (FLOATS, "BYTES", (2, 3), "request 0: expected texts, which is what BYTES are, got numbers"),
        (np.array(3.0), "FP32", (), "holds a single value; its first dimension would count the requests"),
        (np.zeros((0, 2)), "FP32", (2,), "holds no request"),
    ],
)
def test_what_does_not_fit_is_told_with_both_sides(
    array: np.ndarray, datatype: str, shape: tuple[int | str, ...], message: str, tmp_path: Path
) -> None:
    """The input, the file, the request, what it is and what was stated."""
    path = stored(tmp_path, ".npy", array)
    with pytest.raises(UsageError) as refused:
        payload_files.read("x", an_input(path, datatype, shape), len(array) if array.ndim else 1)
    assert str(refused.value).startswith(f"payload.inputs.x: {path}: ")
    assert message in str(refused.value)


def test_infinite_values_are_values(tmp_path: Path) -> None:
    """What a model is fed to see what it does; only a number that becomes infinite is refused."""
    path = stored(tmp_path, ".npy", np.array([[np.inf, np.nan]]))
    np.testing.assert_array_equal(payload_files.read("x", an_input(path, "FP16", (2,)), 1), [[np.inf, np.nan]])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.npy", None, "cannot be read: No such file or directory"),
        ("x.npy", b"", "damaged, or no .npy file"),
        ("x.npy", b"nonsense", "damaged, or no .npy file"),
        ("x.npz", b"nonsense", "damaged, or no .npz file: File is not a zip file"),
        ("x.json", b"{", "damaged, or no .json file: Expecting property name"),
        ("x.json", b"[" * 100_000, "damaged, or no .json file: maximum recursion depth exceeded"),
        ("x.json", b"\xff", "damaged, or no .json file"),
        ("x.json", b"3", 'expected a list with one value for each request, or {"x": such a list}'),
        ("x.json", b'{"y": [1]}', 'expected a list with one value for each request, or {"x": such a list}; it has: y'),
        ("x.json", b"[[[1, 2], [3]]]", "request 0: its rows are not equally long"),
        ("x.json", b'[[1, "a"]]', "request 0: expected FP32 numbers, got texts"),
        ("x.json", b"[[1, null]]", "request 0: expected FP32 numbers, got a mixture"),
        ("x.txt", b"1", "expected a file ending in .npy, .npz or .json"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_with_the_reason(
    name: str, content: bytes | None, message: str, tmp_path: Path
) -> None:
    """The input, the file, and what is wrong with it."""
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError) as refused:
        payload_files.read("x", an_input(path, shape=("n",)), 1)
    assert str(refused.value).startswith(f"payload.inputs.x: {path}: ")
    assert message in str(refused.value)


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_a_file_that_was_cut_off_is_told_wherever_it_ends(suffix: str, tmp_path: Path) -> None:
    """Never read as fewer requests."""
    path = stored(tmp_path, suffix, FLOATS)
    whole = path.read_bytes()
    for end in range(0, len(whole), 13):
        path.write_bytes(whole[:end])
        with pytest.raises(UsageError, match=r"damaged, or no \.np"):
            payload_files.count("x", an_input(path))


def test_an_array_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    """An .npz has its arrays by the names of inputs."""
    path = stored(tmp_path, ".npz", FLOATS)
    with pytest.raises(UsageError, match="no array 'pixels' in it; there are: x, other"):
        payload_files.count("pixels", an_input(path))


def test_an_array_of_python_objects_is_not_unpickled(tmp_path: Path) -> None:
    """It could run code; the message says how texts are saved."""
    path = tmp_path / "x.npy"
    objects: Any = np.array([["a"], ["b"]], np.object_)
    np.save(path, objects, allow_pickle=True)
    with pytest.raises(UsageError, match="Python objects, which could run code; save texts as an array of str"):
        payload_files.count("x", an_input(path, "BYTES", (1,)))


def test_a_file_that_holds_too_few_requests_is_told(tmp_path: Path) -> None:
    """With both numbers."""
    with pytest.raises(UsageError, match=r"holds 4 requests, payload\.distinct asks for 5"):
        payload_files.read("x", an_input(stored(tmp_path, ".npy", FLOATS)), 5)


def test_a_file_that_has_changed_since_is_not_sent(tmp_path: Path) -> None:
    """The load process reads it again: what it sends is what the run's record names."""
    path = stored(tmp_path, ".npy", FLOATS)
    sha256 = payload_files.sha256("x", str(path))
    assert len(payload_files.read("x", an_input(path, sha256=sha256), 4)) == 4
    stored(tmp_path, ".npy", FLOATS + 1)
    with pytest.raises(UsageError, match="is not the file that the workload was made with"):
        payload_files.read("x", an_input(path, sha256=sha256), 4)
