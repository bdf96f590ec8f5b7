"""The spine, with a load that does what a test tells it: what is kept of a run, however it ends."""

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bench import runner, store, words
from bench.columns import RecordWriter
from bench.endpoint import Endpoint
from bench.errors import RunError, UsageError
from bench.load import Outcome, Plan, Progress
from bench.record import Run
from bench.samplers import Recording
from bench.targets.base import Facts
from bench.testing import FakeClock, make_run, make_workload

WORD = words.parse("echo://")
ENDPOINT = Endpoint(WORD, WORD, "scripted")
WINDOW_NS = (20_000_000, 50_000_000)  # of five requests of 10 ms, the last three


class ScriptedLoad:
    """Five requests of 10 ms, and an error where the test wants one."""

    def __init__(
        self, *, prepare: BaseException | None = None, before: BaseException | None = None,
        during: BaseException | None = None, interrupted: bool = False,
    ) -> None:  # fmt: skip
        self._prepare, self._before, self._during, self._interrupted = prepare, before, during, interrupted
        self.closed = 0
        self.pid: int | None = None

    def prepare(self, plan: Plan) -> Facts:
        self._folder = plan.folder
        (plan.folder / "load.log").write_text("what the load says\n")
        if self._prepare:
            raise self._prepare
        return Facts("scripted", "7", (), (), {"extra": "fact"})

    def run(self, started: Callable[[int, int], None], progress: Callable[[Progress], None]) -> Outcome:
        if self._before:
            raise self._before
        started(0, WINDOW_NS[0])
        self._writer = RecordWriter(self._folder / "requests-0.arrows")
        self._writer.write(make_run([10.0] * 5).records)
        progress(Progress(10, 5, 5, 0))
        if self._during:
            raise self._during
        self._writer.close()
        return Outcome(WINDOW_NS, self._interrupted, {"sent": 5})

    def close(self) -> None:
        self.closed += 1
        self._writer = None  # as the end of a load process lets go of its files


def execute(folder: Path, load: ScriptedLoad, endpoint: Endpoint = ENDPOINT, **more: Any) -> Run:
    """A run by `load`, without a sampler unless there is one in `more`."""
    usual: dict[str, Any] = {"clock": FakeClock(7), "environment": {"cpu": "made"}, "sampler": None}
    return runner.execute(make_workload(), endpoint, folder, load=load, **usual | more)


def events(folder: Path) -> dict[str, dict[str, Any]]:
    """The details of the events in a run's folder, by name."""
    lines = map(json.loads, (folder / "events.jsonl").read_text().splitlines())
    return {line["name"]: line["detail"] for line in lines}


def status(folder: Path) -> str:
    """What run.json says."""
    said: str = json.loads((folder / "run.json").read_text())["status"]
    return said


def test_a_run_is_returned_as_it_lies_on_the_disk(tmp_path: Path) -> None:
    """Records, window, what the target and the load said of themselves, where it ran."""
    load = ScriptedLoad()
    run = execute(tmp_path, load)
    assert (run.status, run.window_ns, len(run.records), len(run.measured())) == ("complete", WINDOW_NS, 5, 3)
    assert run.target["answered_as"] == {"name": "scripted", "version": "7", "extra": "fact"}
    assert (run.load, run.environment, run.workload) == ({"sent": 5}, {"cpu": "made"}, make_workload())
    again = store.load_run(tmp_path)
    assert (again.id, again.target, again.created) == (run.id, run.target, run.created)
    assert load.closed


def test_the_events_of_a_run_are_written(tmp_path: Path) -> None:
    """Begun and ended, with the times of the load's clock."""
    run = execute(tmp_path, ScriptedLoad())
    assert [event.name for event in run.events] == ["started", "finished"]
    assert events(tmp_path) == {"started": {"start_ns": 0, "window_ns": WINDOW_NS[0]}, "finished": {"interrupted": False}}
    assert [event.t_ns for event in run.events] == [7, 7]


def test_progress_is_passed_on(tmp_path: Path) -> None:
    """To whoever shows it."""
    heard: list[Progress] = []
    execute(tmp_path, ScriptedLoad(), progress=heard.append)
    assert heard == [Progress(10, 5, 5, 0)]


@pytest.mark.parametrize("error", [RunError("no answer at all"), UsageError("no such model"), KeyboardInterrupt()])
@pytest.mark.parametrize("when", ["prepare", "before"])
def test_of_a_run_that_did_not_begin_nothing_is_left(when: str, error: BaseException, tmp_path: Path) -> None:
    """The error as it was, the load closed, no folder that looks like a result."""
    folder = tmp_path / "run"
    folder.mkdir()
    load = ScriptedLoad(**{when: error})  # type: ignore[arg-type]
    with pytest.raises(type(error)) as raised:
        execute(folder, load)
    assert raised.value is error
    assert load.closed
    assert list(tmp_path.iterdir()) == []


