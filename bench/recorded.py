"""Answers recorded once from a live target, beside the workload file whose requests they answer."""

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from bench import answers, payloads, resources
from bench.errors import RunError, UsageError
from bench.tensors import Tensors
from bench.workload import Workload


def place(name: str) -> Path:
    """Where the answers to the workload called, or lying at, `name` are: mine.toml has mine.reference.arrow."""
    path = resources.workload_path(name)
    return path.with_name(f"{path.stem}.reference.arrow")


def find(name: str, workload: Workload) -> Path | None:
    """The answers recorded for `workload`, which is called or lies at `name`; None where there are none, or none are wanted.

    UsageError where they answer other requests than this workload sends.
    """
    path = place(name)
    if not workload.check.reference or not path.exists():
        return None
    about = answers.read(path)[1]
    if about.get("payload") != payloads.digest(workload):
        raise UsageError(
            f"{path}: recorded for other requests than workload {workload.name} sends (its inputs, payload.distinct or seed "
            "were others): record again with --record-reference, or delete the file"
        )
    return path


def find_each(name: str, workload: Workload) -> tuple[Path | None, ...]:
    """The same for each part of a workload: those of a mix lie beside the workloads that its parts were taken over from."""
    if not workload.mix:
        return (find(name, workload),)
    named = [part.workload for part in workload.mix]
    return tuple(find(other, part) if other else None for other, part in zip(named, workload.parts, strict=True))


def check_writable(name: str) -> None:
    """UsageError where the workload is one that comes with bench, beside which nothing is written."""
    if resources.is_bundled(resources.workload_path(name)):
        raise UsageError(
            f"workload {name!r} comes with bench and is not written beside: "
            f"`bench workloads show {name} > mine.toml` makes a copy whose answers can be recorded"
        )


def write(name: str, workload: Workload, recorded: Mapping[int, Tensors], target: str) -> Path:
    """Keep answers to every request of `workload`, in place of older ones; RunError where that is not possible."""
    path = place(name)
    beside = path.with_name(f"{path.name}.{os.getpid()}.new")
    about = {
        "payload": payloads.digest(workload),
        "target": target,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    try:
        answers.write(beside, recorded, about)
        beside.replace(path)
    except OSError as error:
        raise RunError(f"{path}: cannot keep the recorded answers: {error.strerror or error}") from None
    finally:
        beside.unlink(missing_ok=True)
    return path
