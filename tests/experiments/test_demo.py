"""Several sides in turn: the order of the rounds, and what the experiment's folder says of itself."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from bench.analysis.compare import Agreement
from bench.errors import UsageError
from bench.experiments import demo
from bench.record import Run
from bench.testing import make_mix, make_run, make_stream_workload, make_workload
from bench.workload import Check

turns = st.integers(2, 6), st.integers(1, 40), st.integers(0, 2**32)


@given(*turns)
def test_every_round_has_all_sides_one_after_the_other(sides: int, rounds: int, seed: int) -> None:
    """What drifts from round to round meets all."""
    found = list(demo.order(sides, rounds, seed))
    assert [number for _, number in found] == [n for n in range(1, rounds + 1) for _ in range(sides)]
    for n in range(rounds):
        assert sorted(which for which, _ in found[n * sides : (n + 1) * sides]) == list(range(sides))


@given(*turns)
def test_of_two_rounds_the_second_is_the_first_turned_round(sides: int, rounds: int, seed: int) -> None:
    """AB BA or BA AB: a steady drift does not favour a side, and an odd round more is all that can be uneven."""
    found = [which for which, _ in demo.order(sides, rounds, seed)]
    for n in range(0, rounds - 1, 2):
        first, second = found[n * sides : (n + 1) * sides], found[(n + 1) * sides : (n + 2) * sides]
        assert second == first[::-1]


@given(*turns)
def test_the_order_comes_from_the_seed(sides: int, rounds: int, seed: int) -> None:
    """The same seed measures in the same order again."""
    assert list(demo.order(sides, rounds, seed)) == list(demo.order(sides, rounds, seed))


def test_another_seed_may_begin_with_another_side() -> None:
    """The order is drawn, not fixed: of 40 seeds some begin with each side, and pairs within one seed differ too."""
    for sides in (2, 4):
        assert {next(demo.order(sides, 2, seed))[0] for seed in range(40)} == set(range(sides))
    leaders = [which for which, _ in list(demo.order(2, 40, 1))[::2]]
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
        "\xff",
    ],
)
def test_a_damaged_experiment_file_is_named(content: str, tmp_path: Path) -> None:
    """As a mistake of the user, who edited or cut it."""
    (tmp_path / "experiment.json").write_text(content, encoding="latin-1")
    with pytest.raises(UsageError, match=r"experiment\.json: damaged"):
        demo.load(tmp_path)


def test_more_sides_than_two_are_read_back_in_their_order(tmp_path: Path) -> None:
    """Each with its rounds, compared with the first."""
    demo.begin(tmp_path, "w", ["a", "b", "c"])
    comparison, sides = demo.load(tmp_path)
    assert [side.name for side in sides] == ["a", "b", "c"]
    assert len(comparison.reasons) == 3
    assert len(comparison.agreement) == 2


def tokens(*ids: int) -> dict[str, np.ndarray]:
    return {"tokens": np.array(ids, np.int64)}


def test_tokens_agree_only_where_every_one_is_the_same() -> None:
    """One id off is another token, however near; an answer cut short is another answer; what only one has is not compared."""
    first = {0: tokens(100_000, 7), 1: tokens(5), 2: tokens(1, 2), 3: tokens(9)}
    other = {0: tokens(100_001, 7), 1: tokens(5), 2: tokens(1)}
    workload = make_stream_workload(check=Check(tolerance=0.5))
    assert demo.agree(workload, first, [other]) == Agreement(1, 3)
    assert demo.agree(workload, first, [first]) == Agreement(4, 4)


def test_an_answer_that_differs_in_any_round_is_not_the_same() -> None:
    """A side that is right in two rounds of three is not."""
    first = {0: tokens(1), 1: tokens(2)}
    assert demo.agree(make_stream_workload(), first, [first, {0: tokens(3)}, first]) == Agreement(1, 2)


def test_numbers_agree_within_the_workloads_tolerance() -> None:
    """1 % of the largest value, as for the reference."""
    first = {0: {"y": np.array([1.0, 100.0])}, 1: {"y": np.array([1.0, 100.0])}}
    other = {0: {"y": np.array([1.9, 100.0])}, 1: {"y": np.array([2.1, 100.0])}}
    assert demo.agree(make_workload(check=Check(tolerance=0.01)), first, [other]) == Agreement(1, 2)


def test_answers_of_a_mix_agree_within_their_own_part_s_tolerance() -> None:
    """1 % of the one, half of the other; which is which, the row of all requests says."""
    mixed = make_mix({"strict": (1, 2), "loose": (1, 2)})
    checks = (Check(tolerance=0.01), Check(tolerance=0.5))
    mixed = replace(mixed, mix=tuple(replace(part, check=check) for part, check in zip(mixed.mix, checks, strict=True)))
    first, other = ({n: {"y": np.array([value, 100.0])} for n in range(4)} for value in (1.0, 20.0))
    assert demo.agree(mixed, first, [other]) == Agreement(2, 4)
    assert demo.agree(mixed, {1: first[1]}, [other]) == Agreement(0, 1)
    assert demo.agree(mixed, {2: first[2]}, [other]) == Agreement(1, 1)


def test_an_answer_in_text_is_not_compared_with_one_in_tokens() -> None:
    """They may be the same or not: nobody knows."""
    text = {"text": np.array([b"a b"], object)}
    assert demo.agree(make_stream_workload(), {0: tokens(1), 1: text}, [{0: text, 1: tokens(1)}]) == Agreement(0, 0)


def test_texts_agree_where_they_are_equal() -> None:
    """A server that answers with text has no token ids to compare."""
    first, other = ({0: {"text": np.array([text], object)}} for text in (b"a b", b"a c"))
    assert demo.agree(make_stream_workload(), first, [other]) == Agreement(0, 1)


def test_a_side_without_a_round_makes_an_invalid_comparison(tmp_path: Path) -> None:
    """It says so, instead of failing to read what was never written."""
    demo.begin(tmp_path, "w", ["a", "b"])
    comparison, sides = demo.load(tmp_path)
    assert [reason.code for reason in (*comparison.reasons[0], *comparison.reasons[1])] == ["no_rounds", "no_rounds"]
    assert [side.name for side in sides] == ["a", "b"]
