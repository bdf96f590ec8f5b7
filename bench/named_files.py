"""The files that a workload file names, found beside it: lengths in a CSV, requests, a checkpoint's folder."""

import csv
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from bench import payload_files, traces
from bench.arrivals import Load, Trace
from bench.errors import UsageError
from bench.units import format_exact_duration
from bench.workload import Part, Workload

_LENGTHS = ("prompt_tokens", "output_tokens")
_CSV_KEYS = ("column", "distribution", "file", "multiple")
_MOST = 100_000

One = TypeVar("One", Workload, Part)


def tables(document: dict[str, Any], source: str) -> Iterator[tuple[dict[str, Any], str]]:
    """(table, place) of what has a model and a payload in a workload's `document`: each part of a mix, else the document."""
    mix = document.get("mix")
    for n, table in enumerate(mix if isinstance(mix, list) else []):
        if isinstance(table, dict):
            yield table, f"{source}: mix[{n}]"
    if not mix:
        yield document, source


def read_lengths(document: dict[str, Any], folder: Path, source: str) -> None:
    """Put the numbers of each CSV that gives lengths in its place in a workload's `document`; UsageError names `source`."""
    for table, where in tables(document, source):
        _read_lengths(table, folder, where)


def _read_lengths(document: dict[str, Any], folder: Path, source: str) -> None:
    payload = document.get("payload")
    if not isinstance(payload, dict):
        return  # which the loader refuses
    for table, place in ((payload.get("lengths"), "payload.lengths"), (payload.get("generate"), "payload.generate")):
        if not isinstance(table, dict):
            continue
        for key, length in table.items():
            named = place == "payload.lengths" or key in _LENGTHS
            if named and isinstance(length, dict) and length.get("distribution") == "csv":
                table[key] = _values(length, folder, f"{source}: {place}.{key}")


def resolve(workload: Workload, document: dict[str, Any], folder: Path, source: str) -> Workload:
    """The workload in `document` with its files named absolutely and by what they hold, and as many requests as they have.

    UsageError, naming `source`, where one is missing or damaged, or where they differ in how many requests they hold.
    """
    workload = msgspec.structs.replace(workload, load=_traced(workload, folder, source))
    found = tables(document, source)
    if not workload.mix:
        return _resolved(workload, *next(found), folder)
    return msgspec.structs.replace(
        workload, mix=tuple(_resolved(part, *one, folder) for part, one in zip(workload.mix, found, strict=True))
    )


def _resolved(of: One, document: dict[str, Any], source: str, folder: Path) -> One:
    """A workload of one model, or a part of a mix, with its files found."""
    payload, model = of.payload, of.model
    if model.weights.startswith((".", "/", "~")):
        model = msgspec.structs.replace(model, weights=_absolute(model.weights, folder))
    try:
        inputs = {name: _found(name, i, folder) if i.file else i for name, i in payload.inputs.items()}
        counts = {name: payload_files.count(name, i) for name, i in inputs.items() if i.file}
    except UsageError as error:
        raise UsageError(f"{source}: {error}") from None
    distinct = payload.distinct
    if counts and "distinct" not in document["payload"]:
        distinct = min(counts.values())
        if distinct != max(counts.values()):
            told = ", ".join(f"{name} {n}" for name, n in counts.items())
            raise UsageError(f"{source}: payload.inputs: the files hold different numbers of requests ({told}); "
                             "payload.distinct would say how many to take")  # fmt: skip
    if counts and distinct > min(counts.values()):
        name, count = min(counts.items(), key=lambda entry: entry[1])
        raise UsageError(f"{source}: payload.distinct: {inputs[name].file} holds {count} requests, {distinct} are asked for")
    return msgspec.structs.replace(of, model=model, payload=msgspec.structs.replace(payload, inputs=inputs, distinct=distinct))


