"""A run on disk: what can be read back of it, whole, cut off or damaged."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import columns, store
from bench import workload as workloads
from bench.errors import RunError, UsageError
from bench.record import ERRORS, RECORD, Event, Sample
from bench.testing import FakeClock, make_run, make_workload

BATCHES = (3, 1, 4)
SAMPLES = [Sample(100 * n, "proc", device, "cpu_utilization", n / 2) for n in range(4) for device in ("host", "server")]
Bench = Callable[..., Any]


def document(**changes: Any) -> dict[str, Any]:
    """A run.json."""
    usual = {
        "schema_version": store.SCHEMA_VERSION,
        "id": "made",
        "status": "complete",
        "created": "2026-01-01T00:00:00+00:00",
        "workload": workloads.to_builtins(make_workload()),
        "target": {"word": "echo://", "name": "echo"},
        "environment": {},
        "window_ns": [0, 80_000_000],
        "load": {"unsent": 0},
    }
    return usual | changes


def write_streams(folder: Path, ends: list[int]) -> np.ndarray:
    """Eight requests of 10 ms in batches of 3, 1 and 4, and samples in two; what was written of the requests.

    `ends` is given the size of their stream after each batch.
    """
    records = make_run([10.0] * 8, errors={2: "timeout", 5: "answer"}).records
    writer = columns.RecordWriter(folder / "requests-0.arrows")
    for batch in np.split(records, np.cumsum(BATCHES)[:-1]):
        writer.write(batch)
        ends.append((folder / "requests-0.arrows").stat().st_size)
    writer.close()
    samples = columns.SampleWriter(folder / "samples.arrows")
    samples.write(SAMPLES[:6])
    samples.write(SAMPLES[6:])
    samples.close()
    return records


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run whose streams have not become Parquet yet."""
    store.write_json(tmp_path / "run.json", document())
    store.append_event(tmp_path, Event(5, "started", {"window_ns": 0}))
    write_streams(tmp_path, [])
    return tmp_path


# ---------------------------------------------------------------- whole


def test_a_header_is_all_of_a_run_but_what_was_measured(folder: Path) -> None:
    """Enough to find runs by; of records, samples and events there are none, and none are read."""
    whole, header = store.load_run(folder), store.load_header(folder)
    for name in ("id", "workload", "target", "environment", "status", "created", "load"):
        assert getattr(header, name) == getattr(whole, name)
    (folder / "requests-0.arrows").unlink()
    assert len(store.load_header(folder).records) == len(header.samples.t_ns) == len(header.events) == 0


