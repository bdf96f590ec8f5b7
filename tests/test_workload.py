"""Workload files."""

import copy
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import workload as workloads
from bench.arrivals import Closed, Constant, Poisson, Rate
from bench.errors import UsageError
from bench.slo import Nanoseconds, Quantile, Share, Slo
from bench.tensors import TensorSpec
from bench.workload import Check, DataType, Input, Model, Payload, Workload

SMALLEST: dict[str, Any] = {
    "name": "w",
    "model": {"name": "m"},
    "payload": {"inputs": {"x": {"datatype": "FP32", "shape": [2, 3]}}},
    "load": {"arrivals": "closed"},
}
FULL = """
description = "one of everything"
seed = 7
warmup = "1s"
duration = "1.5min"
timeout = "250ms"
requests = 700

[model]
name = "resnet50"
version = "2"
precision = "fp16"
preset = "tiny"

[payload]
distinct = 8
size = "602 kB"

[payload.inputs.input]
datatype = "FP32"
shape = [1, 3, 224, 224]
low = -2.0
high = 2.0

[load]
arrivals = "poisson"
rate = "90/min"
users = 3

[slo]
quantile = "P95"
latency = "50ms"
error_rate = "2%"

[check]
every = 5
tolerance = 1e-2
reference = false
"""

COUNTS = st.integers(1, 10**6)
DURATIONS = st.integers(1, 10**15).map(Nanoseconds)
RATES = st.fractions("1/1000", 10**6, max_denominator=10**4).map(lambda f: Rate(float(f)))
NAMES = st.text("abcdefgh_-0123456789", min_size=1, max_size=8)
INPUTS = st.builds(
    Input,
    datatype=st.sampled_from(["BOOL", "FP16", "FP32", "FP64", "INT32", "INT64"]).map(DataType),
    shape=st.lists(st.integers(1, 9), max_size=4).map(tuple),
    low=st.floats(-1e6, 0),
    high=st.floats(1e-3, 1e6),
)
WORKLOADS = st.builds(
    Workload,
    name=NAMES,
    model=st.builds(Model, NAMES, NAMES, NAMES, NAMES),
    payload=st.builds(Payload, inputs=st.dictionaries(NAMES, INPUTS, min_size=1, max_size=3), distinct=COUNTS, size=st.none()),
    load=st.one_of(
        st.builds(Closed, COUNTS),
        st.builds(Poisson, rate_hz=RATES, users=COUNTS),
        st.builds(Constant, rate_hz=RATES, users=COUNTS),
    ),
    seed=st.integers(0, 2**62),
    warmup_ns=DURATIONS,
    duration_ns=DURATIONS,
    requests=st.none() | COUNTS,
    timeout_ns=DURATIONS,
    slo=st.builds(
        Slo,
        latency_ns=st.none() | DURATIONS,
        quantile=st.integers(1, 9999).map(lambda n: Quantile(round(n / 10_000, 8))),
        error_rate=st.floats(0, 1).map(Share),
    ),
    check=st.builds(Check, every=COUNTS, tolerance=st.floats(0, 1), reference=st.booleans()),
)


def changed(path: str, value: object) -> dict[str, Any]:
    """The smallest document with the key at the dotted `path` set."""
    document = copy.deepcopy(SMALLEST)
    *tables, key = path.split(".")
    at = document
    for table in tables:
        at = at.setdefault(table, {})
    at[key] = value
    return document


def test_every_key_of_a_file_is_read() -> None:
    """A file that says everything differently from the defaults."""
    assert workloads.parse(FULL, "w.toml", "everything") == Workload(
        name="everything",
        model=Model("resnet50", "2", "fp16", "tiny"),
        payload=Payload({"input": Input(DataType("FP32"), (1, 3, 224, 224), -2.0, 2.0)}, 8, workloads.Size(602_000)),
        load=Poisson(rate_hz=Rate(1.5), users=3),
        description="one of everything",
        seed=7,
        warmup_ns=Nanoseconds(10**9),
        duration_ns=Nanoseconds(90 * 10**9),
        requests=700,
        timeout_ns=Nanoseconds(250_000_000),
        slo=Slo(Nanoseconds(50_000_000), Quantile(0.95), Share(0.02)),
        check=Check(5, 1e-2, False),
    )


def test_the_smallest_file_has_the_documented_defaults() -> None:
    """What workloads/resnet50.toml calls a default is one."""
    w = workloads.from_builtins(SMALLEST, "w.toml")
    assert (w.seed, w.warmup_ns, w.duration_ns, w.timeout_ns, w.requests) == (1, 2 * 10**9, 20 * 10**9, 10 * 10**9, None)
    assert (w.model.version, w.model.precision, w.model.preset, w.payload.distinct) == ("1", "fp32", "full", 32)
    assert (w.slo.quantile, w.slo.error_rate, w.slo.latency_ns) == (0.99, 0.01, None)
    assert (w.check.every, w.check.tolerance, w.check.reference) == (10, 1e-2, True)
    assert w.load == Closed(1)
    assert w.input_specs() == [TensorSpec("x", "FP32", (2, 3))]


