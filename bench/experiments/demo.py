"""Several servers, one workload, rounds in turn: what the demo measures, and how its folder is read back."""

import json
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from bench import answers, mix, store
from bench.analysis.compare import Agreement, SideComparison, compare_sides
from bench.answers import Answers
from bench.errors import UsageError
from bench.load.answers import Reference
from bench.record import SAME, Run
from bench.reports.comparison_page import Sides, side
from bench.workload import Workload

FILE = "experiment.json"


def order(sides: int, rounds: int, seed: int) -> Iterator[tuple[int, int]]:
    """(side, round) in turn: each round has all sides, in an order that is drawn, every second one the last turned round."""
    turn: list[int] = []
    for number in range(1, rounds + 1):
        if number % 2:
            turn = np.argsort(np.random.PCG64([seed, number]).random_raw(sides)).tolist()
        else:
            turn.reverse()
        yield from ((which, number) for which in turn)


def begin(folder: Path, workload: str, names: Sequence[str]) -> list[Path]:
    """Write down what the experiment in `folder` is; the folders of its sides."""
    folders = [f"{n}-{_slug(name)}" for n, name in enumerate(names, 1)]
    sides = [{"name": name, "folder": path} for name, path in zip(names, folders, strict=True)]
    store.write_json(folder / FILE, {"kind": "demo", "workload": workload, "sides": sides})
    return [folder / path for path in folders]


def measure(folders: Sequence[Path], rounds: int, seed: int, run: Callable[[int, int, Path], Run]) -> bool:
    """Call `run(side, round, folder)` for every round of all sides in turn; False when the user stopped it."""
    for which, number in order(len(folders), rounds, seed):
        folder = folders[which] / f"round-{number:02d}"
        folder.mkdir(parents=True)
        if run(which, number, folder).status == "partial":
            return False
    return True


def is_experiment(path: Path) -> bool:
    """Whether `path` holds the sides of an experiment."""
    return (path / FILE).exists()


def load(path: Path) -> tuple[SideComparison, Sides]:
    """The comparison in the experiment's folder; UsageError where something in it is damaged."""
    try:
        document = json.loads((path / FILE).read_text(encoding="utf-8"))
        named = [(str(s["name"]), path / s["folder"]) for s in document["sides"]]
        if len(named) < 2:
            raise ValueError("expected two sides or more")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path / FILE}: damaged: {error}") from None
    # none where the user stopped before this side's first round
    folders = [[run.parent for run in sorted(where.glob("*/run.json"))] for _, where in named]
    runs = [[store.open_run(folder) for folder in of_side] for of_side in folders]
    comparison = compare_sides(*runs, agreement=_agreements(runs, folders))
    return comparison, tuple(side(name, of_side) for (name, _), of_side in zip(named, runs, strict=True))


def _agreements(runs: Sequence[Sequence[Run]], folders: Sequence[Sequence[Path]]) -> list[Agreement | None]:
    """What the kept answers of each side but the first have to do with those of the first side's first round."""
    first = _answers(folders[0][0]) if folders[0] else None
    if first is None:
        return [None] * (len(folders) - 1)
    found = []
    for of_side in folders[1:]:
        kept = [a for folder in of_side if (a := _answers(folder)) is not None]
        found.append(agree(runs[0][0].workload, first, kept) if kept else None)
    return found


def agree(workload: Workload, first: Answers, kept: Sequence[Answers]) -> Agreement:
    """How many requests of `first` have the same answer in all of `kept` that have one with the same outputs.

    As an answer is held to the reference: numbers within the workload's tolerance, or its part's; tokens and texts exactly.
    """
    row, references = mix.starts(workload), [Reference(part.check, first) for part in workload.parts]
    compared = same = 0
    for payload, outputs in first.items():
        others = [one[payload] for one in kept if one.get(payload, {}).keys() == outputs.keys()]
        reference = references[bisect_right(row, payload) - 1]
        compared += bool(others)
        same += bool(others) and all(reference.compare(payload, other)[0] == SAME for other in others)
    return Agreement(same, compared)


def _answers(folder: Path) -> Answers | None:
    """The answers that a run kept; None where there are none to be read."""
    try:
        return answers.read(folder / "answers.arrow")[0] or None
    except UsageError:
        return None


def _slug(name: str) -> str:
    return "".join(c if c.isalnum() or c in ".-" else "-" for c in name.lower())
