"""Columns of records and samples: what streams keep, and how streamed replies lie in them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import columns
from bench.record import RECORD, Chunks

PIECES = st.lists(st.tuples(st.integers(0, 2**62), st.integers(0, 2**32 - 1)), max_size=4)
STREAMS = st.lists(PIECES, max_size=6)


def chunks_of(streams: list[list[tuple[int, int]]]) -> Chunks:
    """The chunks of replies whose pieces are (time, tokens)."""
    return Chunks.of([([t for t, _ in pieces], [n for _, n in pieces]) for pieces in streams])


@given(batches=st.lists(STREAMS, max_size=3))
def test_every_piece_of_every_reply_is_read_back(batches: list[list[list[tuple[int, int]]]], tmp_path_factory: object) -> None:
    """Replies of no piece, one and several, over several batches, from the stream as from Parquet."""
    folder: Path = tmp_path_factory.mktemp("run")  # type: ignore[attr-defined]
    stream, parquet = folder / "requests-0.arrows", folder / "requests.parquet"
    writer = columns.RecordWriter(stream, streamed=True)
    for streams in batches:
        writer.write(np.zeros(len(streams), RECORD), chunks_of(streams))
    writer.close()
    everything = [pieces for streams in batches for pieces in streams]
    before = columns.read_records(parquet, [stream])
    columns.to_parquet([stream], parquet)
    for records, chunks in (before, columns.read_records(parquet, [])):
        assert len(records) == len(everything)
        if everything:
            assert chunks is not None
            read = [list(zip(*(a.tolist() for a in chunks.of_record(n)), strict=True)) for n in range(len(records))]
            assert read == everything


def test_replies_that_are_not_streamed_have_no_chunks(tmp_path: Path) -> None:
    """A run of plain replies stays as it was: no column more."""
    stream = tmp_path / "requests-0.arrows"
    writer = columns.RecordWriter(stream)
    writer.write(np.zeros(2, RECORD))
    writer.close()
    columns.to_parquet([stream], tmp_path / "requests.parquet")
    assert columns.read_records(tmp_path / "requests.parquet", [])[1] is None
    assert list(pd.read_parquet(tmp_path / "requests.parquet").columns) == list(RECORD.names or ())


def test_pandas_reads_the_pieces_as_lists(tmp_path: Path) -> None:
    """The times and token counts of a reply stand in its row."""
    stream = tmp_path / "requests-0.arrows"
    writer = columns.RecordWriter(stream, streamed=True)
    writer.write(np.zeros(2, RECORD), chunks_of([[(5, 1), (9, 2)], []]))
    writer.close()
    columns.to_parquet([stream], tmp_path / "requests.parquet")
    table = pd.read_parquet(tmp_path / "requests.parquet")
    assert [list(times) for times in table["chunks_ns"]] == [[5, 9], []]
    assert [list(tokens) for tokens in table["chunk_tokens"]] == [[1, 2], []]


def test_a_first_process_that_died_at_once_does_not_cost_the_others_their_chunks(tmp_path: Path) -> None:
    """Its stream has not even a head; the columns are those of the next."""
    (tmp_path / "requests-0.arrows").write_bytes(b"")
    stream = tmp_path / "requests-1.arrows"
    writer = columns.RecordWriter(stream, streamed=True)
    writer.write(np.zeros(1, RECORD), chunks_of([[(7, 3)]]))
    writer.close()
    columns.to_parquet([tmp_path / "requests-0.arrows", stream], tmp_path / "requests.parquet")
    chunks = columns.read_records(tmp_path / "requests.parquet", [])[1]
    assert chunks is not None
    assert chunks.of_record(0)[0].tolist() == [7]


def test_pieces_and_token_counts_that_do_not_match_are_damage(tmp_path: Path) -> None:
    """A table somebody edited is refused, not read askew."""
    stream, parquet = tmp_path / "requests-0.arrows", tmp_path / "requests.parquet"
    writer = columns.RecordWriter(stream, streamed=True)
    writer.write(np.zeros(1, RECORD), chunks_of([[(7, 3), (8, 1)]]))
    writer.close()
    columns.to_parquet([stream], parquet)
    table = pd.read_parquet(parquet)
    table["chunk_tokens"] = [np.array([3], np.uint32)]
    table.to_parquet(parquet)
    with pytest.raises(columns.DAMAGE, match="differ in length"):
        columns.read_records(parquet, [])
