"""Two clients on one server: how their latencies are compared."""

import numpy as np
import pytest

from bench.analysis.measured import Measured, measure
from bench.errors import RunError
from bench.evidence import agreement
from bench.evidence.agreement import Row, rows
from bench.targets import CLIENTS, LEAN, OFFICIAL
from bench.testing import make_run


def rounds(factor: float = 1.0, lag_ms: float = 0.0, count: int = 4) -> list[Measured]:
    """Rounds with latencies that differ from round to round, each 500 requests."""
    made = []
    for n in range(count):
        latencies = np.random.default_rng(n).lognormal(2, 0.2, 500) * (1 + 0.02 * n) * factor
        made.append(measure(make_run(latencies, every_ms=20.0, lag_ms=lag_ms)))
    return made


def named(found: list[Row]) -> dict[tuple[str, str], Row]:
    return {(row.quantity, row.name): row for row in found}


def test_mean_and_quantiles_of_latency_and_service_are_compared() -> None:
    """Over each protocol; the same rounds are the same."""
    found = list(rows({"http": dict.fromkeys(CLIENTS, rounds()), "grpc": dict.fromkeys(CLIENTS, rounds())}))
    assert [row.protocol for row in found] == ["http"] * 6 + ["grpc"] * 6
    assert {(row.quantity, row.name) for row in found} == {
        (q, n) for q in ("latency", "service") for n in ("mean", "P50", "P99")
    }
    for row in found:
        assert row.overlap()
        assert row.lean == row.official
        assert row.ratio is not None
        assert row.ratio.low <= 1 <= row.ratio.high


def test_a_client_that_is_a_little_slower_in_every_pair_shows_in_the_ratio_and_not_in_the_intervals() -> None:
    """2 % more, where rounds differ by as much."""
    found = named(list(rows({"http": {LEAN: rounds(), OFFICIAL: rounds(1.02)}})))
    mean = found["latency", "mean"]
    assert mean.overlap()
    assert mean.ratio is not None
    assert 1 < mean.ratio.low <= 1.02 <= mean.ratio.high


def test_a_client_that_sees_something_else_does_not_agree() -> None:
    """Half as much again."""
    found = list(rows({"http": {LEAN: rounds(), OFFICIAL: rounds(1.5)}}))
    assert not any(row.overlap() for row in found)


def test_service_is_without_the_lag() -> None:
    """A client that sends 3 ms late has the longer latency, or so much less service in the same."""
    found = named(list(rows({"http": {LEAN: rounds(), OFFICIAL: rounds(lag_ms=3.0)}})))
    latency, service = found["latency", "mean"], found["service", "mean"]
    assert latency.official.value == latency.lean.value
    assert service.lean.value - service.official.value == pytest.approx(3.0)


def test_without_an_interval_nothing_is_held() -> None:
    """Two rounds have none."""
    found = list(rows({"http": dict.fromkeys(CLIENTS, rounds(count=2))}))
    assert found
    assert not any(row.overlap() for row in found)
    assert all(row.ratio is None for row in found)


def test_a_quantile_that_may_not_be_claimed_is_left_out() -> None:
    """Of 40 requests no P99."""
    few = [measure(make_run(np.full(20, 5.0)))] * 2
    assert {row.name for row in rows({"http": dict.fromkeys(CLIENTS, few)})} == {"mean", "P50"}


def test_a_round_with_failed_requests_is_no_evidence() -> None:
    """Its latencies are only of those that succeeded."""
    with pytest.raises(RunError, match=r"requests failed: .*timeout.: 1"):
        agreement._good(measure(make_run([5.0, 5.0], errors={1: "timeout"})))


def test_the_page_shows_both_the_difference_and_the_ratio() -> None:
    """And whether the intervals overlap."""
    *_, last = agreement.report("2.48.0", {"http": {LEAN: rounds(), OFFICIAL: rounds(1.5)}}, 4, 20.0)
    assert last.startswith("| HTTP | service | P99 | ")
    assert " ms | 1.500 [1." in last
    assert last.endswith("] | **no** |")
