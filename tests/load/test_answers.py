"""Comparing replies with the reference answers."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.load.answers import Reference
from bench.record import DIFFERENT, NOT_COMPARED, SAME
from bench.workload import Check

# the largest value of answer 0 is 4, of answer 1 it is 100
STORED = {"y": np.array([[[1.0, -4.0]], [[100.0, 0.0]]])}


def reference(tolerance: float = 0.01) -> Reference:
    return Reference(Check(tolerance=tolerance), STORED)


@pytest.mark.parametrize(
    ("payload", "values", "check"),
    [
        (0, [1.0, -4.0], SAME),
        (0, [1.03125, -4.0], SAME),  # 0.03125 <= 0.01 x 4
        (0, [1.0625, -4.0], DIFFERENT),  # 0.0625 > 0.04
        (1, [100.9375, -0.9375], SAME),  # 0.9375 <= 0.01 x 100
        (1, [1.0, -4.0], DIFFERENT),  # the answer to another request
        (0, [np.nan, -4.0], DIFFERENT),
        (0, [np.inf, -4.0], DIFFERENT),
    ],
)
def test_values_may_differ_by_the_tolerance_times_the_largest(payload: int, values: list[float], check: int) -> None:
    """|difference| <= tolerance x max |reference| of the same request; what is no number is different."""
    assert reference().compare(payload, {"y": np.array([values], np.float32)})[0] == check


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=5))
def test_an_answer_is_the_same_as_itself(values: list[float]) -> None:
    """Whatever it is, zeros too, and with no tolerance at all."""
    answer = np.array(values, np.float32)
    assert Reference(Check(tolerance=0.0), {"y": answer[None]}).compare(0, {"y": answer}) == (SAME, "")


def test_a_message_names_the_output_and_the_way_out() -> None:
    """Whoever serves other weights under this name learns how to say so."""
    check, message = reference().compare(0, {"y": np.array([[2.0, -4.0]])})
    assert check == DIFFERENT
    assert "output y of request 0" in message
    assert "by 1, allowed is 0.04" in message
    assert "check.reference = false" in message


def test_an_output_that_is_missing_or_of_another_size_is_different() -> None:
    """The message says which."""
    assert reference().compare(0, {"z": np.zeros(2)}) == (DIFFERENT, "no output 'y' to compare with the reference answer")
    assert reference().compare(0, {"y": np.zeros(3)}) == (DIFFERENT, "output y: 3 values, the reference answer has 2")


def test_outputs_beyond_the_references_do_not_matter() -> None:
    """Only what has a reference answer is compared."""
    assert reference().compare(0, {"y": STORED["y"][0], "z": np.zeros(1)}) == (SAME, "")


def test_the_answers_are_read_from_a_file(tmp_path: Path) -> None:
    """An .npz of output name -> answers, one a request."""
    path = tmp_path / "answers.npz"
    np.savez(path, y=STORED["y"])
    assert Reference.load(Check(), path).compare(1, {"y": STORED["y"][1]}) == (SAME, "")


@pytest.mark.parametrize("check", [Check(), Check(reference=False)])
def test_without_a_reference_nothing_is_compared(check: Check, tmp_path: Path) -> None:
    """Where there is no file, and where the workload says that there is none to compare with."""
    path = tmp_path / "answers.npz"
    np.savez(path, y=STORED["y"])
    loaded = Reference.load(check, None if check.reference else path)
    assert loaded.compare(0, {"y": np.zeros(2)}) == (NOT_COMPARED, "")
