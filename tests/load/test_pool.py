"""The requests of all parts in a row."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from bench import mix, payloads
from bench.load.answers import Reference
from bench.load.pool import Member, Pool
from bench.record import DIFFERENT, NOT_COMPARED, PROTOCOL, SAME
from bench.targets.base import FINE, CallReply, Verdict
from bench.tensors import Tensors
from bench.testing import make_mix, make_workload
from bench.wire.line import Head, Reply, WireRequest
from bench.workload import Check, DataType, Input, Payload


class Named:
    """A target that answers with its name and what it was asked."""

    def __init__(self, name: str) -> None:
        self.name = name

    def caller(self, requests: Any) -> Any:
        return lambda n, number: CallReply(len(requests), FINE, (self.name, n, number))

    def outputs(self, answer: Any) -> Tensors:
        return {"x": np.full(2, answer)}


def part(name: str, items: int, distinct: int, every: int) -> Member:
    made = make_workload(
        name=name,
        payload=Payload({"x": Input(DataType("FP32"), (items, 4))}, distinct=distinct),
        check=Check(every=every, tolerance=0.1),
    )
    return Member(made, Named(name), payloads.make(made), Reference(made.check, {0: {"x": np.ones(2)}}))


@pytest.fixture
def mixed() -> Pool:
    return Pool([part("one", 1, 2, 10), part("two", 8, 3, 5)], turns=[0, 3, 4])


def test_each_request_knows_its_part_and_its_place_there(mixed: Pool) -> None:
    """Two requests of the first part, then three of the second, with the items and the share to compare of each."""
    assert len(mixed) == 5
    assert (mixed.part, mixed.local) == ([0, 0, 1, 1, 1], [0, 1, 0, 1, 2])
    assert (mixed.items, mixed.every) == ([1, 1, 8, 8, 8], [10, 10, 5, 5, 5])
    assert mixed.turns == [0, 3, 4]


@pytest.mark.parametrize("problem", [OverflowError("too large"), RecursionError("too deep"), KeyError("outputs")])
def test_a_reply_that_cannot_be_judged_is_one_error_of_the_protocol(problem: Exception) -> None:
    """The run goes on, whatever a server sends."""

    class Puzzled(Named):
        def requests(self, requests: Any) -> list[WireRequest]:
            return [WireRequest(bytearray(b"x" * 16), 0, b"") for _ in requests]

        def judge(self, reply: Reply, id_: bytes) -> Verdict:
            raise problem

    member = part("one", 1, 2, 10)
    _, judges = Pool([member._replace(target=Puzzled("one"))]).wire()
    verdict = judges[1](Reply(Head(200, 0, True, {}), b""), b"x" * 16)
    assert verdict.error == PROTOCOL
    assert type(problem).__name__ in verdict.message


def test_a_call_goes_to_the_part_s_own_target(mixed: Pool) -> None:
    """By the request's number there, under the number of the send."""
    call = mixed.caller()
    assert call(1, 70) == CallReply(2, FINE, ("one", 1, 70))
    assert call(4, 71) == CallReply(3, FINE, ("two", 2, 71))


def test_an_answer_is_held_to_the_part_s_own_reference(mixed: Pool) -> None:
    """The message names the part, because its requests are counted from 0 in each."""
    assert mixed.compare(2, mixed.outputs(2, 1.0)) == (SAME, "")
    check, message = mixed.compare(2, mixed.outputs(2, 2.0))
    assert check == DIFFERENT
    assert message.startswith("two: output x of request 0: differs")
    assert mixed.compare(3, mixed.outputs(3, 2.0)) == (NOT_COMPARED, "")


def test_requests_of_one_part_are_sent_in_turn() -> None:
    """0, 1, 2, 0, 1, ..."""
    assert list(Pool([part("one", 1, 3, 1)]).turns) == [0, 1, 2]


def test_what_is_told_of_each_part_is_told_by_its_name(mixed: Pool) -> None:
    """Of one part alone, as it is."""
    assert mixed.by_part(["first", "second"]) == {"one": "first", "two": "second"}
    assert Pool([part("one", 1, 3, 1)]).by_part(["first"]) == "first"


def test_how_tokens_were_counted_is_told_of_all_parts_together(mixed: Pool) -> None:
    """A part whose target does not count has nothing to tell."""
    assert mixed.counted() == {}
    mixed.members[0].target.counted = {"told": 3, "guessed": 1}
    assert mixed.counted() == {"told": 3, "guessed": 1}
    mixed.members[1].target.counted = {"told": 4}
    assert mixed.counted() == {"told": 7, "guessed": 1}


def test_the_requests_stand_in_the_row_that_records_are_read_by(mixed: Pool) -> None:
    """What is written by the pool is taken apart by `bench.mix.starts`."""
    workload = make_mix({"one": (1, 2), "two": (1, 3)})
    owners = [p for p, (start, end) in enumerate(pairwise(mix.starts(workload))) for _ in range(start, end)]
    assert mixed.part == owners
