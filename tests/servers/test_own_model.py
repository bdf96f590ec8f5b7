"""A model of the user's in a real Triton: strings, a free dimension, two outputs, in a repository that bench did not make."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench import servers, words
from bench.errors import RunError
from bench.servers.base import OwnModel, Server

pytestmark = pytest.mark.real

MODELS = Path(__file__).parents[1] / "models"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """The model `own`, and beside it one that cannot be loaded."""
    folder = tmp_path / "theirs"
    shutil.copytree(MODELS, folder)
    (folder / "broken" / "1").mkdir(parents=True)
    (folder / "broken" / "config.pbtxt").write_text('name: "broken"\nbackend: "onnxruntime"\n')
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_model_of_the_users_answers_and_its_repository_stays_as_it_was(
    repository: Path, tmp_path: Path, ask: Callable[..., Any]
) -> None:
    """Another model there that cannot be loaded is no hindrance, and Python leaves no __pycache__ behind."""
    before = contents(repository)
    with servers.start(words.parse("triton"), OwnModel("own", repository), tmp_path / "log") as server:
        assert answer(server, ask, "größer", [1.0, 2.0, 3.0]) == ("GRößER", [8.0, 16.0, 24.0])
        assert answer(server, ask, "a", [0.5]) == ("A", [0.5])
        assert server.facts.options["repository"] == str(repository)
        server.kill()
    assert contents(repository) == before


def answer(server: Server, ask: Callable[..., Any], text: str, values: list[float]) -> tuple[str, list[float]]:
    """What the model makes of a text and some numbers."""
    inputs = [
        {"name": "text", "datatype": "BYTES", "shape": [1, 1], "data": [text]},
        {"name": "values", "datatype": "FP32", "shape": [1, len(values)], "data": values},
    ]
    reply = json.loads(ask(server, "POST", "/v2/models/own/infer", {"inputs": inputs}))
    outputs = {output["name"]: output["data"] for output in reply["outputs"]}
    return outputs["label"][0], outputs["scaled"]


def test_a_backend_that_the_server_has_not_is_shown_by_the_log_s_end(repository: Path, tmp_path: Path) -> None:
    """What bench installs has the Python backend only."""
    message = r"(?s)triton did not start: it .*; its log \(.*broken.*onnxruntime"
    with (
        pytest.raises(RunError, match=message),
        servers.start(words.parse("triton"), OwnModel("broken", repository), tmp_path / "log"),
    ):
        pass
