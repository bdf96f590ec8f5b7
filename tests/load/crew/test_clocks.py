"""How far another host's clock is from ours."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bench.load.crew import clocks
from bench.load.crew.clocks import Exchange, Offset
from bench.record import RECORD, Chunks

TRUE = st.integers(-(10**15), 10**15)
WAYS = st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**7), st.integers(0, 10**7)), min_size=1, max_size=20)


@given(TRUE, WAYS)
def test_the_true_offset_is_within_what_is_stated(true: int, ways: list[tuple[int, int, int]]) -> None:
    """However uneven the way there and the way back are, and whichever exchange is the shortest."""
    found = clocks.offset(Exchange(t, t + there + true, t + there + back) for t, there, back in ways)
    assert abs(found.ns - true) <= found.within_ns
    assert found.within_ns <= min(there + back + 1 for _, there, back in ways) / 2 + 0.5


def test_the_shortest_exchange_is_believed() -> None:
    """1,000 ns there and back say more than 9,000: their clock is 500 ahead, to within 500."""
    assert clocks.offset([Exchange(0, 9000, 9000), Exchange(20000, 21000, 21000)]) == Offset(500, 500)


def test_what_a_clock_drifts_by_until_the_end_is_uncertainty() -> None:
    """Times were moved by 100; at the end it is 130 to within 20: they may be 50 off."""
    assert clocks.over(Offset(100, 10), Offset(130, 20)) == Offset(100, 50)
    assert clocks.over(Offset(100, 60), Offset(130, 20)) == Offset(100, 60)


def test_all_times_of_a_record_are_moved_and_nothing_else() -> None:
    """Their 1,000 is our 900 where their clock is 100 ahead; pieces of streams too."""
    records = np.zeros(1, RECORD)
    records["id"], records["intended_ns"], records["start_ns"], records["end_ns"] = 7, 1000, 1010, 1100
    moved, chunks = clocks.ours(records, Chunks.of([([1050, 1090], [1, 2])]), 100)
    assert moved[["id", "intended_ns", "start_ns", "end_ns"]].tolist() == [(7, 900, 910, 1000)]
    assert records["end_ns"] == 1100
    assert chunks is not None
    assert (chunks.t_ns.tolist(), chunks.tokens.tolist()) == ([950, 990], [1, 2])
