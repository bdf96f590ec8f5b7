"""The flags that override a workload file."""

import argparse
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench.arrivals import Closed, Constant, Gamma, Load, Poisson, Ramp, Rate, Stage, Step, Steps, Trace
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


STEPS = Steps((Step(4, Nanoseconds(10 * S)), Step(8, Nanoseconds(5 * S))))
RAMP = Ramp(Rate(10.0), (Stage(Rate(50.0), Nanoseconds(30 * S)),))


@pytest.mark.parametrize(
    ("load", "words", "expected", "duration_ns"),
    [
        (CLOSED, "--arrivals gamma --rate 5/s --burstiness 0.5", Gamma(Rate(5.0), 64, 0.5), None),
        (Gamma(Rate(5.0), 7, 0.5), "--rate 9/s", Gamma(Rate(9.0), 7, 0.5), None),
        (Gamma(Rate(5.0), 7, 0.5), "--arrivals poisson", POISSON, None),
        (POISSON, "--steps 4:10s,8:5s", STEPS, 15 * S),
        (CLOSED, "--ramp 10/s,50/s:30s", RAMP, 30 * S),
        (RAMP, "--users 9", msgspec.structs.replace(RAMP, users=9), 30 * S),
        (STEPS, "--arrivals closed --users 3", Closed(3), None),
    ],
)
def test_flags_ask_for_loads_that_change(load: Load, words: str, expected: Load, duration_ns: int | None) -> None:
    """Steps and ramps last as long as their parts."""
    workload = make_workload(load=load)
    wanted = msgspec.structs.replace(workload, load=expected, duration_ns=Nanoseconds(duration_ns or workload.duration_ns))
    assert overridden(workload, words) == wanted


def test_a_trace_is_found_and_known_by_its_sha256(tmp_path: Path) -> None:
    """Its speed and connections come with it."""
    (tmp_path / "t.csv").write_text("0\n0.5\n4\n")
    workload = overridden(make_workload(), f"--trace {tmp_path}/t.csv --speed 2 --users 3 --warmup 1s")
    assert isinstance(workload.load, Trace)
    assert (workload.load.file, workload.load.speed, workload.load.users) == (f"{tmp_path}/t.csv", 2.0, 3)
    assert len(workload.load.sha256) == 64
    with pytest.raises(UsageError, match="lasts 2 s, and the warm-up 3s"):
        overridden(make_workload(), f"--trace {tmp_path}/t.csv --speed 2 --warmup 3s")


@pytest.mark.parametrize(
    ("load", "words", "message"),
    [
        (CLOSED, "--steps 4:10s --rate 5/s", "--steps and --rate contradict each other"),
        (CLOSED, "--steps 4:10s --ramp 1/s,2/s:3s", "--steps and --ramp contradict each other"),
        (CLOSED, "--burstiness 0.5 --rate 5/s", "--burstiness goes with --arrivals gamma"),
        (CLOSED, "--speed 2", "--speed goes with --trace"),
        (CLOSED, "--ramp 1/s,2/s:3s --duration 9s", "last as long as their parts do"),
        (STEPS, "--users 3", "--users and load.steps contradict each other"),
        (CLOSED, "--trace nowhere.csv", "nowhere.csv: cannot be read: No such file"),
    ],
)
def test_loads_that_contradict_each_other_are_refused(load: Load, words: str, message: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(UsageError, match=re.escape(message)):
        overridden(make_workload(load=load), words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--steps 4", "expected users and how long for each step, such as 4:10s,8:10s, got '4'"),
        ("--steps 0:10s", "expected a whole number above 0, got '0'"),
        ("--steps 4:0s", "expected a duration above 0, got '0s'"),
        ("--ramp 10/s", "expected a rate, then rates with how long it takes to go there"),
        ("--ramp 10/s,20/s", "expected a rate, then rates with how long it takes to go there"),
        ("--burstiness -1", "expected a number above 0"),
        ("--speed nan", "expected a number above 0, got 'nan'"),
    ],
)
def test_a_value_that_cannot_be_read_is_refused_with_what_was_expected(words: str, message: str) -> None:
    """By the parser, which names the flag."""
    with pytest.raises(argparse.ArgumentError, match=re.escape(message)):
        overridden(make_workload(), words)
