"""What travels between the hosts of a load."""

import copy
import hashlib
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import RunError
from bench.load.crew import parcels
from bench.record import RECORD, Chunks


def records_of(count: int) -> np.ndarray:
    made = np.zeros(count, RECORD)
    for column, name in enumerate(RECORD.names or ()):
        made[name] = np.arange(count) * 7 + column
    return made


@given(st.integers(0, 5), st.lists(st.lists(st.integers(0, 10**15), max_size=3), min_size=5, max_size=5), st.booleans())
def test_records_come_out_as_they_went_in(count: int, times: list[list[int]], streamed: bool) -> None:
    """Through the encoding that Locust's messages have, with and without the pieces of streams."""
    records = records_of(count)
    chunks = Chunks.of([(t, range(len(t))) for t in times[:count]]) if streamed else None
    came, pieces = parcels.unpack(msgpack.loads(msgpack.dumps(parcels.pack(records, chunks))), 0)
    assert came.tolist() == records.tolist()
    assert came.dtype == RECORD
    assert (pieces is None) == (chunks is None)
    if pieces is not None and chunks is not None:
        for name in ("starts", "t_ns", "tokens"):
            assert getattr(pieces, name).tolist() == getattr(chunks, name).tolist()


def test_what_cannot_be_sent_is_kept_and_sent_later_in_order() -> None:
    """Two batches that find the way closed, and a third that finds it open."""
    sent: list[Any] = []
    closed = True

    def send(parcel: Any) -> None:
        if closed:
            raise OSError("full")
        sent.append(len(parcels.unpack(parcel, 0)[0]))

    post = parcels.Post(send)
    post.write(records_of(1))
    post.write(records_of(2))
    assert not post.deliver()
    closed = False
    post.write(records_of(3))
    assert sent == []  # nothing is sent by whoever writes
    assert post.deliver()
    assert sent == [1, 2, 3]


def test_an_empty_batch_is_not_sent() -> None:
    """There is nothing in it."""
    sent: list[Any] = []
    post = parcels.Post(sent.append)
    post.write(np.empty(0, RECORD))
    assert post.deliver()
    assert sent == []


def document(path: Path, content: bytes) -> dict[str, Any]:
    """A workload's document as far as it names files: one of payloads, in a part of a mix, and a trace."""
    named = {"file": str(path), "sha256": hashlib.sha256(content).hexdigest()}
    return {
        "load": dict(named),
        "mix": [{"payload": {"inputs": {"x": dict(named), "y": {"file": "", "sha256": ""}}}}],
    }


def test_files_are_laid_out_elsewhere_and_named_there(tmp_path: Path) -> None:
    """The same content under another path, in every table that names it."""
    (tmp_path / "there").mkdir()
    trace = tmp_path / "trace.csv"
    trace.write_bytes(b"0\n1\n")
    there = document(trace, b"0\n1\n")
    before = copy.deepcopy(there)
    parcels.lay_out(there, parcels.read(there), tmp_path / "there")
    places = [there["load"]["file"], there["mix"][0]["payload"]["inputs"]["x"]["file"]]
    assert [Path(p).read_bytes() for p in places] == [b"0\n1\n"] * 2
    assert all(Path(p).parent == tmp_path / "there" and p.endswith(".csv") for p in places)
    assert there["mix"][0]["payload"]["inputs"]["y"] == before["mix"][0]["payload"]["inputs"]["y"]


@pytest.mark.parametrize(("content", "problem"), [(None, "cannot be read"), (b"other", "is not the file")])
def test_a_file_that_is_gone_or_another_is_named(tmp_path: Path, content: bytes | None, problem: str) -> None:
    """Before anything is sent."""
    trace = tmp_path / "trace.csv"
    if content is not None:
        trace.write_bytes(content)
    with pytest.raises(RunError, match=f"trace.csv: {problem}"):
        parcels.read(document(trace, b"0\n1\n"))
