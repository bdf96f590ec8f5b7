"""The whole program, called as from a shell but in this process, and a workload that the scripted endpoint answers."""

import contextlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import settings

from bench import cli

# no timing is asserted, not even by hypothesis: machines are shared
settings.register_profile("bench", deadline=None)
settings.load_profile("bench")

FOUR_FLOATS = """\
description = "four floats, echoed"
warmup = "100ms"
duration = "2s"

[model]
name = "echo"

[payload]
distinct = 4

[payload.inputs.x]
datatype = "FP32"
shape = [1, 4]

[load]
arrivals = "closed"
users = 1

[slo]
quantile = "P90"
latency = "6ms"

[check]
every = 1
"""


TWO_SHAPES = """\
description = "two shapes, echoed, three to one"
warmup = "100ms"
duration = "4s"

[[mix]]
workload = "./four-floats.toml"
weight = 3
name = "small"

[[mix]]
name = "large"
[mix.model]
name = "large"
[mix.payload]
distinct = 3
[mix.payload.inputs.y]
datatype = "INT64"
shape = [2, 8]
high = 100
[mix.slo]
quantile = "P90"
latency = "4ms"

[load]
arrivals = "closed"
users = 1
"""


class Said(NamedTuple):
    """What a command left: its exit code, and what it wrote to stdout and stderr."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def bench() -> Callable[..., Said]:
    """Runs `bench WORDS...`."""

    def call(*words: str | Path) -> Said:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = cli.main([str(word) for word in words])
        return Said(code, out.getvalue(), err.getvalue())

    return call


@pytest.fixture(scope="session")
def four_floats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workload file for echo://: one user, 0.1 s of warm-up, 2 s measured, P90 promised in 6 ms, every reply compared."""
    path = tmp_path_factory.mktemp("workloads") / "four-floats.toml"
    path.write_text(FOUR_FLOATS)
    return path


@pytest.fixture(scope="session")
def two_shapes(four_floats: Path) -> Path:
    """A mix for echo://: three of four requests are those of four_floats, one is larger and promises a P90 of 4 ms."""
    path = four_floats.with_name("two-shapes.toml")
    path.write_text(TWO_SHAPES)
    return path
