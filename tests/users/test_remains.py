"""What processes that sent leave in a run's folder."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from bench import answers
from bench.columns import RecordWriter
from bench.testing import make_run
from bench.users import remains


def part(folder: Path, worker: int, **changes: Any) -> RecordWriter:
    """A worker's stream, still open, and what it told at its end."""
    writer = RecordWriter(folder / f"requests-{worker}.arrows")
    writer.write(make_run([10.0] * 5).records)
    report = {
        "worker": worker, "host": "", "pid": 1, "sent": 5, "unsent": 1, "reconnects": 2, "cpu_share": 0.5,
        "engine_cpu_share": 0.25 + worker / 10, "messages": {}, "tokens_counted": {}, "stopped": False, "failure": "",
    }  # fmt: skip
    (folder / f"load-{worker}.json").write_text(json.dumps(report | changes))
    return writer


def test_what_the_processes_told_is_put_together(tmp_path: Path) -> None:
    """Counts and CPU are added, the busiest of their threads counts, and each is told of."""
    part(tmp_path, 0, messages={"status": "HTTP 503"}, tokens_counted={"one a piece": 3}).close()
    part(tmp_path, 1, messages={"status": "HTTP 500", "closed": "gone"}, tokens_counted={"one a piece": 2}).close()
    told, lost = remains.reports(tmp_path, quitting=False)
    details = remains.details(told, window_s=10.0)
    assert lost == []
    assert {key: details[key] for key in ("sent", "unsent", "reconnects")} == {"sent": 10, "unsent": 2, "reconnects": 4}
    assert (details["cpu_s"], details["engine_cpu_s"]) == (10.0, 3.5)
    assert details["messages"] == {"status": "HTTP 503", "closed": "gone"}
    assert details["tokens_counted"] == {"one a piece": 5}
    assert [(worker["worker"], worker["sent"], worker["cpu_s"]) for worker in details["workers"]] == [(0, 5, 5.0), (1, 5, 5.0)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["requests-0.arrows", "requests-1.arrows"]


def test_of_no_process_nothing_is_put_together(tmp_path: Path) -> None:
    """A test that was stopped before a worker began."""
    told, lost = remains.reports(tmp_path, quitting=False)
    details = remains.details(told, 10.0)
    assert (lost, details["sent"], details["engine_cpu_s"], "workers" in details) == ([], 0, 0.0, False)


def test_a_process_that_died_or_was_stopped_alone_is_lost(tmp_path: Path) -> None:
    """Killed: it told nothing. Interrupted: it did, and its master went on. With all of Locust at once: that is no loss."""
    part(tmp_path, 0).close()
    part(tmp_path, 1, stopped=True).close()
    part(tmp_path, 2).close()
    (tmp_path / "load-2.json").unlink()
    writes = part(tmp_path, 3)
    (tmp_path / "load-3.json").unlink()
    assert remains.being_sent(tmp_path)
    assert remains.reports(tmp_path, quitting=False)[1] == ["worker 1 was stopped", "worker 2 died", "worker 3 did not end"]
    writes.close()
    assert not remains.being_sent(tmp_path)


def test_an_interruption_of_all_loses_nobody(tmp_path: Path) -> None:
    """Ctrl-C reaches every process of a terminal's group."""
    part(tmp_path, 0, stopped=True).close()
    assert remains.reports(tmp_path, quitting=True)[1] == []


def test_the_kept_answers_of_all_processes_become_one_file(tmp_path: Path) -> None:
    """The first process's where several have one; what a killed process left half written is passed over."""
    zero, one = np.zeros(1, np.float32), np.ones(1, np.float32)
    answers.write(tmp_path / "answers-0.arrow", {0: {"y": zero}})
    answers.write(tmp_path / "answers-1.arrow", {0: {"y": one}, 1: {"y": one}})
    (tmp_path / "answers-2.arrow").write_bytes(b"half")
    remains.keep_answers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["answers.arrow"]
    kept = answers.read(tmp_path / "answers.arrow")[0]
    assert {n: float(outputs["y"][0]) for n, outputs in kept.items()} == {0: 0.0, 1: 1.0}
