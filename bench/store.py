"""A run on disk: its folder, documents and events, read back from whatever is there."""

import contextlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from bench import columns
from bench import workload as workloads
from bench.clock import Clock
from bench.errors import RunError, UsageError
from bench.record import RECORD, Chunks, Event, Run, Samples

SCHEMA_VERSION = 1


# ---------------------------------------------------------------- writing


def create(root: Path, name: str, clock: Clock) -> Path:
    """A new, empty folder under `root` for a run or an experiment; RunError where it cannot be written."""
    stamp = clock.wall().strftime("%Y%m%d-%H%M%S")
    for n in range(1, 1000):
        folder = root / (f"{stamp}-{name}" + (f"-{n}" if n > 1 else ""))
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            if root.exists() and not root.is_dir():
                raise RunError(f"results folder {root}: expected a folder, but a file has this name") from None
        except OSError as error:
            raise RunError(f"results folder {root}: cannot write there: {error.strerror}; choose another by --output") from None
    raise RunError(f"results folder {root}: 999 runs called {name} began in this second")


def slug(text: str) -> str:
    """A name for a folder."""
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-")


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Replace `path` by `document` in one step, so that a reader never sees half of it."""
    beside = path.with_name(path.name + ".new")
    try:
        beside.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        beside.replace(path)
    except OSError as error:
        raise RunError(f"{path}: cannot be written: {error.strerror}") from None


def append_event(folder: Path, event: Event) -> None:
    """Add `event` to events.jsonl."""
    line = json.dumps({"t_ns": event.t_ns, "name": event.name, "detail": event.detail}, ensure_ascii=False)
    try:
        with (folder / "events.jsonl").open("a", encoding="utf-8") as file:
            file.write(line + "\n")
    except OSError as error:
        raise RunError(f"{folder / 'events.jsonl'}: cannot be written: {error.strerror}") from None


def finish(folder: Path) -> None:
    """Turn the streams of a run that has ended, or died, into Parquet, and remove them; leave one that is still made."""
    streams = {name: _streams(folder, name) for name in ("requests", "samples")}
    if any(columns.being_written(path) for paths in streams.values() for path in paths):
        return
    for name, paths in streams.items():
        if not paths:
            continue
        target, beside = folder / f"{name}.parquet", folder / f"{name}.parquet.{os.getpid()}.new"
        try:
            columns.to_parquet(paths, beside)
            beside.replace(target)
        except OSError as error:
            beside.unlink(missing_ok=True)
            raise RunError(f"{target}: cannot be written: {error.strerror or error}; the streams beside it are kept") from None
        for path in paths:
            path.unlink(missing_ok=True)


def _streams(folder: Path, name: str) -> list[Path]:
    return sorted(folder.glob(f"{name}*.arrows"))


# ---------------------------------------------------------------- reading


class _Document(msgspec.Struct):
    """What run.json has to hold for a run to be read."""

    id: str
    status: Literal["running", "complete", "partial"]
    created: str
    workload: dict[str, Any]
    target: dict[str, Any]
    environment: dict[str, Any]
    window_ns: tuple[int, int]
    load: dict[str, Any]


def find_runs(path: Path) -> list[Path]:
    """The run folders at or below `path`, in the order of their names; UsageError where there is none."""
    if not path.is_dir():
        raise UsageError(f"{path}: no such folder; expected a run (a folder with run.json) or a folder of runs")
    found = [path] if (path / "run.json").exists() else sorted(p.parent for p in path.rglob("run.json"))
    if not found:
        raise UsageError(f"{path}: no run in it; expected a folder with run.json, or a folder of such folders")
    return found


def open_run(folder: Path) -> Run:
    """`load_run`, after finishing a run that died, where its folder may be written to."""
    with contextlib.suppress(RunError):
        finish(folder)
    return load_run(folder)


def load_run(folder: Path) -> Run:
    """The run in `folder`, also one that died while it was made; UsageError where it is none or damaged."""
    document = _read_document(folder / "run.json")
    if document.status == "complete" and not (folder / "requests.parquet").exists() and not _streams(folder, "requests"):
        raise UsageError(f"{folder / 'requests.parquet'}: missing, and run.json says that this run is complete")
    records, chunks = _read_records(folder)
    return replace(
        _run(folder, document),
        records=records,
        samples=_read_samples(folder),
        events=_read_events(folder / "events.jsonl"),
        window_ns=_window(document, records),
        chunks=chunks,
    )


def load_header(folder: Path) -> Run:
    """What run.json says of the run in `folder`: all of it but records, samples and events; UsageError where it is damaged."""
    return _run(folder, _read_document(folder / "run.json"))


def _run(folder: Path, document: _Document) -> Run:
    return Run(
        id=document.id,
        workload=workloads.from_builtins(document.workload, f"{folder}/run.json"),
        target=document.target,
        environment=document.environment,
        records=np.empty(0, RECORD),
        samples=Samples(np.empty(0, np.int64), np.empty(0, np.int32), np.empty(0), []),
        events=[],
        window_ns=document.window_ns,
        status=document.status,
        created=document.created,
        load=document.load,
    )


def _window(document: _Document, records: np.ndarray) -> tuple[int, int]:
    """The measured window; of a run that died, from the end of its warm-up to its last reply."""
    start, end = document.window_ns
    if end == 0 and len(records):
        end = int(records["end_ns"].max()) + 1
    return start, max(start, end)


def _read_document(path: Path) -> _Document:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise UsageError(f"{path}: damaged: not valid JSON: {error}") from None
    if not isinstance(document, dict):
        raise UsageError(f"{path}: damaged: expected an object")
    version = document.get("schema_version")
    if version != SCHEMA_VERSION:
        raise UsageError(f"{path}: schema version {version!r}; this bench reads version {SCHEMA_VERSION}")
    try:
        return msgspec.convert(document, _Document)
    except msgspec.ValidationError as error:
        raise UsageError(f"{path}: damaged: {error}") from None


def _read_events(path: Path) -> list[Event]:
    events = []
    if path.exists():
        for line in path.read_bytes().split(b"\n"):
            try:
                events.append(Event(**json.loads(line)))
            except (ValueError, TypeError):
                continue  # the last line of a run that died may be half written
    return events


def _read_records(folder: Path) -> tuple[np.ndarray, Chunks | None]:
    with _reading(folder, "requests"):
        return columns.read_records(folder / "requests.parquet", _streams(folder, "requests"))


def _read_samples(folder: Path) -> Samples:
    with _reading(folder, "samples"):
        return columns.read_samples(folder / "samples.parquet", _streams(folder, "samples"))


@contextmanager
def _reading(folder: Path, name: str) -> Iterator[None]:
    """UsageError where what is read is damaged."""
    try:
        yield
    except columns.DAMAGE as error:
        reason = str(error.args[0] if error.args else error).splitlines()[0]
        raise UsageError(f"{folder / name}.parquet: damaged: {reason}") from None
