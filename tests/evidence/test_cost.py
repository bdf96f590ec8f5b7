"""What clients cost: how it is measured, and what is said of it."""

import itertools
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench.errors import RunError
from bench.evidence import clients, cost, meter, trivial
from bench.evidence.clients import Case, Costs
from bench.evidence.cost import CASES, LARGE, OURS, PEER, SMALL
from bench.evidence.meter import Cost

HTTP = CASES[0]


@pytest.fixture
def busy() -> "Iterator[subprocess.Popen[bytes]]":
    """A process that uses all the CPU it gets."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        yield process
        process.kill()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is waited for longer than it takes."""
    monkeypatch.setattr(meter, "SETTLE_S", 0.01)
    monkeypatch.setattr(meter, "LIMIT_S", 0.2)


def counting() -> Callable[[], int]:
    """A server's count, which is ten higher whenever it is asked for."""
    return itertools.count(0, 10).__next__


@pytest.mark.usefixtures("quick")
def test_cpu_is_that_of_the_client_s_processes_for_each_request_between_two_moments(busy: Any) -> None:
    """Ten requests, and a client that computes; one that sleeps costs next to nothing."""
    found = meter.measure(busy.pid, counting(), lambda: "", 0.3)
    with subprocess.Popen(["sleep", "60"]) as asleep:
        idle = meter.measure(asleep.pid, counting(), lambda: "", 0.1)
        asleep.kill()
    assert found.requests == 10
    assert 0.3 <= found.seconds < 20
    assert found.rate_hz == 10 / found.seconds
    assert 0 < found.client_us <= found.seconds * 1e6 / 10 * 1.5
    assert idle.client_us < found.client_us


@pytest.mark.usefixtures("quick")
def test_a_client_that_ends_or_a_server_that_answers_nothing_is_no_measurement(busy: Any) -> None:
    """Each is told apart."""
    with pytest.raises(RunError, match="the client ended before it was measured: with 2"):
        meter.measure(busy.pid, lambda: 0, lambda: "with 2", 0.1)
    with pytest.raises(RunError, match=r"nothing was answered within 0\.2 s"):
        meter.measure(busy.pid, lambda: 0, lambda: "", 0.1)
    once = itertools.chain([0, 1], itertools.repeat(1))
    with pytest.raises(RunError, match=r"nothing was answered within 0\.1 s"):
        meter.measure(busy.pid, once.__next__, lambda: "", 0.1)


def program(folder: Path, text: str) -> str:
    """A stand-in for perf_analyzer."""
    path = folder / "perf_analyzer"
    path.write_text(f'#!/bin/sh\necho "$@" > {folder}/said\n{text}\n')
    path.chmod(0o755)
    return str(path)


@pytest.mark.usefixtures("quick")
def test_perf_analyzer_is_watched_while_it_runs_and_ended_with_all_that_it_started(tmp_path: Path) -> None:
    """Its own flags: the model, where it is, the protocol, the shape and the number of connections."""
    server: Any = SimpleNamespace(places={"http": "here:1"}, answered=counting())
    found = clients.perf_analyzer(program(tmp_path, f"sleep 60 & echo $! > {tmp_path}/child; wait"), HTTP, server, 0.1)
    assert found.cost.requests == 10
    assert found.engine_us is None
    said = (tmp_path / "said").read_text()
    assert f"-m {trivial.MODEL} -u here:1 -i http --shape x:16 --concurrency-range 8" in said
    child, limit = Path("/proc", (tmp_path / "child").read_text().strip(), "stat"), time.monotonic() + 20
    while child.exists() and child.read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < limit
        time.sleep(0.01)


@pytest.mark.usefixtures("quick")
def test_a_perf_analyzer_that_does_not_run_is_told_with_what_it_said(tmp_path: Path) -> None:
    """Nor one that is not there."""
    server: Any = SimpleNamespace(places={"http": "here:1"}, answered=lambda: 0)
    with pytest.raises(RunError, match="ended with 3: no such model"):
        clients.perf_analyzer(program(tmp_path, "echo no such model; exit 3"), HTTP, server, 0.1)
    with pytest.raises(RunError, match="missing: No such file"):
        clients.perf_analyzer(str(tmp_path / "missing"), HTTP, server, 0.1)


