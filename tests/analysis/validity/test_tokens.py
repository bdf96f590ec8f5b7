"""Whether streams brought what was asked for."""

from typing import Any

import pytest

from bench.analysis.validity import validity
from bench.analysis.validity.tokens import TOLD
from bench.record import Run
from bench.targets import streams
from bench.testing import Stream, make_stream_run


def reasons(run: Run) -> list[str]:
    return [r.code for r in validity(run)[0]]


def warnings(run: Run) -> list[str]:
    return [w.code for w in validity(run)[1]]


def stream_run(*more: Stream, **fields: Any) -> Run:
    """100 good streams of two tokens, and some more."""
    return make_stream_run([*[Stream(0, [10, 20])] * 100, *more], **fields)


@pytest.mark.parametrize("kind", ["broken", "stalled", "tokens"])
def test_streams_that_did_not_come_as_asked_for_are_warned_of_where_so_many_may(kind: str) -> None:
    """One of 101 is below the bound of errors: the run stays valid, and says what is missing from its numbers."""
    run = stream_run(Stream(0, [10], error=kind), load={"messages": {kind: "it said no more"}})
    assert reasons(run) == []
    (warning,) = validity(run)[1]
    assert warning.code == "cut_off"
    assert f"1 of 101 streams did not come as asked for (1 {kind})" in warning.message
    assert warning.message.endswith("the first said: it said no more")


def test_broken_streams_above_the_bound_make_a_run_invalid() -> None:
    """They count to the error rate as any other error does."""
    assert reasons(stream_run(*[Stream(0, [10], error="broken")] * 2)) == ["errors"]


@pytest.mark.parametrize(("pieces", "warned"), [([1, 2], True), ([1, 1], False)])
def test_tokens_that_come_together_are_warned_of(pieces: list[int], warned: bool) -> None:
    """A gap of 0 in two is none that anybody waited for; one token a piece leaves nothing to say."""
    run = make_stream_run([Stream(0, [10, 20], pieces)] * 100)
    assert warnings(run) == (["pieces"] if warned else [])


def test_now_and_then_two_tokens_in_a_piece_are_no_matter() -> None:
    """2 of 200 gaps are 0."""
    assert warnings(stream_run(Stream(0, [10, 20], [1, 3]))) == []


def test_token_counts_that_the_server_did_not_tell_are_warned_of() -> None:
    """They may be wrong, and with them all that is counted in tokens."""
    assert warnings(stream_run(load={"tokens_counted": {streams.TOLD: 100}})) == []
    (warning,) = validity(stream_run(load={"tokens_counted": {streams.TOLD: 50, streams.BY_PIECE: 50}}))[1]
    assert warning.code == "tokens_assumed"
    assert f"taken for {streams.BY_PIECE}:" in warning.message
    assert TOLD == streams.TOLD
