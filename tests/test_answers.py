"""Answers in a file."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bench import answers
from bench.errors import UsageError

TEXTS = st.lists(st.binary(max_size=9), max_size=6)
ARRAYS = st.one_of(
    hnp.arrays(
        st.sampled_from([np.float32, np.float16, np.int64, np.uint8, np.bool_]), hnp.array_shapes(min_dims=0, min_side=0)
    ),
    TEXTS.map(lambda texts: _objects(texts)),
)


def _objects(texts: list[bytes]) -> np.ndarray:
    made = np.empty(len(texts), np.object_)
    made[:] = texts
    return made


@given(st.dictionaries(st.integers(0, 99), st.dictionaries(st.text(max_size=5), ARRAYS, min_size=1, max_size=3), max_size=4))
def test_answers_read_back_as_they_were_written(tmp_path_factory: pytest.TempPathFactory, kept: answers.Answers) -> None:
    """Any type, any shape, texts too, each request its own; and what was said about them."""
    path = tmp_path_factory.mktemp("answers") / "a.arrow"
    answers.write(path, kept, {"payload": "1f", "target": "Triton ä"})
    found, about = answers.read(path)
    assert about == {"payload": "1f", "target": "Triton ä"}
    assert found.keys() == kept.keys()
    for payload, tensors in kept.items():
        assert found[payload].keys() == tensors.keys()
        for name, array in tensors.items():
            assert found[payload][name].dtype == array.dtype
            np.testing.assert_array_equal(found[payload][name], array)


def test_no_more_is_kept_than_the_limit(tmp_path: Path) -> None:
    """A run of large answers leaves a small file: whole outputs, the first requests first."""
    kept = {n: {"y": np.zeros(100, np.float32)} for n in (2, 0, 1)}
    answers.write(tmp_path / "a.arrow", kept, limit=1000)
    assert list(answers.read(tmp_path / "a.arrow")[0]) == [0, 1]


@given(TEXTS)
def test_texts_are_the_same_after_the_wire(texts: list[bytes]) -> None:
    """Also empty ones, and bytes that are no text."""
    assert answers.decode_texts(answers.encode_texts(_objects(texts))).tolist() == texts


def test_texts_go_as_kserve_wants_them() -> None:
    """4 bytes of length, little-endian, then the text; str is UTF-8."""
    assert answers.encode_texts(np.array([["a"], ["ää"]], np.object_)) == b"\1\0\0\0a\4\0\0\0\xc3\xa4\xc3\xa4"


@given(TEXTS.filter(len), st.data())
def test_texts_that_are_cut_off_are_none(texts: list[bytes], data: st.DataObject) -> None:
    """Cut within a text or its length, never taken for fewer texts."""
    whole = answers.encode_texts(_objects(texts))
    ends = np.cumsum([4 + len(text) for text in texts]).tolist()
    at = data.draw(st.integers(1, len(whole) - 1).filter(lambda n: n not in ends))
    with pytest.raises(ValueError, match="cut off"):
        answers.decode_texts(whole[:at])


@pytest.mark.parametrize("content", [None, b"", b"nonsense"])
def test_a_file_that_holds_no_answers_is_told_by_its_name(content: bytes | None, tmp_path: Path) -> None:
    """Missing, empty, or something else."""
    path = tmp_path / "mine.reference.arrow"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=r"mine\.reference\.arrow: no answers can be read from it: ."):
        answers.read(path)


def test_a_damaged_file_is_told_wherever_it_is_cut(tmp_path: Path) -> None:
    """One clear error, never a crash."""
    path = tmp_path / "a.arrow"
    answers.write(path, {0: {"y": np.arange(40.0), "t": _objects([b"abc"] * 9)}})
    whole = path.read_bytes()
    for end in range(0, len(whole), 97):
        path.write_bytes(whole[:end])
        with pytest.raises(UsageError, match="no answers can be read from it"):
            answers.read(path)
