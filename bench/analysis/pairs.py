"""Which rounds of several sides count, which of them belong together, and whether they were measured in turn."""

from collections.abc import Sequence
from dataclasses import dataclass

from bench import workload as workloads
from bench.analysis.estimate import Reason
from bench.record import Run

EXITED = "server-exited"
# why rounds do not count: the server ended in one, it broke off, its other half is missing, the other side has no such number
ENDED, BROKEN, ALONE, UNMATCHED = "server_ended", "broken_off", "half_a_pair", "unmatched"


@dataclass(frozen=True, slots=True)
class Kept:
    """The rounds of a side that count, by their positions, and why the others do not."""

    positions: tuple[int, ...]
    left_out: tuple[Reason, ...] = ()


def paired(base: Sequence[Run], new: Sequence[Run]) -> bool:
    """Whether the rounds of two sides belong together: the same rounds of one workload, in the same order."""
    numbers = [run.workload.round for run in base]
    if not (numbers and all(numbers) and len(set(numbers)) == len(numbers) and numbers == [r.workload.round for r in new]):
        return False
    return len({workloads.digest(run.workload) for run in (*base, *new)}) == 1


def apart(base: Sequence[Run], new: Sequence[Run]) -> bool:
    """Whether all rounds of one side came before all of the other's, so that the two were not measured in turn."""
    times = [sorted(run.created for run in side if run.created) for side in (base, new)]
    return all(times) and (times[0][-1] < times[1][0] or times[1][-1] < times[0][0])


def kept(sides: Sequence[Sequence[Run]]) -> list[Kept]:
    """The rounds that came to their end; where all are rounds of an experiment, only those that every side has."""
    whole = [[n for n, run in enumerate(runs) if _broken(run, n) is None] for runs in sides]
    numbers = [{runs[n].workload.round for n in of} for runs, of in zip(sides, whole, strict=True)]
    numbered = all(numbers) and all(run.workload.round for runs in sides for run in runs)
    common = set.intersection(*numbers) if numbers and numbered else None
    everywhere = set.intersection(*({run.workload.round for run in runs} for runs in sides)) if common is not None else set()
    return [_kept(runs, of, common, everywhere) for runs, of in zip(sides, whole, strict=True)]


def _kept(runs: Sequence[Run], whole: Sequence[int], common: set[int] | None, everywhere: set[int]) -> Kept:
    reasons, unmatched = [], []
    for n, run in enumerate(runs):
        number = run.workload.round
        if (reason := _broken(run, n)) is not None:
            reasons.append(reason)
        elif common is not None and number not in common and number in everywhere:
            reasons.append(Reason(ALONE, f"round {number} is left out: the other side of the pair is missing"))
        elif common is not None and number not in common:
            unmatched.append(str(number))
    if unmatched:
        numbers = f"rounds {', '.join(unmatched)} are" if len(unmatched) > 1 else f"round {unmatched[0]} is"
        reasons.append(Reason(UNMATCHED, f"{numbers} left out: another side has no round of this number"))
    positions = tuple(n for n in whole if common is None or runs[n].workload.round in common)
    return Kept(positions, tuple(reasons))


def _broken(run: Run, n: int) -> Reason | None:
    """Why a run did not come to its end; None where it did."""
    number = run.workload.round or n + 1
    for event in run.events:
        if event.name == EXITED:
            status = event.detail.get("status")
            return Reason(ENDED, f"round {number} is left out: the server ended in it (exit status {status})")
    if run.status == "complete":
        return None
    return Reason(BROKEN, f"round {number} is left out: it broke off, and what was measured before lies in its folder")
