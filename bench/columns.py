"""Records and samples as columns: Arrow streams while a run is made, Parquet when it is done, read from either."""

import contextlib
import fcntl
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.errors import RunError
from bench.record import ERRORS, RECORD, Chunks, Sample, Samples

# what reading damaged columns may raise
DAMAGE = (pa.ArrowException, KeyError, ValueError, TypeError, OSError)

_RECORDS = pa.schema([(name, pa.from_numpy_dtype(RECORD[name])) for name in RECORD.names or ()])
# of streamed replies: when each piece came, and the tokens in it
_CHUNKS = (pa.field("chunks_ns", pa.list_(pa.int64())), pa.field("chunk_tokens", pa.list_(pa.uint32())))
_STREAMED = pa.schema([*_RECORDS, *_CHUNKS])
_SAMPLES = pa.schema(
    [("t_ns", pa.int64()), ("source", pa.string()), ("device", pa.string()), ("metric", pa.string()), ("value", pa.float64())]
)
_CODED = ("source", "device", "metric")


# ---------------------------------------------------------------- writing


class RecordWriter:
    """Appends batches of records to an Arrow stream; each batch is on its way to the disk when `write` returns.

    Where replies are `streamed`, every record has its chunks.
    """

    def __init__(self, path: Path, streamed: bool = False) -> None:
        self._schema = _STREAMED if streamed else _RECORDS
        self._writer = _Stream(path, self._schema)

    def write(self, records: np.ndarray, chunks: Chunks | None = None) -> None:
        """Append `records` (dtype RECORD)."""
        columns = [pa.array(np.ascontiguousarray(records[name])) for name in _RECORDS.names]
        if chunks is not None:
            starts = pa.array(chunks.starts.astype(np.int32))
            columns += [pa.ListArray.from_arrays(starts, pa.array(values)) for values in (chunks.t_ns, chunks.tokens)]
        self._writer.write(pa.RecordBatch.from_arrays(columns, schema=self._schema))

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


def being_written(path: Path) -> bool:
    """Whether the process that writes this stream lives."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
    return False


def to_parquet(streams: Sequence[Path], target: Path) -> None:
    """The whole batches of `streams`, all of records or all of samples, as one Parquet file. OSError."""
    known = (schema for path in streams if (schema := _schema_of(path)))
    with pq.ParquetWriter(target, _stored(next(known, _SAMPLES if target.name.startswith("samples") else _RECORDS))) as writer:
        for path in streams:
            for batch in _batches(path):
                writer.write_batch(_store(batch))


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


def read_records(parquet: Path, streams: Sequence[Path]) -> tuple[np.ndarray, Chunks | None]:
    """Records (RECORD [n]) and, where replies were streamed, their chunks. An exception of DAMAGE."""
    records = np.zeros(_count(parquet, streams), RECORD)  # filled batch by batch: of 10 M all batches take 0.5 GB once more
    at, streamed = 0, []
    for batch in _stored_batches(parquet, streams):
        if at + len(batch) > len(records):  # written since they were counted
            break
        part = records[at : at + len(batch)]
        for name in RECORD.names or ():
            if name != "waited" or name in batch.schema.names:  # which records of earlier versions do not tell
                part[name] = _numbers(batch.column(name))
        if "chunks_ns" in batch.schema.names:
            streamed.append(batch.select([field.name for field in _CHUNKS]))
        at += len(batch)
    return records[:at], _chunks(streamed) if streamed else None


def _count(parquet: Path, streams: Sequence[Path]) -> int:
    if parquet.exists():
        return int(pq.read_metadata(parquet).num_rows)
    return sum(len(batch) for batch in _stored_batches(parquet, streams))


def read_samples(parquet: Path, streams: Sequence[Path]) -> Samples:
    """Samples in the order of time. An exception of DAMAGE."""
    series: dict[tuple[str, str, str], int] = {}
    times, codes, values = [np.empty(0, np.int64)], [np.empty(0, np.int32)], [np.empty(0)]
    for batch in _stored_batches(parquet, streams):
        keys = zip(*(batch.column(name).to_pylist() for name in _CODED), strict=True)
        codes.append(np.array([series.setdefault(key, len(series)) for key in keys], np.int32))
        times.append(batch.column("t_ns").to_numpy())
        values.append(batch.column("value").to_numpy())
    t_ns = np.concatenate(times)
    order = np.argsort(t_ns, kind="stable")
    return Samples(t_ns[order], np.concatenate(codes)[order], np.concatenate(values)[order], list(series))


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


def _chunks(batches: Iterable[pa.RecordBatch]) -> Chunks:
    times, tokens = (pa.chunked_array([b.column(field.name) for b in batches]).combine_chunks() for field in _CHUNKS)
    counts, of_tokens = (column.value_lengths().to_numpy(zero_copy_only=False) for column in (times, tokens))
    if not np.array_equal(counts, of_tokens):
        raise ValueError("chunks_ns and chunk_tokens differ in length")
    starts = np.concatenate(([0], np.cumsum(counts, dtype=np.int64)))
    return Chunks(starts, *(column.flatten().to_numpy(zero_copy_only=False) for column in (times, tokens)))


def _stored_batches(parquet: Path, streams: Sequence[Path]) -> Iterator[pa.RecordBatch]:
    if not parquet.exists():
        for stream in streams:
            yield from _batches(stream)
        return
    with pq.ParquetFile(parquet, pre_buffer=False) as file:  # or whole row groups stay in memory until the last is read
        yield from file.iter_batches(batch_size=1 << 16)


def _batches(path: Path) -> Iterator[pa.RecordBatch]:
    """The whole batches of a stream, up to where its writer was cut off."""
    with pa.OSFile(str(path)) as file:
        try:
            with pa.ipc.open_stream(file) as reader:
                yield from reader
        except (pa.ArrowInvalid, OSError):  # how pyarrow says that the next batch is not whole
            return


def _schema_of(path: Path) -> pa.Schema | None:
    """The columns of a stream; None where not even they were written."""
    with pa.OSFile(str(path)) as file:
        try:
            with pa.ipc.open_stream(file) as reader:
                return reader.schema
        except (pa.ArrowInvalid, OSError):
            return None
