"""The intervals hold the truth about as often as they say: a quick look; the tables are made by `make verify`."""

import numpy as np
import pytest

from bench.evidence import calibration, calibration_streams
from bench.evidence.calibration import NAMES, SCENARIOS, Scenario

BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}


@pytest.mark.parametrize("scenario", [BY_NAME["M/M/1, load 0.5"], BY_NAME["closed loop, 4 users"]], ids=lambda s: s.name)
def test_intervals_over_rounds_hold_the_truth(scenario: Scenario) -> None:
    """Nominal 95 % intervals over 10 rounds hold the truth in at least 80 % of 60 trials, whatever they are of."""
    known = scenario if scenario.truth else _with_truth(scenario)
    tally = calibration.over_rounds(known, 10, 150, 60)
    assert {name: tally.coverage(name) for name in NAMES if tally.coverage(name) < 0.8} == {}


def test_requests_of_a_queue_are_not_taken_for_independent() -> None:
    """A run of 700 at load 0.8 is too short for blocks: in nearly all of 60 trials no interval is given at all."""
    tally = calibration.within_run(BY_NAME["M/M/1, load 0.8"], 700, 60)
    assert tally.share_given("mean") < 0.2
    assert tally.share_wrong("P99") < 0.2


def test_intervals_within_a_long_run_hold_the_truth() -> None:
    """Blocks of 20,000 requests at load 0.5: at least 80 % of 60 trials, where independent requests would give 58 %."""
    tally = calibration.within_run(BY_NAME["M/M/1, load 0.5"], 20_000, 60)
    assert tally.share_given("P99") == 1.0
    assert {name: tally.coverage(name) for name in NAMES if tally.coverage(name) < 0.8} == {}


def test_the_simulated_queue_is_an_m_m_1() -> None:
    """Mean and P99 of 400,000 simulated sojourn times at load 0.5 are those of the formula, within 3 %."""
    scenario = BY_NAME["M/M/1, load 0.5"]
    assert scenario.truth is not None
    latency = scenario.simulate(np.random.default_rng(3), 40, 10_000, 1.0).latency_ns
    assert latency.mean() == pytest.approx(scenario.truth.mean, rel=0.03)
    assert np.quantile(latency, 0.99) == pytest.approx(scenario.truth.quantiles[1], rel=0.03)


def test_the_tables_are_markdown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Every row of a table has as many cells as its head."""
    monkeypatch.setattr(calibration, "SCENARIOS", (BY_NAME["M/M/1, load 0.5"],))
    monkeypatch.setattr(calibration, "RUNS", (700,))
    monkeypatch.setattr(calibration, "ROUNDS", ((6, 120),))
    monkeypatch.setattr(calibration, "LONGER", 1.0)
    monkeypatch.setattr(calibration_streams, "SCENARIOS", calibration_streams.SCENARIOS[:1])
    monkeypatch.setattr(calibration_streams, "ROUNDS", ((3, 8),))
    monkeypatch.setattr(calibration_streams, "RUNS", (20,))
    monkeypatch.setattr(calibration_streams, "TRUTH", 200)
    calibration.main(["--replications", "2"])
    rows = [line.count("|") for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert rows == [7] * 3 + [11] * 3 + [6] * 3 + [11] * 3 + [13] * 3


@pytest.mark.parametrize("scenario", [calibration_streams.SCENARIOS[0], calibration_streams.SCENARIOS[2]], ids=lambda s: s.name)
def test_intervals_of_streams_hold_the_truth(scenario: calibration_streams.Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of TTFT, gaps, TPOT and tokens a second over 6 rounds: in at least 80 % of 60 trials."""
    monkeypatch.setattr(calibration_streams, "TRUTH", 4000)
    tally = calibration_streams.over_rounds(scenario, 6, 10, 60)
    assert {name: tally.coverage(name) for name in calibration_streams.NAMES if tally.coverage(name) < 0.8} == {}


def test_the_simulated_server_keeps_to_its_slots() -> None:
    """One at a time decodes in 48 ms a token; eight at once take 121 ms and come to more than twice the tokens."""
    one, eight = (calibration_streams.simulate(s, np.random.default_rng(1), 60) for s in calibration_streams.SCENARIOS[:2])
    assert np.median(one.streams.gaps_ns) / 1e6 == pytest.approx(48.4, rel=0.05)
    assert np.median(eight.streams.gaps_ns) / 1e6 == pytest.approx(121.2, rel=0.05)
    rates = [len(r.tokens_ns) / (r.window_ns[1] - r.window_ns[0]) for r in (one, eight)]
    assert rates[1] > 2 * rates[0]


def _with_truth(scenario: Scenario) -> Scenario:
    """The same scenario with a truth from 0.4 million requests, which is quicker and good enough here."""
    rounds = scenario.simulate(np.random.default_rng(0), 40, 10_000, 1.0)
    rate = rounds.latency_ns.size / (rounds.completed_ns[:, -1].sum() / 1e9)
    truth = calibration.Truth(
        float(rounds.latency_ns.mean()), tuple(np.quantile(rounds.latency_ns, calibration.QUANTILES)), rate
    )
    return Scenario(scenario.name, scenario.simulate, truth)
