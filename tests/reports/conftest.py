"""Runs and sides that the reports are made of; every number in them is fixed."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bench.analysis.compare import SideComparison, compare_sides
from bench.record import Run
from bench.reports.comparison_page import Sides, side
from bench.testing import make_run, make_workload

HOSTILE = "<script>alert(1)</script> | `x` [a](http://evil.test) \x1b[31m & \"q\" 'a' $1$ \u4e16"

TRITON = {
    "word": "triton-http://127.0.0.1:8000",
    "asked": "triton@24.07",
    "name": "Triton 24.07",
    "server": {
        "kind": "triton",
        "version": "2.48.0",
        "source": "a wheel",
        "backend": "python, onnxruntime 1.32.0",
        "options": {"instances": 1, "threads": 2, "batching": "dynamic"},
    },
    "model": {"name": "made", "version": "1"},
}
FLASK = TRITON | {
    "word": "flask://127.0.0.1:5000",
    "asked": "flask",
    "name": "Flask",
    "server": {
        "kind": "flask",
        "version": "3.1.2",
        "source": "gunicorn 23.0.0",
        "backend": "onnxruntime 1.32.0",
        "options": {"workers": 1, "threads": 2},
    },
}
ENVIRONMENT = {"cpu": "a processor", "cores": 2, "packages": {"numpy": "2.4.0"}, "gpus": [], "governor": None}


def latencies(seed: int, count: int, mean_ms: float) -> np.ndarray:
    """Around `mean_ms`, the same on every numpy: raw bits, no distribution."""
    unit = np.random.PCG64(seed).random_raw(count) / 2.0**64
    return mean_ms * (0.8 + 0.4 * unit)


@pytest.fixture(scope="session")
def made_run() -> Callable[..., Run]:
    """Makes a run of a second or so on a machine without a GPU; arguments replace what `make_run` is given."""

    def make(seed: int = 1, count: int = 100, mean_ms: float = 20.0, gpu: bool = False, **fields: Any) -> Run:
        ticks = [100.0 * n for n in range(round(count * mean_ms / 100))]
        samples = {
            ("server", "cpu_utilization"): [(t, 60.0 + n % 3) for n, t in enumerate(ticks)],
            ("server", "memory_bytes"): [(t, 1.5e9) for t in ticks],
            ("load", "cpu_utilization"): [(t, 2.5) for t in ticks],
            ("host", "cpu_utilization"): [(t, 70.0) for t in ticks],
        }
        if gpu:
            samples |= {("gpu0", "utilization"): [(t, 40.0 + n % 2) for n, t in enumerate(ticks)]}
        given = {
            "samples": samples,
            "target": TRITON,
            "environment": ENVIRONMENT,
            "lag_ms": 0.05,
            "created": "2026-11-24T10:00:00Z",
        }
        return make_run(latencies(seed, count, mean_ms), **(given | fields))

    return make


@pytest.fixture(scope="session")
def made_sides(made_run: Callable[..., Run]) -> Callable[..., tuple[SideComparison, Sides]]:
    """Makes Flask against Triton, six rounds each; `base` and `new` are what else each round of theirs is made of."""

    def make(count: int = 100, rounds: int = 6, **both: Any) -> tuple[SideComparison, Sides]:
        base_fields, new_fields = {"name": "Flask"} | both.pop("base", {}), {"name": "Triton 24.07"} | both.pop("new", {})
        names = base_fields.pop("name"), new_fields.pop("name")
        base_fields, new_fields = {"target": FLASK} | both | base_fields, both | new_fields
        base = [made_run(n, count, 30.0, **({"id": f"flask-{n}"} | base_fields)) for n in range(rounds)]
        new = [made_run(50 + n, count, 10.0, **({"id": f"triton-{n}"} | new_fields)) for n in range(rounds)]
        return compare_sides(base, new), (side(names[0], base), side(names[1], new))

    return make


@pytest.fixture
def hostile_run(made_run: Callable[..., Run]) -> Run:
    """A run in which every text that comes from a user, a server or a machine tries to break out of its report."""
    target = {"word": HOSTILE, "asked": HOSTILE, "name": HOSTILE, "server": {"kind": HOSTILE, "options": {HOSTILE: HOSTILE}}}
    return made_run(
        id=HOSTILE,
        target=target | {"model": {"name": HOSTILE}},
        environment={HOSTILE: [HOSTILE, {"x": HOSTILE}]},
        workload=make_workload(name=HOSTILE),
        errors={3: "status"},
        load={"messages": {"status": HOSTILE}, HOSTILE: HOSTILE},
    )
