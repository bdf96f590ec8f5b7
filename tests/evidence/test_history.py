"""A history is read rightly about as often as the page says: a quick look; the page is made by `make verify`."""

import numpy as np
import pytest

from bench.evidence import history
from bench.evidence.history import Series


@pytest.mark.parametrize("autocorrelation", [0.0, 0.3])
def test_a_change_is_seldom_seen_where_there_is_none(autocorrelation: float) -> None:
    """20 runs that scatter by 7 %: in at most 18 of 150 series, where 5 % would be 8."""
    assert history.seen(Series(0.07, autocorrelation, 0.0), 150)[0] <= 0.12


def test_a_step_of_a_tenth_is_nearly_always_seen() -> None:
    """In the middle of 20 runs that scatter by 2.6 %: in at least 95 of 100 series."""
    assert history.seen(Series(0.026, 0.0, 0.1), 100)[0] >= 0.95


def test_a_run_is_seldom_called_what_it_is_not_and_a_slow_one_is_found() -> None:
    """20 runs that scatter by 2.6 %; 300 and 100 trials."""
    quiet = history.judged(Series(0.026, 0.0, 0.0), 0.05, 300)
    assert quiet["WORSE"] + quiet["BETTER"] <= 0.06
    assert history.judged(Series(0.026, 0.0, 0.2), 0.05, 100)["WORSE"] >= 0.95


def test_the_series_scatters_and_depends_as_it_says() -> None:
    """Of 40,000 values."""
    logs = np.log(Series(0.07, 0.3, 0.0).draw(np.random.default_rng(1), 40_000, 0))
    assert logs.std() == pytest.approx(0.07, rel=0.03)
    assert np.corrcoef(logs[1:], logs[:-1])[0, 1] == pytest.approx(0.3, abs=0.03)


def test_the_page_says_what_was_not_held(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1, and "no" beside the row."""
    assert history.main(["--replications", "3"]) == 0
    monkeypatch.setattr(history, "level_starts", lambda values: [0])
    assert history.main(["--replications", "3"]) == 1
    assert "**no**" in capsys.readouterr().out