def _traced(workload: Workload, folder: Path, source: str) -> Load:
    """The load, a trace's file named absolutely and by what it holds; UsageError where it has nothing to measure."""
    if not isinstance(workload.load, Trace):
        return workload.load
    try:
        return trace(workload.load, folder, workload.warmup_ns)
    except UsageError as error:
        raise UsageError(f"{source}: {error}") from None


def trace(load: Trace, folder: Path, warmup_ns: int) -> Trace:
    """The same for a trace that is looked for in `folder`; UsageError."""
    file = _absolute(load.file, folder)
    found = traces.sha256(file)
    if load.sha256 and load.sha256 != found:
        raise UsageError(f"load.sha256: {file} has {found}, stated is {load.sha256}")
    if (length := round(int(traces.read(file)[-1]) / load.speed)) < warmup_ns:
        length_s, warmup = f"{length / 1e9:.3g} s", format_exact_duration(warmup_ns)
        raise UsageError(f"load.file: {file}: lasts {length_s}, and the warm-up {warmup}: shorten it (warmup, --warmup)")
    return msgspec.structs.replace(load, file=file, sha256=found)


def _found(name: str, i: Any, folder: Path) -> Any:
    file = _absolute(i.file, folder)
    found = payload_files.sha256(name, file)
    if i.sha256 and i.sha256 != found:
        raise UsageError(f"payload.inputs.{name}.sha256: {file} has {found}, stated is {i.sha256}")
    return msgspec.structs.replace(i, file=file, sha256=found)


def _absolute(path: str, folder: Path) -> str:
    return os.path.abspath(folder / Path(path).expanduser())


def _values(length: dict[str, Any], folder: Path, where: str) -> dict[str, Any]:
    """A CSV's column as a distribution of values."""
    if unknown := length.keys() - set(_CSV_KEYS):
        raise UsageError(f"{where}.{min(unknown)}: unknown key; known here: {', '.join(_CSV_KEYS)}")
    file, column = length.get("file"), length.get("column")
    if not isinstance(file, str) or not file:
        raise UsageError(f"{where}.file: missing, and needed: a CSV with a length in each row")
    if column is not None and not isinstance(column, str):
        raise UsageError(f"{where}.column: expected the name of a column, got {column!r}")
    values = _column(_absolute(file, folder), column, where)
    return {"distribution": "values", "values": values} | {k: v for k, v in length.items() if k == "multiple"}


def _column(file: str, column: str | None, where: str) -> list[int]:
    """The numbers of `column`, else of the first one, whose name may stand above it."""
    try:
        with open(file, encoding="utf-8-sig", newline="") as text:
            reader = csv.reader(text, skipinitialspace=True)
            rows = [(reader.line_num, row) for row in reader if row]
    except OSError as error:
        raise UsageError(f"{where}.file: {file}: cannot be read: {error.strerror or error}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{where}.file: {file}: no CSV: {error}") from None
    names = [cell.strip() for cell in rows[0][1]] if rows else []
    if column is not None and column not in names:
        raise UsageError(f"{where}.column: {file} has no column {column!r}; its first row has: {', '.join(names) or 'nothing'}")
    at = names.index(column) if column is not None else 0
    if rows and (column is not None or _number(names[0]) is None):
        rows = rows[1:]
    if not 0 < len(rows) <= _MOST:
        raise UsageError(f"{where}.file: {file}: expected 1 to {_MOST:,} rows with a length each, got {len(rows):,}")
    return [_length(row, at, f"{where}.file: {file}, line {line}") for line, row in rows]


def _length(row: list[str], at: int, where: str) -> int:
    cell = row[at].strip() if at < len(row) else ""
    number = _number(cell)
    if number is None or number < 1:
        raise UsageError(f"{where}: expected a whole number above 0, got {cell!r}")
    return number


def _number(cell: str) -> int | None:
    """The whole number in a cell, also when it was written as 12.0."""
    whole, _, rest = cell.partition(".")
    return int(whole) if whole.isdecimal() and whole.isascii() and not rest.strip("0") else None
