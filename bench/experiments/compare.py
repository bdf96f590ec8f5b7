"""What the rounds of an experiment come to: its folder read back, every side held to the first."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from bench import store
from bench.analysis import pairs
from bench.analysis.alike import differences
from bench.analysis.compare import SideComparison, compare_sides
from bench.analysis.pairs import Kept
from bench.errors import UsageError
from bench.experiments import folder
from bench.experiments.agreement import agreements
from bench.experiments.folder import Experiment
from bench.experiments.names import ends, side_names
from bench.record import Run
from bench.reports import under_test
from bench.reports.sides import Sides, side
from bench.workload import Workload


class Rounds(NamedTuple):
    """The runs of one side, and where they lie."""

    runs: list[Run]
    folders: list[Path]

    def at(self, positions: Sequence[int]) -> "Rounds":
        """Those at some positions."""
        return Rounds([self.runs[n] for n in positions], [self.folders[n] for n in positions])


def load(path: Path) -> tuple[SideComparison, Sides]:
    """The comparison in the experiment's folder; UsageError where something in it is damaged."""
    experiment = folder.read(path)
    return judge(experiment, [read(path, n, experiment) for n in range(len(experiment.sides))])


def read(path: Path, which: int, experiment: Experiment) -> Rounds:
    """The rounds of one side of the experiment in `path`."""
    folders = folder.runs_of(path, experiment.sides[which])
    return Rounds([store.open_run(one) for one in folders], folders)


def stored(path: Path) -> Rounds:
    """The runs that lie at or below `path`, each a round; UsageError where there is none, or one is damaged."""
    folders = store.find_runs(path)
    return Rounds([store.open_run(one) for one in folders], folders)


def check_alike(rounds: Sequence[Rounds]) -> None:
    """UsageError where sides that have runs differ in what is not under test."""
    found = differences([one.runs for one in rounds if one.runs]).not_alike
    if found:
        told = "\n  ".join(under_test.lines(found))
        raise UsageError(f"the sides differ in what is not under test (--force compares them all the same):\n  {told}")


def check_workload(stored: Rounds, workload: Workload) -> None:
    """UsageError where live sides are to have another workload than the stored runs had."""
    run = stored.runs[0]
    check_alike([stored, Rounds([replace(run, workload=workload)], [])])


def judge(experiment: Experiment, rounds: Sequence[Rounds]) -> tuple[SideComparison, Sides]:
    """The comparison of these rounds, by the experiment's rule."""
    found = pairs.kept([one.runs for one in rounds]) if experiment.rule else [Kept(tuple(range(len(r.runs)))) for r in rounds]
    kept = [one.at(of.positions) for one, of in zip(rounds, found, strict=True)]
    comparison = compare_sides(
        *(one.runs for one in kept),
        agreement=agreements([one.runs for one in kept], [one.folders for one in kept]),
        rule=experiment.rule,
        left_out=[of.left_out for of in found],
    )
    return comparison, tuple(side(name, one.runs) for name, one in zip(_names(experiment, rounds), kept, strict=True))


def _names(experiment: Experiment, rounds: Sequence[Rounds]) -> list[str]:
    """The names of the sides; those of the same name are told apart by the folders in which they were stored, if they were."""
    sides = experiment.sides
    targets = [one.runs[0].target if one.runs else {"name": s.name} for one, s in zip(rounds, sides, strict=True)]
    stored = any(Path(s.folder).is_absolute() for s in sides)
    return side_names(targets, ends([Path(s.folder) for s in sides]) if stored else ())
