"""Two sides in turn: the order of the rounds, and what the experiment's folder says of itself."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import UsageError
from bench.experiments import demo
from bench.record import Run
from bench.testing import make_run

rounds_and_seeds = st.integers(1, 40), st.integers(0, 2**32)


@given(*rounds_and_seeds)
def test_every_round_has_both_sides_one_after_the_other(rounds: int, seed: int) -> None:
    """What drifts from round to round meets both."""
    turns = list(demo.order(rounds, seed))
    assert [number for _, number in turns] == [n for n in range(1, rounds + 1) for _ in range(2)]
    for n in range(rounds):
        assert {turns[2 * n][0], turns[2 * n + 1][0]} == {0, 1}


@given(*rounds_and_seeds)
def test_of_two_rounds_each_side_leads_one(rounds: int, seed: int) -> None:
    """AB BA or BA AB: a steady drift does not favour a side, and an odd round more is all that can be uneven."""
    leaders = [which for which, _ in list(demo.order(rounds, seed))[::2]]
    for n in range(0, rounds - 1, 2):
        assert leaders[n] != leaders[n + 1]


@given(*rounds_and_seeds)
def test_the_order_comes_from_the_seed(rounds: int, seed: int) -> None:
    """The same seed measures in the same order again."""
    assert list(demo.order(rounds, seed)) == list(demo.order(rounds, seed))


def test_another_seed_may_begin_with_the_other_side() -> None:
    """The order is drawn, not fixed: of 20 seeds some begin with each side, and pairs within one seed differ too."""
    assert {next(demo.order(2, seed))[0] for seed in range(20)} == {0, 1}
    leaders = [which for which, _ in list(demo.order(40, 1))[::2]]
    assert set(leaders[::2]) == {0, 1}


def test_every_round_is_given_a_folder_of_its_own(tmp_path: Path) -> None:
    """One folder a side, one below it a round; they exist when the round begins."""
    seen = []

    def run(which: int, number: int, folder: Path) -> Run:
        assert folder.is_dir()
        seen.append((which, number, folder.relative_to(tmp_path).as_posix()))
        return make_run([1.0])

    folders = demo.begin(tmp_path, "w", ["Flask 3.1", "triton?batching=off"])
    assert demo.measure(folders, 2, 1, run)
    assert sorted(seen) == [
        (0, 1, "1-flask-3.1/round-01"), (0, 2, "1-flask-3.1/round-02"),
        (1, 1, "2-triton-batching-off/round-01"), (1, 2, "2-triton-batching-off/round-02"),
    ]  # fmt: skip
    assert demo.is_experiment(tmp_path)


def test_a_round_that_the_user_stopped_is_the_last(tmp_path: Path) -> None:
    """Ctrl-C in the third of eight rounds."""
    statuses = iter(["complete", "complete", "partial"])
    folders = demo.begin(tmp_path, "w", ["a", "b"])
    assert not demo.measure(folders, 4, 1, lambda *_: make_run([1.0], status=next(statuses)))
    assert next(statuses, None) is None


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"sides": [{"name": "a"}]}', '{"sides": 1}', '{"sides": []}', "\xff"])
def test_a_damaged_experiment_file_is_named(content: str, tmp_path: Path) -> None:
    """As a mistake of the user, who edited or cut it."""
    (tmp_path / "experiment.json").write_text(content, encoding="latin-1")
    with pytest.raises(UsageError, match=r"experiment\.json: damaged"):
        demo.load(tmp_path)


def test_a_side_without_a_round_makes_an_invalid_comparison(tmp_path: Path) -> None:
    """It says so, instead of failing to read what was never written."""
    demo.begin(tmp_path, "w", ["a", "b"])
    comparison, sides = demo.load(tmp_path)
    assert [reason.code for reason in (*comparison.base_reasons, *comparison.new_reasons)] == ["no_rounds", "no_rounds"]
    assert [side.name for side in sides] == ["a", "b"]
