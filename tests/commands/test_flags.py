"""The flags that override a workload file."""

import argparse
from typing import Any

import msgspec
import pytest

from bench.arrivals import Closed, Constant, Load, Poisson, Rate
from bench.commands import flags
from bench.errors import UsageError
from bench.slo import Nanoseconds, Quantile, Share, Slo
from bench.testing import make_workload
from bench.workload import Workload

S = 10**9


def overridden(workload: Workload, words: str) -> Workload:
    """The workload as these flags want it."""
    parser = argparse.ArgumentParser(exit_on_error=False)
    flags.add_load(parser)
    return flags.override(workload, parser.parse_args(words.split()))


CLOSED, CONSTANT, POISSON = Closed(3), Constant(Rate(5.0), users=7), Poisson(Rate(5.0), users=7)


@pytest.mark.parametrize(
    ("load", "words", "expected"),
    [
        (CLOSED, "", CLOSED),
        (CLOSED, "--users 9", Closed(9)),
        (CLOSED, "--rate 20/s", Poisson(Rate(20.0), users=64)),
        (CLOSED, "--rate 20/s --users 9", Poisson(Rate(20.0), users=9)),
        (CLOSED, "--rate 90/min --arrivals constant", Constant(Rate(1.5), users=64)),
        (CLOSED, "--arrivals closed", CLOSED),
        (CONSTANT, "--users 9", Constant(Rate(5.0), users=9)),
        (CONSTANT, "--rate 20/s", Constant(Rate(20.0), users=7)),
        (CONSTANT, "--arrivals poisson", POISSON),
        (POISSON, "--arrivals constant --rate 20/s", Constant(Rate(20.0), users=7)),
        (POISSON, "--arrivals closed", Closed(1)),
        (POISSON, "--arrivals closed --users 9", Closed(9)),
    ],
)
def test_flags_change_of_the_load_what_they_name_and_leave_the_rest(load: Load, words: str, expected: Load) -> None:
    """A rate makes a closed loop an open one; a schedule keeps its kind and its connections."""
    workload = make_workload(load=load)
    assert overridden(workload, words) == msgspec.structs.replace(workload, load=expected)


@pytest.mark.parametrize(
    ("words", "field", "value"),
    [
        ("--duration 1.5s", "duration_ns", 3 * S // 2),
        ("--requests 50", "requests", 50),
        ("--warmup 0s", "warmup_ns", 0),
        ("--timeout 250ms", "timeout_ns", S // 4),
        ("--seed 0", "seed", 0),
        ("--slo p95<5ms,errors<2%", "slo", Slo(Nanoseconds(S // 200), Quantile(0.95), Share(0.02))),
    ],
)
def test_a_flag_replaces_its_field_alone(words: str, field: str, value: Any) -> None:
    """Zero is a value, not the absence of one."""
    workload = make_workload()
    assert overridden(workload, words) == msgspec.structs.replace(workload, **{field: value})


def test_a_duration_ends_a_window_that_the_file_ends_by_a_count() -> None:
    """`--duration 5s` means five seconds, whatever the file says."""
    workload = overridden(make_workload(requests=10), "--duration 5s")
    assert (workload.duration_ns, workload.requests) == (5 * S, None)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--rate 20/s --arrivals closed", "a closed loop has users, not a rate"),
        ("--arrivals constant", "--arrivals constant needs --rate"),
        ("--duration 5s --requests 10", "--duration and --requests contradict each other"),
        ("--slo p99<1s,itl<1s", "--slo: itl: only a workload that generates"),
    ],
)
def test_flags_that_contradict_each_other_are_refused(words: str, message: str) -> None:
    """None of the two is dropped in silence."""
    with pytest.raises(UsageError, match=message):
        overridden(make_workload(), words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--users 0", "expected a whole number above 0, got '0'"),
        ("--users -1", "expected a whole number above 0, got '-1'"),
        ("--requests 1.5", "expected a whole number above 0, got '1.5'"),
        ("--requests ²", "expected a whole number above 0, got '²'"),
        ("--seed -1", "expected a whole number from 0 up, got '-1'"),
        ("--duration 0s", "expected a duration above 0, got '0s'"),
        ("--timeout 0ms", "expected a duration above 0, got '0ms'"),
        ("--duration 5", "expected a duration such as"),
        ("--rate 0/s", "expected a rate"),
        ("--slo fast", "expected an SLO such as"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_with_what_would(words: str, message: str) -> None:
    """The message shows the value and its form."""
    with pytest.raises(argparse.ArgumentError, match=message):
        overridden(make_workload(), words)
