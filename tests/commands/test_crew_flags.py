"""The flags that say which processes make the load."""

import argparse

import pytest

from bench import words
from bench.arrivals import Closed
from bench.commands import crew_flags
from bench.errors import UsageError
from bench.load import Crew
from bench.testing import make_workload


def crew(flags: str, target: str = "triton", users: int = 8) -> Crew:
    """The crew that these flags ask for."""
    parser = argparse.ArgumentParser(exit_on_error=False)
    crew_flags.add(parser)
    return crew_flags.crew(parser.parse_args(flags.split()), make_workload(load=Closed(users)), words.parse(target))


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("", Crew(1)),
        ("--workers 4", Crew(4)),
        ("--remote-workers 2", Crew(0, 2, "*", 5557)),
        ("--workers 3 --remote-workers 2 --bind 10.0.0.1:6000", Crew(3, 2, "10.0.0.1", 6000)),
        ("--remote-workers 1 --bind [::1]", Crew(0, 1, "::1", 5557)),
    ],
)
def test_the_flags_make_a_crew(flags: str, expected: Crew) -> None:
    """One process alone unless more are asked for; none here where others do it."""
    assert crew(flags) == expected


@pytest.mark.parametrize(
    ("flags", "target", "problem"),
    [
        ("--bind 1.2.3.4", "triton", "--bind goes with --remote-workers"),
        ("--workers 9", "triton", "9 workers cannot share 8 users: each needs one at least"),
        ("--workers 2", "echo://", "answered in virtual time"),
        ("--remote-workers 1", "onnx://cpu", "in the load process itself"),
    ],
)
def test_a_load_that_cannot_be_shared_so_is_refused(flags: str, target: str, problem: str) -> None:
    """Before anything is started."""
    with pytest.raises(UsageError, match=problem):
        crew(flags, target)


def test_a_model_in_process_may_be_in_several_processes_here() -> None:
    """Each has a session of its own."""
    assert crew("--workers 2", "onnx://cpu") == Crew(2)


@pytest.mark.parametrize("place", ["", ":80", "host:0", "host:x", "host:70000"])
def test_a_place_is_a_host_and_a_port(place: str) -> None:
    """The message says what was expected."""
    with pytest.raises(argparse.ArgumentTypeError, match="expected HOST:PORT"):
        crew_flags.place(place)
