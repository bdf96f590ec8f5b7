"""One load process for many runs: what each leaves, and what ends the process."""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bench import answers, payloads, words
from bench.arrivals import Closed, Constant, Rate
from bench.errors import RunError
from bench.load import Crew, Files, Outcome, Plan, Progress
from bench.load.process import LocustLoad
from bench.record import SAME, Run
from bench.samplers.host import cpu_time_ns
from bench.slo import Nanoseconds
from bench.testing import make_workload
from bench.workload import Payload, Workload

MINUTE = Nanoseconds(60 * 10**9)
NO_TIME = Nanoseconds(0)
LIMIT_S = 60.0  # a wait this long means that it will never come

COMMAND = """
import sys
from pathlib import Path
from bench import words
from bench.load import Plan
from bench.load.process import LocustLoad
from bench.slo import Nanoseconds
from bench.testing import make_workload
plan = Plan(make_workload(warmup_ns=Nanoseconds(0), requests=5), words.parse(sys.argv[1]), Path(sys.argv[2]))
with LocustLoad() as load:
    load.prepare(plan)
    load.run(lambda start_ns, window_ns: None, lambda progress: None)
    load.close()
    print(load.pid, flush=True)
    sys.stdin.read()
"""


def ignore(*news: Any) -> None:
    """Hears what a run tells."""


@pytest.fixture
def load() -> Iterator[LocustLoad]:
    """A load that keeps its process."""
    with LocustLoad() as made:
        yield made


def run(load: LocustLoad, server: Any, folder: Path, workload: Workload, *files: Files) -> Outcome:
    """One run, from its plan to its end."""
    folder.mkdir(exist_ok=True)
    load.prepare(Plan(workload, words.parse("flask://{}:{}".format(*server.address)), folder, files))
    outcome = load.run(ignore, ignore)
    load.close()
    return outcome


def asked(server: Any) -> list[int]:
    """The ids of the requests that a server saw, sorted, and forgets."""
    ids = sorted(request.id for request in server.requests if request.path == "/predict")
    server.requests.clear()
    return ids


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_each_run_of_one_process_has_records_checks_and_counts_of_its_own(
    load: LocustLoad, serve: Any, flask_like: Any, tmp_path: Path, stored: Callable[[Path, Workload], Run]
) -> None:
    """Twice the same, then a schedule, then other requests: what the servers saw each time is what that run has on disk."""
    one, other = serve(flask_like), serve(flask_like)
    same = make_workload(warmup_ns=NO_TIME, requests=30, load=Closed(3))
    paced = make_workload(warmup_ns=NO_TIME, requests=20, load=Constant(rate_hz=Rate(200.0), users=2))
    others = make_workload(warmup_ns=NO_TIME, requests=25, load=Closed(2), seed=7)
    pids, before_ns = set(), 0
    for n, (server, workload) in enumerate([(one, same), (one, same), (one, paced), (other, others)]):
        reference, folder = tmp_path / f"reference-{n}.arrow", tmp_path / str(n)
        answers.write(reference, {i: {"y": made["x"]} for i, made in enumerate(payloads.make(workload))})  # type: ignore[index]
        connections = server.connections
        outcome = run(load, server, folder, workload, Files(reference=reference))
        records = stored(folder, workload).records
        assert sorted(records["id"]) == asked(server) == list(range(len(records)))
        assert workload.requests is not None
        assert workload.requests <= len(records) <= workload.requests + 2
        assert set(records["check"]) == {SAME}
        assert (outcome.details["sent"], outcome.details["unsent"], outcome.details["messages"]) == (len(records), 0, {})
        if isinstance(workload.load, Closed):  # with a schedule they are made when they are needed
            assert server.connections - connections == 1 + workload.load.users + 1  # the probe's, each user's, asked again
        assert before_ns < outcome.window_ns[0] <= records["start_ns"].min()
        assert answers.read(folder / "answers.arrow")[0].keys() == set(records["payload"].tolist())
        assert {path.name for path in folder.iterdir()} == {"requests-0.arrows", "answers.arrow", "run.json"}
        pids.add(load.pid)
        before_ns = outcome.window_ns[1]
    assert len(pids) == 1


