"""Rows on one side, checked records on the other."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import payloads
from bench.load import recorder as recorders
from bench.load.answers import KEPT, Reference
from bench.load.pool import Member, Pool
from bench.load.recorder import Recorder
from bench.payloads import Prompt
from bench.record import (
    ANSWER,
    BROKEN,
    CONNECT,
    DIFFERENT,
    NOT_COMPARED,
    OK,
    PROTOCOL,
    QUEUED,
    RECORD,
    SAME,
    STALLED,
    STATUS,
    TIMEOUT,
    TOKENS,
    Chunks,
)  # fmt: skip
from bench.targets.base import FINE, Streamed, Verdict
from bench.tensors import Tensors
from bench.testing import make_workload
from bench.workload import Check, DataType, Generate, Input, Payload

Drain = Callable[..., np.ndarray]
ONES = {"x": np.ones((4, 2))}


@pytest.fixture
def drained(drained: Drain) -> Drain:
    """The records that all rows become."""

    def drain(recorder: Recorder) -> np.ndarray:
        recorder.hand_over()
        return drained(recorder)

    return drain


class Echoing:
    """A target whose answers are their outputs; an answer of None cannot be read."""

    def outputs(self, answer: Any) -> Tensors:
        return {"x": answer["x"]}


def make_recorder(every: int = 1, distinct: int = 4, answers: Tensors | None = None) -> Recorder:
    """Of seven items a request, on worker 3; held to `answers`: {output: one for each request}."""
    payload = Payload({"x": Input(DataType("FP32"), (7, 4))}, distinct=distinct)
    made = make_workload(check=Check(every=every), payload=payload)
    stored = {n: {name: a[n] for name, a in (answers or {}).items()} for n in range(distinct)} if answers else {}
    return Recorder(Pool([Member(made, Echoing(), payloads.make(made), Reference(Check(tolerance=1e-3), stored))]), worker=3)


def good(recorder: Recorder, number: int, payload: int = 0, value: float = 1.0) -> None:
    """A good reply to request `number`, whose output is `value`."""
    recorder.add(number, payload, (10, 11, 20 + number), 200, FINE, {"x": np.full(2, value)})


def test_a_row_becomes_a_record_field_by_field(drained: Drain) -> None:
    """Items and worker are the recorder's, the rest is the request's."""
    recorder = make_recorder()
    recorder.add(2**40, 2, (-5, 6, 7), 504, Verdict(TIMEOUT, "no reply"), None, QUEUED)
    assert drained(recorder).tolist() == [(2**40, 2, -5, 6, 7, 7, 504, TIMEOUT, NOT_COMPARED, 3, QUEUED)]
    assert recorder.messages == {TIMEOUT: "no reply"}


def test_a_reply_with_a_wrong_answer_becomes_an_error(drained: Drain) -> None:
    """It counts as an error and the message names the output, the difference and what is allowed."""
    recorder = make_recorder(answers=ONES)
    good(recorder, 0)
    good(recorder, 1, value=1.5)
    records = drained(recorder)
    assert list(records["error"]) == [OK, ANSWER]
    assert list(records["check"]) == [SAME, DIFFERENT]
    assert (recorder.done, recorder.errors) == (2, 1)
    assert "output x of request 0: differs from the reference answer by 0.5, allowed is 0.001" in recorder.messages[ANSWER]


def test_a_reply_whose_outputs_cannot_be_read_is_a_wrong_answer(drained: Drain) -> None:
    """A server that sends nonsense costs its requests, not the run."""
    recorder = make_recorder(answers=ONES)
    recorder.add(0, 0, (0, 0, 1), 200, FINE, {})
    good(recorder, 1, payload=1)
    assert list(drained(recorder)["error"]) == [ANSWER, OK]
    assert recorder.messages == {ANSWER: "the outputs in a reply cannot be read: KeyError: 'x'"}


def test_one_reply_in_every_is_compared_and_the_first_to_each_request(drained: Drain) -> None:
    """With every = 10 and 4 requests in turn: 0 to 3, because they are the first, then 10, 20 and 30."""
    recorder = make_recorder(every=10, answers=ONES)
    for number in range(35):
        good(recorder, number, payload=number % 4)
    records = drained(recorder)
    assert list(records["id"][records["check"] == SAME]) == [0, 1, 2, 3, 10, 20, 30]
    assert set(records["check"]) == {SAME, NOT_COMPARED}


def test_a_drain_ends_though_replies_go_on_coming(drained: Drain, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one is looked at the next comes: it is left for the next drain."""
    recorder, outputs = make_recorder(answers=ONES), Echoing.outputs

    def slow(self: Echoing, answer: Any) -> Tensors:
        if recorder.done < 50:
            good(recorder, recorder.done)
        return outputs(self, answer)

    monkeypatch.setattr(Echoing, "outputs", slow)
    good(recorder, 0)
    assert list(drained(recorder)["id"]) == [0]
    assert recorder.done == 2
    assert list(drained(recorder)["id"]) == [1]


