"""What the workers of one load said at the end, as what one load said."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import answers
from bench.answers import Answers
from bench.errors import UsageError
from bench.load.recorder import ANSWERS_LIMIT

_SUMS = ("sent", "unsent", "late_without_connection", "reconnects", "cpu_s")
# which one worker tells for all
_OF_ONE = ("tolerance", "batches", "server_at_start", "server_at_end", "server_at_end_problem")


def details(told: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The details of a whole load out of those of its workers, of which there is one at least.

    Counts and CPU are summed; the engine's CPU is that of the busiest, because each has a thread, and a core, of its own.
    """
    made: dict[str, Any] = {key: sum(one.get(key, 0) for one in told) for key in _SUMS}
    made["engine_cpu_s"] = max(one.get("engine_cpu_s", 0.0) for one in told)
    made["messages"] = _first(one.get("messages", {}) for one in told)
    made |= {key: value for key, value in _first(told).items() if key in _OF_ONE}
    if counted := _summed(one.get("tokens_counted", {}) for one in told):
        made["tokens_counted"] = counted
    if ceiling := _ceiling([one.get("ceiling") or {} for one in told]):
        made["ceiling"] = ceiling
    return made


def _first(tables: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """All keys, each with the value of the first table that has it."""
    found: dict[str, Any] = {}
    for table in tables:
        found = {**table, **found}
    return found


def _summed(tables: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for table in tables:
        for key, value in table.items():
            total[key] = total.get(key, 0) + value
    return total


def _ceiling(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Of all workers together, who measured at the same time: rates are summed, of the rest the worst is told."""
    if not all(found):
        return {}
    if broken := [one for one in found if "problem" in one]:
        return dict(broken[0])
    worst = {key: max(one[key] for one in found) for key in ("cpu_us", "added_p50_ns", "added_p99_ns")}
    return {**found[0], "rate_hz": sum(one["rate_hz"] for one in found), **worst}


def keep_answers(folder: Path, kept: Sequence[Path]) -> None:
    """Write answers.arrow out of the files of the workers, which go; of an answer that several have, the first."""
    together: Answers = {}
    for path in kept:
        try:
            found, _ = answers.read(path)
        except UsageError:  # of a worker that died; the others have theirs
            found = {}
        together = {**found, **together}
        path.unlink(missing_ok=True)
    answers.write(folder / "answers.arrow", together, limit=ANSWERS_LIMIT)
