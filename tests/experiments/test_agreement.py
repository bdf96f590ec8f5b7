"""Whether sides give the same answers: how many, and how far they are apart."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from bench import answers
from bench.analysis.compare import Agreement, Difference
from bench.answers import Answers
from bench.experiments.agreement import agree as agreement_of
from bench.experiments.agreement import agreements
from bench.testing import make_mix, make_run, make_stream_workload, make_workload
from bench.workload import Check, Workload


def agree(workload: Workload, first: Answers, kept: Sequence[Answers]) -> tuple[int, int]:
    """(same, compared)."""
    found = agreement_of(workload, [first], kept)
    return found.same, found.compared


def agreed(same: int, compared: int) -> tuple[int, int]:
    return same, compared


def tokens(*ids: int) -> dict[str, np.ndarray]:
    return {"tokens": np.array(ids, np.int64)}


def test_tokens_agree_only_where_every_one_is_the_same() -> None:
    """One id off is another token, however near; an answer cut short is another answer; what only one has is not compared."""
    first = {0: tokens(100_000, 7), 1: tokens(5), 2: tokens(1, 2), 3: tokens(9)}
    other = {0: tokens(100_001, 7), 1: tokens(5), 2: tokens(1)}
    workload = make_stream_workload(check=Check(tolerance=0.5))
    assert agree(workload, first, [other]) == agreed(1, 3)
    assert agree(workload, first, [first]) == agreed(4, 4)


def test_an_answer_that_differs_in_any_round_is_not_the_same() -> None:
    """A side that is right in two rounds of three is not."""
    first = {0: tokens(1), 1: tokens(2)}
    assert agree(make_stream_workload(), first, [first, {0: tokens(3)}, first]) == agreed(1, 2)


def test_numbers_agree_within_the_workloads_tolerance() -> None:
    """1 % of the largest value, as for the reference."""
    first = {0: {"y": np.array([1.0, 100.0])}, 1: {"y": np.array([1.0, 100.0])}}
    other = {0: {"y": np.array([1.9, 100.0])}, 1: {"y": np.array([2.1, 100.0])}}
    assert agree(make_workload(check=Check(tolerance=0.01)), first, [other]) == agreed(1, 2)


def test_answers_of_a_mix_agree_within_their_own_part_s_tolerance() -> None:
    """1 % of the one, half of the other; which is which, the row of all requests says."""
    mixed = make_mix({"strict": (1, 2), "loose": (1, 2)})
    checks = (Check(tolerance=0.01), Check(tolerance=0.5))
    mixed = replace(mixed, mix=tuple(replace(part, check=check) for part, check in zip(mixed.mix, checks, strict=True)))
    first, other = ({n: {"y": np.array([value, 100.0])} for n in range(4)} for value in (1.0, 20.0))
    assert agree(mixed, first, [other]) == agreed(2, 4)
    assert agree(mixed, {1: first[1]}, [other]) == agreed(0, 1)
    assert agree(mixed, {2: first[2]}, [other]) == agreed(1, 1)


def test_an_answer_in_text_is_not_compared_with_one_in_tokens() -> None:
    """They may be the same or not: nobody knows."""
    text = {"text": np.array([b"a b"], object)}
    assert agree(make_stream_workload(), {0: tokens(1), 1: text}, [{0: text, 1: tokens(1)}]) == agreed(0, 0)


def test_texts_agree_where_they_are_equal() -> None:
    """A server that answers with text has no token ids to compare."""
    first, other = ({0: {"text": np.array([text], object)}} for text in (b"a b", b"a c"))
    assert agree(make_stream_workload(), first, [other]) == agreed(0, 1)


def numbers(*values: float) -> dict[int, dict[str, np.ndarray]]:
    return {0: {"y": np.array(values)}}


@pytest.mark.parametrize(
    ("other", "greatest"),
    [
        ((1.0, 100.0), 0.0),
        ((1.5, 100.0), 0.005),
        ((1.0, 97.0), 0.03),
        ((math.nan, 100.0), math.inf),
        ((1.0, 100.0, 5.0), math.inf),
    ],
)
def test_the_greatest_difference_is_told_as_a_share_of_the_largest_value(other: tuple[float, ...], greatest: float) -> None:
    """Of the first side's output; what cannot be a difference is infinite."""
    found = agreement_of(make_workload(check=Check(tolerance=0.01)), [numbers(1.0, 100.0)], [numbers(*other)])
    assert found.differences == (Difference("made", pytest.approx(greatest), 0.01),)


