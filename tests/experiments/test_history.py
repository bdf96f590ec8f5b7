"""The stored runs that a run is held to."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import columns
from bench.errors import UsageError
from bench.experiments import history
from bench.record import Run
from bench.testing import make_run, make_workload

Store = Callable[[Run], Path]


def run(day: int, mean_ms: float = 20.0, **fields: Any) -> Run:
    """A run of that day of January."""
    created = f"2026-01-{day:02d}T12:00:00+00:00"
    return make_run(mean_ms * np.linspace(0.98, 1.02, 100), **({"id": f"run-{day}", "created": created} | fields))


def found(judged: Run, root: Path, last: int = 20) -> tuple[list[str], dict[str, int], list[str]]:
    """(the ids of its history, why others are not of it, what was said)."""
    said: list[str] = []
    made = history.before(judged, root, last, said.append)
    return [point.run.id for point in made.points], dict(made.passed_over), said


def test_its_history_are_the_runs_before_it_oldest_first(stored: Store, tmp_path: Path) -> None:
    """Neither itself nor what came later, in whatever order they lie there."""
    for day in (5, 2, 9, 3, 12):
        stored(run(day))
    assert found(run(9), tmp_path / "results") == (["run-2", "run-3", "run-5"], {"made later": 1}, [])


def test_the_newest_count(stored: Store, tmp_path: Path) -> None:
    """Of eight the last three."""
    for day in range(1, 10):
        stored(run(day))
    assert found(run(9), tmp_path / "results", last=3)[0] == ["run-6", "run-7", "run-8"]


def test_runs_of_one_second_are_told_apart_by_the_numbers_in_their_names(stored: Store, tmp_path: Path) -> None:
    """echo-10 comes after echo-9."""
    for n in range(8, 12):
        stored(run(1, id=f"echo-{n}"))
    assert found(run(1, id="echo-10"), tmp_path / "results")[0] == ["echo-8", "echo-9"]


def test_a_copy_of_the_run_is_none_of_its_history_and_another_of_its_name_is(stored: Store, tmp_path: Path) -> None:
    """A name is its own in one folder only."""
    stored(run(9))
    (tmp_path / "results" / "run-9").rename(tmp_path / "results" / "copy")
    stored(run(2, id="run-9"))
    made = history.before(run(9), tmp_path / "results", 20, lambda text: None)
    assert [point.run.created[:10] for point in made.points] == ["2026-01-02"]


def test_copies_of_a_run_count_once(stored: Store, tmp_path: Path) -> None:
    """Somebody has put some runs aside: a level is none the better known for that."""
    for day in (2, 3):
        shutil.copytree(stored(run(day)), tmp_path / "results" / "aside" / f"run-{day}")
    assert found(run(9), tmp_path / "results")[0] == ["run-2", "run-3"]


def test_moments_are_compared_and_not_their_texts(stored: Store, tmp_path: Path) -> None:
    """11:30 in a zone two hours ahead is earlier than 10:00 in Greenwich."""
    stored(run(1, id="ahead", created="2026-01-02T11:30:00+02:00"))
    stored(run(1, id="later", created="2026-01-02T10:30:00Z"))
    assert found(run(1, id="judged", created="2026-01-02T10:00:00+00:00"), tmp_path / "results")[0] == ["ahead"]


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (run(3, workload=make_workload(seed=9)), "of another workload, target or machine"),
        (run(3, target={"word": "echo://?slots=2"}), "of another workload, target or machine"),
        (run(3, workload=make_workload(round=2)), "a round of an experiment"),
        (run(3, status="partial"), "broken off"),
        (run(3, errors=dict.fromkeys(range(50), "status")), "INVALID"),
    ],
    ids=["workload", "target", "round", "partial", "invalid"],
)
def test_what_is_not_of_its_history_is_counted(stored: Store, tmp_path: Path, other: Run, why: str) -> None:
    """One run that is, and one that is not."""
    stored(run(2))
    stored(other)
    assert found(run(9), tmp_path / "results") == (["run-2"], {why: 1}, [])


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "run.json").write_text("{"),
        lambda folder: (folder / "run.json").write_text("[]"),
        lambda folder: (folder / "requests.parquet").write_bytes(b"PAR1"),
        lambda folder: (folder / "requests.parquet").unlink(),
        lambda folder: (folder / "run.json").write_text((folder / "run.json").read_text().replace("2026-01-03T", "soon")),
    ],
    ids=["half a document", "no object", "records", "no records", "no time"],
)
def test_a_damaged_run_is_named_and_the_others_stand(stored: Store, tmp_path: Path, damage: Callable[[Path], Any]) -> None:
    """One of three."""
    for day in (2, 3, 4):
        stored(run(day))
    damage(tmp_path / "results" / "run-3")
    ids, passed_over, said = found(run(9), tmp_path / "results")
    assert (ids, passed_over) == (["run-2", "run-4"], {"damaged": 1})
    assert len(said) == 1
    assert "run-3" in said[0]


def test_the_records_of_other_runs_are_not_read(stored: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A results folder with hundreds of runs of other workloads is gone through by what their run.json says."""
    stored(run(2))
    for day in (3, 4, 5):
        stored(run(day, workload=make_workload(seed=day)))
    read: list[str] = []
    whole = columns.read_records

    def counted(path: Path, streams: list[Path]) -> Any:
        read.append(path.parent.name)
        return whole(path, streams)

    monkeypatch.setattr(columns, "read_records", counted)
    assert found(run(9), tmp_path / "results")[0] == ["run-2"]
    assert read == ["run-2"]


def test_the_records_are_let_go(stored: Store, tmp_path: Path) -> None:
    """What they come to is kept."""
    stored(run(2))
    point = history.before(run(9), tmp_path / "results", 20, lambda text: None).points[0]
    assert len(point.run.records) == 0
    assert point.summary.requests == 100


@pytest.mark.parametrize(
    ("folder", "message"), [("nowhere", "no such folder"), ("results", "2 runs lie there"), ("", "2 runs")]
)
def test_what_is_judged_is_one_run(stored: Store, tmp_path: Path, folder: str, message: str) -> None:
    """Neither none nor several; a folder with one run in it will do."""
    path = stored(run(2))
    stored(run(3))
    assert history.point(path).run.id == "run-2"
    with pytest.raises(UsageError, match=message):
        history.point(tmp_path / folder)
