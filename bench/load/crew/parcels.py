"""What travels between the hosts of a load: the files that a plan names, and records."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bench.errors import RunError
from bench.load.crew.clocks import ours
from bench.record import RECORD, Chunks

Parcel = dict[str, Any]  # plain values and bytes


def pack(records: np.ndarray, chunks: Chunks | None) -> Parcel:
    """A batch of records (RECORD [n]) and, of streams, their chunks."""
    parcel: Parcel = {"records": records.tobytes()}
    if chunks is not None:
        parcel["chunks"] = [chunks.starts.tobytes(), chunks.t_ns.tobytes(), chunks.tokens.tobytes()]
    return parcel


def unpack(parcel: Parcel, theirs_less_ours_ns: int) -> tuple[np.ndarray, Chunks | None]:
    """The batch in a parcel, its times moved to our clock."""
    chunks = None
    if "chunks" in parcel:
        starts, t_ns, tokens = parcel["chunks"]
        chunks = Chunks(np.frombuffer(starts, np.int64), np.frombuffer(t_ns, np.int64), np.frombuffer(tokens, np.uint32))
    return ours(np.frombuffer(parcel["records"], RECORD), chunks, theirs_less_ours_ns)


class Post:
    """A writer of records, on any thread, and what gives them to `send` as parcels, on the one that may."""

    def __init__(self, send: Callable[[Parcel], None]) -> None:
        self._send = send
        self._waiting: list[Parcel] = []

    def write(self, records: np.ndarray, chunks: Chunks | None = None) -> None:
        if len(records):
            self._waiting.append(pack(records, chunks))

    def deliver(self) -> bool:
        """Send what waits; whether all is on its way."""
        try:
            while self._waiting:
                self._send(self._waiting[0])
                del self._waiting[0]
        except OSError:  # the way is full, or gone; the next time, perhaps
            return False
        return True

    def close(self) -> None: ...


def files_of(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The tables in a workload's document that name a file by its path and by what it holds."""
    for value in document.values():
        for table in value if isinstance(value, list) else [value]:
            if isinstance(table, dict):
                if table.get("file") and "sha256" in table:
                    yield table
                yield from files_of(table)


def read(document: dict[str, Any]) -> dict[str, bytes]:
    """What the files hold that a workload's document names, by its sha256. RunError where one is missing or another by now."""
    found = {}
    for table in files_of(document):
        path = Path(table["file"])
        try:
            content = path.read_bytes()
        except OSError as error:
            raise RunError(f"{path}: cannot be read: {error.strerror}") from None
        if hashlib.sha256(content).hexdigest() != table["sha256"]:
            raise RunError(f"{path}: is not the file that the workload was made with: its sha256 is another")
        found[table["sha256"]] = content
    return found


def lay_out(document: dict[str, Any], files: dict[str, bytes], folder: Path) -> None:
    """Write the files into `folder`, and name them there in the document."""
    for table in files_of(document):
        path = folder / f"{table['sha256']}{Path(table['file']).suffix}"
        path.write_bytes(files[table["sha256"]])
        table["file"] = str(path)