def test_what_one_run_got_wrong_is_not_said_of_the_next(
    load: LocustLoad, serve: Any, flask_like: Any, tmp_path: Path, stored: Callable[[Path, Workload], Run]
) -> None:
    """Errors, their messages and the reference answers are each run's own."""
    server, workload = serve(flask_like), make_workload(warmup_ns=NO_TIME, requests=10)
    right = {n: {"y": tensors["x"]} for n, tensors in enumerate(payloads.make(workload))}  # type: ignore[index]
    answers.write(tmp_path / "wrong.arrow", {n: {"y": outputs["y"] + 1} for n, outputs in right.items()})
    answers.write(tmp_path / "right.arrow", right)
    told = [run(load, server, tmp_path / name, workload, Files(reference=tmp_path / f"{name}.arrow")).details["messages"]
            for name in ("wrong", "right")]  # fmt: skip
    assert told[0].keys() == {"answer"}
    assert told[1] == {}
    assert set(stored(tmp_path / "right", workload).records["error"]) == {0}


def test_the_process_is_gone_when_the_context_is_left(serve: Any, flask_like: Any, tmp_path: Path) -> None:
    """Until then it waits for a plan, also after `close`; afterwards each run has a process for itself again."""
    server, workload = serve(flask_like), make_workload(warmup_ns=NO_TIME, requests=5)
    with LocustLoad() as load:
        run(load, server, tmp_path / "kept", workload)
        pid = load.pid
        assert pid is not None
        assert not gone(pid)
    assert gone(pid)
    assert load.pid is None
    run(load, server, tmp_path / "alone", workload)
    assert load.pid is None


def test_a_process_that_waits_for_a_plan_takes_no_cpu(load: LocustLoad, serve: Any, flask_like: Any, tmp_path: Path) -> None:
    """None at all for a third of a second, once it has come to rest: another side is measured meanwhile."""
    run(load, serve(flask_like), tmp_path / "run", make_workload(warmup_ns=NO_TIME, requests=5))
    assert load.pid is not None
    deadline, spent_ns = time.monotonic() + LIMIT_S, -1
    while spent_ns != (spent_ns := cpu_time_ns(load.pid)):
        assert time.monotonic() < deadline
        time.sleep(0.3)


def test_a_run_that_could_not_be_made_leaves_nothing_to_the_next(
    load: LocustLoad, serve: Any, flask_like: Any, tmp_path: Path, nobody: tuple[str, int]
) -> None:
    """The process has ended with it; a fresh one carries out the next plan."""
    server, workload = serve(flask_like), make_workload(warmup_ns=NO_TIME, requests=5)
    run(load, server, tmp_path / "first", workload)
    pid = load.pid
    assert pid is not None
    with pytest.raises(RunError, match="nothing answers at {}:{}".format(*nobody)):
        load.prepare(Plan(workload, words.parse("flask://{}:{}".format(*nobody)), tmp_path))
    load.close()
    assert gone(pid)
    assert run(load, server, tmp_path / "second", workload).details["sent"] >= 5
    assert load.pid not in (None, pid)


def test_a_process_that_died_while_it_waited_is_replaced(load: LocustLoad, serve: Any, flask_like: Any, tmp_path: Path) -> None:
    """As where the machine ran out of memory: the next run is made all the same."""
    server, workload = serve(flask_like), make_workload(warmup_ns=NO_TIME, requests=5)
    run(load, server, tmp_path / "first", workload)
    assert load.pid is not None
    pidfd = os.pidfd_open(load.pid)
    os.kill(load.pid, signal.SIGKILL)
    assert select.select([pidfd], [], [], LIMIT_S)[0]
    os.close(pidfd)
    assert run(load, server, tmp_path / "second", workload).details["sent"] >= 5