def test_without_a_reference_nothing_is_compared(drained: Drain) -> None:
    """No check is left open: each says that it was not made."""
    recorder = make_recorder()
    good(recorder, 0)
    assert list(drained(recorder)["check"]) == [NOT_COMPARED]


def test_answers_to_the_first_requests_are_kept(drained: Drain) -> None:
    """The first good reply to each of the first 16 of 20 requests, not a later one."""
    recorder = make_recorder(distinct=20)
    recorder.add(0, 3, (0, 0, 1), 503, Verdict(TIMEOUT, ""), None)
    for number in range(1, 61):
        good(recorder, number, payload=number % 20, value=float(number))
    drained(recorder)
    assert sorted(recorder.answers) == list(range(KEPT)) == list(range(16))
    assert [float(recorder.answers[n]["x"][0]) for n in (1, 2, 3, 15, 0)] == [1, 2, 3, 15, 20]


def test_rows_stay_until_they_are_handed_over(drained: Drain) -> None:
    """`drain` takes whole pieces only: what the measuring thread still writes is left alone."""

    class Refusing:
        def write(self, records: np.ndarray) -> None:
            raise AssertionError("nothing was handed over")

    recorder = make_recorder()
    good(recorder, 0)
    recorder.drain(Refusing())  # type: ignore[arg-type]
    assert len(drained(recorder)) == 1


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

        recorder.drain(Writing())  # type: ignore[arg-type]
        assert written == list(range(number))


# ---------------------------------------------------------------- streams


class Streaming:
    """A target whose answers are what they are taken apart to."""

    def streamed(self, answer: Streamed, prompt: Prompt) -> Streamed:
        return answer


def stream_recorder(every: int = 1, distinct: int = 4, reference: dict[int, Tensors] | None = None) -> Recorder:
    payload = Payload(generate=Generate(prompt_tokens=3, output_tokens=2), distinct=distinct)
    made = make_workload(check=Check(every=every), payload=payload)
    return Recorder(Pool([Member(made, Streaming(), payloads.make(made), Reference(Check(tolerance=0.1), reference or {}))]))


def stream(*t_ns: int, verdict: Verdict = FINE, tokens: tuple[int, ...] = (5, 6)) -> Streamed:
    """A reply whose pieces came at these times, a token each."""
    return Streamed(t_ns, [1] * len(t_ns), {"tokens": np.array(tokens)}, verdict)


def add(recorder: Recorder, number: int, answer: Streamed | None, verdict: Verdict = FINE, payload: int = 0) -> None:
    recorder.add(number, payload, (10, 11, 20 + number), 200, verdict, answer)


def drain(recorder: Recorder) -> list[tuple[np.ndarray, Chunks]]:
    """What is written of all rows."""
    written: list[tuple[np.ndarray, Chunks]] = []

    class Writing:
        def write(self, records: np.ndarray, chunks: Chunks) -> None:
            written.append((records, chunks))

    recorder.hand_over()
    recorder.drain(Writing())  # type: ignore[arg-type]
    return written


