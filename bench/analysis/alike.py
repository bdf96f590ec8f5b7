"""Like with like: of sides that are compared, what differs because it is under test, and what should have been alike."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.analysis import fingerprint as machine
from bench.analysis import target
from bench.analysis.fingerprint import fingerprint
from bench.analysis.flat import UNKNOWN, Texts
from bench.analysis.target import tested
from bench.record import Run

__all__ = ["ABSENT", "Difference", "Differences", "differences", "fingerprint", "tested"]

Sides = Sequence[Sequence[Run]]

ABSENT = "none"  # the value of a side that has no such thing


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not the same in all runs."""

    name: str  # for people: "driver", "workload load.users"
    values: tuple[str, ...]  # of each side; of one whose rounds differ, each of theirs
    within: bool = False  # the rounds of one side differ


@dataclass(frozen=True, slots=True)
class Differences:
    """What differs between sides, or within one. No name is in two of the lists."""

    under_test: tuple[Difference, ...]  # of the targets, alike in all rounds of a side; the most telling first
    not_alike: tuple[Difference, ...]  # with these the comparison is one of something else as well
    noted: tuple[Difference, ...] = ()  # what a reader should know, though it is alike as far as it is known


ALIKE = Differences((), ())


def differences(sides: Sides) -> Differences:
    """What differs between the runs of the sides; a side without runs differs from none."""
    targets, runs = _differing(sides, tested), [run for side in sides for run in side]
    if len({target.make(run) for run in runs}) > 1:  # what is known of one kind only is no difference, unless it was asked for
        asked = set().union(*map(target.asked, runs))
        targets = [d for d in targets if d.name in asked or len({*d.values} - {ABSENT}) > 1]
    chosen = _chosen(runs)
    models, noted = _models(sides, chosen)
    machines = [d for d in _differing(sides, fingerprint) if not _told_elsewhere(sides, d)]
    if any(d.name == machine.GPU for d in machines):  # of other GPUs the rest need not be told
        machines = [d for d in machines if d.name not in machine.OF_A_GPU]
    else:
        noted += _differing(sides, machine.cards)
    testable = targets + (models if chosen else [])
    unlike = [d for d in testable if d.within] + ([] if chosen else models) + machines
    return Differences(tuple(d for d in testable if not d.within), tuple(unlike), tuple(noted))


def _chosen(runs: Sequence[Run]) -> bool:
    """Whether the targets' words chose different models, and whoever chose the same got the same."""
    got: dict[object, set[tuple[str, ...]]] = {}
    for run in runs:
        hashes = tuple(target.hashes(run).values())
        got.setdefault(target.chosen(run), set()).update(() if UNKNOWN in hashes else (hashes,))
    return len(got) > 1 and all(len(models) <= 1 for models in got.values())


def _models(sides: Sides, chosen: bool) -> tuple[list[Difference], list[Difference]]:
    """(what differs of the models, what of them cannot be compared); `chosen`: by the targets, not by the workload.

    Another folder with the same models in it is no difference, and a precision that the workload asks for is told there.
    """
    hashes = _differing(sides, target.hashes)
    unknown = [d for d in hashes if any(UNKNOWN in value for value in d.values)]
    known = [d for d in hashes if d not in unknown]
    if not known or not chosen:
        return known, unknown
    return [*_differing(sides, target.precisions), *_differing(sides, target.repositories), *known], unknown


def _told_elsewhere(sides: Sides, difference: Difference) -> bool:
    """Whether it is a model's hash, or the version of a package that a target's own facts tell."""
    name = difference.name
    if not name.endswith(machine.PACKAGE):
        return name.startswith(target.MODEL_HASH)
    package = name.removesuffix(machine.PACKAGE)
    return any(target.tells(run, package) for side in sides for run in side)


def _differing(sides: Sides, view: Callable[[Run], Texts]) -> list[Difference]:
    """The names whose texts are not the same in all runs."""
    seen = [[view(run) for run in side] for side in sides]
    found = []
    for name in dict.fromkeys(name for side in seen for texts in side for name in texts):
        values = [tuple(dict.fromkeys(texts.get(name, ABSENT) for texts in side)) for side in seen]
        if len({text for value in values for text in value}) > 1:
            shown = tuple(", ".join(value) or ABSENT for value in values)
            found.append(Difference(name, shown, any(len(value) > 1 for value in values)))
    return found
