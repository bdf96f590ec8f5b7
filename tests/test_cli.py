"""The command line as a whole: what goes wrong in plain words, and the exit code that says which kind of wrong it was."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench import cli
from bench.commands import workloads as workloads_command

ECHO = "echo://?service=5ms"
Bench = Callable[..., Any]


def test_help_lists_every_command(bench: Bench) -> None:
    """`bench`, `bench help` and `bench --help` say the same: each verb, and what it does."""
    said = bench("--help")
    assert said.code == 0
    assert said == bench() == bench("help") == bench("-h")
    for verb, (_, what) in cli.COMMANDS.items():
        assert f"  {verb:<10} {what}\n" in said.out


@pytest.mark.parametrize("verb", sorted(cli.COMMANDS))
def test_every_command_has_help_of_its_own(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It names the command as it is typed, and ends with 0."""
    with pytest.raises(SystemExit) as end:
        cli.main([verb, "--help"])
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: bench {verb} ")


def test_the_version_is_one_line(bench: Bench) -> None:
    """For bug reports."""
    assert bench("--version") == (0, f"bench {cli.__version__}\n", "")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("frobnicate", "unknown command 'frobnicate'; there are: demo, run, compare, report,"),
        ("run {w} --target {echo} --frobnicate", "bench run: unrecognized arguments: --frobnicate; see `bench run --help`"),
        ("run {w}", "bench run: the following arguments are required: --target"),
        ("run {w} --target {echo} --dur 1s", "unrecognized arguments: --dur 1s"),
        ("run nonsense --target {echo}", "workload 'nonsense': not found; tried workloads/nonsense.toml"),
        ("run ./nonsense.toml --target {echo}", "cannot read nonsense.toml: No such file or directory"),
        ("run {broken} --target {echo}", "broken.toml: not valid TOML"),
        ("run {w} --target gopher://x", "target gopher://x: unknown scheme gopher://; there are: triton-http://, triton-grpc://,"),
        ("run {w} --target nonsense", "target nonsense: unknown; there are: triton, flask, triton-http://,"),
        ("run {w} --target echo://?servce=5ms", "unknown option 'servce'; echo has: fail, service, slots, wrong"),
        ("run {w} --target echo://?slots=0", "option slots: expected a whole number above 0, got '0'"),
        ("run {w} --target echo://?service=soon", 'option service: expected a duration such as "250ms"'),
        ("run {w} --target triton?nonsense=1", "unknown option 'nonsense'; triton has: "),
        ("run {w} --target echo://?service", "option 'service': expected option=value"),
        ("run {w} --target {echo} --rate 20/s --arrivals closed", "--rate and --arrivals closed contradict each other"),
        ("run {w} --target {echo} --rate 20", '--rate: expected a rate such as "20/s"'),
        ("run {w} --target {echo} --requests none", "--requests: expected a whole number above 0, got 'none'"),
        ("demo {echo}", "expected two targets or more, got 1"),
        ("demo {echo} nonsense --workload {w}", "target nonsense: unknown; there are: "),
        ("demo {echo} {echo} --workload {w} --rounds 0", "--rounds: expected a whole number above 0, got '0'"),
        ("report nonsense", "nonsense: no such folder; expected a run"),
        ("report {empty}", "no run in it; expected a folder with run.json"),
        ("report {empty} {empty} --format html", "expected one run or one experiment"),
        ("workloads show nonsense", "workload 'nonsense': not found"),
        ("serve nonsense", "unknown; bench can start: triton, flask"),
        ("triton install 1.0", "1.0"),
        ("models build nonsense", "it can build: "),
    ],
)  # fmt: skip
def test_a_mistake_is_told_in_one_line_that_names_it_and_leaves_nothing_behind(
    words: str, expected: str, bench: Bench, four_floats: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 2, the thing that was wrong, what was expected, nothing on stdout, no traceback and no results folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.toml").write_text("load = [\n")
    places = {"w": four_floats, "echo": ECHO, "empty": "empty", "broken": "./broken.toml"}
    said = bench(*(word.format(**places) for word in words.split()))
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("bench: ")
    assert expected in said.err
    assert said.err.count("\n") == 1
    assert not list(tmp_path.glob("results/*"))


def test_a_workload_that_does_not_exist_is_told_with_those_that_do(bench: Bench) -> None:
    """The bundled workload is among them."""
    assert re.search(r"there are: .*\bresnet50\b", bench("run", "nonsense", "--target", ECHO).err)


@pytest.mark.parametrize("below", ["", "deeper"])
def test_a_results_folder_that_cannot_be_written_ends_the_command_before_it_measures(
    below: str, bench: Bench, four_floats: Path, tmp_path: Path
) -> None:
    """A file stands where the folder should be: exit code 3, and the flag that mends it."""
    (tmp_path / "results").write_text("")
    said = bench("run", four_floats, "--target", ECHO, "--output", tmp_path / "results" / below)
    assert (said.code, said.out) == (3, "")
    assert said.err.startswith(f"bench: results folder {tmp_path / 'results' / below}: ")
    assert "--output" in said.err
    assert said.err.count("\n") == 1


def test_ctrl_c_is_told_and_has_its_own_exit_code(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """130, as shells expect of a command that was interrupted."""

    def interrupt(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(workloads_command, "run", interrupt)
    assert bench("workloads", "list") == (130, "", "bench: interrupted\n")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_has_seen_enough_is_no_error(unbuffered: str) -> None:
    """`bench report ... | head -1` ends quietly, whether the line that nobody reads is printed or flushed at the end."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        command = [sys.executable, "-m", "bench", "workloads", "show", "resnet50"]
        ended = subprocess.run(
            command, stdout=writer, stderr=subprocess.PIPE, env=os.environ | {"PYTHONUNBUFFERED": unbuffered}
        )
    finally:
        os.close(writer)
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_workloads_lists_the_bundled_ones_and_those_beside_the_user(
    bench: Bench, four_floats: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each with its description; a broken file is listed with what is wrong with it."""
    (tmp_path / "workloads").mkdir()
    (tmp_path / "workloads" / "mine.toml").write_text(four_floats.read_text())
    (tmp_path / "workloads" / "broken.toml").write_text("load = 1\n")
    monkeypatch.chdir(tmp_path)
    said = bench("workloads", "list")
    lines = {line.split()[0]: " ".join(line.split()[1:]) for line in said.out.splitlines()}
    assert said.code == 0
    assert lines["mine"] == "four floats, echoed"
    assert lines["broken"].startswith("(broken: ")
    assert "ResNet-50" in lines["resnet50"]


def test_workloads_show_prints_the_file_as_it_is(bench: Bench, four_floats: Path) -> None:
    """With its comments: what it prints is a file to start from."""
    assert bench("workloads", "show", four_floats) == (0, four_floats.read_text(), "")
    assert "# (default)" in bench("workloads", "show", "resnet50").out


def test_workloads_show_finds_a_file_that_states_another_name(
    bench: Bench, four_floats: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is called by the file's name."""
    monkeypatch.chdir(tmp_path)
    text = f'name = "other"\n{four_floats.read_text()}'
    (tmp_path / "workloads").mkdir()
    (tmp_path / "workloads" / "mine.toml").write_text(text)
    assert bench("workloads", "show", "mine") == (0, text, "")


def test_workloads_check_tells_of_every_file_what_is_wrong_with_it(bench: Bench, four_floats: Path, tmp_path: Path) -> None:
    """The good ones on stdout, the others on stderr, and 2 when there is one: a check for CI."""
    bad = tmp_path / "bad.toml"
    bad.write_text(four_floats.read_text().replace("users = 1", "user = 1"))
    good = f"{four_floats}: ok: model echo, 16 bytes a request, 4 distinct requests\n"
    assert bench("workloads", "check", four_floats) == (0, good, "")
    said = bench("workloads", "check", bad, four_floats)
    assert (said.code, said.out) == (2, good)
    assert "load.user: unknown key; known here: arrivals, " in said.err
