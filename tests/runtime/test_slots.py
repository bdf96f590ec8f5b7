"""Keys and values that stay where they are from one run to the next."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.runtime.session import make_session
from bench.runtime.slots import Slots

GOLDEN = Path(__file__).parents[1] / "golden" / "qwen2" / "ref.npz"
CLOSE = 1e-4  # of the largest |logit|


@pytest.fixture(scope="module")
def open_slots(qwen: Callable[[str], Path]) -> Callable[..., Slots]:
    """Slots over one session of the model in fp32."""
    session = make_session(qwen("fp32"), threads=1)

    def opened(slots: int = 3, context: int = 64) -> Slots:
        return Slots(session, slots, context)

    return opened


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    """What the reference implementation answers: `input_ids` [3, 20], `logits` [3, 20, 320], `greedy` [3, 24]."""
    return dict(np.load(GOLDEN))


def assert_close(logits: np.ndarray, expected: np.ndarray) -> None:
    assert np.abs(logits - expected).max() <= CLOSE * np.abs(expected).max()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(st.integers(0, 2), st.lists(st.integers(1, 19), max_size=4, unique=True))
def test_a_prompt_in_pieces_is_the_prompt(
    open_slots: Callable[..., Slots], golden: dict[str, np.ndarray], row: int, cuts: list[int]
) -> None:
    """After each piece, of one token or many and in any slot, the logits are the reference's at that place."""
    slots, ids = open_slots(), golden["input_ids"][row]
    begin = 0
    for end in [*sorted(cuts), len(ids)]:
        assert_close(slots.read(row, ids[begin:end]), golden["logits"][row, end - 1])
        begin = end
    assert slots.lengths.tolist() == [20 if slot == row else 0 for slot in range(3)]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(st.lists(st.integers(1, 18), min_size=3, max_size=3))
def test_rows_of_different_lengths_step_together(
    open_slots: Callable[..., Slots], golden: dict[str, np.ndarray], lengths: list[int]
) -> None:
    """Each sees its own past and nothing of the others'."""
    slots, ids = open_slots(), golden["input_ids"]
    for slot, length in enumerate(lengths):
        slots.read(slot, ids[slot, :length])
    for ahead in range(2):
        logits = slots.step([int(ids[slot, length + ahead]) for slot, length in enumerate(lengths)])
        for slot, length in enumerate(lengths):
            assert_close(logits[slot], golden["logits"][slot, length + ahead])


def test_a_row_that_runs_along_stays_as_it_is(open_slots: Callable[..., Slots], golden: dict[str, np.ndarray]) -> None:
    """Also one of which only the beginning was read: its next piece goes on as if nothing had been."""
    slots, ids = open_slots(), golden["input_ids"]
    slots.read(0, ids[0, :7])
    slots.read(2, ids[2, :9])
    assert_close(slots.step([None, None, int(ids[2, 9])])[2], golden["logits"][2, 9])
    assert slots.lengths.tolist() == [7, 0, 10]
    assert_close(slots.read(0, ids[0, 7:]), golden["logits"][0, -1])


def test_a_sequence_goes_on_in_another_slot(open_slots: Callable[..., Slots], golden: dict[str, np.ndarray]) -> None:
    """Where it comes to is written over; where it was is free."""
    slots, ids = open_slots(), golden["input_ids"]
    slots.read(0, ids[0])
    slots.clear(0)
    slots.read(2, ids[1, :10])
    slots.move(2, 0)
    assert slots.lengths.tolist() == [10, 0, 0]
    slots.read(2, ids[2])
    assert_close(slots.read(0, ids[1, 10:]), golden["logits"][1, -1])


def test_a_cleared_slot_begins_anew(open_slots: Callable[..., Slots], golden: dict[str, np.ndarray]) -> None:
    """Nothing of the sequence before is seen."""
    slots, ids = open_slots(), golden["input_ids"]
    slots.read(1, ids[0])
    slots.clear(1)
    assert_close(slots.read(1, ids[1, :5]), golden["logits"][1, 4])


def test_the_greedy_tokens_are_the_reference_s(open_slots: Callable[..., Slots], golden: dict[str, np.ndarray]) -> None:
    """All three prompts at once, 24 tokens each."""
    slots = open_slots()
    tokens = [[int(slots.read(slot, golden["input_ids"][slot]).argmax())] for slot in range(3)]
    for _ in range(23):
        logits = slots.step([made[-1] for made in tokens])
        for slot, made in enumerate(tokens):
            made.append(int(logits[slot].argmax()))
    assert tokens == golden["greedy"].tolist()


def test_what_the_model_says_of_itself_is_read_from_its_file(open_slots: Callable[..., Slots], ending_qwen: Path) -> None:
    """Vocabulary, context and the tokens that end a text."""
    slots = open_slots(context=0)
    assert (slots.vocabulary, slots.context, slots.eos) == (320, 256, frozenset())
    assert Slots(make_session(ending_qwen, 1), 1).eos == frozenset(range(0, 320, 4))


def test_a_context_beyond_the_model_s_is_refused(open_slots: Callable[..., Slots]) -> None:
    """It has no position for the tokens behind."""
    with pytest.raises(ValueError, match="context: the model was made for 256 tokens at most, got 257"):
        open_slots(context=257)
