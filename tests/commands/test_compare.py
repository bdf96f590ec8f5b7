"""`bench compare` against the scripted endpoint, in virtual time, and on stored runs: verdicts, exit codes, bad input."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench import endpoint as endpoints
from bench import store
from bench.commands.live_sides import LiveSides
from bench.errors import RunError
from bench.load.inline import InlineLoad
from bench.record import Event
from bench.testing import FakeClock

Bench = Callable[..., Any]
ECHO, SLOWER, FAILING = "echo://?service=5ms", "echo://?service=6ms", "echo://?service=5ms,fail=20"


@pytest.fixture
def compare(bench: Bench, four_floats: Path, tmp_path: Path) -> Callable[..., Any]:
    """`bench compare` with short rounds of 500 requests, below `tmp_path`."""

    def run(*words: Any) -> Any:
        return bench("compare", "--workload", four_floats, "--requests", 500, "--output", tmp_path, *words)

    return run


@pytest.fixture(scope="module")
def stored(bench: Bench, four_floats: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of three runs each: as fast, and slower, as `bench run` leaves them."""
    root = tmp_path_factory.mktemp("stored")
    for name, target in (("old", ECHO), ("again", ECHO), ("new", SLOWER)):
        for _ in range(3):
            flags = "--requests", 500, "--output", root / name
            assert bench("run", four_floats, "--target", target, *flags).code in (0, 1)
    return {path.name: path for path in root.iterdir()}


def only(folder: Path) -> Path:
    """The one folder in a folder."""
    (found,) = (path for path in folder.iterdir() if path.is_dir())
    return found


@pytest.mark.parametrize(
    ("sides", "code", "word"),
    [((ECHO, ECHO), 0, "SAME"), ((ECHO, SLOWER), 1, "WORSE"), ((SLOWER, ECHO), 0, "BETTER"), ((ECHO, FAILING), 1, "WORSE")],
)
def test_a_comparison_ends_with_its_verdict(compare: Bench, sides: tuple[str, str], code: int, word: str) -> None:
    """The exit code says whether there is a regression; text, Markdown and HTML say it in a word."""
    said = compare(*sides)
    assert said.code == code
    assert f"\n {word}  echo" in said.out


def test_a_comparison_that_is_decided_ends_at_its_first_look(compare: Bench, tmp_path: Path) -> None:
    """In virtual time nothing scatters: five pairs of rounds, and what was found is said."""
    said = compare(ECHO, SLOWER)
    runs = sorted(path.parent.relative_to(only(tmp_path)).as_posix() for path in tmp_path.rglob("run.json"))
    assert runs == [f"{side}/round-0{n}" for side in ("1-echo----service-5ms", "2-echo----service-6ms") for n in range(1, 6)]
    assert "after 5 rounds: mean latency WORSE, P99 latency WORSE, error rate SAME, answers SAME" in said.err


def test_one_that_is_not_goes_on_to_the_last(compare: Bench, tmp_path: Path) -> None:
    """6 rounds of 12 requests claim no P99 and 40 do: looked at after 3 and 40."""
    said = compare(ECHO, ECHO, "--requests", 12, "--looks", "3,40", "--gate", "p50,p99")
    assert len(list(tmp_path.rglob("run.json"))) == 80
    assert "after 3 rounds: P50 latency SAME, P99 latency UNKNOWN" in said.err
    assert "P99 latency is not known: needs 33 requests in every round, one has" in said.out.replace("\n    ", " ")
    assert said.code == 4


def test_a_p99_that_the_planned_rounds_cannot_claim_is_not_waited_for(compare: Bench, tmp_path: Path) -> None:
    """3 x 12 requests, or 4 x 12, are far from 459."""
    said = compare(ECHO, ECHO, "--requests", 12, "--looks", "3,4", "--gate", "p99")
    assert len(list(tmp_path.rglob("run.json"))) == 6
    assert said.code == 4


def test_both_rounds_of_a_pair_have_one_schedule_and_one_order(compare: Bench, tmp_path: Path) -> None:
    """And every pair another."""
    compare(ECHO, SLOWER, "--rate", "50/s", "--requests", 20, "--rounds", 3)
    first, second = sorted(path for path in only(tmp_path).iterdir() if path.is_dir())
    sent = [[_sent(run) for run in sorted(side.iterdir())] for side in (first, second)]
    assert sent[0] == sent[1]
    assert len({tuple(times) for times, _ in sent[0]}) == 3
    assert len({tuple(order) for _, order in sent[0]}) > 1


