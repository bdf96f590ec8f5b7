"""What a worker takes over from the one before it, what it makes anew, and when it looks."""

import gc
import time
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from bench import answers, payloads, words
from bench.load import Files, Plan, ceiling
from bench.load import worker as workers
from bench.load.phases import NEVER, Phases
from bench.load.worker import END_TICK_S, TICK_S, Worker
from bench.slo import Nanoseconds
from bench.targets import open_target
from bench.targets.flask import Flask
from bench.testing import make_workload
from bench.workload import Payload, Workload

Made = dict[str, int]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Made:
    """How often each of the things was made that take time."""
    counts = {"payloads": 0, "requests": 0, "references": 0}

    def counting(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def called(*args: Any) -> Any:
            counts[name] += 1
            return function(*args)

        return called

    monkeypatch.setattr(payloads, "make", counting("payloads", payloads.make))
    monkeypatch.setattr(Flask, "requests", counting("requests", Flask.requests))
    monkeypatch.setattr(answers, "read", counting("references", answers.read))
    monkeypatch.setattr(ceiling, "find", lambda pool, *_: {"found": bool(pool.wire())})
    return counts


class Nowhere:
    """A writer that keeps nothing."""

    def write(self, records: Any, chunks: Any = None) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.fixture
def after(serve: Any, flask_like: Any, tmp_path: Path, made: Made) -> Callable[..., Made]:
    """What was made for a worker whose workload differs from the one before it as the test says."""
    word = words.parse("flask://{}:{}".format(*serve(flask_like).address))
    reference = tmp_path / "reference.arrow"
    workload = make_workload()
    answers.write(reference, {0: {"y": payloads.make(workload)[0]["x"]}})  # type: ignore[index]

    def worker(workload: Workload, before: Worker | None, files: Files = Files(reference=reference)) -> Worker:  # noqa: B008
        known = None if before is None else before.known()
        one = Worker(Plan(workload, word, tmp_path, (files,)), Nowhere(), known)
        one.calibrate()
        return one

    def follow(files: Files = Files(reference=reference), **changes: Any) -> Made:  # noqa: B008
        before = worker(workload, None)
        made.update(dict.fromkeys(made, 0))
        worker(msgspec.structs.replace(workload, **changes), before, files)
        return made

    return follow


@pytest.mark.parametrize("changes", [{}, {"requests": 7}, {"warmup_ns": Nanoseconds(1)}, {"timeout_ns": Nanoseconds(10**9)}])
def test_what_has_not_changed_is_not_made_again(after: Callable[..., Made], changes: dict[str, Any]) -> None:
    """Neither the requests nor their bytes, and no reference is read, whatever is new about when they are sent."""
    assert after(**changes) == {"payloads": 0, "requests": 0, "references": 0}


def test_another_seed_has_requests_of_its_own(after: Callable[..., Made]) -> None:
    """They are made, serialized and held to answers anew."""
    assert after(seed=9) == {"payloads": 1, "requests": 1, "references": 1}


def test_another_pool_has_requests_of_its_own(after: Callable[..., Made]) -> None:
    """Fewer distinct ones are other ones."""
    payload = Payload(make_workload().payload.inputs, distinct=2)
    assert after(payload=payload) == {"payloads": 1, "requests": 1, "references": 1}


def test_other_answers_are_read(after: Callable[..., Made], tmp_path: Path) -> None:
    """From the file that is named now; no file, no answers."""
    answers.write(tmp_path / "other.arrow", {})
    assert after(Files(reference=tmp_path / "other.arrow"))["references"] == 1
    assert after(Files())["references"] == 0


def test_another_version_of_the_server_is_sent_requests_made_for_it(
    serve: Any, flask_like: Any, tmp_path: Path, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How a request is written may depend on what the server says that it takes."""
    word, probe = words.parse("flask://{}:{}".format(*serve(flask_like).address)), Flask.probe
    plan = Plan(make_workload(), word, tmp_path)
    first = Worker(plan, Nowhere())
    first.calibrate()
    monkeypatch.setattr(Flask, "probe", lambda target: replace(probe(target), version="4"))
    Worker(plan, Nowhere(), first.known()).calibrate()
    assert made == {"payloads": 1, "requests": 2, "references": 0}


def test_what_one_worker_has_left_in_a_circle_is_gone_before_the_next_begins(
    serve: Any, flask_like: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is collected while a load lasts, so it is before the next target is opened, which may have a model of its own."""

    class Ring:
        """Something that holds itself."""

        itself: Any

    plan = Plan(make_workload(), words.parse("flask://{}:{}".format(*serve(flask_like).address)), tmp_path)
    ring = Ring()
    ring.itself, left = ring, weakref.ref(ring)
    gone: list[bool] = []

    def opened(*given: Any) -> Any:
        gone.append(left() is None)
        return open_target(*given)

    monkeypatch.setattr(workers, "open_target", opened)
    known = None
    try:
        for _ in range(2):
            worker = Worker(plan, Nowhere(), known)
            engine = worker.stand_by()
            assert not gc.isenabled()
            ring = None  # type: ignore[assignment]
            engine.stop()
            engine.join()
            known = worker.known()
        assert gone == [False, True]
    finally:
        gc.unfreeze()
        gc.enable()


@pytest.mark.parametrize(
    ("phases", "pause_s"),
    [
        (None, TICK_S),
        (Phases(0, 0, NEVER, 5), TICK_S),
        (Phases(0, 0, time.perf_counter_ns() + 3600 * 10**9, None), TICK_S),
        (Phases(0, 0, 1, None), END_TICK_S),
    ],
)
def test_it_looks_more_often_once_the_window_is_over(phases: Phases | None, pause_s: float) -> None:
    """Before that, it leaves the engine the interpreter."""
    worker = Worker.__new__(Worker)
    worker.engine = SimpleNamespace(phases=phases)  # type: ignore[assignment]
    assert worker.pause_s() == pause_s