def test_a_process_that_dies_in_a_later_run_leaves_its_last_words_there(
    load: LocustLoad, serve: Any, flask_like: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In that run's load.log, and in the error; the run before it has no log."""
    monkeypatch.setenv("PYTHONFAULTHANDLER", "1")
    server = serve(flask_like)
    run(load, server, tmp_path / "first", make_workload(warmup_ns=NO_TIME, requests=5))
    load.prepare(
        Plan(
            make_workload(warmup_ns=NO_TIME, duration_ns=MINUTE), words.parse("flask://{}:{}".format(*server.address)), tmp_path
        )
    )

    def abort(progress: Progress) -> None:
        assert load.pid is not None
        os.kill(load.pid, signal.SIGABRT)

    with pytest.raises(RunError, match=r"was killed by signal 6(?s:.*)its log ends:(?s:.*)bench/load"):
        load.run(ignore, abort)
    load.close()
    assert "Fatal Python error: Aborted" in (tmp_path / "load.log").read_text()
    assert not (tmp_path / "first" / "load.log").exists()


def test_an_interrupted_run_ends_the_process(
    load: LocustLoad, serve: Any, flask_like: Any, tmp_path: Path, stored: Callable[[Path, Workload], Run]
) -> None:
    """Ctrl-C in a second run: that keeps what it has, the first stays as it was, and nobody waits for a third."""
    server, endless = serve(flask_like), make_workload(warmup_ns=NO_TIME, duration_ns=MINUTE)
    workload = make_workload(warmup_ns=NO_TIME, requests=5)
    run(load, server, tmp_path / "first", workload)
    before, pid = len(asked(server)), load.pid
    assert pid is not None
    load.prepare(Plan(endless, words.parse("flask://{}:{}".format(*server.address)), tmp_path))

    def interrupt(progress: Progress) -> None:
        if progress.done >= 5:
            raise KeyboardInterrupt

    assert load.run(ignore, interrupt).interrupted
    load.close()
    assert gone(pid)
    assert len(stored(tmp_path, endless).records) == len(asked(server)) >= 5
    assert len(stored(tmp_path / "first", workload).records) == before


def test_a_process_that_waits_does_not_outlive_a_command_that_was_killed(serve: Any, flask_like: Any, tmp_path: Path) -> None:
    """kill -9 of the command closes the pipe, and nothing is left behind."""
    word = "flask://{}:{}".format(*serve(flask_like).address)
    with subprocess.Popen([sys.executable, "-c", COMMAND, word, tmp_path], stdin=-1, stdout=-1, text=True) as command:
        assert command.stdout is not None
        pidfd = os.pidfd_open(int(command.stdout.readline()))
        command.kill()
        try:
            assert select.select([pidfd], [], [], LIMIT_S)[0]
        finally:
            os.close(pidfd)


def test_a_crew_is_not_kept(serve: Any, flask_like: Any, tmp_path: Path) -> None:
    """Several processes end with each run, as they do outside a context."""
    with LocustLoad(Crew(2)) as load:
        run(load, serve(flask_like), tmp_path, make_workload(warmup_ns=NO_TIME, requests=10, load=Closed(2)))
        assert load.pid is None


def test_requests_that_changed_are_made_anew(
    load: LocustLoad, serve: Any, flask_like: Any, tmp_path: Path, stored: Callable[[Path, Workload], Run]
) -> None:
    """Another seed, other numbers in the requests; the same seed again, the same."""
    server, made, sent = serve(flask_like), make_workload().payload, []
    for name, seed in (("first", 1), ("second", 2), ("third", 2)):
        workload = make_workload(warmup_ns=NO_TIME, requests=8, payload=Payload(made.inputs, distinct=2), seed=seed)
        run(load, server, tmp_path / name, workload)
        sent.append({request.body for request in server.requests if request.path == "/predict"})
        server.requests.clear()
    assert sent[0].isdisjoint(sent[1])
    assert sent[1] == sent[2]
