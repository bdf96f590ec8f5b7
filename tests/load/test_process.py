"""The command's side of the load process, with the real process on the other."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from bench import answers, mix, payloads, words
from bench.analysis.measured import measure
from bench.arrivals import Closed
from bench.errors import RunError, UsageError
from bench.load import Files, Plan, Progress
from bench.load.process import LocustLoad
from bench.record import DIFFERENT, NOT_COMPARED, SAME, Run
from bench.slo import Nanoseconds
from bench.targets.base import Facts
from bench.tensors import TensorSpec
from bench.testing import make_workload
from bench.workload import Check, Generate, Model, Part, Payload, Workload

MINUTE = Nanoseconds(60 * 10**9)


def ignore(*news: Any) -> None:
    """Hears what a run tells."""


@pytest.fixture
def load() -> Iterator[LocustLoad]:
    """A load that is closed at the end."""
    made = LocustLoad()
    yield made
    made.close()


def plan_for(server: Any, folder: Path, workload: Workload, reference: Path | None = None) -> Plan:
    return Plan(workload, words.parse("flask://{}:{}".format(*server.address)), folder, (Files(reference=reference),))


def test_a_plan_is_carried_out_from_probe_to_records(
    load: LocustLoad, serve: Any, flask_like: Any, tmp_path: Path, stored: Callable[[Path, Workload], Run]
) -> None:
    """Three users of Locust's make the 40 requests asked for; each is on disk, checked, and was seen by the server."""
    server, workload = serve(flask_like), make_workload(warmup_ns=Nanoseconds(0), requests=40, load=Closed(3))
    reference = tmp_path / "reference.arrow"
    answers.write(reference, {n: {"y": tensors["x"]} for n, tensors in enumerate(payloads.make(workload))})  # type: ignore[index]
    facts = load.prepare(plan_for(server, tmp_path, workload, reference))
    assert facts == Facts("flask", "3", (TensorSpec("x", "FP32", (-1, 4)),), (TensorSpec("y", "FP32", (-1, 4)),), facts.details)
    begun: list[tuple[int, int]] = []
    outcome = load.run(lambda start, window: begun.append((start, window)), ignore)
    load.close()
    records = stored(tmp_path, workload).records
    assert 40 <= len(records) <= 42
    assert sorted(records["id"]) == sorted(r.id for r in server.requests if r.path == "/predict") == list(range(len(records)))
    assert set(records["check"]) == {SAME}
    assert not outcome.interrupted
    assert outcome.window_ns == (begun[0][1], np.sort(records["end_ns"])[39])
    assert (outcome.details["sent"], outcome.details["unsent"], outcome.details["messages"]) == (len(records), 0, {})
    assert load.pid is None
    assert server.connections == 1 + 3 + 1  # the probe's, one a user, and who it is asked again
    assert outcome.details["server_at_end"] == outcome.details["server_at_start"]
    assert (tmp_path / "answers.arrow").exists()
    assert not (tmp_path / "load.log").exists()


def mixed(*parts: Workload, **changes: Any) -> Workload:
    """A mix of these, each as often."""
    made = tuple(Part(p.name, p.model, p.payload, check=p.check) for p in parts)
    return make_workload(**({"mix": made, "model": Model(""), "payload": Payload(), "warmup_ns": Nanoseconds(0)} | changes))


def test_each_part_of_a_mix_is_sent_and_held_to_its_own_answers(
    load: LocustLoad, serve: Any, flask_like: Any, tmp_path: Path, stored: Callable[[Path, Workload], Run]
) -> None:
    """The first to none, of the second those to its second request are wrong: the message counts from the part's own first."""
    server, alone = serve(flask_like), make_workload(check=Check(every=1))
    workload = mixed(*(msgspec.structs.replace(alone, name=name) for name in ("a", "b")), requests=60, load=Closed(3))
    wrong = {n: {"y": tensors["x"] + (n == 1)} for n, tensors in enumerate(payloads.make(alone))}  # type: ignore[index]
    answers.write(tmp_path / "reference.arrow", wrong, {answers.TOLERANCE: "0.125"})
    word, files = words.parse("flask://{}:{}".format(*server.address)), (Files(), Files(reference=tmp_path / "reference.arrow"))
    facts = load.prepare(Plan(workload, word, tmp_path, files))
    assert facts.details.keys() == {"a", "b"}
    details = load.run(ignore, ignore).details
    load.close()
    records = np.sort(stored(tmp_path, workload).records, order="id")
    turns = mix.turns(workload)
    assert records["payload"].tolist() == [turns[n] for n in range(len(records))]
    assert set(records["payload"]) == set(range(8))
    wanted = {**dict.fromkeys(range(4), NOT_COMPARED), **dict.fromkeys(range(4, 8), SAME), 5: DIFFERENT}
    assert {(r["payload"], r["check"]) for r in records} == set(wanted.items())
    assert details["messages"]["answer"].startswith("b: output y of request 1: differs")
    assert details["tolerance"] == {"a": 1e-2, "b": 0.125}
    assert answers.read(tmp_path / "answers.arrow")[0].keys() == set(range(8))


