"""Verdicts are right about as often as they should be: a quick look; the tables are made by `make verify`."""

import numpy as np
import pytest

from bench.evidence import estimators, simulated_comparisons, verdicts
from bench.evidence.simulated_comparisons import Called, comparisons, false_alarms, share
from bench.evidence.simulated_sides import SERVERS, Sides, queue, scattered
from bench.evidence.verdicts import Line

BY_NAME = {pairs.name: pairs for pairs in SERVERS}


def test_the_first_look_that_decides_is_what_is_called() -> None:
    """Nothing said before the tenth round, WORSE then and SAME at last: WORSE by 10 and by 20, and never the same."""
    called = Called(("UNKNOWN", "WORSE", "SAME"), 1.1)
    assert [called.by(rounds, "WORSE") for rounds in (5, 10, 20)] == [False, True, True]
    assert not called.by(20, "SAME")
    assert called.ever
    assert not Called(("UNKNOWN", "SAME", "SAME"), 1.0).ever


def test_scattered_rounds_scatter_as_they_are_said_to() -> None:
    """Of 4,000 rounds the P50s by 2.6 % and the P99s by 7 %, within a twentieth of it; the new side is 10 % longer."""
    sides = scattered(0.026, 0.07)(np.random.default_rng(1), 4000, 200, 1.1)
    for quantile, scatter in ((0.5, 0.026), (0.99, 0.07)):
        base, new = (np.log(np.quantile(side, quantile, axis=1)) for side in sides)
        assert base.std() == pytest.approx(scatter, rel=0.05)
        assert new.mean() - base.mean() == pytest.approx(np.log(1.1), abs=0.01)


def test_a_schedule_that_is_shared_leaves_less_to_tell_apart() -> None:
    """At load 0.8 the log ratio of a pair's mean latencies scatters less than half as much."""
    scatters = []
    for shared in (True, False):
        sides = queue(0.8, shared)(np.random.default_rng(1), 100, 500, 1.0)
        scatters.append(np.log(sides.new.mean(axis=1) / sides.base.mean(axis=1)).std())
    assert scatters[0] < scatters[1] / 2


def test_sides_that_are_alike_are_seldom_called_different() -> None:
    """60 comparisons of a server with itself at all three looks: at most six false calls; 20 % longer, nearly all are found."""
    pairs = BY_NAME["4 users, rounds differ by 3 %"]
    alike, longer = (comparisons(pairs.simulate, 100, factor, 60) for factor in (1.0, 1.2))
    assert false_alarms(alike) <= 0.1
    assert share(longer, "mean", 20, "WORSE") > 0.9
    assert share(longer, "P99", 20, "WORSE") > 0.9


def test_all_estimators_agree_where_rounds_differ_by_a_factor_alone() -> None:
    """Every estimator's interval holds a factor of 1.1, and those that resample pairs or hold them together have no width."""
    base = np.random.default_rng(1).permuted(np.tile(np.arange(1000, 1200), (6, 1)), axis=1)
    found = estimators.intervals(*Sides(base, 1.1 * base), np.random.default_rng(2))
    assert tuple(found) == estimators.NAMES
    for name, interval in found.items():
        assert interval.low <= np.log(1.1) + 1e-9
        assert interval.high >= np.log(1.1) - 1e-9
        if "Korn" not in name:
            assert interval.high - interval.low == pytest.approx(0, abs=1e-9)


def test_a_line_is_held_on_its_own_side_of_the_limit() -> None:
    """At most and at least are not taken for each other."""
    assert [Line("", seen, 0.05, "at most").held for seen in (0.0, 0.05, 0.06)] == [True, True, False]
    assert [Line("", seen, 0.95, "at least").held for seen in (0.94, 0.95, 1.0)] == [False, True, True]


def test_the_page_is_markdown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Every row of a table has as many cells as its head, and what was not held is said and ends with 1."""
    monkeypatch.setattr(verdicts, "SERVERS", (BY_NAME["closed loop, 4 users"],))
    monkeypatch.setattr(verdicts, "_COMPARED", ("closed loop, 4 users",))
    monkeypatch.setattr(verdicts, "SHAPES", ((4, 60),))
    monkeypatch.setattr(verdicts, "LONGER", (1.0, 1.2))
    monkeypatch.setattr(simulated_comparisons, "MOST_NEEDED", 4)
    monkeypatch.setattr(verdicts, "FALSE_ALARMS", -1.0)
    assert verdicts.main(["--replications", "2"]) == 1
    out = capsys.readouterr().out
    rows = [line.count("|") for line in out.splitlines() if line.startswith("|")]
    assert rows == [5] * 10 + [7] * 6 + [10] * 4 + [11] * 3
    assert "| **no** |" in out
