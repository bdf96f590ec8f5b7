"""A load that several workers share, with the real processes and Locust's real messages between them."""

import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bench
from bench import answers, mix, payloads, words
from bench.arrivals import Closed, Poisson, Rate, Step, Steps, offsets_ns
from bench.errors import RunError
from bench.load import Crew, Files, Plan, Progress
from bench.load.process import LocustLoad
from bench.record import NOT_COMPARED, SAME, Run
from bench.slo import Nanoseconds
from bench.testing import make_mix, make_workload
from bench.workload import Check, Part, Workload

MINUTE, SECOND = Nanoseconds(60 * 10**9), Nanoseconds(10**9)
LIMIT_S = 30.0  # a wait this long means that it will never come
FROM_ELSEWHERE = """
import sys, bench
bench.__version__ = sys.argv.pop(1)
from bench.load.crew import member
sys.exit(member.main())
"""


@pytest.fixture
def loads() -> Iterator[Callable[..., LocustLoad]]:
    """Makes loads that are closed at the end."""
    made: list[LocustLoad] = []

    def make(crew: Crew, heard: Callable[[str], None] = lambda line: None) -> LocustLoad:
        made.append(LocustLoad(crew, heard))
        return made[-1]

    yield make
    for load in made:
        load.close()


@pytest.fixture
def elsewhere() -> Iterator[Callable[..., "subprocess.Popen[bytes]"]]:
    """Starts workers as another host would."""
    started: list[subprocess.Popen[bytes]] = []

    def start(port: int, version: str = bench.__version__) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-c", FROM_ELSEWHERE, version, "127.0.0.1", str(port)]
        started.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL))
        return started[-1]

    yield start
    for process in started:
        assert process.stdin is not None
        process.stdin.close()
        process.kill()
        process.wait()


@pytest.fixture
def port() -> int:
    """A port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def plan_for(server: Any, folder: Path, workload: Workload, reference: Path | None = None) -> Plan:
    return Plan(workload, words.parse("flask://{}:{}".format(*server.address)), folder, (Files(reference=reference),))


def ignore(*news: Any) -> None:
    """Hears what a run tells."""


def workers_of(pid: int) -> list[int]:
    """The processes that a master has started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_two_workers_send_one_schedule_and_write_one_run(
    loads: Any, serve: Any, flask_like: Any, tmp_path: Path, stored: Callable[[Path, Workload], Run]
) -> None:
    """Every send of the seeded schedule once, at its time, half by each; answers checked, and kept together."""
    workload = make_workload(load=Poisson(Rate(60), users=6), seed=3, warmup_ns=SECOND, duration_ns=SECOND)
    reference = tmp_path / "reference.arrow"
    answers.write(reference, {n: {"y": tensors["x"]} for n, tensors in enumerate(payloads.make(workload))})  # type: ignore[index]
    load, server, begun = loads(Crew(2)), serve(flask_like), []
    facts = load.prepare(plan_for(server, tmp_path, workload, reference))
    outcome = load.run(lambda start, window: begun.append(start), ignore)
    load.close()
    assert facts.name == "flask"
    records = np.sort(stored(tmp_path, workload).records, order="id")
    expected = [offset for offset in islice(offsets_ns(workload.load, 3), 500) if offset < 2 * SECOND]  # type: ignore[arg-type]
    assert records["id"].tolist() == list(range(len(expected)))
    assert (records["intended_ns"] - begun[0]).tolist() == expected
    assert (records["worker"] == records["id"] % 2).all()
    assert set(records["check"]) == {SAME}
    assert outcome.window_ns == (begun[0] + SECOND, begun[0] + 2 * SECOND)
    details = outcome.details
    assert (details["sent"], details["unsent"], details["messages"]) == (len(expected), 0, {})
    assert [worker["worker"] for worker in details["workers"]] == [0, 1]
    assert "workers_lost" not in details
    assert details["server_at_end"] == details["server_at_start"]
    assert (details["ceiling"]["workers"], details["ceiling"]["connections"]) == (2, 3)
    assert sorted(answers.read(tmp_path / "answers.arrow")[0]) == [0, 1, 2, 3]
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"answers.arrow", "reference.arrow", "requests-0.arrows", "requests-1.arrows", "run.json"}