def test_parquet_holds_what_the_streams_held(folder: Path) -> None:
    """The same records and samples, before and after; the streams are gone then."""
    before = store.load_run(folder)
    store.finish(folder)
    after = store.load_run(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["events.jsonl", "requests.parquet", "run.json", "samples.parquet"]
    np.testing.assert_array_equal(before.records, after.records)
    for name in ("t_ns", "code", "value"):
        np.testing.assert_array_equal(getattr(before.samples, name), getattr(after.samples, name))
    assert before.samples.series == after.samples.series == [("proc", d, "cpu_utilization") for d in ("host", "server")]
    assert len(after.records) == 8
    assert after.samples.get("server", "cpu_utilization")[1].tolist() == [0, 0.5, 1, 1.5]


def test_what_was_written_is_what_is_read(tmp_path: Path) -> None:
    """Every field of every record, the largest values of each type among them."""
    written = np.zeros(2, RECORD)
    for name in RECORD.names or ():
        written[name][1] = np.iinfo(RECORD[name]).max
    written["error"] = [0, len(ERRORS) - 1]
    store.write_json(tmp_path / "run.json", document())
    writer = columns.RecordWriter(tmp_path / "requests-0.arrows")
    writer.write(written)
    writer.close()
    store.finish(tmp_path)
    np.testing.assert_array_equal(store.load_run(tmp_path).records, written)


def test_streams_of_several_processes_become_one_table(tmp_path: Path) -> None:
    """One file of requests, whoever sent them."""
    store.write_json(tmp_path / "run.json", document())
    records = write_streams(tmp_path, [])
    (tmp_path / "requests-1.arrows").write_bytes((tmp_path / "requests-0.arrows").read_bytes())
    store.finish(tmp_path)
    assert len(store.load_run(tmp_path).records) == 2 * len(records)


def test_a_finished_run_can_be_finished_again(folder: Path) -> None:
    """A second call finds nothing to do."""
    store.finish(folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    store.finish(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_pandas_reads_the_tables_with_words_for_codes(folder: Path) -> None:
    """No bench needed to go on from here: an error is its name."""
    store.finish(folder)
    requests, samples = pd.read_parquet(folder / "requests.parquet"), pd.read_parquet(folder / "samples.parquet")
    assert list(requests.columns) == list(RECORD.names or ())
    assert requests["error"].astype(str).tolist() == ["", "", "timeout", "", "", "answer", "", ""]
    assert ((requests["end_ns"] - requests["start_ns"]) == 10_000_000).all()
    assert samples.groupby("device", observed=True)["value"].max().to_dict() == {"host": 1.5, "server": 1.5}


# ---------------------------------------------------------------- cut off


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes], np.ndarray, list[int]]:
    """A folder whose streams are cut by a test, their whole content, the records in it and where its batches end."""
    ends: list[int] = []
    folder = tmp_path_factory.mktemp("cut")
    store.write_json(folder / "run.json", document(status="running"))
    records = write_streams(folder, ends)
    return folder, {path.name: path.read_bytes() for path in folder.glob("*.arrows")}, records, ends


@given(st.data())
def test_of_a_stream_that_was_cut_off_anywhere_the_whole_batches_are_read(cut: Any, data: st.DataObject) -> None:
    """A process that was killed, or a disk that was full, loses at most the batch it was writing, and never the run."""
    folder, streams, records, ends = cut
    for name, content in streams.items():
        (folder / name).write_bytes(content[: data.draw(st.integers(0, len(content)))])
    run = store.load_run(folder)
    size = (folder / "requests-0.arrows").stat().st_size
    assert len(run.records) == sum(count for count, end in zip(BATCHES, ends, strict=True) if end <= size)
    np.testing.assert_array_equal(run.records, records[: len(run.records)])
    assert len(run.samples.t_ns) in (0, 6, 8)
    assert run.samples.value.tolist() == [s.value for s in SAMPLES[: len(run.samples.t_ns)]]


def test_a_stream_that_only_lacks_its_end_is_whole(cut: Any) -> None:
    """The writer was killed after its last batch: nothing is lost."""
    folder, streams, records, _ = cut
    for name, content in streams.items():
        (folder / name).write_bytes(content[:-8])  # the marker of the end
    run = store.load_run(folder)
    np.testing.assert_array_equal(run.records, records)
    assert len(run.samples.t_ns) == 8


def test_a_batch_is_on_the_disk_when_write_returns(tmp_path: Path) -> None:
    """The writer is never closed here, as when its process is killed."""
    store.write_json(tmp_path / "run.json", document())
    writer = columns.RecordWriter(tmp_path / "requests-0.arrows")
    writer.write(make_run([1.0, 2.0]).records)
    assert len(store.load_run(tmp_path).records) == 2
    writer.close()


def test_a_half_written_event_is_left_out(folder: Path) -> None:
    """The last line of a run that died, cut in the middle of a character."""
    with (folder / "events.jsonl").open("ab") as file:
        file.write('{"t_ns": 9, "name": "failed", "detail": {"message": "ü'.encode()[:-1])
    assert store.load_run(folder).events == [Event(5, "started", {"window_ns": 0})]


def test_a_run_that_died_is_reported_as_unfinished_with_what_it_measured(bench: Bench, tmp_path: Path) -> None:
    """Killed in the middle: INVALID, eight requests of 10 ms, a window up to the last reply; its streams become Parquet."""
    store.write_json(tmp_path / "run.json", document(status="running", window_ns=[0, 0]))
    write_streams(tmp_path, [])
    said = bench("report", tmp_path, "--json")
    made = json.loads(said.out)
    assert (said.code, made["status"], made["requests"]) == (0, "running", 8)
    assert made["window_s"] == pytest.approx(0.08, abs=1e-6)
    assert "unfinished" in [reason["code"] for reason in made["validity"]["reasons"]]
    assert "the run never ended" in " ".join(bench("report", tmp_path).out.split())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["requests.parquet", "run.json", "samples.parquet"]


# ---------------------------------------------------------------- damaged


@pytest.mark.parametrize("content", ["", "{", "[]", '"run"', "\xff"])
def test_a_run_json_that_is_no_document_is_named(content: str, folder: Path) -> None:
    """The file, and that it is damaged."""
    (folder / "run.json").write_text(content, encoding="latin-1")
    with pytest.raises(UsageError, match=r"run\.json: damaged"):
        store.load_run(folder)


@pytest.mark.parametrize("key", sorted(document().keys() - {"schema_version"}))
def test_a_key_that_is_missing_or_of_another_kind_is_named(key: str, folder: Path) -> None:
    """run.json is checked where it is read, not where its values are used."""
    whole = document()
    store.write_json(folder / "run.json", {k: v for k, v in whole.items() if k != key})
    with pytest.raises(UsageError, match=rf"run\.json: damaged: .*`{key}`"):
        store.load_run(folder)
    store.write_json(folder / "run.json", whole | {key: 7})
    with pytest.raises(UsageError, match=rf"run\.json: damaged: .*\$\.{key}"):
        store.load_run(folder)


@pytest.mark.parametrize("version", [None, 0, 2, "1"])
def test_a_run_of_another_schema_is_refused(version: object, folder: Path) -> None:
    """With its version, and the one that this bench reads."""
    store.write_json(folder / "run.json", document(schema_version=version))
    with pytest.raises(UsageError, match=rf"run\.json: schema version {version!r}; this bench reads version 1"):
        store.load_run(folder)


def test_a_workload_that_cannot_be_read_is_named_with_its_key(folder: Path) -> None:
    """A run of a workload that this bench does not understand."""
    workload = document()["workload"] | {"duration": "soon"}
    store.write_json(folder / "run.json", document(workload=workload))
    with pytest.raises(UsageError, match=r"run\.json: .*duration"):
        store.load_run(folder)


@pytest.mark.parametrize("name", ["requests", "samples"])
@given(keep=st.floats(0, 1, exclude_max=True))
def test_a_table_that_was_cut_off_is_named(name: str, keep: float, finished: Path) -> None:
    """Parquet has its index at the end: a file that was not copied whole cannot be read, and says so."""
    path = finished / f"{name}.parquet"
    whole = path.read_bytes()
    try:
        path.write_bytes(whole[: int(keep * len(whole))])
        with pytest.raises(UsageError, match=rf"{name}\.parquet: damaged"):
            store.load_run(finished)
    finally:
        path.write_bytes(whole)


def test_a_complete_run_without_its_requests_is_damaged(finished: Path, tmp_path: Path) -> None:
    """It is no run in which nothing was sent; one that is still made may have none yet."""
    copied = shutil.copytree(finished, tmp_path / "copied")
    (copied / "requests.parquet").unlink()
    with pytest.raises(UsageError, match=r"requests\.parquet: missing"):
        store.load_run(copied)
    store.write_json(copied / "run.json", document(status="running"))
    assert len(store.load_run(copied).records) == 0


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole run in Parquet."""
    folder = tmp_path_factory.mktemp("finished")
    store.write_json(folder / "run.json", document())
    write_streams(folder, [])
    store.finish(folder)
    return folder


@pytest.mark.parametrize(("name", "column"), [("requests", "end_ns"), ("requests", "error"), ("samples", "device")])
def test_a_column_that_is_missing_is_named(name: str, column: str, folder: Path) -> None:
    """A table that somebody has rewritten."""
    store.finish(folder)
    path = folder / f"{name}.parquet"
    pq.write_table(pq.read_table(path).drop_columns([column]), path)
    with pytest.raises(UsageError, match=rf"{name}\.parquet: damaged: .*{column}"):
        store.load_run(folder)


def test_a_kind_of_error_that_this_bench_does_not_know_is_named(folder: Path) -> None:
    """A table of a later version, or one that was edited."""
    store.finish(folder)
    path = folder / "requests.parquet"
    table = pq.read_table(path)
    at = table.schema.get_field_index("error")
    strange = pa.array(["melted"] * len(table)).dictionary_encode()
    pq.write_table(table.set_column(at, "error", strange), path)
    with pytest.raises(UsageError, match=r"requests\.parquet: damaged: .*melted"):
        store.load_run(folder)


# ---------------------------------------------------------------- folders


def test_runs_are_found_at_any_depth_in_the_order_of_their_names(tmp_path: Path) -> None:
    """A run's own folder, a results folder, and one of experiments."""
    for name in ("b", "a/x/y", "c"):
        (tmp_path / name).mkdir(parents=True)
        store.write_json(tmp_path / name / "run.json", document())
    assert store.find_runs(tmp_path) == [tmp_path / "a/x/y", tmp_path / "b", tmp_path / "c"]
    assert store.find_runs(tmp_path / "b") == [tmp_path / "b"]


@pytest.mark.parametrize("name", ["nothing", "empty", "file"])
def test_a_place_without_runs_is_a_mistake_that_names_it(name: str, tmp_path: Path) -> None:
    """It says what a run looks like."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=rf"{name}: .*expected a .*run\.json"):
        store.find_runs(tmp_path / name)


def test_folders_of_one_second_and_one_name_are_numbered(tmp_path: Path) -> None:
    """None is ever used twice."""
    made = [store.create(tmp_path / "results", "w", FakeClock()).name for _ in range(3)]
    assert made == ["20260101-000000-w", "20260101-000000-w-2", "20260101-000000-w-3"]


def test_a_document_that_cannot_be_written_says_where(tmp_path: Path) -> None:
    """The folder was removed while the run was being made."""
    gone = tmp_path / "gone"
    with pytest.raises(RunError, match=r"gone/run\.json: cannot be written: No such file"):
        store.write_json(gone / "run.json", {})
    with pytest.raises(RunError, match=r"gone/events\.jsonl: cannot be written: No such file"):
        store.append_event(gone, Event(0, "started", {}))
    with pytest.raises(RunError, match=r"requests-0\.arrows: cannot be written: No such file"):
        columns.RecordWriter(gone / "requests-0.arrows")


def test_a_run_that_is_still_made_is_not_finished_by_a_reader(folder: Path) -> None:
    """`bench report` beside a running bench reads what is there and takes nothing away from its writer."""
    writer = columns.RecordWriter(folder / "requests-7.arrows")
    writer.write(np.zeros(3, RECORD))
    store.finish(folder)
    assert not (folder / "requests.parquet").exists()
    writer.write(np.zeros(2, RECORD))
    writer.close()
    store.finish(folder)
    assert (folder / "requests.parquet").exists()
    assert not list(folder.glob("*.arrows"))


def test_a_stream_that_cannot_be_opened_is_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error in reading is not an empty stream: what was measured must not be unlinked after it."""

    def broken(*_: object) -> None:
        raise OSError(5, "Input/output error")

    columns.RecordWriter(folder / "requests-0.arrows").close()
    monkeypatch.setattr(columns.pa, "OSFile", broken)
    with pytest.raises(RunError, match="streams beside it are kept"):
        store.finish(folder)
    assert (folder / "requests-0.arrows").exists()
