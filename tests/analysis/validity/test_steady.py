"""Whether the server was in one state throughout."""

from typing import Any

import numpy as np
import pytest

from bench.analysis.validity import validity
from bench.arrivals import Gamma, Ramp, Rate, Stage, Step, Steps, Trace
from bench.record import Run
from bench.slo import Nanoseconds
from bench.testing import make_run, make_workload


def reasons(run: Run) -> list[str]:
    return [r.code for r in validity(run)[0]]


def warnings(run: Run) -> list[str]:
    return [w.code for w in validity(run)[1]]


def test_latencies_that_fall_through_the_window_are_warned_of() -> None:
    """40 ms falling to 10 ms; the last third is 20 ms below the first of 35."""
    run = make_run(np.linspace(40, 10, 300))
    assert (reasons(run), warnings(run)) == ([], ["trend"])
    assert "fell by 57%" in validity(run)[1][0].message


def test_a_warm_up_that_leaked_into_the_window_makes_a_run_invalid() -> None:
    """The same fall over 600 requests, which queueing alone does not bring about; a rise is a warning, however steep."""
    run = make_run(np.linspace(40, 10, 600))
    assert (reasons(run), warnings(run)) == (["warm_up"], [])
    assert "fell by 57%" in validity(run)[0][0].message
    rising = make_run(np.linspace(10, 40, 600))
    assert (reasons(rising), warnings(rising)) == ([], ["trend"])


def test_a_fall_of_less_than_a_fifth_is_only_warned_of() -> None:
    """20 ms falling to 17 ms: seen for certain, and too little to spoil the run."""
    run = make_run(np.linspace(20, 17, 600))
    assert (reasons(run), warnings(run)) == ([], ["trend"])


def test_noise_and_a_small_change_are_no_trend() -> None:
    """Noise of 30 % around a steady state and a drift of 5 % are let be."""
    rng = np.random.default_rng(2)
    assert warnings(make_run(20 * rng.gamma(10, 0.1, 300))) == []
    assert warnings(make_run(np.linspace(20, 21, 300))) == []


def test_one_stall_is_no_trend() -> None:
    """Half a second once in the first third moves its mean, not the state of the server."""
    assert warnings(make_run([20.0] * 30 + [500.0] * 5 + [20.0] * 265)) == []


STEPS = Steps((Step(1, Nanoseconds(10**9)), Step(4, Nanoseconds(10**9))))
RAMP = Ramp(rate_hz=Rate(10.0), stages=(Stage(Rate(100.0), Nanoseconds(10**10)),))


@pytest.mark.parametrize("load", [STEPS, RAMP, Trace("offsets.csv")], ids=["steps", "ramp", "trace"])
def test_a_load_that_is_meant_to_change_may_change_the_latencies(load: Any) -> None:
    """Nobody expects one latency of it; the report shows them step by step."""
    falling = make_run(np.linspace(40, 10, 600), workload=make_workload(load=load))
    assert (reasons(falling), warnings(falling)) == ([], [])


def test_bursts_are_no_excuse_for_a_warm_up() -> None:
    """A gamma schedule's rate is the same throughout."""
    run = make_run(np.linspace(40, 10, 600), workload=make_workload(load=Gamma(rate_hz=Rate(40.0), burstiness=0.5)))
    assert reasons(run) == ["warm_up"]


@pytest.mark.parametrize("steady", [True, False])
def test_a_locust_file_whose_users_stayed_the_same_is_a_steady_load(steady: bool) -> None:
    """Whatever the workload's own load is, which was not carried out."""
    load = {"driver": "mine.py (Locust 2.47.0)", "steady": steady}
    run = make_run(np.linspace(40, 10, 600), workload=make_workload(load=STEPS), load=load)
    assert reasons(run) == (["warm_up"] if steady else [])
