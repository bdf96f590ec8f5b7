"""Rows on one side, checked records on the other."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.load import recorder as recorders
from bench.load.answers import KEPT, Reference
from bench.load.recorder import Recorder
from bench.record import ANSWER, DIFFERENT, NOT_COMPARED, OK, RECORD, SAME, TIMEOUT
from bench.tensors import Tensors
from bench.testing import make_workload
from bench.workload import Check, DataType, Input, Payload

Drain = Callable[..., np.ndarray]


@pytest.fixture
def drained(drained: Drain) -> Drain:
    """The records that all rows become."""

    def drain(recorder: Recorder, *others: Any) -> np.ndarray:
        recorder.hand_over()
        return drained(recorder, *others)

    return drain


class Echoing:
    """A target whose answers are their outputs; an answer of None cannot be read."""

    def outputs(self, answer: Any) -> Tensors:
        return {"x": answer["x"]}


def make_recorder(every: int = 1, distinct: int = 4) -> Recorder:
    payload = Payload({"x": Input(DataType("FP32"), (1, 4))}, distinct=distinct)
    return Recorder(make_workload(check=Check(every=every), payload=payload), items=7, worker=3)


def good(recorder: Recorder, number: int, payload: int = 0, value: float = 1.0) -> None:
    """A good reply to request `number`, whose output is `value`."""
    recorder.add(number, payload, 10, 11, 20 + number, 200, OK, "", {"x": np.full(2, value)})


def test_a_row_becomes_a_record_field_by_field(drained: Drain) -> None:
    """Items and worker are the recorder's, the rest is the request's."""
    recorder = make_recorder()
    recorder.add(2**40, 2, -5, 6, 7, 504, TIMEOUT, "no reply", None)
    assert drained(recorder, Echoing()).tolist() == [(2**40, 2, -5, 6, 7, 7, 504, TIMEOUT, NOT_COMPARED, 3)]
    assert recorder.messages == {TIMEOUT: "no reply"}


def test_a_reply_with_a_wrong_answer_becomes_an_error(drained: Drain) -> None:
    """It counts as an error and the message names the output, the difference and what is allowed."""
    recorder = make_recorder()
    good(recorder, 0)
    good(recorder, 1, value=1.5)
    records = drained(recorder, Echoing(), {"x": np.ones((4, 2))})
    assert list(records["error"]) == [OK, ANSWER]
    assert list(records["check"]) == [SAME, DIFFERENT]
    assert (recorder.done, recorder.errors) == (2, 1)
    assert "output x of request 0 differs from the reference answer by 0.5, allowed is 0.001" in recorder.messages[ANSWER]


def test_a_reply_whose_outputs_cannot_be_read_is_a_wrong_answer(drained: Drain) -> None:
    """A server that sends nonsense costs its requests, not the run."""
    recorder = make_recorder()
    recorder.add(0, 0, 0, 0, 1, 200, OK, "", {})
    good(recorder, 1, payload=1)
    assert list(drained(recorder, Echoing(), {"x": np.ones((4, 2))})["error"]) == [ANSWER, OK]
    assert recorder.messages == {ANSWER: "the outputs in a reply cannot be read: KeyError: 'x'"}


def test_one_reply_in_every_is_compared_and_the_first_to_each_request(drained: Drain) -> None:
    """With every = 10 and 4 requests in turn: 0 to 3, because they are the first, then 10, 20 and 30."""
    recorder = make_recorder(every=10)
    for number in range(35):
        good(recorder, number, payload=number % 4)
    records = drained(recorder, Echoing(), {"x": np.ones((4, 2))})
    assert list(records["id"][records["check"] == SAME]) == [0, 1, 2, 3, 10, 20, 30]
    assert set(records["check"]) == {SAME, NOT_COMPARED}


def test_without_a_reference_nothing_is_compared(drained: Drain) -> None:
    """No check is left open: each says that it was not made."""
    recorder = make_recorder()
    good(recorder, 0)
    assert list(drained(recorder, Echoing())["check"]) == [NOT_COMPARED]


def test_answers_to_the_first_requests_are_kept(drained: Drain) -> None:
    """The first good reply to each of the first 16 of 20 requests, not a later one."""
    recorder = make_recorder(distinct=20)
    recorder.add(0, 3, 0, 0, 1, 503, TIMEOUT, "", None)
    for number in range(1, 61):
        good(recorder, number, payload=number % 20, value=float(number))
    drained(recorder, Echoing())
    assert sorted(recorder.answers) == list(range(KEPT)) == list(range(16))
    assert [float(recorder.answers[n]["x"][0]) for n in (1, 2, 3, 15, 0)] == [1, 2, 3, 15, 20]


def test_rows_stay_until_they_are_handed_over(drained: Drain) -> None:
    """`drain` takes whole pieces only: what the measuring thread still writes is left alone."""

    class Refusing:
        def write(self, records: np.ndarray) -> None:
            raise AssertionError("nothing was handed over")

    recorder = make_recorder()
    good(recorder, 0)
    recorder.drain(Echoing(), Reference(Check(), {}), Refusing())  # type: ignore[arg-type]
    assert len(drained(recorder, Echoing())) == 1


@given(handovers=st.lists(st.integers(0, 30), max_size=8), chunk=st.integers(1, 20))
def test_no_row_is_lost_or_doubled_however_they_change_hands(handovers: list[int], chunk: int) -> None:
    """Rows come out in the order they went in, with hand-overs anywhere and chunks of any size."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recorders, "_CHUNK", chunk * len(RECORD.names or ()))
        recorder, number = make_recorder(every=3), 0
        for rows in handovers:
            for _ in range(rows):
                good(recorder, number, payload=number % 4)
                number += 1
            recorder.hand_over()
        written: list[int] = []

        class Writing:
            def write(self, records: np.ndarray) -> None:
                assert np.all(records["check"] <= DIFFERENT)
                written.extend(records["id"].tolist())

        recorder.drain(Echoing(), Reference(Check(), {}), Writing())  # type: ignore[arg-type]
        assert written == list(range(number))
