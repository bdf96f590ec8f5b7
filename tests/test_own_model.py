"""docs/own-model.md, typed command by command: from a Triton that runs a user's model to reports."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench import servers, store, words
from bench.servers.base import OwnModel

pytestmark = pytest.mark.real

ROOT = Path(__file__).parents[1]
SHORT = ["--requests", "200", "--warmup", "100ms"]


def commands() -> list[str]:
    """The lines of the page's code blocks, in order."""
    text = (ROOT / "docs" / "own-model.md").read_text(encoding="utf-8")
    return [line for block in re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL) for line in block.splitlines()]


def test_the_way_from_a_running_triton_to_reports_is_as_the_manual_tells(
    bench: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A text, a free dimension and two outputs: nothing is edited but the free dimension; HTTP, gRPC and a managed Triton."""
    lines, typed = commands(), 0
    monkeypatch.chdir(tmp_path)
    with servers.start(words.parse("triton"), OwnModel("own", ROOT / "tests" / "models"), tmp_path / "log") as server:
        for line in lines:
            line = line.replace("triton-http://127.0.0.1:8000", server.words["http"])
            line = line.replace("triton-grpc://127.0.0.1:8001", server.words["grpc"])
            program, *rest = shlex.split(line.replace("tests/models", str(ROOT / "tests" / "models")))
            if program == "sed":
                type_sed(*rest)
            elif rest[0] == "workloads":
                type_workloads(bench, rest)
            elif rest[0] == "run":
                said = bench(*rest, *SHORT)
                assert said.code == 0, said
                assert said.out.splitlines()[2].startswith(" VALID ")
            else:
                continue  # `serve`, which is done here, and `demo`, which has tests of its own
            typed += 1
    assert typed == len(lines) - 2
    runs = [store.load_run(path) for path in sorted((tmp_path / "results").iterdir())]
    assert [run.target["asked"].partition(":")[0] for run in runs] == ["triton-http", "triton-grpc", "triton@24.07"]
    for run in runs:
        assert (run.records["check"] == 1).sum() >= 200 / 10, "replies were compared"
    assert not [path for path in (ROOT / "tests" / "models").rglob("*") if path.name == "__pycache__"]


def type_sed(flag: str, expression: str, file: str) -> None:
    """`sed -i s/A/B/ FILE`, line by line."""
    assert flag == "-i"
    _, pattern, replacement, _ = expression.split("/")
    before = Path(file).read_text()
    Path(file).write_text(re.sub(pattern, replacement, before, flags=re.MULTILINE))
    assert Path(file).read_text() != before


def type_workloads(bench: Callable[..., Any], rest: list[str]) -> None:
    """`bench workloads ...`, perhaps with its output into a file."""
    target = rest[rest.index(">") + 1] if ">" in rest else None
    said = bench(*rest[: rest.index(">")] if target else rest)
    assert said.code == 0, said
    if target:
        Path(target).write_text(said.out)
