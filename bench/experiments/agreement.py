"""Whether several sides give the same answers to the same requests, by those that their rounds kept."""

import math
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bench import answers, mix
from bench.analysis.compare import Agreement, Difference
from bench.answers import Answers
from bench.errors import UsageError
from bench.load.answers import Reference, distance
from bench.record import SAME, Run
from bench.tensors import Tensors
from bench.workload import Workload


def agreements(sides: Sequence[Sequence[Run]], folders: Sequence[Sequence[Path]]) -> list[Agreement | None]:
    """What the kept answers of each side but the first have to do with those of the first; None where neither has any."""
    kept = [[found for folder in of_side if (found := _answers(folder))] for of_side in folders]
    if not kept[0]:
        none = "the first side kept no answers"
        return [Agreement(0, 0, why=none) if of_side else None for of_side in kept[1:]]
    allowed = _tolerances([run for of_side in sides for run in of_side])
    return [agree(sides[0][0].workload, kept[0], of_side, allowed) for of_side in kept[1:]]


def agree(
    workload: Workload, base: Sequence[Answers], kept: Sequence[Answers], tolerances: Mapping[str, float] | None = None
) -> Agreement:
    """How many requests have the same answer in all of `kept`, one of each round, as in the first of `base` that has one.

    As an answer is held to the reference: numbers within the workload's tolerance, or its part's, or a larger one in
    `tolerances`; tokens and texts exactly. A request that `base` itself answers now so, now so is not compared.
    """
    row, parts = mix.starts(workload), workload.parts
    first = {payload: outputs for one in reversed(base) for payload, outputs in one.items()}
    references = [Reference(part.check, first, (tolerances or {}).get(part.name, 0.0)) for part in parts]

    def same(payload: int, others: Sequence[Tensors]) -> bool:
        reference = references[bisect_right(row, payload) - 1]
        return all(reference.compare(payload, other)[0] == SAME for other in others)

    compared = agreed = varying = 0
    greatest: dict[int, float] = {}
    for payload, outputs in sorted(first.items()):
        theirs = _like(payload, outputs, kept)
        if not theirs:
            continue
        if not same(payload, _like(payload, outputs, base)):
            varying += 1
            continue
        compared += 1
        agreed += same(payload, theirs)
        part = bisect_right(row, payload) - 1
        if apart := [share for other in theirs for share in _apart(outputs, other)]:
            greatest[part] = max(greatest.get(part, 0.0), *apart)
    found = (Difference(parts[n].name, most, references[n].tolerance) for n, most in sorted(greatest.items()))
    return Agreement(agreed, compared, tuple(found), varying, "" if compared or varying else _incomparable(first, kept))


def _like(payload: int, outputs: Tensors, rounds: Sequence[Answers]) -> list[Tensors]:
    """The answers to a request, in rounds that have one, with the same outputs."""
    return [one[payload] for one in rounds if one.get(payload, {}).keys() == outputs.keys()]


def _incomparable(first: Answers, kept: Sequence[Answers]) -> str:
    """Why no answer could be compared; "" where it is no wonder: one side answers with tokens, the other with text."""
    if not kept:
        return "this side kept no answers"
    others = next((one[payload] for one in kept for payload in one if payload in first), None)
    if others is None:
        return "the sides kept no answers to the same requests"
    names = [sorted(next(iter(first.values()))), sorted(others)]
    if {"text"} in map(set, names):
        return ""
    return f"the outputs are others: {', '.join(names[0])} on the first side, {', '.join(names[1])} on this"


def _apart(first: Tensors, other: Tensors) -> Iterator[float]:
    """The greatest difference in each output of numbers, as a share of its largest value in `first`; inf where none can be."""
    for name, wanted in first.items():
        if wanted.dtype.kind != "f":
            continue  # texts, ids and counts are the same or not
        if other[name].size != wanted.size:
            yield math.inf
            continue
        difference, largest = distance(other[name], wanted)
        yield difference / largest if largest else math.inf if difference else 0.0


def _tolerances(runs: Sequence[Run]) -> dict[str, float]:
    """By the name of a part: the largest tolerance that its replies were held to in any run."""
    found: dict[str, float] = {}
    for run in runs:
        said = run.load.get("tolerance")
        by_part = said if isinstance(said, dict) else dict.fromkeys((part.name for part in run.workload.parts), said)
        for name, tolerance in by_part.items():
            found[name] = max(found.get(name, 0.0), float(tolerance or 0.0))
    return found


def _answers(folder: Path) -> Answers | None:
    """The answers that a run kept; None where there are none to be read."""
    try:
        return answers.read(folder / "answers.arrow")[0] or None
    except UsageError:
        return None
