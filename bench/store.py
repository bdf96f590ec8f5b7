"""A run on disk: append-only streams while it is made, Parquet when it is done, read back from whatever is there."""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench import workload as workloads
from bench.clock import Clock
from bench.errors import RunError, UsageError
from bench.record import ERRORS, RECORD, Event, Run, Sample, Samples
from bench.tensors import Tensors

SCHEMA_VERSION = 1
ANSWERS_LIMIT = 8 * 2**20

_RECORDS = pa.schema([(name, pa.from_numpy_dtype(RECORD[name])) for name in RECORD.names or ()])
_SAMPLES = pa.schema(
    [("t_ns", pa.int64()), ("source", pa.string()), ("device", pa.string()), ("metric", pa.string()), ("value", pa.float64())]
)
_CODED = ("source", "device", "metric")


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


class RecordWriter:
    """Appends batches of records to an Arrow stream; each batch is on its way to the disk when `write` returns."""

    def __init__(self, path: Path) -> None:
        self._writer = _Stream(path, _RECORDS)

    def write(self, records: np.ndarray) -> None:
        """Append `records` (dtype RECORD)."""
        columns = [pa.array(np.ascontiguousarray(records[name])) for name in _RECORDS.names]
        self._writer.write(pa.RecordBatch.from_arrays(columns, schema=_RECORDS))

    def close(self) -> None:
        self._writer.close()


class SampleWriter:
    """Appends batches of samples to an Arrow stream."""

    def __init__(self, path: Path) -> None:
        self._writer = _Stream(path, _SAMPLES)

    def write(self, samples: list[Sample]) -> None:
        """Append `samples`."""
        columns: list[Any] = list(zip(*samples, strict=True)) or [[] for _ in _SAMPLES]
        arrays = [pa.array(column, field.type) for column, field in zip(columns, _SAMPLES, strict=True)]
        self._writer.write(pa.RecordBatch.from_arrays(arrays, schema=_SAMPLES))

    def close(self) -> None:
        self._writer.close()


class _Stream:
    """An Arrow IPC stream without a buffer of its own, so that a killed process loses no batch it has written."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        try:
            self._file = pa.OSFile(str(path), "wb")
            self._lock = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise RunError(f"{path}: cannot be written: {os.strerror(error.errno or 0)}") from None
        with contextlib.suppress(OSError):  # not every file system has locks
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # while this process lives, there is more to come
        self._stream = pa.ipc.new_stream(self._file, schema)

    def write(self, batch: pa.RecordBatch) -> None:
        self._stream.write_batch(batch)

    def close(self) -> None:
        self._stream.close()
        self._file.close()
        os.close(self._lock)
        self._lock = -1

    def __del__(self) -> None:
        if getattr(self, "_lock", -1) >= 0:
            os.close(self._lock)


def write_answers(path: Path, answers: dict[int, Tensors]) -> None:
    """The replies to the first distinct requests, by payload, until `ANSWERS_LIMIT` bytes are reached."""
    rows: list[dict[str, Any]] = []
    size = 0
    for payload, tensors in sorted(answers.items()):
        for name, array in tensors.items():
            size += array.nbytes
            if size > ANSWERS_LIMIT:
                break
            content = np.ascontiguousarray(array).tobytes()
            rows.append(
                {"payload": payload, "name": name, "dtype": array.dtype.str, "shape": list(array.shape), "content": content}
            )
    schema = pa.schema(
        [("payload", pa.uint32()), ("name", pa.string()), ("dtype", pa.string()), ("shape", pa.list_(pa.int64())),
         ("content", pa.binary())]
    )  # fmt: skip
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, schema) as writer:
        writer.write_table(pa.Table.from_pylist(rows, schema))


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
    streams = {"requests": sorted(folder.glob("requests-*.arrows")), "samples": sorted(folder.glob("samples*.arrows"))}
    if any(_being_written(path) for paths in streams.values() for path in paths):
        return
    for name, paths in streams.items():
        if not paths:
            continue
        target, beside = folder / f"{name}.parquet", folder / f"{name}.parquet.{os.getpid()}.new"
        schema = _RECORDS if name == "requests" else _SAMPLES
        try:
            with pq.ParquetWriter(beside, _stored(schema)) as writer:
                for path in paths:
                    for batch in _batches(path):
                        writer.write_batch(_store(batch))
            beside.replace(target)
        except OSError as error:
            beside.unlink(missing_ok=True)
            raise RunError(f"{target}: cannot be written: {error.strerror or error}; the streams beside it are kept") from None
        for path in paths:
            path.unlink(missing_ok=True)


def _being_written(path: Path) -> bool:
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
    return False


def _stored(schema: pa.Schema) -> pa.Schema:
    """Parquet's columns: texts as dictionaries, the error by its name."""
    text = pa.dictionary(pa.int32(), pa.string())
    return pa.schema([(f.name, text if f.name in (*_CODED, "error") else f.type) for f in schema])