def test_a_count_of_requests_ends_the_window_over_all_workers(
    loads: Any, serve: Any, flask_like: Any, tmp_path: Path, stored: Callable[[Path, Workload], Run]
) -> None:
    """At least as many replies as were asked for lie in the window, whoever made them."""
    workload = make_workload(load=Closed(3), warmup_ns=Nanoseconds(0), requests=60)
    load = loads(Crew(2))
    load.prepare(plan_for(serve(flask_like), tmp_path, workload))
    window = load.run(ignore, ignore).window_ns
    load.close()
    records = stored(tmp_path, workload).records
    assert np.count_nonzero((records["intended_ns"] >= window[0]) & (records["end_ns"] <= window[1])) >= 60
    assert len(set(records["id"].tolist())) == len(records)


def test_steps_of_users_go_up_and_down_over_all_workers(
    loads: Any, serve: Any, flask_like: Any, tmp_path: Path, stored: Callable[[Path, Workload], Run]
) -> None:
    """Two users, then six, then two: no more requests are under way at once than there are users, and six are for a while."""
    steps = tuple(Step(users, Nanoseconds(700 * 10**6)) for users in (2, 6, 2))
    slow = serve(lambda exchange: (time.sleep(0.02), flask_like(exchange)))
    workload = make_workload(load=Steps(steps), warmup_ns=Nanoseconds(0), duration_ns=Nanoseconds(2100 * 10**6))
    load = loads(Crew(2))
    load.prepare(plan_for(slow, tmp_path, workload))
    start = load.run(ignore, ignore).window_ns[0]
    load.close()
    records = stored(tmp_path, workload).records

    def at_once(from_ms: int, to_ms: int) -> int:
        moments = start + np.arange(from_ms, to_ms, 5) * 10**6
        return max(int(np.count_nonzero((records["start_ns"] <= t) & (t < records["end_ns"]))) for t in moments)

    assert at_once(0, 690) == 2
    assert at_once(700, 1400) == 6
    assert at_once(1900, 2050) == 2


def test_a_worker_from_elsewhere_sends_its_records_and_they_are_by_our_clock(
    loads: Any, elsewhere: Any, port: int, serve: Any, flask_like: Any, tmp_path: Path, stored: Callable[[Path, Workload], Run]
) -> None:
    """One here, one from elsewhere: the same schedule, and what became of it is in the run's folder."""
    workload = make_workload(load=Poisson(Rate(60), users=4), warmup_ns=Nanoseconds(0), duration_ns=SECOND)
    reference = tmp_path / "reference.arrow"
    answers.write(reference, {n: {"y": tensors["x"]} for n, tensors in enumerate(payloads.make(workload))})  # type: ignore[index]
    heard: list[str] = []
    load, begun = loads(Crew(1, 1, "127.0.0.1", port), heard.append), []
    elsewhere(port)
    load.prepare(plan_for(serve(flask_like), tmp_path, workload, reference))
    outcome = load.run(lambda start, window: begun.append(start), ignore)
    load.close()
    records = np.sort(stored(tmp_path, workload).records, order="id")
    expected = [offset for offset in islice(offsets_ns(workload.load, 1), 500) if offset < SECOND]  # type: ignore[arg-type]
    away = outcome.details["workers"][1]
    assert records["id"].tolist() == list(range(len(expected)))
    # theirs are moved by the offset that was measured, which of the same clock is as good as none
    assert np.abs(records["intended_ns"] - begun[0] - expected).max() <= 1
    assert set(records["check"]) == {SAME}
    assert (away["host"], away["lost"]) == (socket.gethostname(), "")
    assert abs(away["clock_offset_ns"]) <= away["clock_within_ns"]
    assert "workers_lost" not in outcome.details
    assert sorted(answers.read(tmp_path / "answers.arrow")[0]) == [0, 1, 2, 3]
    assert any(f"bench worker --master THIS-HOST:{port}" in line for line in heard)


