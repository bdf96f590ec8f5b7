"""The comparison of a scripted server's book with a run's record; how close they are is for `make verify` to say."""

import numpy as np
import pytest

from bench.errors import RunError
from bench.evidence import stream_accuracy
from bench.evidence.script import Book, play, script
from bench.evidence.stream_accuracy import FLOOR_NS, KINDS, Row, compare, measure, report, workload
from bench.record import OK, RECORD, Chunks, Run, Samples
from bench.testing import MS


def run_of(*pieces: tuple[list[int], list[int]]) -> Run:
    """A run whose request n was meant for n s, with these pieces (times after that in ms, tokens)."""
    records = np.zeros(len(pieces), RECORD)
    records["id"] = np.arange(len(pieces))
    records["intended_ns"] = records["id"] * 10**9
    records["end_ns"] = records["intended_ns"] + 10**8
    chunks = Chunks.of([([n * 10**9 + t * MS for t in times], tokens) for n, (times, tokens) in enumerate(pieces)])
    samples = Samples(np.empty(0, np.int64), np.empty(0, np.int32), np.empty(0, np.float64), [])
    return Run(
        id="made", workload=workload(2, 1), target={}, environment={}, records=records, samples=samples, events=[],
        window_ns=(0, 10**10), status="complete", chunks=chunks,
    )  # fmt: skip


BOOK: Book = {
    0: (1 * MS, [(5 * MS, 0), (20 * MS, 2), (30 * MS, 1)]),
    1: (10**9 + 1 * MS, [(10**9 + 11 * MS, 2), (10**9 + 17 * MS, 1)]),
}
RECORDED = ([5, 21, 32], [0, 2, 1]), ([11, 18], [2, 1])


def test_both_sides_of_each_quantity_are_of_the_same_tokens() -> None:
    """TTFT from the arrival and from the intended send; gaps within a piece are left out; TPOT over all tokens."""
    ttft, itl, tpot = compare("openai", run_of(*RECORDED), BOOK)
    assert (ttft.book_ns / MS).tolist() == [19, 10]
    assert (ttft.ours_ns / MS).tolist() == [21, 11]
    assert (itl.book_ns / MS).tolist() == [10, 6]
    assert (itl.ours_ns / MS).tolist() == [11, 7]
    assert (tpot.book_ns / MS).tolist() == [5, 3]
    assert (tpot.ours_ns / MS).tolist() == [5.5, 3.5]


def test_a_run_that_failed_or_has_other_tokens_is_no_evidence() -> None:
    """The error says which."""
    failed = run_of(*RECORDED)
    failed.records["error"][1] = OK + 1
    with pytest.raises(RunError, match="1 of 2 requests failed"):
        compare("openai", failed, BOOK)
    with pytest.raises(RunError, match="request 1: other tokens were recorded than were sent"):
        compare("openai", run_of(RECORDED[0], ([11, 18], [2, 2])), BOOK)


@pytest.mark.parametrize(("apart_ns", "held"), [(FLOOR_NS, True), (FLOOR_NS + 1, False), (-FLOOR_NS - 1, False)])
def test_a_short_time_may_be_wrong_by_the_floor(apart_ns: int, held: bool) -> None:
    """1 % of 5 ms is less than 0.2 ms."""
    book = np.full(5, 5.0 * MS)
    assert Row("openai", "TTFT", book, book + apart_ns).held() == held


@pytest.mark.parametrize(("apart", "held"), [(0.0099, True), (0.0101, False)])
def test_a_long_time_may_be_wrong_by_its_share(apart: float, held: bool) -> None:
    """1 % of 100 ms is more than 0.2 ms."""
    book = np.full(5, 100.0 * MS)
    assert Row("openai", "TTFT", book, book * (1 + apart)).held() == held


def test_the_script_gives_the_tokens_asked_for_and_an_empty_first_piece() -> None:
    """The same for the same request, in pieces of several tokens."""
    pieces = list(script(7, 24))
    assert pieces == list(script(7, 24)) != list(script(8, 24))
    assert pieces[0][1] == 0
    assert sum(tokens for _, tokens in pieces) == 24
    assert max(tokens for _, tokens in pieces) > 1


def test_a_piece_is_written_down_before_it_is_sent_and_not_before_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what came before it."""
    monkeypatch.setattr("bench.evidence.script.FIRST_MS", (1.0, 1.0))
    monkeypatch.setattr("bench.evidence.script.GAP_MS", (1.0, 1.0))
    book: Book = {}
    for n, (tokens, before) in enumerate(play(book, 3, 5, 0, lambda tokens, before: (tokens, before))):
        arrived, pieces = book[3]
        assert len(pieces) == n + 1
        assert pieces[n][1] == tokens
        assert before == sum(t for _, t in pieces[:n])
        assert pieces[n][0] - arrived >= (n + 1) * MS


@pytest.mark.parametrize("kind", KINDS)
def test_a_real_run_against_the_scripted_server_has_what_its_book_has(kind: str) -> None:
    """As many values on both sides; a table comes of it, whatever it says."""
    rows = measure(kind, requests=3, users=2)
    assert [row.name for row in rows] == ["TTFT", "ITL", "TPOT"]
    assert all(len(row.book_ns) == len(row.ours_ns) >= 3 for row in rows)
    lines = list(report(rows, 3, 2))
    assert lines[-1].startswith(f"| {KINDS[kind]} | TPOT | ")
    assert {line.count("|") for line in lines[2:]} == {len(stream_accuracy._COLUMNS) + 1}
