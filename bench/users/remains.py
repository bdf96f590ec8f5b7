"""What the processes that sent left in a run's folder, put together when all have ended."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import columns
from bench.load import merged

Report = dict[str, Any]  # of a part, at its end; see Part.close


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


def details(told: Sequence[Report], window_s: float) -> dict[str, Any]:
    """The same as that of one load, and of several processes what each did, for run.json."""
    spent = [
        report | {"cpu_s": report["cpu_share"] * window_s, "engine_cpu_s": report["engine_cpu_share"] * window_s}
        for report in told
    ]
    together = merged.details(spent or [{}])
    if len(spent) > 1:
        shown = ("worker", "host", "pid", "sent", "cpu_s", "engine_cpu_s")
        together["workers"] = [{key: report[key] for key in shown} for report in spent]
    return together


def keep_answers(folder: Path) -> None:
    """Make one file of the answers that each process kept."""
    merged.keep_answers(folder, sorted(folder.glob("answers-*.arrow")))


def _streams(folder: Path) -> list[Path]:
    return sorted(folder.glob("requests-*.arrows"))
