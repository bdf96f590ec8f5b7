"""An experiment on disk: a folder of runs for each side, and a file that says which sides there are and how they are judged."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from bench import store
from bench.analysis.rule import Rule
from bench.errors import UsageError

FILE = "experiment.json"


class SideFolder(msgspec.Struct, frozen=True):
    """One side: what was asked for, and where its runs lie: in the experiment's folder, or where they were stored before."""

    name: str
    folder: str


class Experiment(msgspec.Struct, frozen=True):
    """What an experiment's file says."""

    kind: str  # "demo", "compare"
    workload: str
    sides: tuple[SideFolder, ...]
    rule: Rule | None = None


def begin(path: Path, kind: str, workload: str, sides: Sequence[tuple[str, Path | None]], rule: Rule | None) -> Experiment:
    """Write down what the experiment in `path` is; sides are (name, where its runs were stored before, if they were)."""
    found = (
        SideFolder(name, f"{n}-{_slug(name)}" if stored is None else str(stored.absolute()))
        for n, (name, stored) in enumerate(sides, 1)
    )
    made = Experiment(kind, workload, tuple(found), rule)
    store.write_json(path / FILE, msgspec.to_builtins(made))
    return made


def is_experiment(path: Path) -> bool:
    """Whether `path` holds the sides of an experiment."""
    return (path / FILE).exists()


def find(path: Path) -> list[Path]:
    """The experiments at or below `path`."""
    return [path] if is_experiment(path) else sorted(found.parent for found in path.glob(f"**/{FILE}"))


def forget(path: Path) -> None:
    """Take away what `begin` has left of an experiment of which nothing was measured; logs of servers stay."""
    (path / FILE).unlink(missing_ok=True)
    for where in sorted((p for p in path.glob("**/*") if p.is_dir()), reverse=True):
        if not any(where.iterdir()):
            where.rmdir()
    if not any(path.iterdir()):
        path.rmdir()


def read(path: Path) -> Experiment:
    """What the experiment in `path` is; UsageError where its file is damaged."""
    try:
        document: Any = json.loads((path / FILE).read_text(encoding="utf-8"))
        made = msgspec.convert(document, Experiment)
        if len(made.sides) < 2:
            raise ValueError("expected two sides or more")
        if made.rule is not None:
            made.rule.check()
    except (OSError, ValueError, msgspec.ValidationError) as error:
        raise UsageError(f"{path / FILE}: damaged: {error}") from None
    return made


def round_folder(path: Path, side: SideFolder, number: int) -> Path:
    """A new folder for a round of a side."""
    folder = path / side.folder / f"round-{number:02d}"
    folder.mkdir(parents=True)
    return folder


def runs_of(path: Path, side: SideFolder) -> list[Path]:
    """The folders of a side's runs, in the order of their names; none where the user stopped before its first round."""
    where = path / side.folder
    if Path(side.folder).is_absolute() and not where.is_dir():
        raise UsageError(f"{path / FILE}: side {side.name}: the runs that lay in {where} are not there")
    if (where / "run.json").exists():
        return [where]
    return [run.parent for run in sorted(where.rglob("run.json"))]


def _slug(name: str) -> str:
    return "".join(c if c.isalnum() or c in ".-" else "-" for c in name.lower())
