"""The load process itself, spoken to over its pipes."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench import words
from bench.arrivals import Closed, Constant, Rate
from bench.load import Files, Plan
from bench.load import plan as plans
from bench.record import Run
from bench.slo import Nanoseconds
from bench.testing import make_workload
from bench.workload import Workload

LIMIT_S = 30.0  # a wait this long means that it will never come


@pytest.fixture
def worker() -> Iterator[Callable[[Plan], "subprocess.Popen[str]"]]:
    """Starts a load process with a plan."""
    processes: list[subprocess.Popen[str]] = []

    def start(plan: Plan) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-m", "bench.load.alone"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        say(process, plans.to_json(plan))
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            assert pipe is not None
            pipe.close()


def say(process: "subprocess.Popen[str]", line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()


def hear(process: "subprocess.Popen[str]", wanted: str) -> Any:
    """The next news of this kind."""
    assert process.stdout is not None
    for line in process.stdout:
        ((kind, news),) = json.loads(line).items()
        if kind == wanted:
            return news
    raise AssertionError(f"no {wanted!r} before the end of the stream")


@pytest.mark.parametrize("load", [Closed(3), Constant(rate_hz=Rate(12.5), users=2)])
@pytest.mark.parametrize("path", [Path("/models/x/model.onnx"), None])
def test_a_plan_comes_through_the_pipe_unchanged(load: Any, path: Path | None) -> None:
    """One line, and the same plan at the other end."""
    workload = make_workload(load=load, requests=7, timeout_ns=Nanoseconds(123_456_789))
    files = (Files(path, path), Files(None, path))
    target = replace(words.parse("flask://127.0.0.1:5000?encoding=base64"), headers=(("X-Team", "blue"), ("Host", "h")))
    plan = Plan(workload, target, Path("/results/run"), files)
    line = plans.to_json(plan)
    assert "\n" not in line
    assert plans.from_json(line) == plan


def test_the_process_ends_when_its_command_is_gone_and_what_it_measured_is_readable(
    worker: Any, serve: Any, flask_like: Any, tmp_path: Path, stored: Callable[[Path, Workload], Run]
) -> None:
    """Killed in the middle of a minute's run, the command closes the pipe: the load ends and its stream is whole."""
    server = serve(flask_like)
    workload = make_workload(warmup_ns=Nanoseconds(0), duration_ns=Nanoseconds(60 * 10**9))
    process = worker(Plan(workload, words.parse("flask://{}:{}".format(*server.address)), tmp_path))
    hear(process, "ready")
    say(process, "go")
    while hear(process, "progress")["done"] < 5:
        pass
    process.stdin.close()
    assert process.wait(LIMIT_S) == 0
    records = stored(tmp_path, workload).records
    assert len(records) == len([r for r in server.requests if r.path == "/predict"]) >= 5
    assert set(records["error"]) == {0}


def test_what_was_measured_so_far_is_readable_when_the_process_is_killed(
    worker: Any, serve: Any, flask_like: Any, tmp_path: Path, stored: Callable[[Path, Workload], Run]
) -> None:
    """A stream without an end is read up to its last whole batch."""
    server = serve(flask_like)
    workload = make_workload(warmup_ns=Nanoseconds(0), duration_ns=Nanoseconds(60 * 10**9))
    process = worker(Plan(workload, words.parse("flask://{}:{}".format(*server.address)), tmp_path))
    hear(process, "ready")
    say(process, "go")
    deadline = time.monotonic() + LIMIT_S
    while len(stored(tmp_path, workload).records) < 5:
        hear(process, "progress")
        assert time.monotonic() < deadline
    process.kill()
    process.wait()
    assert len(stored(tmp_path, workload).records) >= 5


def test_a_process_that_is_not_told_to_go_sends_nothing(worker: Any, serve: Any, flask_like: Any, tmp_path: Path) -> None:
    """It connects, says that it is ready, and ends when the command does."""
    server = serve(flask_like)
    process = worker(Plan(make_workload(), words.parse("flask://{}:{}".format(*server.address)), tmp_path))
    assert hear(process, "ready")["name"] == "flask"
    process.stdin.close()
    assert process.wait(LIMIT_S) == 0
    assert {request.path for request in server.requests} == {"/metadata"}


def test_a_second_plan_waits_for_a_word_of_its_own(worker: Any, serve: Any, flask_like: Any, tmp_path: Path) -> None:
    """The "go" of the first is used up: nothing is sent until there is another, and without one the process ends."""
    server = serve(flask_like)
    plan = Plan(
        make_workload(warmup_ns=Nanoseconds(0), requests=5), words.parse("flask://{}:{}".format(*server.address)), tmp_path
    )
    process = worker(plan)
    hear(process, "ready")
    say(process, "go")
    hear(process, "finished")
    server.requests.clear()
    say(process, plans.to_json(plan))
    hear(process, "ready")
    process.stdin.close()
    assert process.wait(LIMIT_S) == 0
    assert {request.path for request in server.requests} == {"/metadata"}