@given(WORKLOADS)
def test_a_workload_is_written_so_that_it_reads_back_exactly(workload: Workload) -> None:
    """A stored run holds the very workload that it ran."""
    assert workloads.from_builtins(workloads.to_builtins(workload), "run.json") == workload


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (
            "seeds",
            1,
            "seeds: unknown key; known here: check, description, duration, load, model, name, payload, requests, seed,",
        ),
        ("model.nmae", "x", "model.nmae: unknown key; known here: name, precision, preset, version"),
        ("load.user", 4, "load.user: unknown key; known here: arrivals, rate, users"),
        ("slo.p99", "5ms", "slo.p99: unknown key; known here: error_rate, latency, quantile"),
        ("check.each", 4, "check.each: unknown key; known here: every, reference, tolerance"),
        ("payload.shape", [1], "payload.shape: unknown key; known here: distinct, inputs, size"),
        ("payload.inputs.x.dtype", "FP32", ".dtype: unknown key; known here: datatype, high, low, shape"),
    ],
)
def test_an_unknown_key_is_refused_with_those_that_exist(path: str, value: object, message: str) -> None:
    """The message names the file, the key, and the keys of its table."""
    with pytest.raises(UsageError, match=re.escape(message)) as refused:
        workloads.from_builtins(changed(path, value), "mine.toml")
    assert str(refused.value).startswith("mine.toml: ")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("duration", "20", "duration: expected a duration such as"),
        ("duration", 20, "duration: expected a duration such as"),
        ("requests", 0, "requests: Expected `int` >= 1"),
        ("model.name", 3, "model.name: Expected `str`, got `int`"),
        ("load.arrivals", "bursty", "load.arrivals: Invalid value 'bursty'; expected closed, constant or poisson"),
        ("load.users", 0, "load.users: Expected `int` >= 1"),
        ("load", {"arrivals": "poisson"}, "load.rate: missing, and needed"),
        ("load", {"arrivals": "poisson", "rate": "fast"}, "load.rate: expected a rate such as"),
        ("load", {"arrivals": "constant", "rate": "0/s"}, "load.rate: expected a rate such as"),
        ("slo.quantile", "99", "slo.quantile: expected a quantile such as"),
        ("slo.error_rate", "200%", "slo.error_rate: expected a share such as"),
        ("slo.latency", "fast", "slo.latency: expected a duration such as"),
        ("payload.size", "1 kB", "payload.size: expected what the inputs make, 24 bytes, got 1 kB"),
        ("payload.inputs.x.shape", [0], "shape[0]: Expected `int` >= 1"),
        ("payload.inputs.x.datatype", "F32", "datatype: expected one of BOOL, INT8"),
        ("payload.inputs.x.low", 1.0, "payload.inputs.x: expected low < high, got low = 1 and high = 1"),
        ("check.every", 0, "check.every: Expected `int` >= 1"),
    ],
)
def test_a_wrong_value_is_refused_with_what_was_expected(path: str, value: object, message: str) -> None:
    """The message names the file, the key, and what belongs there."""
    with pytest.raises(UsageError, match=re.escape(message)) as refused:
        workloads.from_builtins(changed(path, value), "mine.toml")
    assert str(refused.value).startswith("mine.toml: ")


@pytest.mark.parametrize("table", ["model", "payload", "load"])
def test_a_missing_table_is_named(table: str) -> None:
    """Nothing is guessed where a table is missing."""
    document = {key: value for key, value in SMALLEST.items() if key != table}
    with pytest.raises(UsageError, match=f"mine.toml: {table}: missing, and needed"):
        workloads.from_builtins(document, "mine.toml")


def test_a_file_that_is_no_toml_is_refused_with_its_line() -> None:
    """The reader's own message says where."""
    with pytest.raises(UsageError, match=r"mine\.toml: not valid TOML: .*line 2"):
        workloads.parse("seed = 1\nname = open\n", "mine.toml", "mine")


def test_the_bytes_of_a_request_are_those_of_its_tensors() -> None:
    """An image of 3 x 224 x 224 FP32 weighs 602,112 bytes, which "602 kB" is near enough to."""
    assert workloads.payload_bytes(workloads.parse(FULL, "w.toml", "w")) == 602_112
    two = {"a": {"datatype": "INT64", "shape": [1, 16]}, "b": {"datatype": "BOOL", "shape": [3]}}
    assert workloads.payload_bytes(workloads.from_builtins(changed("payload.inputs", two), "w.toml")) == 131


def test_flags_override_what_the_file_says() -> None:
    """None leaves a field as it is."""
    w = workloads.from_builtins(SMALLEST, "w.toml")
    changed_ = workloads.override(w, seed=9, duration_ns=None, load=Closed(8))
    assert (changed_.seed, changed_.duration_ns, changed_.load) == (9, w.duration_ns, Closed(8))