def test_the_log_of_a_server_is_left_also_where_nothing_else_is(tmp_path: Path) -> None:
    """It may say why."""
    (tmp_path / "server.log").write_text("out of memory\n")
    with pytest.raises(RunError):
        execute(tmp_path, ScriptedLoad(prepare=RunError("no answer at all")))
    assert [path.name for path in tmp_path.iterdir()] == ["server.log"]


def test_a_load_that_dies_leaves_a_partial_run_and_says_where(tmp_path: Path) -> None:
    """What was measured until then can be reported: the window ends with the last reply."""
    load = ScriptedLoad(during=RunError("the load process ended"))
    with pytest.raises(RunError) as raised:
        execute(tmp_path, load)
    assert str(raised.value) == f"the load process ended\nwhat was measured before is kept in {tmp_path}"
    run = store.load_run(tmp_path)
    assert (run.status, len(run.records), len(run.measured())) == ("partial", 5, 3)
    assert events(tmp_path)["failed"] == {"message": "the load process ended"}
    assert (tmp_path / "requests.parquet").exists()
    assert load.closed


def test_ctrl_c_that_the_load_does_not_handle_leaves_a_partial_run(tmp_path: Path) -> None:
    """It goes on to the command line, which has an exit code for it."""
    with pytest.raises(KeyboardInterrupt):
        execute(tmp_path, ScriptedLoad(during=KeyboardInterrupt()))
    assert (status(tmp_path), len(store.load_run(tmp_path).records)) == ("partial", 5)


def test_a_load_that_was_stopped_makes_a_partial_run(tmp_path: Path) -> None:
    """The load ended its run in order: no error, and the run says that it is shorter than asked for."""
    run = execute(tmp_path, ScriptedLoad(interrupted=True))
    assert (run.status, len(run.records)) == ("partial", 5)
    assert events(tmp_path)["finished"] == {"interrupted": True}


def test_while_it_is_made_a_run_is_running(tmp_path: Path) -> None:
    """A command that is killed leaves a run that says so, with its window's beginning."""

    def look(progress: Progress) -> None:
        assert status(tmp_path) == "running"
        run = store.load_run(tmp_path)
        assert (len(run.records), run.window_ns[0]) == (5, WINDOW_NS[0])

    execute(tmp_path, ScriptedLoad(), progress=look)
    assert status(tmp_path) == "complete"


def test_a_server_that_ended_by_itself_is_an_event(tmp_path: Path) -> None:
    """With its exit status."""
    died = Endpoint(WORD, WORD, "scripted", pid=1, exited=lambda: -9)
    run = execute(tmp_path, ScriptedLoad(), died)
    assert ("server-exited", {"status": -9}) in [(event.name, event.detail) for event in run.events]


def test_what_the_sampler_warns_of_becomes_events(tmp_path: Path) -> None:
    """Also what it says only at its end; the processes it watches are the server's and the load's."""
    watched: dict[str, int] = {}

    @contextlib.contextmanager
    def sampler(folder: Path, pids: dict[str, int]) -> Iterator[Recording]:
        watched.update(pids)
        recording = Recording(1, ["proc"], ["no GPU"])
        yield recording
        recording.warnings.append("it died")
        recording.ticks, recording.skipped, recording.cpu_s = 5, 1, 0.25

    load = ScriptedLoad()
    load.pid = 22
    run = execute(tmp_path, load, Endpoint(WORD, WORD, "scripted", pid=11), sampler=sampler)
    warnings = [event.detail for event in run.events if event.name == "warning"]
    assert warnings == [{"source": "sampler", "message": text} for text in ("no GPU", "it died")]
    assert watched == {"server": 11, "load": 22}
    written = json.loads((tmp_path / "run.json").read_text())["sampler"]
    assert written == {"sources": ["proc"], "ticks": 5, "skipped": 1, "cpu_s": 0.25}


def test_a_sampler_that_cannot_start_ends_the_run_before_it_begins(tmp_path: Path) -> None:
    """A run without its resources is not what was asked for."""

    @contextlib.contextmanager
    def sampler(folder: Path, pids: dict[str, int]) -> Iterator[Recording]:
        raise RunError("the sampler process could not start")
        yield

    folder = tmp_path / "run"
    folder.mkdir()
    load = ScriptedLoad()
    with pytest.raises(RunError, match=r"^the sampler process could not start$"):
        execute(folder, load, sampler=sampler)
    assert load.closed
    assert not folder.exists()


def test_streams_that_cannot_become_parquet_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full hides neither what went wrong first nor what was measured."""

    def full(folder: Path) -> None:
        raise RunError("no space left")

    monkeypatch.setattr(store, "finish", full)
    with pytest.raises(RunError, match="the load process ended"):
        execute(tmp_path, ScriptedLoad(during=RunError("the load process ended")))
    assert len(store.load_run(tmp_path).records) == 5
