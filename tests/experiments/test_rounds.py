"""Several sides in turn: the order of the rounds, and when it is looked whether they are enough."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from bench.experiments import rounds
from bench.experiments.rounds import Look, Turn
from bench.record import Run
from bench.testing import make_run

turns = st.integers(2, 6), st.integers(1, 40), st.integers(0, 2**32)


@given(*turns)
def test_every_round_has_all_sides_one_after_the_other(sides: int, count: int, seed: int) -> None:
    """What drifts from round to round meets all."""
    found = list(rounds.order(sides, count, seed))
    assert [number for _, number in found] == [n for n in range(1, count + 1) for _ in range(sides)]
    for n in range(count):
        assert sorted(which for which, _ in found[n * sides : (n + 1) * sides]) == list(range(sides))


@given(*turns)
def test_of_two_rounds_the_second_is_the_first_turned_round(sides: int, count: int, seed: int) -> None:
    """AB BA or BA AB: a steady drift does not favour a side, and an odd round more is all that can be uneven."""
    found = [which for which, _ in rounds.order(sides, count, seed)]
    for n in range(0, count - 1, 2):
        first, second = found[n * sides : (n + 1) * sides], found[(n + 1) * sides : (n + 2) * sides]
        assert second == first[::-1]


@given(*turns)
def test_the_order_comes_from_the_seed(sides: int, count: int, seed: int) -> None:
    """The same seed measures in the same order again."""
    assert list(rounds.order(sides, count, seed)) == list(rounds.order(sides, count, seed))


def test_another_seed_may_begin_with_another_side() -> None:
    """The order is drawn, not fixed: of 40 seeds some begin with each side, and pairs within one seed differ too."""
    for sides in (2, 4):
        assert {next(rounds.order(sides, 2, seed))[0] for seed in range(40)} == set(range(sides))
    leaders = [which for which, _ in list(rounds.order(2, 40, 1))[::2]]
    assert set(leaders[::2]) == {0, 1}


@given(st.integers(2, 4), st.lists(st.integers(1, 15), min_size=1, max_size=4, unique=True).map(sorted), st.integers(0, 2**32))
def test_a_course_is_the_order_with_its_looks_between(sides: int, looks: Sequence[int], seed: int) -> None:
    """Whole rounds come before each look but the last, after which there is nothing to ask."""
    asked = []
    rounds.measure(rounds.course(sides, looks, seed), lambda turn: _note(asked, turn), lambda made: asked.append(made) or False)
    assert [turn for turn in asked if isinstance(turn, Turn)] == list(rounds.order(sides, looks[-1], seed))
    assert [(n, look) for n, look in enumerate(asked) if isinstance(look, int)] == [
        (sides * look + n, look) for n, look in enumerate(looks[:-1])
    ]


def _note(asked: list[object], turn: Turn) -> Run:
    asked.append(turn)
    return make_run([1.0])


def test_a_course_ends_at_the_look_that_finds_all_decided() -> None:
    """Decided after 5 rounds of 20: ten runs."""
    made: list[object] = []
    assert rounds.measure(rounds.course(2, (3, 5, 20), 1), lambda turn: _note(made, turn), lambda after: after >= 5)
    assert len(made) == 10


def test_a_look_is_a_question_that_has_an_answer() -> None:
    """A course is asked without anything being measured."""
    course = rounds.course(2, (1, 2), 1)
    assert [type(next(course)), type(next(course)), next(course)] == [Turn, Turn, Look(1)]
    assert isinstance(course.send(False), Turn)


def test_a_round_that_the_user_stopped_is_the_last() -> None:
    """Ctrl-C in the third of eight rounds."""
    statuses = iter(["complete", "complete", "partial"])
    assert not rounds.measure(rounds.course(2, (4,), 1), lambda _: make_run([1.0], status=next(statuses)))
    assert next(statuses, None) is None
