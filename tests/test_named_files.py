"""The files that a workload file names."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import payloads, resources
from bench import workload as workloads
from bench.errors import UsageError
from bench.lengths import Values
from bench.workload import Workload

HEAD = '[model]\nname = "m"\n[load]\narrivals = "closed"\n'
PROMPTS = '{distribution = "csv", file = "traffic.csv"%s}'
IDS = '[payload.inputs.ids]\ndatatype = "INT64"\nshape = ["n"]\nfile = "%s"\n'


def load(folder: Path, text: str) -> Workload:
    """The workload in a file of `text`, read from somewhere else."""
    (folder / "mine.toml").write_text(HEAD + text)
    return resources.load_workload(str(folder / "mine.toml"))


def generating(folder: Path, csv: str | bytes, more: str = "") -> Workload:
    """The workload whose prompts are as long as the rows of `csv`, or its `more`."""
    (folder / "traffic.csv").write_bytes(csv if isinstance(csv, bytes) else csv.encode())
    return load(folder, f"[payload.generate]\noutput_tokens = 3\nprompt_tokens = {PROMPTS % more}\n")


def prompt_values(workload: Workload) -> tuple[int, ...]:
    assert workload.payload.generate is not None
    length = workload.payload.generate.prompt_tokens
    assert isinstance(length, Values)
    return length.values


@pytest.mark.parametrize(
    ("csv", "more", "values"),
    [
        ("5\n7\n", "", (5, 7)),
        ("prompt_tokens\n5\n7\n", "", (5, 7)),
        ("time,prompt_tokens\n1,5\n2,7\n", ', column = "prompt_tokens"', (5, 7)),
        ('"time", "prompt_tokens"\r\n1, 5\r\n\r\n2, 7.0\r\n', ', column = "prompt_tokens"', (5, 7)),
        ("\ufeffprompt_tokens\n5\n", ', column = "prompt_tokens"', (5,)),
    ],
)  # fmt: skip
def test_lengths_are_read_from_the_column_of_a_csv(csv: str, more: str, values: tuple[int, ...], tmp_path: Path) -> None:
    """By its name, or the first or only one, with or without a name above it; as spreadsheets and pandas write them."""
    assert prompt_values(generating(tmp_path, csv, more)) == values


def test_lengths_of_a_csv_stand_wherever_lengths_do(tmp_path: Path) -> None:
    """Of a dimension too, and with a multiple; the file lies beside the workload, not where bench was started."""
    (tmp_path / "n.csv").write_text("30\n")
    w = load(tmp_path, '[payload.lengths]\nn = {distribution = "csv", file = "n.csv", multiple = 16}\n'
             '[payload.inputs.x]\ndatatype = "FP32"\nshape = ["n"]\n')  # fmt: skip
    assert w.payload.lengths == {"n": Values((30,), 16)}
    assert payloads.make(w)[0]["x"].shape == (32,)  # type: ignore[index]


@pytest.mark.parametrize(
    ("csv", "more", "message"),
    [
        ("5\n", ', column = "n"', ".column: {} has no column 'n'; its first row has: 5"),
        ("", ', column = "n"', ".column: {} has no column 'n'; its first row has: nothing"),
        ("a,n\n1,5\n2,x\n", ', column = "n"', ".file: {}, line 3: expected a whole number above 0, got 'x'"),
        ("a,n\n1,5\n2\n", ', column = "n"', ".file: {}, line 3: expected a whole number above 0, got ''"),
        ("5\n0\n", "", ".file: {}, line 2: expected a whole number above 0, got '0'"),
        ("5\n1.5\n", "", ".file: {}, line 2: expected a whole number above 0, got '1.5'"),
        ("5\n-1\n", "", ".file: {}, line 2: expected a whole number above 0, got '-1'"),
        ("", "", ".file: {}: expected 1 to 100,000 rows with a length each, got 0"),
        ("n\n", "", ".file: {}: expected 1 to 100,000 rows with a length each, got 0"),
        ("5\n" * 100_001, "", ".file: {}: expected 1 to 100,000 rows with a length each, got 100,001"),
        (b"\xff\n", "", ".file: {}: no CSV: 'utf-8' codec"),
        ("5\n", ", low = 3", ".low: unknown key; known here: column, distribution, file, multiple"),
        ("5\n", ", column = 3", ".column: expected the name of a column, got 3"),
        ("5\n", ", multiple = 0", ".multiple: Expected `int` >= 1"),
    ],
)
def test_a_csv_without_lengths_is_told_by_its_line(csv: str | bytes, more: str, message: str, tmp_path: Path) -> None:
    """The workload file, the key, the CSV, the line, what stands there and what should."""
    with pytest.raises(UsageError) as refused:
        generating(tmp_path, csv, more)
    start = f"{tmp_path / 'mine.toml'}: payload.generate.prompt_tokens"
    assert str(refused.value).startswith(start + message.format(tmp_path / "traffic.csv"))


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ('file = "no.csv"', ".file: {}/no.csv: cannot be read: No such file or directory"),
        ('file = ""', ".file: missing, and needed: a CSV with a length in each row"),
        ('column = "n"', ".file: missing, and needed"),
    ],
)
def test_a_csv_that_is_not_there_is_told(file: str, message: str, tmp_path: Path) -> None:
    """By the path that was tried."""
    with pytest.raises(UsageError) as refused:
        load(tmp_path, f'[payload.generate]\nprompt_tokens = 3\noutput_tokens = {{distribution = "csv", {file}}}\n')
    assert f"payload.generate.output_tokens{message.format(tmp_path)}" in str(refused.value)


def test_a_document_that_makes_no_sense_is_left_to_the_loader(tmp_path: Path) -> None:
    """Its message is the same with files and without."""
    for text, message in (
        ("[payload]\nlengths = 3\n", "payload.lengths: Expected a table"),
        ("payload = 3\n", "payload: Expec"),
    ):
        (tmp_path / "mine.toml").write_text(text + HEAD if text.startswith("payload =") else HEAD + text)
        with pytest.raises(UsageError, match=message):
            resources.load_workload(str(tmp_path / "mine.toml"))


def test_a_file_of_requests_is_found_beside_the_workload_and_named_by_what_it_holds(tmp_path: Path) -> None:
    """Absolutely, with its sha256, and as many requests as there are."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "ids.json").write_text("[[1, 2], [3], [4]]")
    w = load(tmp_path, IDS % "data/../data/ids.json")
    assert w.payload.inputs["ids"].file == str(tmp_path / "data" / "ids.json")
    assert len(w.payload.inputs["ids"].sha256) == 64
    assert w.payload.distinct == len(payloads.make(w)) == 3


