"""`bench compare --against-history`, as it is typed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.record import Run
from bench.testing import make_run

Store = Callable[[Run], Path]
Bench = Callable[..., Any]
WOBBLE = [0.0, 0.2, -0.1, 0.1, -0.2, 0.1, -0.1, 0.2]


@pytest.fixture
def series(stored: Store) -> Callable[..., Path]:
    """Stores eight runs of about 20 ms, and one of the given mean after them; its folder."""

    def write(mean_ms: float, **fields: Any) -> Path:
        for n, wobble in enumerate(WOBBLE, 1):
            stored(run(n, 20.0 + wobble))
        return stored(run(9, mean_ms, **fields))

    return write


def run(n: int, mean_ms: float, **fields: Any) -> Run:
    return make_run(mean_ms * np.linspace(0.98, 1.02, 500), id=f"run-{n}", created=f"2026-01-0{n}T12:00:00Z", **fields)


@pytest.fixture
def judge(bench: Bench, tmp_path: Path) -> Bench:
    """Runs `bench compare --against-history WORDS... --output RESULTS`."""
    return lambda *words: bench("compare", "--against-history", *words, "--output", tmp_path / "results")


@pytest.mark.parametrize(("mean_ms", "code", "verdict"), [(20.1, 0, "SAME"), (17.0, 0, "BETTER"), (24.0, 1, "WORSE")])
def test_the_exit_code_says_whether_the_run_is_worse(
    series: Callable[..., Path], judge: Bench, mean_ms: float, code: int, verdict: str
) -> None:
    """0 unless it is; the report stands in the run's folder."""
    folder = series(mean_ms)
    said = judge(folder, "--gate", "mean,p99")
    assert said.code == code, said.err
    assert f" {verdict}  this run: mean latency {verdict}, P99 latency {verdict}" in said.out
    assert said.err == f"report: {folder / 'history.html'}\n"
    assert "against its history" in (folder / "history.html").read_text(encoding="utf-8")


def test_a_short_history_is_unknown(series: Callable[..., Path], judge: Bench) -> None:
    """Exit code 4, and 0 where the user says so."""
    third = series(20.0).with_name("run-3")
    said = judge(third)
    assert said.code == 4
    assert "needs 5 earlier runs that have it, has 2" in " ".join(said.out.split())
    assert judge(third, "--unknown", "ok").code == 0


def test_only_the_newest_are_looked_at_where_that_is_asked_for(series: Callable[..., Path], judge: Bench) -> None:
    """--last 6 of eight."""
    document = json.loads(judge(series(20.0), "--last", "6", "--json").out)
    assert [one["run"] for one in document["runs"]] == [f"run-{n}" for n in range(3, 10)]


def test_an_invalid_run_is_told_by_the_exit_code(series: Callable[..., Path], judge: Bench) -> None:
    """Half of its requests failed: --unknown ok is no pardon."""
    said = judge(series(20.0, errors=dict.fromkeys(range(250), "status")), "--gate", "mean", "--unknown", "ok")
    assert said.code == 4
    assert " INVALID  run-9" in said.out


def test_a_run_that_was_interrupted_is_told_by_the_exit_code(series: Callable[..., Path], judge: Bench) -> None:
    """130, whatever is said of what was measured."""
    assert judge(series(24.0, status="partial"), "--gate", "mean").code == 130


def test_a_damaged_run_is_named_and_the_others_stand(series: Callable[..., Path], judge: Bench) -> None:
    """On stderr; seven are left."""
    folder = series(20.0)
    (folder.with_name("run-4") / "run.json").write_text("{")
    said = judge(folder, "--gate", "mean", "--format", "markdown")
    assert said.code == 0
    assert "run-4/run.json: damaged" in said.err
    assert "mean of 7 runs" in said.out
    assert "1 damaged" in said.out


def test_a_target_is_measured_once_and_then_judged(bench: Bench, judge: Bench, four_floats: Path, tmp_path: Path) -> None:
    """As `bench run` measures it; another target begins another history."""
    for _ in range(5):
        bench("run", four_floats, "--target", "echo://?service=5ms", "--output", tmp_path / "results")
    said = judge("echo://?service=5ms", "--workload", four_floats, "--gate", "mean")
    assert said.code == 0, said.err
    assert "mean of 5 runs" in said.out
    assert len(list((tmp_path / "results").iterdir())) == 6
    assert judge("echo://?service=6ms", "--workload", four_floats, "--gate", "mean").code == 4


def test_a_folder_that_may_not_be_written_to_keeps_the_verdict(series: Callable[..., Path], judge: Bench) -> None:
    """A folder stands where the page would: it is said, and the verdict is printed."""
    folder = series(20.0)
    (folder / "history.html").mkdir()
    said = judge(folder, "--gate", "mean")
    assert said.code == 0
    assert "history.html: cannot be written" in said.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("a/", "b/"), "expected one side, the run that is judged, got 2"),
        (("a/", "--rounds", "5"), "--rounds has no place beside --against-history"),
        (("a/", "--looks", "5,10"), "--looks has no place beside --against-history"),
        (("a/", "--force"), "--force has no place beside --against-history"),
        (("a/", "--last", "0"), "--last"),
        (("a/", "--last", "999"), "--last: expected a number of runs from 1 to 200, got 999"),
        (("a/", "--workload", "resnet50"), "--workload resnet50: a stored run has its workload with it"),
        (("echo://", "--workload", "resnet50", "--workload", "bert-base"), "expected one --workload"),
        (("nowhere/run",), "nowhere/run: no such folder"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_judged_is_refused(judge: Bench, words: tuple[str, ...], message: str) -> None:
    """Exit code 2, with what was expected."""
    said = judge(*words)
    assert said.code == 2
    assert message in said.err


def test_a_folder_of_several_runs_is_no_run(series: Callable[..., Path], judge: Bench) -> None:
    """It is said how many lie there."""
    said = judge(series(20.0).parent)
    assert said.code == 2
    assert "9 runs lie there; expected one" in said.err


def test_last_without_a_history_is_refused(bench: Bench) -> None:
    """--last says something of a history alone."""
    said = bench("compare", "a/", "b/", "--last", "5")
    assert said.code == 2
    assert "--last" in said.err