def _sent(folder: Path) -> tuple[list[int], list[int]]:
    """When each request of a run was meant to be sent, and which it was."""
    run = store.load_run(folder)
    ordered = run.records[run.records["id"].argsort()]
    return (ordered["intended_ns"] - run.window_ns[0]).tolist(), ordered["payload"].tolist()


def test_a_stored_comparison_is_reported_in_the_same_words(bench: Bench, compare: Bench, tmp_path: Path) -> None:
    """From its folder alone, its rule with it."""
    said = compare(ECHO, SLOWER, "--delta", "mean=30%,p99=30%")
    assert said.code == 0
    assert bench("report", only(tmp_path)).out == said.out
    for format_, name in (("markdown", "report.md"), ("html", "report.html")):
        assert (
            bench("report", only(tmp_path), "--format", format_).out.rstrip("\n")
            == (only(tmp_path) / name).read_text().rstrip()
        )


def test_several_workloads_are_comparisons_of_their_own(
    bench: Bench, four_floats: Path, two_shapes: Path, tmp_path: Path
) -> None:
    """Beside each other in one folder, which is reported as a whole; the worst decides the exit code."""
    flags = "--rounds", 3, "--requests", 500, "--output", tmp_path
    said = bench("compare", ECHO, ECHO, "--workload", four_floats, "--workload", two_shapes, *flags)
    assert said.code == 0
    folder = only(tmp_path)
    again = bench("report", folder).out
    for one in folder.glob("*/experiment.json"):
        assert bench("report", one.parent).out in said.out
        assert bench("report", one.parent).out in again
    assert [document["valid"] for document in json.loads(bench("report", folder, "--json").out)] == [True, True]