@pytest.mark.usefixtures("quick")
def test_a_load_that_fails_is_told_as_it_failed_and_nothing_goes_on_behind_it(busy: Any, tmp_path: Path) -> None:
    """The thread that watches is waited for; of a load that was never watched there is no cost."""
    server: Any = SimpleNamespace(answered=counting())
    watch = clients.Watch(server, 0.05)
    with pytest.raises(RunError, match="over before anything was measured"):
        watch.cost()
    before = threading.active_count()
    with pytest.raises(RunError, match="it died"), watch(tmp_path, {"load": busy.pid}):
        raise RunError("it died")
    assert threading.active_count() == before
    assert watch.cost().requests == 10


def costs(*us_and_rates: tuple[float, float]) -> list[Costs]:
    """Rounds with so many µs a request at such a rate."""
    return [Costs(Cost(round(rate), 1.0, us), us - 2) for us, rate in us_and_rates]


@pytest.mark.parametrize(
    ("floats", "ours", "held"),
    [
        (SMALL, (45, 1000), True),
        (SMALL, (46, 1000), False),
        (SMALL, (45, 999), False),
        (LARGE, (40, 1000), True),
        (LARGE, (41, 1000), False),
    ],
)
def test_a_case_is_held_by_the_median_of_the_rounds_ratios(floats: int, ours: tuple[float, float], held: bool) -> None:
    """One bad round of three does not count; less CPU at less throughput is not held."""
    case = Case("http", 8, floats)
    rounds = {OURS: costs(ours, (400, 10), ours), PEER: costs((100, 1000), (100, 1000), (100, 1000))}
    assert cost.held(case, rounds) is held


def test_each_round_is_compared_with_the_same_round() -> None:
    """What slows both sides of a round is in neither ratio."""
    rounds = {OURS: costs((10, 100), (40, 400)), PEER: costs((20, 100), (80, 400))}
    assert cost.against(rounds, OURS) == ([0.5, 0.5], [1.0, 1.0])
    assert cost.against(rounds, PEER) is None


def test_without_perf_analyzer_its_columns_are_left_out() -> None:
    """And nothing is held or not."""
    found = {HTTP: {OURS: costs((50, 3000))}}
    *_, titles, _, row = cost.report("2.48.0", found, 3.0)
    assert "perf_analyzer" not in titles
    assert row == "| HTTP, 64 B | 8 | bench | 50 [50, 50] | 48 | 3,000 [3,000, 3,000] |"
    assert cost.held(HTTP, found[HTTP]) is None


def test_a_row_shows_medians_and_spans_and_the_ratios() -> None:
    """bench's own row says whether it is held."""
    found = {HTTP: {OURS: costs((50, 3000), (40, 3100), (60, 2900)), PEER: costs((100, 3000), (100, 3000), (100, 3000))}}
    *_, ours, peer = cost.report("2.48.0", found, 3.0)
    assert ours == (
        "| HTTP, 64 B | 8 | bench | 50 [40, 60] | 48 | 3,000 [2,900, 3,100] | 0.50 [0.40, 0.60] | 1.00 [0.97, 1.03] | **no** |"
    )
    assert peer == "|  |  | perf_analyzer | 100 [100, 100] | 98 | 3,000 [3,000, 3,000] |  |  |  |"
    assert ours.count("|") == peer.count("|")


@pytest.mark.real
def test_bench_is_measured_on_a_real_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both protocols, its own client and NVIDIA's: the load process costs something, and its engine's thread a part of that."""
    monkeypatch.setattr(meter, "SETTLE_S", 0.2)
    monkeypatch.setattr(clients, "MARGIN_S", 0.7)
    with trivial.serving(lambda text: None) as server:
        for protocol, client in (("http", "lean"), ("grpc", "lean"), ("http", "tritonclient")):
            found = clients.bench(Case(protocol, 4, SMALL), server, 0.5, client)
            assert found.cost.requests > 0
            assert found.cost.client_us > 0
            assert (found.engine_us is not None) is (client == "lean")
        assert server.answered() > 0
