"""Rounds of two sides in turn, each by a load process of its own that is kept, with one that samples."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from bench import runner, words
from bench.arrivals import Closed
from bench.clock import SystemClock
from bench.commands.run import kept_drivers
from bench.endpoint import Endpoint
from bench.load import Crew
from bench.load.inline import InlineLoad
from bench.slo import Nanoseconds
from bench.testing import FakeClock, make_workload


def test_each_round_of_each_side_is_a_run_of_its_own(serve: Any, flask_like: Any, tmp_path: Path) -> None:
    """In the order A B B A: records, samples and events are this round's alone, and a side has one process throughout."""
    servers = [serve(flask_like), serve(flask_like)]
    targets = [words.parse("flask://{}:{}".format(*server.address)) for server in servers]
    workload = make_workload(warmup_ns=Nanoseconds(0), duration_ns=Nanoseconds(250_000_000), load=Closed(2))
    pids: list[set[int | None]] = [set(), set()]
    windows = []
    with kept_drivers(targets, Crew(), lambda line: None) as sides:
        for n, which in enumerate((0, 1, 1, 0)):
            load, clock, sampler = sides[which]
            folder = tmp_path / str(n)
            folder.mkdir()
            endpoint = Endpoint(targets[which], targets[which], "Flask")
            run = runner.execute(workload, endpoint, folder, load=load, clock=clock, environment={}, sampler=sampler)
            pids[which].add(load.pid)
            seen = sorted(request.id for request in servers[which].requests if request.path == "/predict")
            servers[which].requests.clear()
            assert sorted(run.records["id"]) == seen == list(range(run.load["sent"]))
            assert not servers[1 - which].requests
            assert run.status == "complete"
            assert [event.name for event in run.events] == ["started", "finished"]
            assert set(pq.read_table(folder / "samples.parquet")["device"].to_pylist()) >= {"host", "load"}
            windows.append(run.window_ns)
    assert windows == sorted(windows)
    assert [len(of_side) for of_side in pids] == [1, 1]
    assert pids[0].isdisjoint(pids[1])


def test_a_side_in_virtual_time_has_no_process_and_no_sampler() -> None:
    """Beside one that has both."""
    targets = [words.parse("echo://"), words.parse("flask://127.0.0.1:1")]
    with kept_drivers(targets, Crew(), lambda line: None) as ((load, clock, sampler), (_, real_clock, real_sampler)):
        assert isinstance(load, InlineLoad)
        assert isinstance(clock, FakeClock)
        assert sampler is None
        assert isinstance(real_clock, SystemClock)
        assert real_sampler is not None
