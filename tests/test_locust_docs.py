"""docs/locust.md, done as it says: its Locust file drives a real Triton, and its commands are typed."""

import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import servers, store, words
from bench.recipes.build import build
from bench.record import DIFFERENT, OK, SAME

pytestmark = pytest.mark.real

PAGE = (Path(__file__).parents[1] / "docs" / "locust.md").read_text(encoding="utf-8")
TINY = """\
warmup = "500ms"

[model]
name = "resnet50"
preset = "tiny"

[payload]
distinct = 4

[payload.inputs.input]
datatype = "FP32"
shape = [1, 3, 224, 224]

[load]
arrivals = "closed"
"""


def blocks(language: str) -> list[str]:
    """The page's code blocks in a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_the_locust_file_of_the_manual_is_recorded_as_bench_run_would(
    bench: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both of its classes, on a Triton with a smaller model of the same name: good answers, compared with the reference."""
    monkeypatch.chdir(tmp_path)
    Path("workloads").mkdir()
    Path("workloads", "resnet50.toml").write_text(TINY, encoding="utf-8")
    _, locust, report = blocks("sh")[0].splitlines()
    with servers.start(words.parse("triton"), build("resnet50", preset="tiny"), tmp_path / "log") as server:
        Path("mine.py").write_text("".join(blocks("python")[:2]).replace("triton-http://127.0.0.1:8000", server.words["http"]))
        typed = shlex.split(locust.replace("-t 30s", "-t 4s"))
        done = subprocess.run([sys.executable, "-m", *typed], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    (folder,) = Path("results").iterdir()
    run = store.load_run(folder)
    assert run.status == "complete"
    assert set(run.records["error"]) == {OK}
    assert np.count_nonzero(run.records["check"] == SAME) >= 4
    assert not np.count_nonzero(run.records["check"] == DIFFERENT)
    assert run.load["users"] == 4
    said = bench(*shlex.split(report)[1:-1], folder)
    assert "users of mine.py (Locust" in said.out.splitlines()[2]