def test_the_parts_of_a_mix_stream_together(
    load: LocustLoad, serve: Any, flask_streaming: Any, tmp_path: Path, stored: Callable[[Path, Workload], Run]
) -> None:
    """Two lengths of answers, each of its own part."""
    server = serve(flask_streaming)
    parts = [make_workload(name=f"of {n}", payload=Payload(generate=Generate(4, n), distinct=2)) for n in (2, 5)]
    workload = mixed(*parts, requests=40, load=Closed(2))
    load.prepare(Plan(workload, words.parse("flask://{}:{}".format(*server.address)), tmp_path))
    load.run(ignore, ignore)
    load.close()
    run = stored(tmp_path, workload)
    assert run.chunks is not None
    tokens = {int(r["payload"]): len(run.chunks.of_record(n)[0]) for n, r in enumerate(run.records)}
    assert tokens == {0: 2, 1: 2, 2: 5, 3: 5}
    assert [p.requests for p in measure(run).parts] == [pytest.approx(20, abs=10)] * 2


def test_the_runs_of_a_command_measure_the_generator_once(
    serve: Any, flask_like: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second run, by another load, is told what the first has found out."""
    monkeypatch.setattr(LocustLoad, "_ceilings", [])
    server, workload, found = serve(flask_like), make_workload(warmup_ns=Nanoseconds(0), requests=4), []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        made = LocustLoad()
        try:
            made.prepare(plan_for(server, tmp_path / name, workload))
            found.append(made.run(ignore, ignore).details["ceiling"])
        finally:
            made.close()
    assert found[0]["rate_hz"] == found[1]["rate_hz"] > 0


def test_streams_are_on_disk_with_every_piece(
    load: LocustLoad, serve: Any, flask_streaming: Any, tmp_path: Path, stored: Callable[[Path, Workload], Run]
) -> None:
    """Two users' replies of three tokens each, compared with the reference, every token with its time."""
    server = serve(flask_streaming)
    workload = make_workload(
        payload=Payload(generate=Generate(prompt_tokens=4, output_tokens=3), distinct=2),
        warmup_ns=Nanoseconds(0), requests=10, load=Closed(2),
    )  # fmt: skip
    reference = tmp_path / "reference.arrow"
    tokens = {"tokens": np.arange(3), "margin": np.ones(3, np.float32)}
    answers.write(reference, {0: tokens, 1: tokens})
    load.prepare(plan_for(server, tmp_path, workload, reference))
    outcome = load.run(ignore, ignore)
    load.close()
    run = stored(tmp_path, workload)
    assert run.chunks is not None
    assert len(run.records) >= 10
    assert set(run.records["error"]) == {0}
    assert set(run.records["check"]) == {SAME}
    for n, record in enumerate(run.records):
        times, counts = run.chunks.of_record(n)
        assert counts.tolist() == [1, 1, 1]
        assert record["start_ns"] < times[0] <= times[1] <= times[2] <= record["end_ns"]
    assert outcome.details["messages"] == {}
    assert answers.read(tmp_path / "answers.arrow")[0][1]["tokens"].tolist() == [0, 1, 2]


def test_where_nothing_listens_the_error_names_the_address(load: LocustLoad, nobody: tuple[str, int], tmp_path: Path) -> None:
    """The load process says it, the command raises it."""
    plan = Plan(make_workload(), words.parse("flask://{}:{}".format(*nobody)), tmp_path)
    with pytest.raises(RunError, match="nothing answers at {}:{}.*is the server running".format(*nobody)):
        load.prepare(plan)


def test_an_error_of_the_user_is_still_one_on_this_side(load: LocustLoad, tmp_path: Path) -> None:
    """What the process found wrong with the target's word ends the command with the same exit code."""
    with pytest.raises(UsageError, match="expected flask://HOST:PORT"):
        load.prepare(Plan(make_workload(), words.parse("flask://nowhere:x"), tmp_path))


def test_an_interrupted_run_keeps_what_was_measured(
    load: LocustLoad, serve: Any, flask_like: Any, tmp_path: Path, stored: Callable[[Path, Workload], Run]
) -> None:
    """Ctrl-C in the middle of a minute's run: the outcome says so, and every reply so far is on disk."""
    server, workload = serve(flask_like), make_workload(warmup_ns=Nanoseconds(0), duration_ns=MINUTE)
    load.prepare(plan_for(server, tmp_path, workload))

    def interrupt(progress: Progress) -> None:
        if progress.done >= 5:
            raise KeyboardInterrupt

    outcome = load.run(ignore, interrupt)
    records = stored(tmp_path, workload).records
    assert outcome.interrupted
    assert outcome.window_ns[1] - outcome.window_ns[0] < MINUTE
    assert len(records) == len([r for r in server.requests if r.path == "/predict"]) >= 5


def test_a_load_process_that_dies_is_an_error_with_its_last_words(
    load: LocustLoad, serve: Any, flask_like: Any, tmp_path: Path
) -> None:
    """The message has its exit code."""
    load.prepare(plan_for(serve(flask_like), tmp_path, make_workload(warmup_ns=Nanoseconds(0), duration_ns=MINUTE)))

    def kill(progress: Progress) -> None:
        assert load.pid is not None
        os.kill(load.pid, signal.SIGKILL)

    with pytest.raises(RunError, match="the load process was killed by signal 9"):
        load.run(ignore, kill)
