"""A mix of several models through the whole program, against the scripted endpoint in virtual time."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench import mix, resources, store
from bench import workload as workloads

ECHO = "echo://?service=5ms"
Bench = Callable[..., Any]


@pytest.fixture(scope="module")
def ran(bench: Bench, two_shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """800 requests of 5 ms, one after the other: the run's folder, and what the command said."""
    output = tmp_path_factory.mktemp("results")
    said = bench("run", two_shapes, "--target", ECHO, "--output", output)
    (folder,) = output.iterdir()
    return folder, said


def test_a_part_that_breaks_its_promise_ends_the_run_with_1(ran: tuple[Path, Any]) -> None:
    """The large ones promise 4 ms and take 5; the small ones keep theirs, and the whole promises no latency."""
    _, said = ran
    assert said.code == 1
    assert "promise broken: large: P90 latency 5.00 ms, at most 4.00 ms" in said.err
    assert " VALID  1 user, closed loop, 800 requests in 4.00 s\n  - promise broken: large: P90 latency" in said.out
    assert "\nown promises          met                   missed\n" in said.out
    assert max(map(len, said.out.splitlines())) <= 80


def test_mixed_runs_that_keep_all_promises_end_with_0(bench: Bench, two_shapes: Path, tmp_path: Path) -> None:
    """4 ms are within 4 and 6."""
    assert bench("run", two_shapes, "--target", "echo://?service=4ms", "--output", tmp_path).code == 0


def test_the_record_holds_the_whole_resolved_mix(ran: tuple[Path, Any], two_shapes: Path) -> None:
    """What it was read from may change or go away."""
    folder, _ = ran
    stored = json.loads((folder / "run.json").read_text())["workload"]
    assert workloads.from_builtins(stored, "run.json") == resources.load_workload(str(two_shapes))
    assert [part["payload"]["distinct"] for part in stored["mix"]] == [4, 3]
    assert "model" not in stored


def test_records_tell_their_part_by_their_payload(ran: tuple[Path, Any]) -> None:
    """Four requests of the one, then three of the other, in the order of the turns; items are those of each shape."""
    run = store.load_run(ran[0])
    turns = mix.turns(run.workload)
    assert [(r["payload"], r["items"]) for r in run.records] == [
        (turns[n], 1 if turns[n] < 4 else 2) for n in range(len(run.records))
    ]


def test_a_stored_mix_is_reported_in_the_same_words(bench: Bench, ran: tuple[Path, Any]) -> None:
    """Also when what it was read from is gone."""
    folder, said = ran
    assert bench("report", folder).out == said.out


def test_a_stored_mix_is_reported_in_every_form(bench: Bench, ran: tuple[Path, Any]) -> None:
    """Each with its parts."""
    folder, _ = ran
    assert "## By part" in bench("report", folder, "--format", "markdown").out
    assert "<h2>By part</h2>" in bench("report", folder, "--format", "html").out
    document = json.loads(bench("report", folder, "--json").out)
    assert [(part["name"], part["requests"]) for part in document["parts"]] == [("small", 601), ("large", 199)]
    (row,) = csv.DictReader(io.StringIO(bench("report", folder, "--format", "csv").out))
    assert (row["part_small_requests"], row["part_large_slo_met"]) == ("601", "False")


def test_wrong_answers_of_a_mix_make_it_invalid(bench: Bench, two_shapes: Path, tmp_path: Path) -> None:
    """Each part is held to what it sent."""
    said = bench("run", two_shapes, "--target", "echo://?service=4ms,wrong=4", "--output", tmp_path, "--requests", "100")
    assert said.code == 4
    assert "that were compared were wrong" in " ".join(said.out.split())


def test_a_demo_of_a_mix_compares_the_whole_and_each_part(bench: Bench, two_shapes: Path, tmp_path: Path) -> None:
    """4 ms against 5; kept answers are those of all parts."""
    sides = ECHO, "echo://?service=4ms"
    said = bench("demo", *sides, "--workload", two_shapes, "--rounds", 3, "--requests", 200, "--output", tmp_path)
    assert said.code == 0
    assert "same answers  –                     7 of 7 " in said.out
    assert "\nPart small\n" in said.out
    assert "\nPart large\n" in said.out
    assert max(map(len, said.out.splitlines()[:-1])) <= 80
    (experiment,) = tmp_path.iterdir()
    assert bench("report", experiment).out.rstrip() in said.out