def test_the_greatest_difference_of_all_rounds_counts() -> None:
    """One round that is far off is not hidden by those that are not."""
    rounds = [numbers(1.0, 100.0), numbers(3.0, 100.0), numbers(2.0, 100.0)]
    assert agreement_of(make_workload(), [numbers(1.0, 100.0)], rounds).differences[0].greatest == pytest.approx(0.02)


def test_a_tolerance_that_runs_were_held_to_counts_where_it_is_larger() -> None:
    """A precision that moves answers by more than the workload's own tolerance says so in each run."""
    workload = make_workload(check=Check(tolerance=0.01))
    assert agreement_of(workload, [numbers(1.0, 100.0)], [numbers(1.0, 95.0)], {"made": 0.1}).judged().verdict == "SAME"
    assert agreement_of(workload, [numbers(1.0, 100.0)], [numbers(1.0, 95.0)], {"made": 0.02}).judged().verdict == "WORSE"


def test_kept_answers_of_all_rounds_are_read(tmp_path: Path) -> None:
    """What the first side answered in any round is compared with what the other answered in any."""
    made = make_workload(check=Check(tolerance=0.01))
    folders = [[_kept(tmp_path / f"{side}{n}", {n: {"y": np.array([1.0 + n])}}) for n in range(2)] for side in "ab"]
    runs = [[make_run([1.0], workload=made)] * 2] * 2
    assert agreements(runs, folders) == [Agreement(2, 2, (Difference("made", 0.0, 0.01),))]
    assert agreements(runs, [folders[0], [tmp_path]]) == [Agreement(0, 0, why="this side kept no answers")]
    assert agreements(runs, [[tmp_path], folders[1]]) == [Agreement(0, 0, why="the first side kept no answers")]
    assert agreements(runs, [[tmp_path], [tmp_path]]) == [None]


def test_what_the_first_side_answers_now_so_now_so_is_not_compared() -> None:
    """Two identical sides that vary from round to round are not called worse; what is steady is compared."""
    steady, varying = ({0: tokens(n), 1: tokens(7)} for n in (1, 2))
    workload = make_stream_workload()
    assert agreement_of(workload, [steady, varying], [varying, steady]) == Agreement(1, 1, varying=1)
    assert agreement_of(workload, [steady, steady], [varying]).judged().verdict == "WORSE"


def test_the_first_sides_earliest_answer_is_what_others_are_held_to() -> None:
    """Its rounds are alike within 1 %, and another that is 1.2 % from the earliest is not."""
    workload = make_workload(check=Check(tolerance=0.01))
    base = [numbers(1.0, 100.0), numbers(1.0, 100.5)]
    assert agreement_of(workload, base, [numbers(1.0, 101.2)]).judged().verdict == "WORSE"


def test_the_greatest_difference_of_all_requests_counts() -> None:
    """Also where a later request differs less."""
    first, other = ({n: {"y": np.array([value, 100.0])} for n, value in enumerate(of)} for of in ((1.0, 1.0), (9.0, 2.0)))
    assert agreement_of(make_workload(), [first], [other]).differences[0].greatest == pytest.approx(0.08)


def test_answers_with_other_outputs_say_so() -> None:
    """A new version that calls its output otherwise is told, not passed over; a side that speaks in text is another matter."""
    workload = make_workload()
    found = agreement_of(workload, [{0: {"logits": np.array([1.0])}}], [{0: {"scores": np.array([1.0])}}])
    assert found.why == "the outputs are others: logits on the first side, scores on this"
    assert found.judged().verdict == "UNKNOWN"
    assert agreement_of(workload, [numbers(1.0)], [{5: {"y": np.array([1.0])}}]).why.startswith("the sides kept no answers to")
    assert agreement_of(make_stream_workload(), [{0: tokens(1)}], [{0: {"text": np.array([b"a"], object)}}]).why == ""


def _kept(folder: Path, found: dict[int, dict[str, np.ndarray]]) -> Path:
    folder.mkdir()
    answers.write(folder / "answers.arrow", found)
    return folder


def test_the_tolerance_of_each_part_of_a_mix_is_its_own(tmp_path: Path) -> None:
    """As its runs say."""
    mixed: Workload = make_mix({"a": (1, 1), "b": (1, 1)})
    load = {"tolerance": {"a": 0.3, "b": 0.02}}
    kept = [{n: {"y": np.array([value])} for n in range(2)} for value in (1.0, 1.1)]
    folders = [[_kept(tmp_path / str(n), one)] for n, one in enumerate(kept)]
    (found,) = agreements([[make_run([1.0], workload=mixed, load=load)]] * 2, folders)
    assert found is not None
    assert (found.same, found.compared) == (1, 2)
    assert [d.allowed for d in found.differences] == [0.3, 0.02]