def test_a_worker_too_many_takes_no_users(
    loads: Any, elsewhere: Any, port: int, serve: Any, flask_like: Any, tmp_path: Path, stored: Callable[[Path, Workload], Run]
) -> None:
    """Two come where one is wanted, and a third later on: four users are at work all the same, in two processes."""
    slow = serve(lambda exchange: (time.sleep(0.02), flask_like(exchange)))
    workload = make_workload(load=Closed(4), warmup_ns=Nanoseconds(0), duration_ns=Nanoseconds(3 * 10**9))
    load = loads(Crew(1, 1, "127.0.0.1", port))
    for _ in range(2):
        elsewhere(port)
    load.prepare(plan_for(slow, tmp_path, workload))
    start, end = load.run(lambda start, window: elsewhere(port), ignore).window_ns
    load.close()
    records = stored(tmp_path, workload).records
    moments = np.arange(start + 10**9 // 2, end - 10**9 // 2, 5 * 10**6)
    at_once = [np.count_nonzero((records["start_ns"] <= t) & (t < records["end_ns"])) for t in moments]
    assert (max(at_once), np.median(at_once)) == (4, 4)
    assert set(records["worker"]) == {0, 1}


def test_workers_here_and_elsewhere_send_a_mix_and_hold_each_part_to_its_own_answers(
    loads: Any, elsewhere: Any, port: int, serve: Any, flask_like: Any, tmp_path: Path, stored: Callable[[Path, Workload], Run]
) -> None:
    """Both have the same turns; only the second part has answers to be held to, which travel to the other host."""
    alone = make_workload(check=Check(every=1))
    parts = tuple(Part(name, alone.model, alone.payload, check=alone.check) for name in ("a", "b"))
    load = Poisson(Rate(60), users=4)
    workload = make_mix({}, mix=parts, load=load, warmup_ns=Nanoseconds(0), duration_ns=SECOND)
    reference = tmp_path / "reference.arrow"
    answers.write(reference, {n: {"y": tensors["x"]} for n, tensors in enumerate(payloads.make(alone))})  # type: ignore[index]
    made = loads(Crew(1, 1, "127.0.0.1", port))
    elsewhere(port)
    word = words.parse("flask://{}:{}".format(*serve(flask_like).address))
    facts = made.prepare(Plan(workload, word, tmp_path, (Files(), Files(reference=reference))))
    outcome = made.run(ignore, ignore)
    made.close()
    records, turns = np.sort(stored(tmp_path, workload).records, order="id"), mix.turns(workload)
    assert facts.details.keys() == {"a", "b"}
    assert records["payload"].tolist() == [turns[n] for n in range(len(records))]
    assert {(r["worker"], r["payload"] >= 4, r["check"]) for r in records} == {
        (worker, second, SAME if second else NOT_COMPARED) for worker in (0, 1) for second in (False, True)
    }
    assert outcome.details["tolerance"] == {"a": 1e-2, "b": 1e-2}


def test_a_worker_that_dies_is_named_and_what_it_had_delivered_is_kept(
    loads: Any, serve: Any, flask_like: Any, tmp_path: Path, stored: Callable[[Path, Workload], Run]
) -> None:
    """The others go on to the end of the window."""
    workload = make_workload(load=Closed(4), warmup_ns=Nanoseconds(0), duration_ns=Nanoseconds(3 * SECOND))
    heard: list[str] = []
    load = loads(Crew(2), heard.append)
    load.prepare(plan_for(serve(flask_like), tmp_path, workload))
    killed: list[int] = []

    def kill(progress: Progress) -> None:
        if not killed and len(set(stored(tmp_path, workload).records["worker"].tolist())) == 2:
            killed.append(workers_of(load.pid)[1])
            os.kill(killed[0], signal.SIGKILL)

    outcome = load.run(ignore, kill)
    load.close()
    records = stored(tmp_path, workload).records
    (lost,) = outcome.details["workers_lost"]
    assert lost.startswith(f"worker 1 (process {killed[0]}) was killed by signal 9 after ")
    assert lost in heard[-1]
    ends = {worker: int(records["end_ns"][records["worker"] == worker].max()) for worker in (0, 1)}
    assert ends[1] < ends[0]
    assert ends[0] > outcome.window_ns[1] - 100_000_000
    assert not outcome.interrupted


def test_where_all_workers_die_the_run_could_not_be_made(
    loads: Any, serve: Any, flask_like: Any, tmp_path: Path, stored: Callable[[Path, Workload], Run]
) -> None:
    """The error names them; what they had written stands."""
    workload = make_workload(load=Closed(2), warmup_ns=Nanoseconds(0), duration_ns=MINUTE)
    load = loads(Crew(2))
    load.prepare(plan_for(serve(flask_like), tmp_path, workload))

    def kill(progress: Progress) -> None:
        if progress.done:
            for pid in workers_of(load.pid):
                os.kill(pid, signal.SIGKILL)

    with pytest.raises(
        RunError, match=r"no worker came to the end of the run: worker . \(process \d+\) was killed by signal 9"
    ):
        load.run(ignore, kill)
    assert len(stored(tmp_path, workload).records)


def test_an_interruption_reaches_every_worker(
    loads: Any, serve: Any, flask_like: Any, tmp_path: Path, stored: Callable[[Path, Workload], Run]
) -> None:
    """Ctrl-C in the middle of a minute: what both measured is on disk."""
    workload = make_workload(load=Closed(2), warmup_ns=Nanoseconds(0), duration_ns=MINUTE)
    server, load = serve(flask_like), loads(Crew(2))
    load.prepare(plan_for(server, tmp_path, workload))

    def interrupt(progress: Progress) -> None:
        if progress.done >= 10:
            raise KeyboardInterrupt

    outcome = load.run(ignore, interrupt)
    load.close()
    records = stored(tmp_path, workload).records
    assert outcome.interrupted
    assert outcome.window_ns[1] - outcome.window_ns[0] < MINUTE
    assert set(records["worker"].tolist()) == {0, 1}
    assert len(records) == sum(request.path == "/predict" for request in server.requests)


def test_workers_that_different_servers_answer_are_refused(loads: Any, serve: Any, tmp_path: Path) -> None:
    """A measurement of two servers is one of neither."""
    specs = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}], "outputs": []}
    asked = itertools.count(1)

    def script(exchange: Any) -> None:
        document = {"model": "made", "version": "1", "flask_version": str(next(asked)), **specs}
        exchange.reply(body=json.dumps(document).encode())

    with pytest.raises(RunError, match=r"worker 0 .* was answered by flask \d, worker 1 .* by flask \d: all have to reach"):
        loads(Crew(2)).prepare(plan_for(serve(script), tmp_path, make_workload(load=Closed(2))))


