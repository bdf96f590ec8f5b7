"""What the processes that sent left in a run's folder, put together when all have ended."""

import contextlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import answers, columns
from bench.answers import Answers
from bench.errors import UsageError
from bench.load.recorder import ANSWERS_LIMIT

Report = Mapping[str, Any]  # of a part, at its end; see Part.close


def being_sent(folder: Path) -> bool:
    """Whether a process still writes records."""
    return any(map(columns.being_written, _streams(folder)))


def reports(folder: Path, quitting: bool) -> tuple[list[Report], list[str]]:
    """What each process told at its end, and which are lost: those that told nothing, or ended before their master did.

    `quitting`: somebody ended all of Locust, and not one of those processes alone. What was told is taken out of the folder.
    """
    told: list[Report] = []
    lost = []
    for stream in _streams(folder):
        worker = re.sub(r"\D", "", stream.stem)
        path = folder / f"load-{worker}.json"
        if not path.exists():
            lost.append(f"worker {worker} {'did not end' if columns.being_written(stream) else 'died'}")
            continue
        told.append(json.loads(path.read_text(encoding="utf-8")))
        path.unlink()
        if told[-1]["stopped"] and not quitting:
            lost.append(f"worker {worker} was stopped")
    return told, lost


def summed(told: Sequence[Report], window_s: float) -> dict[str, Any]:
    """The same as one, for run.json."""
    messages: dict[str, str] = {}
    for report in told:
        messages = report["messages"] | messages
    shares = [(report["cpu_share"], report["engine_cpu_share"]) for report in told] or [(0.0, 0.0)]
    counted = _total(report["tokens_counted"] for report in told)
    return {
        "processes": len(told),
        **{key: sum(report[key] for report in told) for key in ("sent", "unsent", "reconnects")},
        "cpu_s": sum(share for share, _ in shares) * window_s,
        "engine_cpu_s": max(share for _, share in shares) * window_s,
        "messages": messages,
    } | ({"tokens_counted": counted} if counted else {})


def gather_answers(folder: Path) -> None:
    """Make one file of the answers that each process kept."""
    kept: Answers = {}
    for path in sorted(folder.glob("answers-*.arrow")):
        with contextlib.suppress(UsageError):  # of a process that died while it wrote
            kept = answers.read(path)[0] | kept
        path.unlink()
    answers.write(folder / "answers.arrow", kept, limit=ANSWERS_LIMIT)


def _streams(folder: Path) -> list[Path]:
    return sorted(folder.glob("requests-*.arrows"))


def _total(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for each in counts:
        for key, value in each.items():
            total[key] = total.get(key, 0) + value
    return total
