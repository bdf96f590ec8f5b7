"""What is reported against what was true."""

import argparse
import contextlib
from pathlib import Path

import numpy as np
import pytest

from bench import errors
from bench.commands import selfcheck as command
from bench.errors import RunError
from bench.evidence import peers, selfcheck, timer_loop
from bench.evidence.selfcheck import MS, Lag, Row, Scenario
from bench.evidence.truth import Script
from bench.terminal import Terminal

SMALL = Scenario("small", Script(MS), 200, 1, 0.01, (0.5, 0.99))


def test_what_a_run_reports_is_near_what_the_server_saw() -> None:
    """A real run of a second: every request is in the server's book, and none is reported sooner than it was answered."""
    row = selfcheck.accuracy(SMALL, "http")
    assert len(row.truth_ns) == len(row.reported_ns) > 100
    assert np.all(row.reported_ns >= row.truth_ns)
    assert np.median(row.truth_ns) >= MS


def times(*ms: float) -> np.ndarray:
    return np.array([round(t * MS) for t in ms], np.int64)


@pytest.mark.parametrize(
    ("truth_ms", "reported_ms", "held"),
    [(10, 10.09, True), (10, 10.11, False), (1, 1.049, True), (1, 1.06, False), (10, 9.8, False)],
)
def test_a_quantile_is_held_within_a_percent_or_fifty_microseconds(truth_ms: float, reported_ms: float, held: bool) -> None:
    """Whichever is larger."""
    assert Row(SMALL, "http", times(truth_ms), times(reported_ms)).held() is held


def test_a_quantile_that_nothing_is_asked_of_may_be_anything() -> None:
    """The stall is held by its P99 alone."""
    truth, reported = times(*[1] * 50, *[1000] * 50), times(*[3] * 50, *[1001] * 50)
    assert Row(selfcheck.stall(), "http", truth, reported).held()
    assert not Row(SMALL, "http", truth, reported).held()


@pytest.mark.parametrize(("median_us", "worst_us", "held"), [(90, 390, True), (110, 390, False), (90, 410, False)])
def test_lag_is_held_to_the_machine_s_own(median_us: int, worst_us: int, held: bool) -> None:
    """A median of at most 100 µs; a P99 of at most twice that of the bare loop, here 200 µs."""
    ours = np.array([median_us] * 98 + [worst_us] * 2) * 1000
    bare = np.array([40] * 98 + [200] * 2) * 1000
    assert Lag("http", ours, bare, 50.0).held() is held


def test_the_bare_loop_wakes_as_often_as_asked_and_never_early() -> None:
    """Each wake has its lateness."""
    late = timer_loop.in_its_own_process(1000, 0.05)
    assert len(late) == 50
    assert np.all(late >= 0)


def test_the_command_prints_the_tables_and_writes_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """And ends with 1 when something was not held."""
    good = Row(SMALL, "http", times(10, 10), times(10.01, 10.01))
    bad = Row(SMALL, "http", times(10, 10), times(11, 11))
    late = Lag("http", np.full(10, 50_000), np.full(10, 40_000), 55.0)
    monkeypatch.setattr(selfcheck, "lag", lambda *_: late)
    for row, code in ((good, errors.OK), (bad, errors.FAILED)):
        monkeypatch.setattr(selfcheck, "accuracy", lambda *_, row=row: row)
        said: list[str] = []
        parser = argparse.ArgumentParser()
        command.arguments(parser)
        args = parser.parse_args(["--output", str(tmp_path / "out.md")])
        assert command.run(args, said.append, Terminal()) == code
        assert "| small | http | 2 | true | 10.000 |" in said[0]
        assert "| http | 10 | bench | 50 | 50 | 50 | 55 | yes |" in said[0]
        assert (tmp_path / "out.md").read_text() == said[0] + "\n"


def test_stock_locust_is_asked_for_what_it_reports_itself() -> None:
    """A real one, for two seconds, or for longer where this machine is so busy that hardly a request is made in those."""
    count, p99_ms = 0, 0.0
    for seconds in (2, 20, 100):
        with contextlib.suppress(RunError):
            count, p99_ms = peers.locust_p99_ms(Scenario("short", Script(MS), 40, seconds, 0.01, ()))
        if count > 20:
            break
    assert count > 20
    assert p99_ms >= 1


def test_a_stock_locust_that_made_no_request_has_nothing_to_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its CSV says N/A."""

    def idle(command: list[str]) -> str:
        prefix = command[command.index("--csv") + 1]
        return str(Path(f"{prefix}_stats.csv").write_text("Name,Request Count,99%\nAggregated,0,N/A\n"))

    monkeypatch.setattr(peers, "_said", idle)
    with pytest.raises(RunError, match="stock Locust: made no request within 2s"):
        peers.locust_p99_ms(Scenario("idle", Script(MS), 40, 2, 0.01, ()))
