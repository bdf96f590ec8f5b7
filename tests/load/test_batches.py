"""Executed batch sizes of the window, out of counters that only grow."""

import threading
from collections.abc import Iterator

import pytest

from bench.load.batches import Batches
from bench.load.phases import NEVER, Phases


class Server:
    """Says one answer after another."""

    def __init__(self, *answers: dict[int, int] | None) -> None:
        self._answers: Iterator[dict[int, int] | None] = iter(answers)
        self.askers: list[str] = []

    def batches(self) -> dict[int, int] | None:
        self.askers.append(threading.current_thread().name)
        return next(self._answers)


PHASES = Phases(start_ns=0, window_ns=100, end_ns=200, requests=None)


def test_what_was_executed_within_the_window_is_the_difference() -> None:
    """Sizes that were not executed in it are left out, new ones are there; it is asked twice, by threads of its own."""
    server = Server({1: 5, 2: 7, 8: 1}, {1: 6, 2: 7, 4: 3, 8: 1})
    batches = Batches([server])
    for now in range(0, 260, 20):
        batches.look(now, PHASES)
    assert batches.executed() == [{"1": 1, "4": 3}]
    assert len(server.askers) == 2
    assert threading.current_thread().name not in server.askers


@pytest.mark.parametrize("end_ns", [NEVER, 200])
def test_a_window_whose_end_was_not_seen_ends_when_it_is_asked_for(end_ns: int) -> None:
    """A closed loop that counts requests finds the end itself."""
    batches = Batches([Server({1: 5}, {1: 9})])
    batches.look(150, Phases(0, 100, end_ns, None))
    assert batches.executed() == [{"1": 4}]


def test_nothing_is_told_where_the_window_never_began_or_the_server_does_not_say() -> None:
    """A target without statistics, a run that was stopped in its warm-up, a server that forgot: no numbers, no error."""
    never = Batches([Server({1: 1})])
    never.look(50, PHASES)
    never.look(50, None)
    assert never.executed() == [{}]
    silent = Batches([object()])
    silent.look(150, PHASES)
    silent.look(250, PHASES)
    assert silent.executed() == [{}]
    restarted = Batches([Server({1: 50}, {1: 3})])
    restarted.look(150, PHASES)
    assert restarted.executed() == [{}]


@pytest.mark.parametrize("answers", [(None, {1: 5000}), ({1: 5000}, None)])
def test_one_look_that_failed_leaves_nothing_to_tell(answers: tuple[dict[int, int] | None, ...]) -> None:
    """The other alone would tell of the server's whole life."""
    batches = Batches([Server(*answers)])
    batches.look(150, PHASES)
    batches.look(250, PHASES)
    assert batches.executed() == [{}]


def test_several_models_of_a_server_are_each_told_of() -> None:
    """In the order of the targets, and one that does not say keeps none of the others from it."""
    batches = Batches([Server({1: 5}, {1: 9}), object(), Server({2: 1}, {2: 1, 4: 2})])
    batches.look(150, PHASES)
    batches.look(250, PHASES)
    assert batches.executed() == [{"1": 4}, {}, {"4": 2}]