def test_an_error_of_a_workers_preparation_is_the_loads(loads: Any, nobody: tuple[str, int], tmp_path: Path) -> None:
    """As it would be of one process alone."""
    plan = Plan(make_workload(load=Closed(2)), words.parse("flask://{}:{}".format(*nobody)), tmp_path)
    with pytest.raises(RunError, match="^target flask.*nothing answers at {}:{}".format(*nobody)):
        loads(Crew(2)).prepare(plan)


def test_a_worker_of_another_version_is_refused(loads: Any, elsewhere: Any, port: int, nobody: Any, tmp_path: Path) -> None:
    """What it would send might mean something else."""
    elsewhere(port, version="0.0.1")
    plan = Plan(make_workload(), words.parse("flask://{}:{}".format(*nobody)), tmp_path)
    with pytest.raises(RunError, match=f"is of bench 0.0.1, this is {bench.__version__}"):
        loads(Crew(0, 1, "127.0.0.1", port)).prepare(plan)


def test_a_port_that_is_taken_is_named(loads: Any, nobody: tuple[str, int], tmp_path: Path) -> None:
    """Locust would print and exit."""
    plan = Plan(make_workload(), words.parse("flask://127.0.0.1:1"), tmp_path)
    with pytest.raises(RunError, match="cannot listen for workers at {}:{}".format(*nobody)):
        loads(Crew(0, 1, *nobody)).prepare(plan)


def test_nothing_is_left_when_the_command_is_gone(loads: Any, serve: Any, flask_like: Any, tmp_path: Path) -> None:
    """Killed, it closes the pipe: master and workers end."""
    load = loads(Crew(2))
    load.prepare(plan_for(serve(flask_like), tmp_path, make_workload(load=Closed(2), duration_ns=MINUTE)))
    pids = [load.pid, *workers_of(load.pid)]
    load._process.stdin.close()
    deadline = time.monotonic() + LIMIT_S
    load._process.wait(LIMIT_S)
    while any(Path(f"/proc/{pid}").exists() for pid in pids[1:]):
        assert time.monotonic() < deadline
        time.sleep(0.05)
