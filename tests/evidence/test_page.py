"""What all pages of evidence have in common."""

import argparse
import platform
from pathlib import Path

import pytest

from bench.errors import BenchError, RunError
from bench.evidence import page


def test_a_page_begins_with_its_title_the_command_that_makes_it_and_the_machine() -> None:
    """And tells neither whose machine it is nor where things lie on it."""
    title, blank, made, *_ = page.heading("How it is", "make verify-it")
    assert (title, blank) == ("# How it is", "")
    assert made.startswith("Made by `make verify-it` on ")
    assert platform.release() in made
    assert platform.node() not in made
    assert str(Path.home()) not in made


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"cores_usable": 4, "cores_limit": None, "virtualization": None}, "X, 4 cores, Linux 6.1, CPython 3.11.7"),
        (
            {"cores_usable": 4, "cores_limit": 1.5, "virtualization": "container"},
            "X, 1.5 cores (container), Linux 6.1, CPython 3.11.7",
        ),
    ],
)
def test_a_machine_is_its_processor_its_cores_and_its_software(facts: dict[str, object], said: str) -> None:
    """As many cores as a container may use."""
    assert page.machine({"cpu": "X", "kernel": "6.1", "python": "CPython 3.11.7"} | facts) == said


def test_a_table_has_as_many_cells_in_every_row() -> None:
    """Markdown's first two lines, then the rows."""
    assert list(page.table(("a", "b"), [("1", "2")])) == ["| a | b |", "| --- | --- |", "| 1 | 2 |"]


def test_prose_is_broken_between_words_and_ends_with_a_blank_line() -> None:
    """No line is longer than the page is wide; nothing is lost."""
    text = "some-hyphened words and more " * 20
    *lines, last = page.prose(text)
    assert max(map(len, lines)) <= page.WIDTH
    assert " ".join(lines) == text.strip()
    assert last == ""


def test_a_page_is_printed_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same to both."""
    page.publish(["# a", "b"], tmp_path / "a.md")
    assert capsys.readouterr().out == (tmp_path / "a.md").read_text() == "# a\nb\n"
    page.publish(["c"], None)
    assert capsys.readouterr().out == "c\n"


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """With why."""
    with pytest.raises(RunError, match=r"--output .*missing/a.md: cannot be written: No such file"):
        page.publish(["a"], tmp_path / "missing" / "a.md")


def made(*arguments: str, held: bool = True, error: BenchError | None = None) -> tuple[int, list[float]]:
    """(exit code, what was measured) of a module that measures as many seconds as it is told."""
    parser, measured = argparse.ArgumentParser(), list[float]()
    parser.add_argument("--seconds", type=float, default=1.0)

    def make(options: argparse.Namespace, say: object) -> tuple[list[str], bool]:
        measured.append(options.seconds)
        if error is not None:
            raise error
        return ["# a"], held

    return page.main(parser, make, arguments), measured


def test_the_exit_code_tells_whether_all_was_held(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The page is there in either case; what cannot be measured is one line."""
    path = tmp_path / "a.md"
    assert made("--seconds", "2", "--output", str(path)) == (0, [2.0])
    assert path.read_text() == "# a\n"
    assert made(held=False) == (1, [1.0])
    assert capsys.readouterr().out == "# a\n" * 2
    assert made(error=RunError("no server")) == (3, [1.0])
    assert capsys.readouterr() == ("", "error: no server\n")


def test_a_page_that_has_no_place_is_refused_before_anything_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Measuring takes minutes."""
    for path, why in ((tmp_path / "no" / "a.md", "in a folder that is there; there is no"), (tmp_path, "this is a folder")):
        assert made("--output", str(path)) == (2, [])
        assert why in capsys.readouterr().err
