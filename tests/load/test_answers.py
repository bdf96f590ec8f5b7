"""Comparing replies with the reference answers."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import answers
from bench.errors import UsageError
from bench.load.answers import Reference
from bench.record import DIFFERENT, NOT_COMPARED, SAME
from bench.workload import Check

# the largest value of answer 0 is 4, of answer 1 it is 100
STORED = {0: {"y": np.array([[1.0, -4.0]])}, 1: {"y": np.array([[100.0, 0.0]])}}
# the second token was nearly another, the others led clearly
TOKENS = {"tokens": np.array([5, 6, 7]), "margin": np.array([0.5, 0.001, 0.5], np.float32)}


def reference(tolerance: float = 0.01) -> Reference:
    return Reference(Check(tolerance=tolerance), STORED)


def texts(*values: bytes) -> np.ndarray:
    made = np.empty(len(values), np.object_)
    made[:] = values
    return made


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


@given(st.lists(st.floats(width=32), max_size=5) | st.lists(st.binary(max_size=4), max_size=5))
def test_an_answer_is_the_same_as_itself(values: list[float] | list[bytes]) -> None:
    """Whatever it is, zeros, texts, infinities and what is no number too, and with no tolerance at all."""
    numbers = not values or isinstance(values[0], float)
    answer = np.array(values, np.float32) if numbers else texts(*(v for v in values if isinstance(v, bytes)))
    assert Reference(Check(tolerance=0.0), {0: {"y": answer}}).compare(0, {"y": answer.copy()}) == (SAME, "")


def test_infinities_are_compared_by_place_and_sign() -> None:
    """A model that masks with -inf answers so; what is finite beside them is held to the tolerance."""
    held = Reference(Check(tolerance=0.01), {0: {"y": np.array([-np.inf, 2.0])}})
    assert held.compare(0, {"y": np.array([-np.inf, 2.01])})[0] == SAME
    for other in ([np.inf, 2.0], [0.0, 2.0], [-np.inf, np.nan], [-np.inf, 2.5]):
        assert held.compare(0, {"y": np.array(other)})[0] == DIFFERENT


def test_a_message_names_the_output_and_the_way_out() -> None:
    """Whoever serves other weights under this name learns how to say so."""
    check, message = reference().compare(0, {"y": np.array([[2.0, -4.0]])})
    assert check == DIFFERENT
    assert "output y of request 0: differs" in message
    assert "by 1, allowed is 0.04" in message
    assert "check.reference = false" in message


def test_an_output_that_is_missing_or_of_another_size_is_different() -> None:
    """The message says which."""
    assert reference().compare(0, {"z": np.zeros(2)}) == (DIFFERENT, "no output 'y' to compare with the reference answer")
    check, message = reference().compare(0, {"y": np.zeros(3)})
    assert check == DIFFERENT
    assert message == "output y of request 0: 3 values of shape [3], the reference answer has 2 of [1, 2]"


def test_outputs_beyond_the_references_do_not_matter() -> None:
    """Only what has a reference answer is compared."""
    assert reference().compare(0, {"y": STORED[0]["y"], "z": np.zeros(1)}) == (SAME, "")


def test_texts_are_equal_or_different() -> None:
    """There is no tolerance for them, and the message shows both."""
    held = Reference(Check(tolerance=1.0), {0: {"y": texts(b"a", b"bc")}})
    assert held.compare(0, {"y": texts(b"a", b"bc")}) == (SAME, "")
    check, message = held.compare(0, {"y": texts(b"a", b"bd")})
    assert (check, message) == (DIFFERENT, "output y of request 0: text 1 is b'bd', the reference answer has b'bc'")


@pytest.mark.parametrize(
    ("tokens", "check", "message"),
    [
        ([5, 6, 7], SAME, ""),
        ([5, 9, 1], SAME, ""),  # a near tie: from there on they are other sentences
        ([5, 6, 8], DIFFERENT, "token 2 is 8, the reference answer has 7, which led by 0.5 of the largest logit"),
        ([4, 9, 7], DIFFERENT, "token 0 is 4, the reference answer has 5"),
        ([5, 6], DIFFERENT, "2 tokens, the reference answer has 3"),
        ([5, 6, 7, 8], DIFFERENT, "4 tokens, the reference answer has 3"),
    ],
)
def test_tokens_are_the_same_up_to_a_near_tie(tokens: list[int], check: int, message: str) -> None:
    """Where the reference itself was undecided, other arithmetic may decide otherwise; nowhere else."""
    found = Reference(Check(tolerance=0.01), {0: TOKENS}).compare(0, {"tokens": np.array(tokens)})
    assert found[0] == check
    assert message in found[1]


def test_recorded_tokens_without_margins_are_the_same_or_different() -> None:
    """A live server does not tell how near a tie was."""
    held = Reference(Check(tolerance=0.01), {0: {"tokens": np.array([5, 150_000])}})
    assert held.compare(0, {"tokens": np.array([5, 150_000])})[0] == SAME
    assert held.compare(0, {"tokens": np.array([5, 149_999])})[0] == DIFFERENT


@pytest.mark.parametrize(
    ("kind", "check"), [(np.int64, DIFFERENT), (np.int32, DIFFERENT), (np.uint8, SAME), (np.float32, SAME)]
)
def test_labels_are_equal_and_small_whole_numbers_are_held_to_the_tolerance(kind: type, check: int) -> None:
    """Class 201 is not nearly class 200; a pixel of 201 is nearly one of 200."""
    held = Reference(Check(tolerance=0.01), {0: {"y": np.array([200, 3], kind)}})
    assert held.compare(0, {"y": np.array([200, 3], kind)})[0] == SAME
    assert held.compare(0, {"y": np.array([201, 3], kind)})[0] == check


def test_a_text_is_not_compared_with_token_ids() -> None:
    """A server that streams text tells no ids."""
    held = Reference(Check(), {0: {"tokens": np.array([5, 6]), "margin": np.ones(2, np.float32)}})
    assert held.compare(0, {"text": texts(b"five six")}) == (NOT_COMPARED, "")
    assert held.compare(0, {"tokens": np.array([5, 6])}) == (SAME, "")


def test_a_request_that_has_no_reference_is_not_compared() -> None:
    """A file may hold the answers to the first requests only."""
    assert reference().compare(2, {"y": np.zeros(2)}) == (NOT_COMPARED, "")


def test_the_answers_are_read_from_a_file(tmp_path: Path) -> None:
    """One of `bench.answers`."""
    path = tmp_path / "answers.arrow"
    answers.write(path, STORED)
    assert Reference.load(Check(), path).compare(1, {"y": STORED[1]["y"]}) == (SAME, "")
    path.write_bytes(b"")
    with pytest.raises(UsageError, match=r"answers\.arrow: no answers can be read"):
        Reference.load(Check(), path)


@pytest.mark.parametrize("check", [Check(), Check(reference=False)])
def test_without_a_reference_nothing_is_compared(check: Check, tmp_path: Path) -> None:
    """Where there is no file, and where the workload says that there is none to compare with."""
    path = tmp_path / "answers.arrow"
    answers.write(path, STORED)
    loaded = Reference.load(check, None if check.reference else path)
    assert loaded.compare(0, {"y": np.zeros(2)}) == (NOT_COMPARED, "")


@pytest.mark.parametrize(("difference", "check"), [(0.125, SAME), (0.25, DIFFERENT)])
def test_a_reference_of_a_lower_precision_brings_its_own_tolerance(difference: float, check: int, tmp_path: Path) -> None:
    """The larger of the two holds: 4 % of 4 here, where the workload says 1 %."""
    answers.write(tmp_path / "made.arrow", STORED, {answers.TOLERANCE: "0.04"})
    held = Reference.load(Check(tolerance=0.01), tmp_path / "made.arrow")
    assert held.compare(0, {"y": np.array([[1.0 + difference, -4.0]])})[0] == check


@pytest.mark.parametrize("kind", [np.int64, np.uint64])
def test_neighbours_among_large_ids_are_different(kind: type) -> None:
    """As floating point they would be the same number."""
    held = Reference(Check(), {0: {"id": np.array([2**60], kind)}})
    assert held.compare(0, {"id": np.array([2**60], kind)})[0] == SAME
    assert held.compare(0, {"id": np.array([2**60 + 1], kind)})[0] == DIFFERENT


def test_a_number_with_a_fraction_is_no_label() -> None:
    """An output that changed its type is another output, even where the values look alike."""
    held = Reference(Check(), {0: {"label": np.array([3], np.int32)}})
    status, message = held.compare(0, {"label": np.array([3.0], np.float32)})
    assert status == DIFFERENT
    assert "float32" in message
