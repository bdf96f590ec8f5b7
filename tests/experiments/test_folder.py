"""An experiment's folder: what its file says, and where its runs lie."""

from pathlib import Path

import pytest

from bench.analysis.rule import Rule
from bench.analysis.verdicts import Looks
from bench.errors import UsageError
from bench.experiments import compare, folder
from bench.experiments.folder import SideFolder

RULE = Rule({"mean": 0.02, "errors": 0.01}, Looks((3, 6), gated=2))


def test_every_round_is_given_a_folder_of_its_own(tmp_path: Path) -> None:
    """One folder a side, one below it a round."""
    made = folder.begin(tmp_path, "demo", "w", [("Flask 3.1", None), ("triton?batching=off", None)], None)
    found = [folder.round_folder(tmp_path, side, n).relative_to(tmp_path).as_posix() for side in made.sides for n in (1, 2)]
    assert found == [
        "1-flask-3.1/round-01", "1-flask-3.1/round-02", "2-triton-batching-off/round-01", "2-triton-batching-off/round-02",
    ]  # fmt: skip
    assert all((tmp_path / path).is_dir() for path in found)


def test_what_is_begun_is_read_back(tmp_path: Path) -> None:
    """Sides, the rule they are judged by, and where stored runs lie."""
    made = folder.begin(tmp_path, "compare", "w", [("triton", None), ("old", tmp_path / "old")], RULE)
    assert folder.read(tmp_path) == made
    assert made.sides == (SideFolder("triton", "1-triton"), SideFolder("old", str(tmp_path / "old")))
    assert made.rule == RULE


def test_experiments_are_found_in_a_folder_and_right_below_it(tmp_path: Path) -> None:
    """Several comparisons of one command lie beside each other."""
    assert folder.find(tmp_path) == []
    for name in ("b", "a"):
        (tmp_path / name).mkdir()
        folder.begin(tmp_path / name, "compare", "w", [("x", None), ("y", None)], RULE)
    assert folder.find(tmp_path) == [tmp_path / "a", tmp_path / "b"]
    assert folder.find(tmp_path / "a") == [tmp_path / "a"]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"sides": [{"name": "a"}]}',
        '{"sides": [{"name": "a", "folder": "a"}]}',
        '{"sides": 1}',
        '{"sides": []}',
        '{"kind": "compare", "workload": "w", "sides": [{"name": "a", "folder": "a"}, {"name": "b", "folder": "b"}], '
        '"rule": {"deltas": {"mean": 0.05}, "looks": [[], 0.05, 1]}}',
        "\xff",
    ],
)
def test_a_damaged_experiment_file_is_named(content: str, tmp_path: Path) -> None:
    """As a mistake of the user, who edited or cut it."""
    (tmp_path / "experiment.json").write_text(content, encoding="latin-1")
    with pytest.raises(UsageError, match=r"experiment\.json: damaged"):
        folder.read(tmp_path)


def test_an_experiment_of_which_nothing_was_measured_leaves_its_logs_alone(tmp_path: Path) -> None:
    """And nothing at all where there are none."""
    for name in ("with", "without"):
        (tmp_path / name).mkdir()
        made = folder.begin(tmp_path / name, "compare", "w", [("a", None), ("b", None)], RULE)
        folder.round_folder(tmp_path / name, made.sides[0], 1)
    (tmp_path / "with" / "server-1.log").write_text("it did not start")
    for name in ("with", "without"):
        folder.forget(tmp_path / name)
    assert [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.rglob("*"))] == ["with", "with/server-1.log"]


def test_stored_runs_that_are_gone_are_named(tmp_path: Path) -> None:
    """They were moved, or deleted, since they were compared."""
    folder.begin(tmp_path, "compare", "w", [("a", tmp_path / "gone"), ("b", None)], RULE)
    with pytest.raises(UsageError, match=r"side a: the runs that lay in .*gone are not there"):
        compare.load(tmp_path)


def test_more_sides_than_two_are_read_back_in_their_order(tmp_path: Path) -> None:
    """Each with its rounds, compared with the first."""
    folder.begin(tmp_path, "demo", "w", [("a", None), ("b", None), ("c", None)], None)
    comparison, sides = compare.load(tmp_path)
    assert [side.name for side in sides] == ["a", "b", "c"]
    assert len(comparison.reasons) == 3
    assert len(comparison.agreement) == 2


@pytest.mark.parametrize("rule", [None, RULE])
def test_a_side_without_a_round_makes_an_invalid_comparison(tmp_path: Path, rule: Rule | None) -> None:
    """It says so, instead of failing to read what was never written."""
    folder.begin(tmp_path, "compare", "w", [("a", None), ("b", None)], rule)
    comparison, sides = compare.load(tmp_path)
    assert [reason.code for reason in (*comparison.reasons[0], *comparison.reasons[1])] == ["no_rounds", "no_rounds"]
    assert [side.name for side in sides] == ["a", "b"]
    assert {judgement.verdict for judgement in comparison.judgements()} == ({"UNKNOWN"} if rule else set())