def _store(batch: pa.RecordBatch) -> pa.RecordBatch:
    columns = []
    for field, column in zip(batch.schema, batch.columns, strict=True):
        if field.name == "error":
            column = pa.DictionaryArray.from_arrays(column.cast(pa.int32()), pa.array(ERRORS))
        elif field.name in _CODED:
            column = column.dictionary_encode()
        columns.append(column)
    return pa.RecordBatch.from_arrays(columns, schema=_stored(batch.schema))


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
    records = _read_records(folder)
    return Run(
        id=document.id,
        workload=workloads.from_builtins(document.workload, f"{folder}/run.json"),
        target=document.target,
        environment=document.environment,
        records=records,
        samples=_read_samples(folder),
        events=_read_events(folder / "events.jsonl"),
        window_ns=_window(document, records),
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


def _read_records(folder: Path) -> np.ndarray:
    with _reading(folder, "requests"):
        batches = list(_stored_batches(folder, "requests", "requests-*.arrows"))
        records = np.empty(sum(len(b) for b in batches), RECORD)
        at = 0
        while batches:
            batch = batches.pop(0)
            part = records[at : at + len(batch)]
            for name in RECORD.names or ():
                part[name] = _numbers(batch.column(name))
            at += len(batch)
    return records


def _numbers(column: pa.Array) -> np.ndarray:
    if isinstance(column, pa.DictionaryArray):
        texts = column.dictionary.to_pylist()
        if unknown := set(texts) - set(ERRORS):
            raise ValueError(f"unknown kind of error: {', '.join(map(str, unknown))}")
        codes = np.array([ERRORS.index(text) for text in texts], np.uint8)
        named: np.ndarray = codes[column.indices.to_numpy(zero_copy_only=False)]
        return named
    plain: np.ndarray = column.to_numpy(zero_copy_only=False)
    return plain


def _read_samples(folder: Path) -> Samples:
    series: dict[tuple[str, str, str], int] = {}
    times, codes, values = [np.empty(0, np.int64)], [np.empty(0, np.int32)], [np.empty(0)]
    with _reading(folder, "samples"):
        for batch in _stored_batches(folder, "samples", "samples*.arrows"):
            keys = zip(*(batch.column(name).to_pylist() for name in _CODED), strict=True)
            codes.append(np.array([series.setdefault(key, len(series)) for key in keys], np.int32))
            times.append(batch.column("t_ns").to_numpy())
            values.append(batch.column("value").to_numpy())
    t_ns = np.concatenate(times)
    order = np.argsort(t_ns, kind="stable")
    return Samples(t_ns[order], np.concatenate(codes)[order], np.concatenate(values)[order], list(series))


def _stored_batches(folder: Path, name: str, streams: str) -> Iterator[pa.RecordBatch]:
    path = folder / f"{name}.parquet"
    if not path.exists():
        for stream in sorted(folder.glob(streams)):
            yield from _batches(stream)
        return
    with pq.ParquetFile(path) as file:
        yield from file.iter_batches(batch_size=1 << 20)


@contextmanager
def _reading(folder: Path, name: str) -> Iterator[None]:
    """UsageError where what is read is damaged."""
    try:
        yield
    except (pa.ArrowException, KeyError, ValueError, TypeError, OSError) as error:
        reason = str(error.args[0] if error.args else error).splitlines()[0]
        raise UsageError(f"{folder / name}.parquet: damaged: {reason}") from None


def _batches(path: Path) -> Iterator[pa.RecordBatch]:
    """The whole batches of a stream, up to where its writer was cut off."""
    with pa.OSFile(str(path)) as file:
        try:
            with pa.ipc.open_stream(file) as reader:
                yield from reader
        except (pa.ArrowInvalid, OSError):  # how pyarrow says that the next batch is not whole
            return