def test_flags_go_over_what_the_mix_says_of_all(bench: Bench, two_shapes: Path, tmp_path: Path) -> None:
    """Load, duration, seed and the promise of the whole; the parts' own stay."""
    flags = ("--rate", "50/s", "--arrivals", "constant", "--duration", "2s", "--seed", "3", "--slo", "p90<1ms")
    said = bench("run", two_shapes, "--target", "echo://?service=4ms", "--output", tmp_path, *flags)
    assert said.code == 1
    assert "promise broken: P90 latency 4.00 ms, at most 1.00 ms" in said.err
    assert "large" not in said.err


def test_answers_are_recorded_for_the_parts_and_not_for_a_mix(bench: Bench, two_shapes: Path) -> None:
    """The message says where they would be found."""
    said = bench("run", two_shapes, "--target", "triton-http://127.0.0.1:1", "--record-reference")
    assert said.code == 2
    assert "workload two-shapes is a mix, whose parts are compared with what was recorded for the workloads" in said.err
    assert said.err.count("\n") == 1


def test_flask_refuses_a_mix_in_one_line(bench: Bench) -> None:
    """Before anything is built."""
    said = bench("run", "mixed", "--target", "flask")
    assert (said.code, said.out) == (2, "")
    assert said.err == (
        "bench: target flask: Flask serves one model, and workload mixed is a mix of several: resnet50, bert-base; "
        "triton and onnx:// serve them together\n"
    )


def test_checking_a_mix_tells_of_each_part(bench: Bench, two_shapes: Path) -> None:
    """Its share, and what one of its requests weighs."""
    said = bench("workloads", "check", two_shapes)
    assert said.out == (
        f"{two_shapes}: ok: a mix of 2\n"
        "  small: 75% of the requests: model echo, 16 bytes a request, 4 distinct requests\n"
        "  large: 25% of the requests: model large, 128 bytes a request, 3 distinct requests\n"
    )


def test_the_bundled_mix_explains_itself(bench: Bench) -> None:
    """It is listed, shown as the file is, and every key of a part stands in it."""
    assert "mixed            a mix: ResNet-50 and BERT-base on one server" in bench("workloads", "list").out
    shown = bench("workloads", "show", "mixed").out
    assert all(key in shown for key in ("[[mix]]", "workload =", "weight =", "name =", "[mix.model]", "[mix.payload]",
                                        "[mix.slo]", "[mix.check]"))  # fmt: skip


TINY = """
warmup = "100ms"
duration = "1s"

[[mix]]
workload = "resnet50"
[mix.model]
preset = "tiny"
[mix.check]
every = 1

[[mix]]
workload = "bert-base"
[mix.model]
preset = "tiny"
precision = "int8"
[mix.check]
every = 1

[load]
arrivals = "closed"
users = 4
"""


@pytest.mark.real
@pytest.mark.parametrize("target", ["triton", "onnx://cpu"])
def test_models_of_a_mix_answer_together_each_as_its_reference_does(target: str, bench: Bench, tmp_path: Path) -> None:
    """Two tiny ones on a real Triton, which tells what it executed of each; and in two sessions without a server.

    The window is longer than the pauses between the looks at what was executed.
    """
    (tmp_path / "tiny.toml").write_text(TINY)
    said = bench("run", tmp_path / "tiny.toml", "--target", target, "--output", tmp_path / "results", "--json")
    document = json.loads(said.out)
    assert document["validity"] == {"valid": True, "reasons": []}, document["validity"]
    assert document["errors"] == {}
    parts = document["parts"]
    assert [part["name"] for part in parts] == ["resnet50", "bert-base"]
    assert all(part["compared"] == part["requests"] > 10 for part in parts)
    assert document["target"]["parts"]["bert-base"]["model"]["precision"] == "int8"
    assert document["load"]["tolerance"] == {"resnet50": 0.01, "bert-base": 0.2}
    assert all(bool(part["batches"]) == target.startswith("triton") for part in parts)
