"""The names of a demo's sides, and its defaults."""

from dataclasses import replace
from typing import Any

import pytest

from bench import words
from bench.commands.demo import GENERATING, side_names
from bench.endpoint import Endpoint, PartModel
from bench.recipes.catalog import BuiltModel


def live(*asked: str, precisions: tuple[str, ...] = ()) -> list[Endpoint]:
    """Endpoints for target words, each called by its kind; with models of these precisions."""
    made = []
    for n, text in enumerate(asked):
        word = words.parse(text)
        models = (PartModel("made", model(precisions[n])),) if precisions else ()
        made.append(Endpoint(word, word, word.kind.capitalize(), models=models))
    return made


def model(precision: str) -> Any:
    """A built model, of which only the precision is looked at."""
    stub = BuiltModel.__new__(BuiltModel)
    object.__setattr__(stub, "precision", precision)
    return stub


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
    made = live("flask", "triton?precision=int8", precisions=("fp32", "int8"))
    assert side_names(made) == ["Flask precision=fp32", "Triton precision=int8"]
    assert side_names([made[0], replace(made[1], models=(PartModel("made", model("fp32")),))]) == ["Flask", "Triton"]


def test_the_precisions_of_a_mix_are_told_together() -> None:
    """Of its models, each once."""
    mixed = [
        replace(one, models=tuple(PartModel(f"part {n}", model(precision)) for n, precision in enumerate(precisions)))
        for one, precisions in zip(live("flask", "triton"), (("fp32", "fp32"), ("int8", "fp32")), strict=True)
    ]
    assert side_names(mixed) == ["Flask precision=fp32", "Triton precision=int8,fp32"]


def test_the_sides_of_a_workload_that_generates_are_told_apart() -> None:
    """Flask, and Triton in each of its modes."""
    assert side_names(live(*GENERATING)) == [
        "Flask",
        "Triton batching=off",
        "Triton batching=dynamic",
        "Triton batching=continuous",
    ]
