"""Real runs on this machine: what is named as under test is what their words chose, and nothing of the machine differs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench import store
from bench.analysis.alike import differences
from bench.record import Run
from bench.reports import under_test

pytestmark = pytest.mark.real

WORKLOAD = """
[model]
name = "resnet50"
preset = "tiny"
[payload]
distinct = 2
[payload.inputs.input]
datatype = "FP32"
shape = [1, 3, 224, 224]
[load]
arrivals = "closed"
users = 1
"""


def test_real_runs_differ_in_what_their_words_chose_and_in_nothing_else(bench: Callable[..., Any], tmp_path: Path) -> None:
    """Ports, tokens, times and what a machine does between two runs are no differences."""
    (tmp_path / "w.toml").write_text(WORKLOAD)

    def run(target: str) -> Run:
        out = tmp_path / "results" / target
        said = bench("run", tmp_path / "w.toml", "--target", target, "--requests", "20", "--warmup", "0s", "--output", out)
        assert said.code in (0, 4), said  # 4: on a machine that is busy
        (folder,) = store.find_runs(out)
        return store.load_run(folder)

    plain, other = run("triton"), run("triton?batching=off,protocol=grpc")
    found = differences([[plain], [other]])
    assert under_test.title(found) == "protocol http against grpc and batching dynamic against off"
    assert (found.not_alike, found.noted) == ((), ())
    assert plain.target["server"]["ready_s"] > 0
