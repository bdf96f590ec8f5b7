"""Two servers, one workload, rounds in turn: what the demo measures, and how its folder is read back."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from bench import store
from bench.analysis.compare import SideComparison, compare_sides
from bench.errors import UsageError
from bench.record import Run
from bench.reports.comparison_page import Sides, side

FILE = "experiment.json"


def order(rounds: int, seed: int) -> Iterator[tuple[int, int]]:
    """(side, round) in turn: each round has both sides, in an order that is drawn in balanced pairs (AB BA or BA AB)."""
    first = 0
    for number in range(1, rounds + 1):
        if number % 2:
            first = int(np.random.PCG64([seed, number]).random_raw()) & 1
        else:
            first = 1 - first
        yield first, number
        yield 1 - first, number


def begin(folder: Path, workload: str, names: Sequence[str]) -> list[Path]:
    """Write down what the experiment in `folder` is; the folders of its two sides."""
    folders = [f"{n}-{_slug(name)}" for n, name in enumerate(names, 1)]
    sides = [{"name": name, "folder": path} for name, path in zip(names, folders, strict=True)]
    store.write_json(folder / FILE, {"kind": "demo", "workload": workload, "sides": sides})
    return [folder / path for path in folders]


def measure(folders: Sequence[Path], rounds: int, seed: int, run: Callable[[int, int, Path], Run]) -> bool:
    """Call `run(side, round, folder)` for every round of both sides in turn; False when the user stopped it."""
    for which, number in order(rounds, seed):
        folder = folders[which] / f"round-{number:02d}"
        folder.mkdir(parents=True)
        if run(which, number, folder).status == "partial":
            return False
    return True


def is_experiment(path: Path) -> bool:
    """Whether `path` holds two sides."""
    return (path / FILE).exists()


def load(path: Path) -> tuple[SideComparison, Sides]:
    """The comparison in the experiment's folder; UsageError where something in it is damaged."""
    try:
        document = json.loads((path / FILE).read_text(encoding="utf-8"))
        base, new = ((str(s["name"]), path / s["folder"]) for s in document["sides"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path / FILE}: damaged: {error}") from None
    # none where the user stopped before this side's first round
    runs = [[store.open_run(run.parent) for run in sorted(where.glob("*/run.json"))] for _, where in (base, new)]
    comparison = compare_sides(*runs)
    return comparison, (side(base[0], runs[0]), side(new[0], runs[1]))


def _slug(name: str) -> str:
    return "".join(c if c.isalnum() or c in ".-" else "-" for c in name.lower())
