"""The stored runs that a run is held to: of its kind, made before it, VALID and complete, the newest of them."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from bench import store
from bench.analysis.history import Point, comparable
from bench.analysis.summary import summarize
from bench.errors import UsageError
from bench.record import Run


@dataclass(frozen=True, slots=True)
class Found:
    """The history of a run, oldest first, and why other runs are not of it."""

    points: list[Point]
    passed_over: Counter[str] = field(default_factory=Counter)  # reason -> runs; those beyond the newest are not looked at


def point(folder: Path) -> Point:
    """The run in `folder`; UsageError where there is none, there are several, or it is damaged."""
    folders = store.find_runs(folder)
    if len(folders) > 1:
        raise UsageError(f"{folder}: {len(folders)} runs lie there; expected one, which is judged by those before it")
    return _summarized(folders[0])


def before(judged: Run, root: Path, last: int, say: Callable[[str], None]) -> Found:
    """Up to `last` runs below `root` that `judged` is held to; what is damaged is told, and the others stand."""
    found = Found([])
    candidates = sorted(_candidates(judged, root, found.passed_over, say), reverse=True)
    for _, folder in candidates:
        if len(found.points) == last:
            break
        try:
            one = _summarized(folder)
        except UsageError as error:
            _damaged(error, found.passed_over, say)
            continue
        if one.summary.valid:
            found.points.insert(0, one)
        else:
            found.passed_over["INVALID"] += 1
    return found


Key = tuple[float, tuple[tuple[int, str], ...]]


def _candidates(judged: Run, root: Path, passed_over: Counter[str], say: Callable[[str], None]) -> Iterator[tuple[Key, Path]]:
    """(what it is sorted by, folder) of each run that is of its history as far as its run.json tells."""
    at, seen = _order(judged), {_which(judged)}
    for folder in store.find_runs(root):
        try:
            header = store.load_header(folder)
            key = _order(header)
        except UsageError as error:
            _damaged(error, passed_over, say)
            continue
        if _which(header) in seen:  # the judged run itself, or a copy of one
            continue
        seen.add(_which(header))
        if why := _passed_over(header, judged, key < at):
            passed_over[why] += 1
        else:
            yield key, folder


def _which(run: Run) -> tuple[str, str, tuple[int, int]]:
    """What a run shares with its copies alone."""
    return run.id, run.created, run.window_ns


def _passed_over(header: Run, judged: Run, earlier: bool) -> str:
    if not comparable(judged, header):
        return "of another workload, target or machine"
    if header.workload.round:
        return "a round of an experiment"
    if header.status != "complete":
        return "broken off"
    return "" if earlier else "made later"


def _damaged(error: UsageError, passed_over: Counter[str], say: Callable[[str], None]) -> None:
    say(f"bench: {error}")
    passed_over["damaged"] += 1


def _summarized(folder: Path) -> Point:
    """What a run comes to; its records are let go, for those of twenty runs may be more than fits the memory."""
    run = store.open_run(folder)
    return Point(replace(run, records=run.records[:0].copy(), chunks=None), summarize(run))


def _order(run: Run) -> Key:
    """What runs are sorted by: when they began, and of those of one second by their names, in which numbers count as such."""
    try:
        when = datetime.fromisoformat(run.created).timestamp()
    except ValueError:
        raise UsageError(
            f"run {run.id}: created: expected a time such as 2026-01-31T12:00:00+00:00, got {run.created!r}"
        ) from None
    parts = re.split(r"(\d+)", run.id)
    return when, tuple((int(part), "") if part.isdecimal() else (0, part) for part in parts)
