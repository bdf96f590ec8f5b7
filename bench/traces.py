"""Times of requests out of a file: a CSV, JSON lines, or a web server's access log."""

import csv
import hashlib
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

import numpy as np

from bench import arrivals
from bench.arrivals import ClosedLoop, Trace
from bench.errors import UsageError
from bench.workload import Workload

_MOST = 10_000_000
_COLUMNS = ("offset", "offset_s", "time", "timestamp", "arrival", "arrival_time")
_EXPECTED = (
    "a CSV of seconds or ISO times in its first column, or in one called "
    f"{', '.join(_COLUMNS[:-1])} or {_COLUMNS[-1]}; JSON lines with one of these; or an access log in common or combined format"
)
_LOGGED = re.compile(r"\[(\d{2}/[A-Za-z]{3}/\d{4}:\d{2}:\d{2}:\d{2} [+-]\d{4})\]")
_SECOND = 10**9


def offsets_ns(workload: Workload) -> Iterator[int]:
    """The intended sends of an open loop in ns after the start: drawn, or those of a trace, which end."""
    load = workload.load
    assert not isinstance(load, ClosedLoop)
    if isinstance(load, Trace):
        return (round(t / load.speed) for t in read(load.file, load.sha256).tolist())
    return arrivals.offsets_ns(load, workload.seed, workload.warmup_ns, workload.round)


def sha256(path: str) -> str:
    """Of a trace's file; UsageError where it cannot be read."""
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UsageError(f"load.file: {path}: cannot be read: {error.strerror or error}") from None


@lru_cache(maxsize=4)
def read(path: str, digest: str = "") -> np.ndarray:
    """The times of a trace in ns after its first one, ascending: int64 [n].

    Where a log tells whole seconds only, the requests of one second are spread evenly over it. UsageError names the file and
    the line, or says that the file is another than the one whose sha256 `digest` is.
    """
    where = f"load.file: {path}"
    if digest and sha256(path) != digest:
        raise UsageError(f"{where}: is not the file that the workload was made with: its sha256 is another")
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            lines = [(n, line) for n, line in enumerate(file, 1) if line.strip() and not line.startswith("#")]
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror or str(error) if isinstance(error, OSError) else "not UTF-8 text"
        raise UsageError(f"{where}: cannot be read: {reason}") from None
    if not 0 < len(lines) <= _MOST:
        raise UsageError(f"{where}: expected 1 to {_MOST:,} requests, got {len(lines):,}; it is to be {_EXPECTED}")
    first = lines[0][1]
    if _LOGGED.search(first):
        times = _spread(np.array([_logged(line, f"{where}, line {n}") for n, line in lines], np.int64))
    elif first.lstrip().startswith("{"):
        times = np.array([_json(line, f"{where}, line {n}") for n, line in lines], np.int64)
    else:
        times = np.array(list(_csv(lines, where)), np.int64)
        if not len(times):
            raise UsageError(f"{where}: no request in it; it is to be {_EXPECTED}")
    times.sort()
    return np.asarray(times - times[0])


def _spread(times: np.ndarray) -> np.ndarray:
    """Times of whole seconds, those of one second spread over it."""
    _, first, counts = np.unique(np.sort(times), return_index=True, return_counts=True)
    place = np.arange(len(times)) - np.repeat(first, counts)
    return np.asarray(np.sort(times) + place * _SECOND // np.repeat(counts, counts))


def _logged(line: str, where: str) -> int:
    if found := _LOGGED.search(line):
        try:
            return round(datetime.strptime(found[1], "%d/%b/%Y:%H:%M:%S %z").timestamp()) * _SECOND
        except ValueError:
            pass
    raise UsageError(f"{where}: expected a time such as [24/Nov/2026:10:00:00 +0000], got {line.strip()[:60]!r}")


def _json(line: str, where: str) -> int:
    try:
        document = json.loads(line)
        value = next(document[name] for name in _COLUMNS if name in document)
    except (ValueError, TypeError, StopIteration):
        raise UsageError(f"{where}: expected an object with one of {', '.join(_COLUMNS)}, got {line.strip()[:60]!r}") from None
    return _time(str(value), where)


def _csv(lines: list[tuple[int, str]], where: str) -> Iterator[int]:
    """The times in the rows of a CSV, whose columns may be named by the first."""
    names = [cell.strip().lower() for cell in next(csv.reader([lines[0][1]]))]
    at = next((names.index(name) for name in _COLUMNS if name in names), None)
    if at is not None:
        lines = lines[1:]
    for n, line in lines:
        cells = next(csv.reader([line]), [])
        yield _time(cells[at or 0].strip() if len(cells) > (at or 0) else "", f"{where}, line {n}")


def _time(text: str, where: str) -> int:
    """Seconds, or a date and time, which is UTC where it does not say otherwise."""
    try:
        seconds = float(text)
        if abs(seconds) < 1e10:  # nan is no number either
            return round(seconds * 1e9)
    except ValueError:
        try:
            whole, _, fraction = text.replace("T", " ").partition(".")
            digits = re.match(r"\d*", fraction)
            assert digits is not None
            zone = fraction[digits.end() :]
            moment = datetime.fromisoformat(whole + zone)
            moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            return round(moment.timestamp()) * _SECOND + int((digits[0] + "0" * 9)[:9])
        except ValueError:
            pass
    raise UsageError(f"{where}: expected seconds or a time such as 2026-11-24 10:00:00.125, got {text[:40]!r}; {_EXPECTED}")
