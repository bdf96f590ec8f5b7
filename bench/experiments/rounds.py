"""Rounds of several sides in turn: in which order they are measured, and when it is looked whether they are enough."""

from collections.abc import Callable, Generator, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from bench.record import Run


class Turn(NamedTuple):
    """A round to be measured; both, or all, sides of one number have the same schedule and order of requests."""

    side: int
    number: int  # from 1


class Look(NamedTuple):
    """After so many rounds of each side: is all decided?"""

    rounds: int


Course = Generator[Turn | Look, bool, None]


def order(sides: int, rounds: int, seed: int) -> Iterator[Turn]:
    """Each round has all sides, in an order that is drawn, every second one the last turned round: AB BA, BA AB, ..."""
    turn: list[int] = []
    for number in range(1, rounds + 1):
        if number % 2:
            turn = np.argsort(np.random.PCG64([seed, number]).random_raw(sides)).tolist()
        else:
            turn.reverse()
        yield from (Turn(which, number) for which in turn)


def course(sides: int, looks: Sequence[int], seed: int) -> Course:
    """What to measure, and when to look; it is sent whether all was decided. After the last look there is nothing to ask."""
    turns = order(sides, looks[-1], seed)
    made = 0
    for rounds in looks:
        for _ in range(sides * (rounds - made)):
            yield next(turns)
        made = rounds
        if rounds < looks[-1] and (yield Look(rounds)):
            return


def measure(course: Course, run: Callable[[Turn], Run], decided: Callable[[int], bool] = lambda rounds: False) -> bool:
    """Go through a course: `run` makes a round, `decided` looks after so many; False when the user stopped it."""
    question: Turn | Look | None = next(course, None)
    while question is not None:
        answer = False
        if isinstance(question, Look):
            answer = decided(question.rounds)
        elif run(question).status == "partial":
            return False
        try:
            question = course.send(answer)
        except StopIteration:
            return True
    return True