def test_the_digest_of_a_workload_does_not_depend_on_where_it_lies(tmp_path: Path) -> None:
    """Recorded answers go with a folder that is moved."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "ids.json").write_text("[[1, 2], [3]]")
    here, there = (load(tmp_path / name, IDS % "ids.json") for name in ("a", "b"))
    assert payloads.digest(here) == payloads.digest(there)
    (tmp_path / "b" / "ids.json").write_text("[[1, 2], [4]]")
    assert payloads.digest(here) != payloads.digest(load(tmp_path / "b", IDS % "ids.json"))


def test_a_run_is_read_without_the_files_that_its_workload_named(tmp_path: Path) -> None:
    """Lengths are in the record; requests are named in it."""
    (tmp_path / "f").mkdir()
    np.save(tmp_path / "f" / "x.npy", np.zeros((2, 3)))
    (tmp_path / "f" / "n.csv").write_text("4\n5\n")
    w = load(tmp_path / "f", '[payload.lengths]\nn = {distribution = "csv", file = "n.csv"}\n'
             '[payload.inputs.x]\ndatatype = "FP32"\nshape = [3]\nfile = "x.npy"\n'
             '[payload.inputs.y]\ndatatype = "FP32"\nshape = ["n"]\n')  # fmt: skip
    document: Any = json.loads(json.dumps(workloads.to_builtins(w)))
    shutil.rmtree(tmp_path / "f")
    assert workloads.from_builtins(document, "run.json") == w
    with pytest.raises(UsageError, match=r"x\.npy: cannot be read: No such file"):
        payloads.make(w)


def test_the_number_of_requests_can_be_stated(tmp_path: Path) -> None:
    """Fewer than the file holds; more are refused."""
    (tmp_path / "ids.json").write_text("[[1], [2], [3]]")
    assert load(tmp_path, "[payload]\ndistinct = 2\n" + IDS % "ids.json").payload.distinct == 2
    with pytest.raises(UsageError, match=r"mine\.toml: payload\.distinct: .*ids\.json holds 3 requests, 4 are asked for"):
        load(tmp_path, "[payload]\ndistinct = 4\n" + IDS % "ids.json")


def test_files_that_hold_different_numbers_of_requests_are_refused(tmp_path: Path) -> None:
    """Unless it is stated how many to take."""
    (tmp_path / "a.json").write_text("[[1], [2], [3]]")
    (tmp_path / "b.json").write_text("[[1], [2]]")
    both = IDS % "a.json" + (IDS % "b.json").replace("inputs.ids", "inputs.mask")
    with pytest.raises(UsageError, match=r"the files hold different numbers of requests \(ids 3, mask 2\)"):
        load(tmp_path, both)
    assert load(tmp_path, "[payload]\ndistinct = 2\n" + both).payload.distinct == 2


def test_a_file_that_is_not_the_stated_one_is_refused(tmp_path: Path) -> None:
    """A workload may pin its data; the message has the sum that was found."""
    (tmp_path / "ids.json").write_text("[[1]]")
    found = load(tmp_path, IDS % "ids.json").payload.inputs["ids"].sha256
    assert load(tmp_path, IDS % "ids.json" + f'sha256 = "{found}"\n').payload.distinct == 1
    with pytest.raises(UsageError, match=rf"payload\.inputs\.ids\.sha256: .*ids\.json has {found}, stated is 12"):
        load(tmp_path, IDS % "ids.json" + 'sha256 = "12"\n')


@pytest.mark.parametrize(
    ("name", "message"), [("no.json", "cannot be read: No such file"), ("ids.json", "damaged, or no .json")]
)
def test_a_file_of_requests_that_is_none_is_told_when_the_workload_is_read(name: str, message: str, tmp_path: Path) -> None:
    """Before a server is started."""
    (tmp_path / "ids.json").write_text("[")
    with pytest.raises(UsageError) as refused:
        load(tmp_path, IDS % name)
    assert str(refused.value).startswith(f"{tmp_path / 'mine.toml'}: payload.inputs.ids: {tmp_path / name}: {message}")


@pytest.mark.parametrize(
    ("weights", "meant"), [("./w", "{}/w"), ("../w", "{}/../w"), ("/w", "/w"), ("Qwen/Qwen2.5", "Qwen/Qwen2.5"), ("", "")]
)
def test_a_folder_of_weights_is_meant_beside_the_workload(weights: str, meant: str, tmp_path: Path) -> None:
    """The hub's names have a slash too, so a folder begins with a dot, a slash or a tilde."""
    (tmp_path / "mine.toml").write_text(
        HEAD.replace('name = "m"', f'name = "m"\nweights = "{weights}"')
        + '[payload.inputs.x]\ndatatype = "FP32"\nshape = [1]\n'
    )
    made = resources.load_workload(str(tmp_path / "mine.toml")).model.weights
    assert made == str((tmp_path / weights).resolve() if ".." in meant else meant.format(tmp_path))