def test_a_stream_has_its_pieces_and_what_never_began_has_none() -> None:
    """Also one that broke off has those that came."""
    recorder = stream_recorder()
    add(recorder, 0, stream(12, 14))
    add(recorder, 1, None, Verdict(CONNECT, "refused"))
    add(recorder, 2, stream(13, verdict=Verdict(BROKEN, "closed")), Verdict(BROKEN, "closed"))
    ((records, chunks),) = drain(recorder)
    assert list(records["error"]) == [OK, CONNECT, BROKEN]
    assert [chunks.of_record(n)[0].tolist() for n in range(3)] == [[12, 14], [], [13]]
    assert [chunks.of_record(n)[1].tolist() for n in range(3)] == [[1, 1], [], [1]]
    assert (recorder.done, recorder.errors) == (3, 2)
    assert recorder.messages == {CONNECT: "refused", BROKEN: "closed"}


@pytest.mark.parametrize(
    ("measured", "judged", "error"),
    [
        (OK, STATUS, STATUS),
        (OK, TOKENS, TOKENS),
        (BROKEN, STATUS, STATUS),
        (BROKEN, BROKEN, BROKEN),
        (STALLED, BROKEN, STALLED),
        (TIMEOUT, BROKEN, TIMEOUT),
        (PROTOCOL, BROKEN, PROTOCOL),
    ],
)
def test_a_stream_fails_by_what_was_measured_unless_the_server_said_more(measured: int, judged: int, error: int) -> None:
    """An error event before the connection closes is the reason; that a silence also lacks an end is none."""
    recorder = stream_recorder()
    add(recorder, 0, stream(12, verdict=Verdict(judged, "judged")), Verdict(measured, "measured" if measured else ""))
    ((records, _),) = drain(recorder)
    assert list(records["error"]) == [error]
    assert list(recorder.messages) == [error]
    assert recorder.errors == 1


def test_good_streams_are_held_to_the_reference_as_often_as_asked() -> None:
    """The first good one to each request, then one in `every`; a failed one does not use up the first."""
    reference: dict[int, Tensors] = {0: {"tokens": np.array([5, 6]), "margin": np.ones(2, np.float32)}}
    recorder = stream_recorder(every=4, distinct=1, reference=reference)
    add(recorder, 0, stream(12, verdict=Verdict(TOKENS, "few")))
    for number in range(1, 10):
        add(recorder, number, stream(12, 13, tokens=(5, 9) if number == 8 else (5, 6)))
    ((records, _),) = drain(recorder)
    assert list(records["check"]) == [
        NOT_COMPARED,
        SAME,
        *[NOT_COMPARED] * 2,
        SAME,
        *[NOT_COMPARED] * 3,
        DIFFERENT,
        NOT_COMPARED,
    ]
    assert list(records["error"]) == [TOKENS, *[OK] * 7, ANSWER, OK]
    assert recorder.answers[0]["tokens"].tolist() == [5, 6]
    assert "token 1 is 9, the reference answer has 6" in recorder.messages[ANSWER]


@given(st.lists(st.lists(st.integers(0, 3), max_size=6), max_size=6))
def test_no_piece_is_lost_or_given_to_another_request(handovers: list[list[int]]) -> None:
    """Whatever the number of pieces of each reply, and wherever rows change hands."""
    recorder, number, expected = stream_recorder(), 0, []
    for sizes in handovers:
        for size in sizes:
            expected.append([100 * number + n for n in range(size)])
            if size:
                add(recorder, number, stream(*expected[-1]))
            else:
                add(recorder, number, None, Verdict(CONNECT, "refused"))
            number += 1
        recorder.hand_over()
    found = [chunks.of_record(n)[0].tolist() for records, chunks in drain(recorder) for n in range(len(records))]
    assert found == expected
