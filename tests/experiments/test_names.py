"""The names of an experiment's sides."""

from pathlib import Path
from typing import Any

import pytest

from bench import words
from bench.commands.demo import GENERATING
from bench.experiments.names import ends, side_names


def live(*asked: str, precisions: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """Targets of words, as runs record them, each called by its kind; with models of these precisions."""
    made = []
    for n, text in enumerate(asked):
        model = {"name": "made", "precision": precisions[n]} if precisions else None
        made.append({"name": words.parse(text).kind.capitalize(), "asked": text, "word": text, "model": model})
    return made


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        (["flask", "triton"], ["Flask", "Triton"]),
        (["triton?batching=off", "triton?batching=dynamic"], ["Triton batching=off", "Triton batching=dynamic"]),
        (["triton", "triton?batching=off"], ["Triton", "Triton batching=off"]),
        (
            ["flask?threads=2", "triton?batching=off,threads=2", "triton?batching=continuous,threads=2,prefill_chunk=0",
             "triton?batching=continuous,threads=2,prefill_chunk=16"],
            ["Flask", "Triton batching=off", "Triton batching=continuous prefill_chunk=0",
             "Triton batching=continuous prefill_chunk=16"],
        ),
        (["triton", "triton", "flask", "flask?port=1"], ["Triton (1)", "Triton (2)", "Flask", "Flask port=1"]),
    ],
)  # fmt: skip
def test_sides_are_called_by_what_tells_them_apart(asked: list[str], names: list[str]) -> None:
    """Options in which those of one name differ; where there are none, numbers."""
    assert side_names(live(*asked)) == names


def test_where_precisions_differ_every_side_says_its_own() -> None:
    """Int8 on one side against FP32 on the other is the first thing to know."""
    asked = "flask", "triton?precision=int8"
    assert side_names(live(*asked, precisions=("fp32", "int8"))) == ["Flask precision=fp32", "Triton precision=int8"]
    assert side_names(live(*asked[:1], "triton", precisions=("fp32", "fp32"))) == ["Flask", "Triton"]


def test_the_precisions_of_a_mix_are_told_together() -> None:
    """Of its models, each once."""
    mixed = live("flask", "triton")
    for target, precisions in zip(mixed, (("fp32", "fp32"), ("int8", "fp32")), strict=True):
        target["parts"] = {f"part {n}": {"model": {"precision": p}} for n, p in enumerate(precisions)}
    assert side_names(mixed) == ["Flask precision=fp32", "Triton precision=int8,fp32"]


def test_the_sides_of_a_workload_that_generates_are_told_apart() -> None:
    """Flask, and Triton in each of its modes."""
    assert side_names(live(*GENERATING)) == [
        "Flask",
        "Triton batching=off",
        "Triton batching=dynamic",
        "Triton batching=continuous",
    ]


def test_stored_sides_of_one_name_are_told_apart_by_their_folders() -> None:
    """Two groups of runs of one server: before and after."""
    names = side_names(live("triton", "triton", "flask"), ("before", "after", "flask"))
    assert names == ["Triton (before)", "Triton (after)", "Flask"]


def test_a_target_that_another_program_recorded_is_called_by_what_it_has() -> None:
    """Nothing is asked of its words."""
    assert side_names([{"word": "no word ?="}, {}]) == ["no word ?=", "target"]


def test_folders_are_told_apart_by_their_ends() -> None:
    """As much of them as it takes; one and the same twice is not told apart."""
    assert ends([Path("a/before"), Path("a/after")]) == ["before", "after"]
    assert ends([Path("x/1/side"), Path("x/2/side")]) == ["1/side", "2/side"]
    assert ends([Path("x/side"), Path("x/side")]) == ["side", "side"]
    assert ends([Path("side"), Path("x/side")]) == ["side", "x/side"]