def test_after_one_that_was_stopped_there_is_no_other(
    bench: Bench, four_floats: Path, two_shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who presses Ctrl-C does not want the next workload instead."""
    original = InlineLoad.run
    monkeypatch.setattr(InlineLoad, "run", lambda self, *hears: replace(original(self, *hears), interrupted=True))
    flags = "--rounds", 3, "--requests", 50, "--output", tmp_path
    assert bench("compare", ECHO, ECHO, "--workload", four_floats, "--workload", two_shapes, *flags).code == 130
    assert len(list(tmp_path.rglob("run.json"))) == 1


@pytest.mark.parametrize(("unknown", "code"), [((), 4), (("--unknown", "ok"), 0)])
def test_an_unknown_verdict_is_an_exit_code_of_its_own(compare: Bench, unknown: tuple[str, ...], code: int) -> None:
    """Unless it may be unknown."""
    assert compare(ECHO, ECHO, "--rounds", 3, "--requests", 20, "--gate", "p99", *unknown).code == code


def test_three_sides_are_all_held_to_the_first(compare: Bench) -> None:
    """One the same, one slower: WORSE as a whole."""
    said = compare(ECHO, ECHO, SLOWER, "--rounds", 3, "--json")
    assert said.code == 1
    assert json.loads(said.out)["rule"]["gated"] == 6  # the error is shared by three metrics of two sides
    assert [side["name"] for side in json.loads(said.out)["sides"]] == [
        "echo service=5ms (1)",
        "echo service=5ms (2)",
        "echo service=6ms",
    ]


# ---------------------------------------------------------------- stored runs


def test_folders_of_stored_runs_are_compared(bench: Bench, stored: dict[str, Path], tmp_path: Path) -> None:
    """Three against three, looked at once; named by their folders where their targets are the same."""
    said = bench("compare", f"{stored['old']}/", stored["again"], "--output", tmp_path)
    assert (said.code, said.out.splitlines()[0]) == (0, "echo (again) against echo (old): four-floats")
    worse = bench("compare", stored["old"], stored["new"], "--output", tmp_path)
    assert (worse.code, worse.out.splitlines()[0]) == (1, "echo service=6ms against echo service=5ms: four-floats")
    assert "3 rounds of each side, each by itself." in worse.out.replace("\n", " ")


def test_a_stored_run_is_compared_with_a_live_side(bench: Bench, stored: dict[str, Path], tmp_path: Path) -> None:
    """On the workload that the stored runs had, as long as theirs."""
    said = bench("compare", stored["old"], SLOWER, "--rounds", 3, "--output", tmp_path)
    assert said.code == 1
    made = [store.load_run(path.parent) for path in tmp_path.rglob("run.json")]
    assert [run.workload.requests for run in made] == [500] * 3


def test_sides_of_two_sessions_are_not_told_from_the_sessions(bench: Bench, stored: dict[str, Path], tmp_path: Path) -> None:
    """The report warns, and its 5 % are of what is measured in turn."""
    later = tmp_path / "later"
    shutil.copytree(stored["again"], later)
    for path in later.rglob("run.json"):
        path.write_text(path.read_text().replace("2026-01-01", "2026-02-01"))
    said = bench("compare", stored["old"], later, "--output", tmp_path / "results")
    assert "\n  - not measured in turn with the first side but one after the other" in said.out.replace("\n    ", " ")
    assert "if nothing but what is under test" in said.out.replace("\n", " ")
    together = bench("compare", stored["old"], stored["again"], "--output", tmp_path / "results")
    assert "in turn" not in together.out


def test_a_live_side_with_another_load_than_the_stored_runs_is_refused_before_it_is_measured(
    bench: Bench, stored: dict[str, Path], tmp_path: Path
) -> None:
    """Its workload is known beforehand."""
    said = bench("compare", stored["old"], ECHO, "--users", 7, "--output", tmp_path)
    assert (said.code, said.out) == (2, "")
    assert "workload load.users: 1 / 7" in said.err
    assert not list(tmp_path.iterdir())


def test_a_live_side_is_not_measured_beside_stored_runs_that_are_too_few(
    bench: Bench, stored: dict[str, Path], tmp_path: Path
) -> None:
    """However many rounds there were of it, one stored run decides nothing."""
    said = bench("compare", only_of(stored["old"]), ECHO, "--output", tmp_path)
    assert (said.code, said.out) == (2, "")
    assert "1 stored run, each of which is a round: beside a live side a verdict needs 3 at least" in said.err
    assert not list(tmp_path.iterdir())


def test_a_stored_side_may_have_more_rounds_than_the_live_one_needs(bench: Bench, compare: Bench, tmp_path: Path) -> None:
    """Seven against five: what is decided is decided, and the exit code says so."""
    compare(ECHO, ECHO, "--rounds", 7)
    side = next(only(tmp_path).glob("1-*"))
    said = bench("compare", side, ECHO, "--output", tmp_path / "again")
    assert "rounds 6, 7 are left out: another side has no round of this number" in said.out.replace("\n    ", " ")
    assert said.code == 0


def test_a_report_that_cannot_be_kept_does_not_hide_the_verdict(
    compare: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full."""
    original = Path.write_text

    def full(self: Path, *given: Any, **how: Any) -> int:
        if self.name == "report.html":
            raise OSError(28, "No space left on device")
        return original(self, *given, **how)

    monkeypatch.setattr(Path, "write_text", full)
    said = compare(ECHO, SLOWER)
    assert (said.code, "the report cannot be kept there: No space left on device" in said.err) == (1, True)
    assert "\n WORSE  echo" in said.out


def test_runs_and_comparisons_in_one_folder_are_reported(
    bench: Bench, compare: Bench, four_floats: Path, tmp_path: Path
) -> None:
    """One that is damaged is named, and hides no other."""
    compare(ECHO, SLOWER)
    bench("run", four_floats, "--target", ECHO, "--output", tmp_path)
    said = bench("report", tmp_path)
    assert said.code == 0
    assert "echo service=6ms against echo service=5ms: four-floats" in said.out
    assert said.out.count("VALID") == 3
    next(tmp_path.rglob("experiment.json")).write_text("{")
    damaged = bench("report", tmp_path)
    assert (damaged.code, "experiment.json: damaged" in damaged.err) == (2, True)
    assert damaged.out.count("VALID") == 1


def test_servers_that_take_turns_end_before_the_other_starts(compare: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """With --exclusive one at a time, and none again while it is still there."""
    there: list[str] = []
    original = endpoints.live

    @contextmanager
    def watched(word: Any, *given: Any, **how: Any) -> Iterator[Any]:
        assert not there
        there.append(str(word))
        with original(word, *given, **how) as endpoint:
            yield endpoint
        there.remove(str(word))

    monkeypatch.setattr(endpoints, "live", watched)
    said = compare(ECHO, SLOWER, "--exclusive", "--rounds", 5)
    assert said.code == 1
    assert "5 pairs of rounds" in said.out


def test_two_single_runs_are_too_few_and_say_so(bench: Bench, stored: dict[str, Path], tmp_path: Path) -> None:
    """Shown side by side, without a verdict."""
    said = bench("compare", only_of(stored["old"]), only_of(stored["new"]), "--output", tmp_path)
    assert said.code == 4
    assert "needs 3 rounds of each side, has 1" in said.out.replace("\n    ", " ")


def only_of(folder: Path) -> Path:
    return sorted(folder.iterdir())[0]


def test_a_round_in_which_the_server_ended_is_left_out_with_its_pair(bench: Bench, compare: Bench, tmp_path: Path) -> None:
    """The finished rounds stand; that one did not is named, and is no clean end."""
    compare(ECHO, ECHO, "--rounds", 4)
    store.append_event(next(only(tmp_path).glob("2-*")) / "round-03", Event(0, "server-exited", {"status": -9}))
    sides = sorted(path for path in only(tmp_path).iterdir() if path.is_dir())
    said = bench("compare", *sides, "--output", tmp_path / "again")
    assert "round 3 is left out: the server ended in it (exit status -9)" in said.out.replace("\n    ", " ")
    assert "3 pairs of rounds" in said.out
    assert said.code == 4


# ---------------------------------------------------------------- bad input


def test_runs_of_another_workload_are_refused_unless_forced(
    bench: Bench, stored: dict[str, Path], two_shapes: Path, tmp_path: Path
) -> None:
    """Each difference is named; with --force they are compared, and the report names them."""
    bench("run", two_shapes, "--target", ECHO, "--requests", 50, "--output", tmp_path / "other")
    said = bench("compare", stored["old"], tmp_path / "other", "--output", tmp_path / "results")
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("bench: the sides differ in what is not under test (--force compares them all the same):\n  ")
    assert "workload " in said.err
    assert not (tmp_path / "results").exists()
    forced = bench("compare", stored["old"], tmp_path / "other", "--force", "--output", tmp_path / "results")
    assert forced.code == 4
    assert "not alike: workload" in forced.out


def test_a_side_that_died_leaves_the_finished_rounds(
    compare: Bench, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The eighth run cannot be made: three whole pairs are shown and kept, and the exit code says that it broke off."""
    runs, original = iter(range(20)), InlineLoad.prepare

    def dies(self: InlineLoad, plan: Any) -> Any:
        if next(runs) >= 7:
            raise RunError("the server is gone")
        return original(self, plan)

    monkeypatch.setattr(InlineLoad, "prepare", dies)
    said = compare(ECHO, SLOWER)
    assert said.code == 3
    assert "bench: the server is gone\nthe finished rounds are kept: bench report " in said.err
    assert "3 pairs of rounds" in said.out
    assert "round 4 is left out: another side has no round of this number" in said.out.replace("\n    ", " ")
    assert bench("report", only(tmp_path)).out == said.out


def test_of_a_comparison_whose_servers_do_not_start_nothing_is_left(
    compare: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No folder that would look like one without rounds."""

    def dies(self: InlineLoad, plan: Any) -> Any:
        raise RunError("nothing answers")

    monkeypatch.setattr(InlineLoad, "prepare", dies)
    said = compare(ECHO, SLOWER)
    assert (said.code, said.out) == (3, "")
    assert not list(tmp_path.iterdir())


def test_there_is_a_pause_before_each_round(compare: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as it is asked to be."""
    pauses: list[int] = []
    original = FakeClock.sleep_until

    def noted(self: FakeClock, t_ns: int) -> None:
        pauses.append(t_ns - self.now_ns())
        original(self, t_ns)

    monkeypatch.setattr(FakeClock, "sleep_until", noted)
    compare(ECHO, ECHO, "--rounds", 3, "--cooldown", "123ms")
    assert pauses.count(123_000_000) == 6


def test_a_comparison_that_is_stopped_shows_what_it_has(compare: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in the seventh run: three pairs, exit code 130."""
    runs, original = iter(range(20)), InlineLoad.run

    def stopped(self: InlineLoad, *hears: Any) -> Any:
        return replace(original(self, *hears), interrupted=next(runs) >= 6)

    monkeypatch.setattr(InlineLoad, "run", stopped)
    said = compare(ECHO, SLOWER)
    assert said.code == 130
    assert "3 pairs of rounds" in said.out


def test_one_that_is_stopped_between_two_rounds_shows_what_it_has(compare: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while nothing is being sent."""
    asked, original = iter(range(20)), LiveSides.endpoint

    def stopped(self: LiveSides, which: int) -> Any:
        if next(asked) >= 2 + 6:  # two of them to begin with
            raise KeyboardInterrupt
        return original(self, which)

    monkeypatch.setattr(LiveSides, "endpoint", stopped)
    said = compare(ECHO, SLOWER)
    assert said.code == 130
    assert "3 pairs of rounds" in said.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["echo://"], "bench compare: expected two sides or more, got 1"),
        (["echo://", "./nowhere"], "nowhere: no such folder; expected a run"),
        (["echo://", "echo://", "--delta", "mean=0%"], "mean: expected a share above 0, such as 5%, got '0%'"),
        (["echo://", "echo://", "--delta", "mean"], "expected NAME=SHARE, such as \"p99=5%\", got 'mean'"),
        (["echo://", "echo://", "--delta", "avg=5%"], "unknown metric 'avg'; there are: mean, p50, p99, throughput, errors"),
        (
            ["echo://", "echo://", "--delta", "p50=5%"],
            "--delta p50: has no verdict; those that have one are: mean, p99",
        ),
        (["echo://", "echo://", "--gate", "mean,avg"], "unknown metric 'avg'; there are: mean"),
        (["echo://", "echo://", "--gate", "ttft"], "--gate ttft: the workload streams no tokens"),
        (["echo://", "echo://", "--looks", "10,5"], 'expected rising numbers of rounds, 3 to 1000, such as "5,10,20"'),
        (["echo://", "echo://", "--looks", "2"], "expected rising numbers of rounds"),
        (["echo://", "echo://", "--looks", "5,ten"], "expected rising numbers of rounds"),
        (["echo://", "echo://", "--looks", "5,10", "--rounds", "3"], "--rounds and --looks contradict each other"),
        (["echo://", "echo://", "--cooldown", "soon"], "--cooldown: expected a duration"),
        (["echo://", "nothing"], "target nothing: unknown; there are: "),
        (
            ["triton", "echo://", "--model-repository", "a", "--model-repository", "b"],
            "--model-repository: given 2 times",
        ),
    ],
)
def test_bad_input_is_one_clear_error(words: list[str], message: str, compare: Bench, tmp_path: Path) -> None:
    """Exit code 2, nothing measured, nothing left."""
    said = compare(*words)
    assert (said.code, said.out) == (2, "")
    assert message in said.err
    assert "Traceback" not in said.err
    assert not list(tmp_path.rglob("run.json"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--workload", "resnet50"], "--workload resnet50: stored runs have their workload with them"),
        (["--looks", "5,10"], "--looks: stored runs are looked at once"),
        (["--users", "9"], "--users: says how live sides are measured, and all of these are stored"),
        (["--exclusive"], "--exclusive: says how live sides are measured"),
        (["--model-repository", "x"], "--model-repository: says how live sides are measured"),
        (["--rounds", "3"], "--rounds: says how live sides are measured"),
    ],
)
def test_flags_of_live_sides_do_not_go_with_stored_ones(
    words: list[str], message: str, bench: Bench, stored: dict[str, Path], tmp_path: Path
) -> None:
    """Named, instead of ignored."""
    said = bench("compare", stored["old"], stored["new"], *words, "--output", tmp_path)
    assert (said.code, said.out) == (2, "")
    assert message in said.err


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("run.json", "{", "run.json: damaged: not valid JSON"),
        ("run.json", '{"schema_version": 99}', "schema version 99; this bench reads version 1"),
        ("requests.parquet", "no parquet", "requests.parquet: damaged"),
    ],
)
def test_a_damaged_run_is_named(
    name: str, content: str, message: str, bench: Bench, stored: dict[str, Path], tmp_path: Path
) -> None:
    """And nothing is compared without it."""
    bench("run", "./w.toml", "--target", ECHO, "--output", tmp_path)  # no such file: nothing is left
    shutil.copytree(stored["old"], tmp_path / "broken")
    (only_of(tmp_path / "broken") / name).write_text(content)
    said = bench("compare", stored["old"], tmp_path / "broken", "--output", tmp_path / "results")
    assert (said.code, said.out) == (2, "")
    assert message in said.err


def test_a_folder_without_a_run_is_named(bench: Bench, stored: dict[str, Path], tmp_path: Path) -> None:
    """It is empty, or holds something else."""
    (tmp_path / "empty").mkdir()
    said = bench("compare", stored["old"], tmp_path / "empty")
    assert (said.code, said.out) == (2, "")
    assert f"{tmp_path / 'empty'}: no run in it" in said.err
