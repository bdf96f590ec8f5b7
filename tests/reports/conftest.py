"""Runs and sides that the reports are made of; every number in them is fixed."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from bench import mix
from bench.analysis.compare import Agreement, SideComparison, compare_sides
from bench.record import Run
from bench.reports.sides import Sides, side
from bench.slo import Nanoseconds, Quantile, Slo
from bench.testing import Stream, make_mix, make_run, make_stream_run, make_stream_workload, make_workload

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


STREAM_SLO = Slo(latency_ns=Nanoseconds(20 * 10**9), ttft_ns=Nanoseconds(2 * 10**9), itl_ns=Nanoseconds(600 * 10**6))


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


MIXED = {"images": (3.0, 8), "texts": (1.0, 4)}


@pytest.fixture(scope="session")
def made_mix_run(made_run: Callable[..., Run]) -> Callable[..., Run]:
    """Makes a run of a mix of images, of about 20 ms, and texts, of twice that, which are promised in half of it."""

    def make(
        seed: int = 1, count: int = 800, mean_ms: float = 20.0, parts: dict[str, tuple[float, int]] | None = None, **fields: Any
    ) -> Run:
        mixed = make_mix(parts or MIXED)
        slow = replace(mixed.mix[-1], slo=Slo(latency_ns=Nanoseconds(20 * 10**6), quantile=Quantile(0.9)))
        mixed = replace(mixed, mix=(*mixed.mix[:-1], slow))
        turns, last = mix.turns(mixed), mix.starts(mixed)[-2]
        taken = [ms * (2 if turns[n % len(turns)] >= last else 1) for n, ms in enumerate(latencies(seed, count, mean_ms))]
        model = {"name": "made", "precision": "fp32"}
        given = {
            "target": {key: value for key, value in TRITON.items() if key != "model"}
            | {"parts": {part.name: {"model": model | {"name": part.name}} for part in mixed.mix}},
            "load": {"batches": {part.name: {"1": 5, "2": 10 * n} for n, part in enumerate(mixed.mix)}},
            "environment": ENVIRONMENT,
            "created": "2026-11-24T10:00:00Z",
        }
        return make_run(taken, workload=mixed, **(given | fields))

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


def streams(seed: int, count: int, first_ms: float, gap_ms: float, users: int = 8) -> list[Stream]:
    """Streams of `users` users, one after the other each: 16 to 63 tokens, the first after `first_ms` or so."""
    found, free = [], [100.0 * n for n in range(users)]
    for n in range(count):
        unit = np.random.PCG64([seed, n]).random_raw(80) / 2.0**64
        user = int(np.argmin(free))
        gaps = gap_ms * (0.8 + 0.4 * unit[: 16 + int(48 * unit[79]) - 1])
        gaps[len(gaps) // 2] *= 3
        times = np.cumsum([first_ms * (0.5 + unit[78]), *gaps])
        found.append(Stream(free[user], times.tolist()))
        free[user] += float(times[-1])
    return found


@pytest.fixture(scope="session")
def made_stream_run() -> Callable[..., Run]:
    """Makes a run of streams on a machine without a GPU; arguments replace what `make_stream_run` is given."""

    def make(seed: int = 1, count: int = 60, first_ms: float = 900.0, gap_ms: float = 120.0, **fields: Any) -> Run:
        made = streams(seed, count, first_ms, gap_ms)
        last = max(s.sent_ms + s.times_ms[-1] for s in made)
        ticks = [500.0 * n for n in range(round(last / 500))]
        given = {
            "samples": {("server", "cpu_utilization"): [(t, 90.0 + n % 5) for n, t in enumerate(ticks)]},
            "target": TRITON
            | {"model": {"name": "qwen-1.5b", "precision": "int4", "preset": "full", "weights": "seeded", "context": 1024}},
            "environment": ENVIRONMENT,
            "workload": make_stream_workload(name="qwen-1.5b", slo=STREAM_SLO),
            "created": "2026-11-24T10:00:00Z",
            "load": {"batches": {"1": 12, "4": 3, "8": 40}},
        }
        return make_stream_run(made, **(given | fields))

    return make


MODES = (("Flask 3.1.3", 9000.0, 60.0), ("Triton 2.48.0 batching=off", 9200.0, 61.0),
         ("Triton 2.48.0 batching=dynamic", 5000.0, 110.0), ("Triton 2.48.0 batching=continuous", 800.0, 125.0))  # fmt: skip


@pytest.fixture(scope="session")
def made_modes(made_stream_run: Callable[..., Run]) -> Callable[..., tuple[SideComparison, Sides]]:
    """Makes four sides of streams, `rounds` rounds of `count` requests each."""

    def make(rounds: int = 3, count: int = 16, sides: int = 4) -> tuple[SideComparison, Sides]:
        made = []
        for which, (name, first_ms, gap_ms) in enumerate(MODES[:sides]):
            target = {"target": FLASK} if name.startswith("Flask") else {}
            seeds = range(10 * which, 10 * which + rounds)
            made.append((name, [made_stream_run(n, count, first_ms, gap_ms, id=f"{which}-{n}", **target) for n in seeds]))
        found = compare_sides(
            *(runs for _, runs in made), agreement=[Agreement(16, 16), Agreement(15, 16), Agreement(16, 16)][: sides - 1]
        )
        return found, tuple(side(name, runs) for name, runs in made)

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
