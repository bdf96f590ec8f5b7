"""`bench run`, `bench report` and `bench demo` against the scripted endpoint, in virtual time: exact to the byte."""

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.load.inline import InlineLoad

GOLDEN = Path(__file__).parent / "golden"
ECHO = "echo://?service=5ms"
Bench = Callable[..., Any]


@pytest.fixture(scope="module")
def folder(bench: Bench, four_floats: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 400 requests, one after the other, 5 ms each."""
    output = tmp_path_factory.mktemp("results")
    assert bench("run", four_floats, "--target", ECHO, "--output", output).code == 0
    (run,) = output.iterdir()
    return run


@pytest.fixture(scope="module")
def demo(bench: Bench, four_floats: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """5 ms against 10 ms, three rounds each: the experiment's folder, and what the command said."""
    output = tmp_path_factory.mktemp("results")
    sides = ECHO, "echo://?service=10ms"
    said = bench("demo", *sides, "--workload", four_floats, "--rounds", 3, "--requests", 50, "--output", output)
    (experiment,) = output.iterdir()
    return experiment, said


def document(said: Any) -> dict[str, Any]:
    """The JSON document that a command printed, without what it found out about this machine."""
    made: dict[str, Any] = json.loads(said.out)
    del made["environment"]
    return made


def test_a_run_prints_the_golden_text(bench: Bench, four_floats: Path, tmp_path: Path) -> None:
    """2 s of 5 ms each are 400 requests; P99 needs 459: every other number is 5 ms, 200/s or 0."""
    said = bench("run", four_floats, "--target", ECHO, "--output", tmp_path)
    assert said.out == (GOLDEN / "echo-run.txt").read_text()
    assert (said.code, said.err) == (0, f"report: {tmp_path / '20260101-000000-four-floats-echo' / 'report.html'}\n")


def test_a_run_prints_the_golden_document(bench: Bench, four_floats: Path, tmp_path: Path) -> None:
    """What programs read of bench, key by key."""
    said = bench("run", four_floats, "--target", ECHO, "--output", tmp_path, "--json")
    assert document(said) == json.loads((GOLDEN / "echo-run.json").read_text())


def test_a_stored_run_is_reported_in_the_same_words(bench: Bench, folder: Path, four_floats: Path, tmp_path: Path) -> None:
    """As text, as a document, and a second time."""
    assert bench("report", folder) == (0, (GOLDEN / "echo-run.txt").read_text(), "")
    printed = bench("run", four_floats, "--target", ECHO, "--output", tmp_path, "--json").out
    (again,) = tmp_path.iterdir()
    assert bench("report", again, "--json").out == printed == bench("report", tmp_path, "--format", "json").out


def test_a_run_leaves_its_records_its_answers_and_a_page(folder: Path) -> None:
    """And no stream, no log and no unfinished file."""
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["answers.arrow", "events.jsonl", "report.html", "requests.parquet", "run.json"]
    assert (folder / "report.html").read_text().startswith("<!DOCTYPE html>")


def test_a_report_changes_nothing_in_the_folder(bench: Bench, folder: Path) -> None:
    """It may lie on a disk that is read-only, or still be written by the command that measures."""
    before = {path: path.read_bytes() for path in folder.iterdir()}
    assert bench("report", folder).code == 0
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_a_run_is_reported_as_markdown_and_as_a_page(bench: Bench, folder: Path) -> None:
    """The page on stdout is the page in the folder."""
    markdown = bench("report", folder, "--format", "markdown").out
    assert "| mean latency | 5.00 [5.00, 5.00] ms |" in markdown
    assert bench("report", folder, "--format", "html").out.rstrip("\n") == (folder / "report.html").read_text().rstrip("\n")


def test_several_runs_are_rows_of_one_table_as_csv(bench: Bench, folder: Path, demo: tuple[Path, Any]) -> None:
    """A row a run, also of an experiment's rounds."""
    rows = list(csv.DictReader(io.StringIO(bench("report", folder, demo[0], "--format", "csv").out)))
    assert [row["run"] for row in rows] == [folder.name, *(f"round-0{n}" for n in (1, 2, 3, 1, 2, 3))]
    assert [float(row["latency_mean_ms"]) for row in rows] == [5, 5, 5, 5, 10, 10, 10]
    assert [row["requests"] for row in rows] == ["400", *["50"] * 6]


def test_of_several_runs_each_is_named_and_a_damaged_one_hides_no_other(
    bench: Bench, four_floats: Path, tmp_path: Path
) -> None:
    """The first is cut off: it is named, the second is shown under its folder, and the exit code is 2."""
    for _ in range(2):
        bench("run", four_floats, "--target", ECHO, "--output", tmp_path)
    first, second = sorted(path.parent for path in tmp_path.glob("*/run.json"))
    (first / "requests.parquet").write_bytes(b"PAR1")
    said = bench("report", tmp_path)
    assert said.code == 2
    assert f"{first}/requests.parquet: damaged" in said.err
    assert said.out.startswith(f"{second}\n")
    assert "VALID" in said.out


def test_wrong_answers_make_a_run_invalid(bench: Bench, four_floats: Path, tmp_path: Path) -> None:
    """Of 400 replies every 50th is wrong: 8, which are errors however quick they were, and exit code 4."""
    said = bench("run", four_floats, "--target", f"{ECHO},wrong=50", "--output", tmp_path, "--json")
    made = document(said)
    assert said.code == 4
    assert made["errors"] == {"answer": 8}
    assert made["latency"]["count"] == 392
    assert "wrong_answers" in [reason["code"] for reason in made["validity"]["reasons"]]
    text = bench("report", tmp_path).out
    assert "INVALID" in text
    assert "8 of the 400 replies that were compared were wrong" in " ".join(text.split())


def test_failed_requests_make_a_run_invalid(bench: Bench, four_floats: Path, tmp_path: Path) -> None:
    """Of 400 replies every 20th is refused: 5 %, where 1 % may; the report tells what the server said."""
    said = bench("run", four_floats, "--target", f"{ECHO},fail=20", "--output", tmp_path)
    assert said.code == 4
    assert "20 of 400 requests failed (5.00%: 20 status)" in said.out
    assert "refused, as echo://?fail=20 asks" in " ".join(said.out.split())


def test_a_few_failed_requests_are_counted_and_allowed(bench: Bench, four_floats: Path, tmp_path: Path) -> None:
    """Every 200th of 400 is 0.5 %, and 1 % may: valid, with both in the report."""
    said = bench("run", four_floats, "--target", f"{ECHO},fail=200", "--output", tmp_path, "--json")
    made = document(said)
    assert (said.code, made["validity"]["valid"], made["errors"], made["error_rate"]) == (0, True, {"status": 2}, 0.005)


def test_a_promise_that_was_missed_is_exit_code_1(bench: Bench, four_floats: Path, tmp_path: Path) -> None:
    """7 ms where P90 <= 6 ms was promised: the run is valid, the promise is not kept."""
    said = bench("run", four_floats, "--target", "echo://?service=7ms", "--output", tmp_path)
    assert said.code == 1
    assert " VALID " in said.out
    assert "P90 latency  at most 6.00 ms  7.00 ms   missed" in said.out


def test_a_promise_from_the_command_line_counts(bench: Bench, four_floats: Path, tmp_path: Path) -> None:
    """The same 7 ms keep 8 ms; the stored run remembers which promise it was held to."""
    said = bench("run", four_floats, "--target", "echo://?service=7ms", "--output", tmp_path, "--slo", "p90<8ms")
    assert said.code == 0
    assert "P90 latency  at most 8.00 ms  7.00 ms   met" in bench("report", tmp_path).out


def test_a_promise_that_cannot_be_judged_is_not_kept_by_luck(bench: Bench, four_floats: Path, tmp_path: Path) -> None:
    """P99 of 100 requests is not known: the report says how many it takes, and the run is not a failure."""
    flags = "--requests", 100, "--slo", "p99<1s", "--output", tmp_path
    said = bench("run", four_floats, "--target", ECHO, *flags)
    assert said.code == 0
    assert "not known (needs 459 requests)" in said.out
    assert "n/a (needs 459 requests, has 100)" in said.out


def test_an_overloaded_schedule_has_its_lateness_in_the_latencies(bench: Bench, four_floats: Path, tmp_path: Path) -> None:
    """300/s on a server for 200/s: request k is meant for k/300 s and answered at (k + 1) x 5 ms, whenever it could be sent.

    The window of 0.1 s to 2.1 s holds k = 30 to 629: latencies of 55 ms to 1053 1/3 ms, their mean 554 1/6 ms. With 64
    connections none waits longer than 320 ms for the server: without the lateness that would be all there was to see.
    """
    flags = "--rate", "300/s", "--arrivals", "constant", "--output", tmp_path, "--json"
    said = bench("run", four_floats, "--target", ECHO, *flags)
    made = document(said)
    assert made["latency"]["count"] == 600
    assert made["latency"]["min_ms"] == pytest.approx(55, abs=1e-5)
    assert made["latency"]["max_ms"] == pytest.approx(1053 + 1 / 3, abs=1e-5)
    assert made["latency"]["mean"]["value_ms"] == pytest.approx(554 + 1 / 6, abs=1e-5)
    assert made["service"]["max_ms"] == pytest.approx(320, abs=1e-5)
    assert said.code == 4
    assert [reason["code"] for reason in made["validity"]["reasons"]] == ["rate_not_reached"]
    assert "did not get the load that was asked for" in " ".join(bench("report", tmp_path).out.split())


def test_a_schedule_that_the_server_can_keep_up_with_is_kept(bench: Bench, four_floats: Path, tmp_path: Path) -> None:
    """100/s on a server for 200/s: 5 ms each, no lateness, 100/s measured."""
    flags = "--rate", "100/s", "--arrivals", "constant", "--output", tmp_path, "--json"
    made = document(bench("run", four_floats, "--target", ECHO, *flags))
    assert (made["latency"]["min_ms"], made["latency"]["max_ms"], made["lag"]["max_ms"]) == (5, 5, 0)
    assert made["throughput"]["value"] == pytest.approx(100)
    assert made["validity"]["valid"]


def test_more_users_than_slots_queue(bench: Bench, four_floats: Path, tmp_path: Path) -> None:
    """Four users, two slots: each waits for one other, 10 ms each, and 400/s go through."""
    said = bench("run", four_floats, "--target", f"{ECHO},slots=2", "--users", 4, "--output", tmp_path, "--json")
    made = document(said)
    assert made["latency"]["quantiles"]["p50"]["value_ms"] == 10
    assert made["throughput"]["value"] == pytest.approx(400)


def test_a_count_of_requests_ends_the_window(bench: Bench, four_floats: Path, tmp_path: Path) -> None:
    """50 replies after the warm-up, 5 ms each: a window of 0.25 s."""
    made = document(bench("run", four_floats, "--target", ECHO, "--requests", 50, "--output", tmp_path, "--json"))
    assert (made["requests"], made["window_s"]) == (50, 0.25)


def test_runs_in_one_second_get_folders_of_their_own(bench: Bench, four_floats: Path, tmp_path: Path) -> None:
    """The clock of the scripted endpoint always starts at the same time; nothing is overwritten."""
    for _ in range(3):
        bench("run", four_floats, "--target", ECHO, "--requests", 5, "--output", tmp_path)
    name = "20260101-000000-four-floats-echo"
    assert sorted(path.name for path in tmp_path.iterdir()) == [name, f"{name}-2", f"{name}-3"]


def test_a_demo_prints_the_golden_comparison(demo: tuple[Path, Any]) -> None:
    """10 ms against 5 ms is 2.0 times: sides of one name are told apart by the option in which they differ."""
    folder, said = demo
    assert said.code == 0
    assert said.out == (GOLDEN / "echo-demo.txt").read_text() + f"report: {folder / 'report.html'}\n"


def test_a_stored_demo_is_reported_in_the_same_words(bench: Bench, demo: tuple[Path, Any]) -> None:
    """From its folder alone."""
    assert bench("report", demo[0]) == (0, (GOLDEN / "echo-demo.txt").read_text(), "")


def test_a_demo_finds_the_ratio_of_its_sides(bench: Bench, demo: tuple[Path, Any]) -> None:
    """Latencies 2, throughput 1/2, exactly; a P99 needs 459 requests and there are 150, so it has no ratio."""
    made = json.loads(bench("report", demo[0], "--json").out)
    changes = {row["metric"]: row["change"] and row["change"]["value"] for row in made["metrics"]}
    assert made["valid"]
    assert changes["mean latency"] == pytest.approx(2)
    assert changes["P50 latency"] == pytest.approx(2)
    assert changes["P99 latency"] is None
    assert changes["throughput"] == pytest.approx(0.5)
    assert [len(side["rounds"]) for side in made["sides"]] == [3, 3]


def test_a_demo_is_reported_as_markdown_and_as_a_page(bench: Bench, demo: tuple[Path, Any]) -> None:
    """Both lie in its folder, too."""
    folder = demo[0]
    for format_, name in (("markdown", "report.md"), ("html", "report.html")):
        assert bench("report", folder, "--format", format_).out.rstrip("\n") == (folder / name).read_text().rstrip("\n")


def test_the_same_target_twice_makes_two_sides(bench: Bench, four_floats: Path, tmp_path: Path) -> None:
    """A against A shows what the machine does by itself; the sides are numbered."""
    flags = "--workload", four_floats, "--rounds", 2, "--requests", 5, "--output", tmp_path
    bench("demo", ECHO, ECHO, *flags)
    (folder,) = tmp_path.iterdir()
    made = json.loads(bench("report", folder, "--json").out)
    assert (made["base"], made["new"]) == ("echo (1)", "echo (2)")


@pytest.mark.parametrize("rounds_before", [0, 1, 2])
def test_a_demo_that_is_stopped_shows_what_it_has(
    rounds_before: int, bench: Bench, four_floats: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in its first, second or third run: exit code 130, a comparison that is INVALID, and the runs are kept."""
    runs = iter(range(10))
    original = InlineLoad.run

    def stopped(self: InlineLoad, *words: Any) -> Any:
        return replace(original(self, *words), interrupted=next(runs) == rounds_before)

    monkeypatch.setattr(InlineLoad, "run", stopped)
    flags = "--workload", four_floats, "--rounds", 3, "--requests", 50, "--output", tmp_path
    said = bench("demo", ECHO, "echo://?service=10ms", *flags)
    assert said.code == 130
    assert "INVALID" in said.out
    assert "the run was interrupted" in " ".join(said.out.split())
    assert len(list(tmp_path.glob("*/*/round-*/requests.parquet"))) == rounds_before + 1
