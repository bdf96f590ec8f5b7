"""A run in numbers, checked by hand."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.analysis.summary import Resource, SloResult, summarize
from bench.arrivals import Closed, Poisson, Rate
from bench.slo import Nanoseconds, Quantile, Share, Slo
from bench.testing import make_run, make_workload

MS = 1_000_000


def promise(latency_ms: float = 100, quantile: float = 0.99, **fields: Any) -> Any:
    """A workload that promises a latency, and allows half of the requests to fail."""
    slo = Slo(latency_ns=Nanoseconds(latency_ms * MS), quantile=Quantile(quantile), error_rate=Share(0.5))
    return make_workload(slo=slo, **fields)


def test_latency_runs_from_the_intended_send_service_from_the_real_one() -> None:
    """Sends 3 ms late, answered 20 ms after they were meant: latency 20, service 17, lag 3."""
    s = summarize(make_run([20.0] * 10, every_ms=50, lag_ms=3.0))
    assert [d.mean and d.mean.value for d in (s.latency, s.service, s.lag)] == pytest.approx([20, 17, 3])
    assert [d.at(0.5).estimate and d.at(0.5).estimate.value for d in (s.latency, s.service, s.lag)] == pytest.approx(
        [20, 17, 3]
    )


def test_failed_requests_are_counted_and_have_no_latency() -> None:
    """Two of ten fail, having taken 900 ms: the mean is of the other eight, throughput counts eight in 1.88 s."""
    s = summarize(make_run([10.0] * 8 + [900.0] * 2, errors={8: "timeout", 9: "status"}))
    assert (s.requests, s.errors, s.error_rate) == (10, {"timeout": 1, "status": 1}, 0.2)
    assert (s.latency.count, s.latency.maximum) == (8, 10.0)
    assert s.throughput.value == pytest.approx(8 / 1.88)


def test_only_requests_meant_for_the_window_are_measured() -> None:
    """Of sends at 0, 10, 20, ... ms a window of [20, 50) has three, those of 20, 30 and 40."""
    s = summarize(make_run(np.arange(1.0, 11.0), every_ms=10, window_ms=(20, 50)))
    assert (s.requests, s.latency.minimum, s.latency.maximum, s.window_s) == (3, 3.0, 5.0, 0.03)


def test_throughput_counts_the_replies_of_the_window_whenever_they_were_sent() -> None:
    """Replies at 10, 20, ..., 100 ms: one at the very end of a window belongs to it, one at its very beginning does not."""
    for window_ms, replies in (((45, 100), 6), ((50, 95), 4)):
        s = summarize(make_run([10.0] * 10, window_ms=window_ms))
        assert s.throughput.value == pytest.approx(replies / s.window_s)


def test_records_out_of_order_are_put_in_the_order_of_completion() -> None:
    """Two load processes' files one after the other say the same as merged, so that blocks are stretches of time."""
    rng = np.random.default_rng(4)
    run = make_run(rng.gamma(4.0, 5.0, 2000), every_ms=5)
    apart = replace(run, records=np.concatenate([run.records[::2], run.records[1::2]]))
    assert summarize(apart) == summarize(run)


def test_mean_and_peak_are_of_the_window() -> None:
    """Samples before and after the window are left out: 40 and 60 make a mean of 50 and a peak of 60."""
    points = [(0, 100.0), (100, 40.0), (150, 60.0), (200, 100.0)]
    s = summarize(make_run([10.0] * 20, window_ms=(100, 200), samples={("gpu0", "utilization"): points}))
    assert s.resources == (Resource("gpu0", "utilization", 50.0, 60.0, "%", 2),)


def test_the_mean_power_comes_from_the_energy_counter() -> None:
    """300 J in 2 s are 150 W, whatever the three samples of the power happened to see."""
    samples = {
        ("gpu0", "power_w"): [(0, 70.0), (1000, 300.0), (2000, 90.0)],
        ("gpu0", "energy_j"): [(0, 5000.0), (1000, 5100.0), (2000, 5300.0)],
    }
    s = summarize(make_run([10.0] * 300, samples=samples))
    assert s.resources == (Resource("gpu0", "power_w", 150.0, 300.0, "W", 3),)


def test_without_an_energy_counter_the_samples_of_the_power_make_the_mean() -> None:
    """One reading of the counter has no difference either."""
    samples = {("gpu0", "power_w"): [(0, 100.0), (100, 200.0)], ("gpu0", "energy_j"): [(0, 5000.0)]}
    assert summarize(make_run([10.0] * 20, samples=samples)).resources[0].mean == 150.0


def test_every_device_is_reported_in_its_unit() -> None:
    """Host, process trees and GPUs, each with the unit of its metric."""
    samples = {
        ("server", "cpu_utilization"): [(1, 5.0)],
        ("server", "memory_bytes"): [(1, 7.0)],
        ("load", "cpu_utilization"): [(1, 1.0)],
    }
    found = summarize(make_run([10.0], samples=samples)).resources
    assert [(r.device, r.unit) for r in found] == [("load", "%"), ("server", "%"), ("server", "bytes")]


