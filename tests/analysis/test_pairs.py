"""Which rounds count, and which belong together."""

import pytest

from bench.analysis import pairs
from bench.analysis.pairs import Kept
from bench.record import Event, Run
from bench.testing import make_run, make_workload


def rounds(*numbers: int, broken: int | None = None, exited: int | None = None) -> list[Run]:
    """Rounds with these numbers; one of them broken off, one in which the server ended."""
    return [
        make_run(
            [1.0],
            workload=make_workload(round=n),
            status="partial" if n == broken else "complete",
            events=[Event(0, "server-exited", {"status": -9})] if n == exited else [],
        )
        for n in numbers
    ]


@pytest.mark.parametrize(
    ("base", "new", "expected"),
    [
        (rounds(1, 2, 3), rounds(1, 2, 3), True),
        (rounds(1, 2, 3), rounds(1, 3, 2), False),
        (rounds(1, 2, 3), rounds(1, 2), False),
        (rounds(0, 0), rounds(0, 0), False),
        (rounds(1, 1), rounds(1, 1), False),
        ([], [], False),
    ],
)
def test_rounds_of_the_same_numbers_in_the_same_order_are_pairs(base: list[Run], new: list[Run], expected: bool) -> None:
    """Runs that stand alone have the number 0, and are nobody's pair."""
    assert pairs.paired(base, new) is expected


def test_all_rounds_count_where_both_sides_have_all() -> None:
    """Nothing is left out, and nothing is said."""
    assert pairs.kept([rounds(1, 2), rounds(1, 2)]) == [Kept((0, 1)), Kept((0, 1))]


def test_of_a_broken_pair_neither_round_counts() -> None:
    """The one in which the server ended says so, the other that it is alone."""
    base, new = pairs.kept([rounds(1, 2, 3), rounds(1, 2, 3, exited=2)])
    assert [reason.code for reason in (*base.left_out, *new.left_out)] == [pairs.ALONE, pairs.ENDED]
    assert (base.positions, new.positions) == ((0, 2), (0, 2))
    assert [reason.message for reason in base.left_out] == ["round 2 is left out: the other side of the pair is missing"]
    assert [reason.message for reason in new.left_out] == ["round 2 is left out: the server ended in it (exit status -9)"]


@pytest.mark.parametrize(("count", "text"), [(3, "round 3 is"), (5, "rounds 3, 4, 5 are")])
def test_rounds_that_the_other_side_never_had_do_not_count(count: int, text: str) -> None:
    """The user stopped in between, or a stored side has more than the live one needed: that is no fault, and told once."""
    base, new = pairs.kept([rounds(*range(1, count + 1)), rounds(1, 2)])
    assert (base.positions, new.positions, new.left_out) == ((0, 1), (0, 1), ())
    (reason,) = base.left_out
    assert (reason.code, reason.message) == (pairs.UNMATCHED, f"{text} left out: another side has no round of this number")


def test_stored_runs_without_numbers_all_count_but_those_that_broke_off() -> None:
    """Groups of runs may differ in size."""
    base, new = pairs.kept([rounds(0, 0, 0), [*rounds(0), *rounds(0, broken=0)]])
    assert (base.positions, new.positions) == ((0, 1, 2), (0,))
    assert new.left_out[0].message.startswith("round 2 is left out: it broke off")


def test_rounds_of_different_workloads_are_no_pairs() -> None:
    """Whatever their numbers are: they share no schedule."""
    others = [make_run([1.0], workload=make_workload(round=n, seed=2)) for n in (1, 2, 3)]
    assert not pairs.paired(rounds(1, 2, 3), others)


@pytest.mark.parametrize(
    ("base", "new", "expected"),
    [
        (("10:00", "10:02"), ("10:01", "10:03"), False),
        (("10:00", "10:01"), ("10:02", "10:03"), True),
        (("10:02", "10:03"), ("10:00", "10:01"), True),
        (("10:00",), ("10:00",), False),
        (("",), ("10:00",), False),
    ],
)
def test_sides_that_follow_one_another_were_not_measured_in_turn(
    base: tuple[str, ...], new: tuple[str, ...], expected: bool
) -> None:
    """By when their runs were made; of runs of one second, or of an unknown one, nothing is said."""
    assert pairs.apart([make_run([1.0], created=t) for t in base], [make_run([1.0], created=t) for t in new]) is expected