@pytest.mark.parametrize(
    ("over", "result"),
    [
        (0, SloResult("P99 latency", 100.0, 10.0, "ms", True)),
        (1, SloResult("P99 latency", 100.0, 10.0, "ms", True)),  # 662 requests show it
        (2, SloResult("P99 latency", 100.0, 10.0, "ms", None, 838)),
        (7, SloResult("P99 latency", 100.0, 10.0, "ms", None, 1596)),
        (8, SloResult("P99 latency", 100.0, 200.0, "ms", False)),  # the 693rd of 700 is over
    ],
)
def test_a_promise_is_met_where_so_few_over_it_show_it_and_missed_where_the_quantile_is_over(
    over: int, result: SloResult
) -> None:
    """700 requests, some over 100 ms: LoadGen's counts for 0 to 7 over at 99 % are 459, 662, 838, ..., 1,596."""
    run = make_run([10.0] * (700 - over) + [200.0] * over, workload=promise())
    assert summarize(run).slo[0] == result


def test_a_promise_of_a_quantile_without_a_claim_is_neither_met_nor_missed() -> None:
    """458 requests show no P99, however slow they were."""
    assert summarize(make_run([500.0] * 458, workload=promise())).slo[0] == SloResult(
        "P99 latency", 100.0, None, "ms", None, 459
    )


def test_a_request_that_timed_out_is_over_the_promised_latency() -> None:
    """693 requests of 10 ms and 7 that never came keep a P99 in doubt; 8 that never came break it."""
    for timeouts, met in ((7, None), (8, False)):
        kinds = dict.fromkeys(range(timeouts), "timeout")
        assert summarize(make_run([10.0] * 700, errors=kinds, workload=promise())).slo[0].met is met


def test_a_promised_quantile_of_its_own_is_among_those_shown() -> None:
    """A promise about the P97.5 shows it in every distribution."""
    s = summarize(make_run(np.arange(1.0, 401.0), workload=promise(quantile=0.975)))
    assert [c.quantile for c in s.lag.quantiles] == [0.5, 0.9, 0.95, 0.975, 0.99, 0.999]
    claim = s.latency.at(0.975).estimate
    assert claim is not None
    assert claim.value == pytest.approx(390)
    assert s.slo[0].name == "P97.5 latency"


def test_the_error_rate_is_held_to_its_promise() -> None:
    """Exactly the bound is met."""
    for failed, met in ((50, True), (51, False)):
        s = summarize(make_run([10.0] * 100, errors=dict.fromkeys(range(failed), "closed"), workload=promise()))
        assert s.slo[-1] == SloResult("error rate", 0.5, failed / 100, "share", met)


@pytest.mark.parametrize(
    ("load", "words"),
    [
        (Closed(1), "1 user, closed loop"),
        (Closed(4), "4 users, closed loop"),
        (Poisson(rate_hz=Rate(20)), "Poisson 20/s over 64 connections"),
        (Poisson(rate_hz=Rate(0.5), users=1), "Poisson 0.5/s over 1 connection"),
    ],
)
def test_the_load_is_said_in_words(load: Any, words: str) -> None:
    """The words that stand in every report."""
    assert summarize(make_run([1.0], workload=make_workload(load=load))).load == words


def test_a_run_without_requests_has_a_summary() -> None:
    """All that can be said is that nothing can be said, without an exception."""
    s = summarize(make_run([]))
    assert (s.valid, s.requests, s.throughput.value, s.latency.mean, s.error_rate) == (False, 0, 0.0, None, 0.0)


def test_the_target_is_called_as_it_was_asked_for() -> None:
    """A server started for the run is known by the word that asked for it, not by the port it got."""
    assert summarize(make_run([1.0], target={"asked": "triton", "word": "triton-http://127.0.0.1:4711"})).target == "triton"
    assert summarize(make_run([1.0], target={})).target == ""


@given(st.integers(0, 2**32 - 1))
def test_a_summary_is_the_same_every_time(seed: int) -> None:
    """Nothing in it is drawn by chance: a report made later shows the same numbers."""
    run = make_run(np.random.default_rng(seed).gamma(4.0, 5.0, 500))
    assert summarize(run) == summarize(run)


@pytest.mark.parametrize(
    ("load", "words"),
    [
        ({"users": 4, "steady": True}, "4 users of mine.py (Locust 2.47.0)"),
        ({"users": 1, "steady": False}, "up to 1 user of mine.py (Locust 2.47.0)"),
        ({}, "users of mine.py (Locust 2.47.0)"),
    ],
)
def test_a_load_that_the_users_own_locust_file_made_is_said_to_be_its(load: dict[str, Any], words: str) -> None:
    """And not the one that the workload names; of a run that died nobody has counted the users."""
    workload = make_workload(every_ms=10)
    assert summarize(make_run([1.0], workload=workload, load={"driver": "mine.py (Locust 2.47.0)"} | load)).load == words
