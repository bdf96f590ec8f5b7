"""Workload files."""

import copy
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from bench import workload as workloads
from bench.arrivals import Closed, Constant, Poisson, Rate
from bench.errors import UsageError
from bench.lengths import Lognormal, Uniform, Values
from bench.slo import Nanoseconds, Quantile, Share, Slo
from bench.tensors import TensorSpec
from bench.testing import make_mix, make_workload
from bench.workload import Check, DataType, Generate, Input, Model, Part, Payload, Workload

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
LENGTHS = st.one_of(
    COUNTS.filter(lambda n: n < 100),
    st.builds(Uniform, low=st.integers(1, 9), high=st.integers(9, 99), multiple=st.integers(1, 9)),
    st.builds(Lognormal, median=st.floats(0.5, 99), sigma=st.floats(0, 3), low=st.integers(1, 9), high=st.integers(9, 99)),
    st.builds(Values, values=st.lists(st.integers(1, 99), min_size=1, max_size=5).map(tuple)),
)
INPUTS = st.one_of(
    st.builds(
        Input,
        datatype=st.sampled_from(["BOOL", "FP16", "FP32", "FP64", "INT32", "INT64"]).map(DataType),
        shape=st.lists(st.integers(1, 9) | st.just("length"), max_size=4).map(tuple),
        low=st.floats(-6e4, 0),
        high=st.floats(1e-3, 6e4),
    ),
    st.builds(Input, datatype=st.just(DataType("BYTES")), shape=st.just((1, "length")), low=st.just(1.0), high=st.just(9.0)),
    st.builds(
        Input, datatype=st.just(DataType("BYTES")), shape=st.just((2,)), values=st.lists(st.text(), min_size=1).map(tuple)
    ),
    st.builds(Input, datatype=st.just(DataType("INT64")), shape=st.just((3,)), file=st.just("/x.npz"), sha256=NAMES),
)
PAYLOADS = st.one_of(
    st.builds(
        Payload,
        inputs=st.dictionaries(NAMES, INPUTS, max_size=3).map(lambda made: {"x": Input(DataType("FP32"), ("length",)), **made}),
        lengths=LENGTHS.map(lambda length: {"length": length}),
        distinct=COUNTS,
        size=st.none(),
    ),
    st.builds(
        Payload,
        generate=st.builds(
            Generate,
            prompt_tokens=LENGTHS,
            output_tokens=LENGTHS,
            vocabulary=st.integers(2, 200_000),
            ignore_eos=st.booleans(),
            form=st.sampled_from(["tokens", "text"]),
        ),
        distinct=COUNTS,
    ),
)
SLOS = st.builds(
    Slo,
    latency_ns=st.none() | DURATIONS,
    quantile=st.integers(1, 9999).map(lambda n: Quantile(round(n / 10_000, 8))),
    error_rate=st.floats(0, 1).map(Share),
)
CHECKS = st.builds(Check, every=COUNTS, tolerance=st.floats(0, 1), reference=st.booleans())
MODELS = st.builds(Model, NAMES, NAMES, NAMES, NAMES)
PARTS = st.builds(
    Part,
    name=NAMES,
    model=MODELS,
    payload=PAYLOADS,
    workload=NAMES,
    weight=st.floats(0.1, 100),
    slo=SLOS,
    check=CHECKS,
)
MIXES = st.lists(PARTS, min_size=2, max_size=3, unique_by=lambda part: part.name).filter(
    lambda parts: len({part.payload.generate is None for part in parts}) == 1
)
WORKLOADS = st.builds(
    Workload,
    name=NAMES,
    model=MODELS,
    payload=PAYLOADS,
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
    slo=SLOS,
    check=CHECKS,
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
        payload=Payload(
            inputs={"input": Input(DataType("FP32"), (1, 3, 224, 224), -2.0, 2.0)}, distinct=8, size=workloads.Size(602_000)
        ),
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


@given(WORKLOADS, MIXES)
@settings(max_examples=25)
def test_a_mix_is_written_so_that_it_reads_back_exactly(workload: Workload, mix: list[Part]) -> None:
    """Whole: what its parts were taken over from is not looked for again."""
    mixed = replace(workload, mix=tuple(mix), model=Model(""), payload=Payload(), check=Check())
    document = workloads.to_builtins(mixed)
    assert document.keys().isdisjoint(("model", "payload", "check"))
    assert workloads.from_builtins(document, "run.json") == mixed
    assert [(part.name, part.model, part.payload, part.slo, part.mix) for part in mixed.parts] == [
        (part.name, part.model, part.payload, part.slo, ()) for part in mix
    ]
    assert mixed.generates == (mix[0].payload.generate is not None)


TENSORS = {"inputs": {"x": {"datatype": "FP32", "shape": [2, 3]}}}
PROMPTS = {"generate": {"prompt_tokens": 4, "output_tokens": 4}}


def two_parts(first: dict[str, Any], **top: Any) -> dict[str, Any]:
    """A mix of a and b, with what is changed of a, and of the document."""
    parts = [{"name": name, "model": {"name": "m"}, "payload": TENSORS} for name in ("a", "b")]
    mixed = [{key: value for key, value in (parts[0] | first).items() if value is not None}, parts[1]]
    return {"name": "w", "mix": mixed, "load": {"arrivals": "closed"}} | top


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (two_parts({}, model={"name": "m"}), "model: each part of a mix has its own ([mix.model]), and there is none beside"),
        (two_parts({}, payload=TENSORS), "payload: each part of a mix has its own ([mix.payload]), and there is none beside"),
        (two_parts({}, check={}), "check: each part of a mix has its own ([mix.check]), and there is none beside"),
        (two_parts({}, mix=[{"name": "a", "model": {"name": "m"}, "payload": TENSORS}]), "mix: expected two parts or more"),
        (two_parts({}, mix={"name": "a"}), "mix: Expected a list, got a table"),
        (two_parts({}, mix=["a", "b"]), "mix[0]: Expected a table, got `str`"),
        (two_parts({"name": "b"}), "mix[1].name: 'b' is another part's: expected a name of its own for each"),
        (two_parts({"name": None}), "mix[0].name: missing, and needed"),
        (two_parts({"model": None}), "mix[0].model: missing, and needed"),
        (two_parts({"payload": None}), "mix[0].payload: missing, and needed"),
        (two_parts({"workload": 3}), "mix[0].workload: Expected `str`, got `int`"),
        (
            two_parts({"weights": 3}),
            "mix[0].weights: unknown key; known here: check, model, name, payload, slo, weight, workload",
        ),
        (two_parts({"load": {}}), "mix[0].load: unknown key; known here: check, model, name, payload, slo, weight, workload"),
        (two_parts({"mix": []}), "mix[0].mix: unknown key"),
        (two_parts({"weight": 0}), "mix[0].weight: Expected `float` > 0"),
        (two_parts({"weight": "3"}), "mix[0].weight: Expected `float`, got `str`"),
        (
            two_parts({"weight": 1e-5}),
            "mix[0].weight: expected at least one in 10,000 of all weights together (1.00001), got 1e",
        ),
        (two_parts({"weight": float("inf")}), "mix[0].weight: Expected `float` <= 1000000000.0"),
        (two_parts({"weight": 1e308}), "mix[0].weight: Expected `float` <= 1000000000.0"),
        (two_parts({"weight": float("nan")}), "mix[0].weight: "),
        (two_parts({"payload": PROMPTS}), "mix: a streams tokens ([payload.generate]) and b does not: one run measures either"),
        (two_parts({"slo": {"ttft": "1s"}}), "mix[0]: slo.ttft: only a workload that generates ([payload.generate]) has one"),
        (two_parts({}, slo={"ttft": "1s"}), "slo.ttft: only a workload that generates ([payload.generate]) has one"),
        (two_parts({"payload": TENSORS | {"size": "1 kB"}}), "mix[0]: payload.size: expected what the inputs make, 24 bytes"),
        (
            two_parts({"payload": {"inputs": {"x": {"datatype": "FP32", "shape": [0]}}}}),
            "mix[0].payload.inputs.x.shape[0]: Exp",
        ),
    ],
)
def test_a_mix_that_makes_no_sense_is_refused_by_its_part_and_key(document: dict[str, Any], message: str) -> None:
    """Parts are counted from 0, as the loader's own messages do."""
    with pytest.raises(UsageError, match=re.escape(f"mine.toml: {message}")):
        workloads.from_builtins(document, "mine.toml")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (
            "seeds",
            1,
            "seeds: unknown key; known here: check, description, duration, load, mix, model, name, payload, requests, round, ",
        ),
        ("model.nmae", "x", "model.nmae: unknown key; known here: name, precision, preset, version, weights"),
        ("load.user", 4, "load.user: unknown key; known here: arrivals, users"),
        (
            "load",
            {"arrivals": "poisson", "rate": "1/s", "user": 4},
            "load.user: unknown key; known here: arrivals, rate, users",
        ),
        ("slo.p99", "5ms", "slo.p99: unknown key; known here: error_rate, itl, latency, quantile, tpot, ttft"),
        ("check.each", 4, "check.each: unknown key; known here: every, reference, tolerance"),
        ("payload.shape", [1], "payload.shape: unknown key; known here: distinct, generate, inputs, lengths, size"),
        (
            "payload.inputs.x.dtype",
            "FP32",
            "payload.inputs.x.dtype: unknown key; known here: datatype, file, high, low, sha256, shape, values",
        ),
        (
            "payload.lengths.n",
            {"distribution": "uniform", "low": 1, "high": 2, "hgh": 3},
            "payload.lengths.n.hgh: unknown key; known here: distribution, high, low, multiple",
        ),
        (
            "payload",
            {"generate": {"prompt_tokens": 4, "output_tokens": 4, "tokens": 4}},
            "payload.generate.tokens: unknown key; known here: form, ignore_eos, output_tokens, prefix, prompt_tokens, voc",
        ),
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
        (
            "load.arrivals",
            "bursty",
            "expected closed, steps, constant, poisson, gamma, ramp or trace",
        ),
        ("load.users", 0, "load.users: Expected `int` >= 1"),
        ("load", {"arrivals": "poisson"}, "load.rate: missing, and needed"),
        ("load", {"arrivals": "poisson", "rate": "fast"}, "load.rate: expected a rate such as"),
        ("load", {"arrivals": "constant", "rate": "0/s"}, "load.rate: expected a rate such as"),
        ("slo.quantile", "99", "slo.quantile: expected a quantile such as"),
        ("slo.error_rate", "200%", "slo.error_rate: expected a share such as"),
        ("slo.latency", "fast", "slo.latency: expected a duration such as"),
        ("slo.ttft", "1s", "slo.ttft: only a workload that generates ([payload.generate]) has one"),
        ("payload.size", "1 kB", "payload.size: expected what the inputs make, 24 bytes, got 1 kB"),
        ("payload.inputs.x.shape", [0], "payload.inputs.x.shape[0]: Expected `int` >= 1"),
        ("payload.inputs.x.shape", [2, "n"], "payload.inputs.x.shape: 'n' is no length of payload.lengths; there are: none"),
        ("payload.inputs.x", 3, "payload.inputs.x: Expected a table, got `int`"),
        ("payload.inputs.x.values", [1, "a"], "payload.inputs.x: values: expected numbers, got 'a'"),
        ("payload.inputs.y", {"datatype": "INT8", "shape": [1], "values": [128]}, "payload.inputs.y: values: 128 is no INT8"),
        ("payload.inputs.y", {"datatype": "INT8", "shape": [1], "values": [1.5]}, "payload.inputs.y: values: 1.5 is no INT8"),
        (
            "payload.inputs.y",
            {"datatype": "BYTES", "shape": [1], "values": [1]},
            "y: values: expected texts, which is what BYTES",
        ),
        (
            "payload.inputs.y",
            {"datatype": "BYTES", "shape": [1]},
            "y: expected how many characters its texts have, in [low, high)",
        ),
        (
            "payload.inputs.y",
            {"datatype": "INT8", "shape": [1], "high": 129},
            "expected a range within -128 to 127, got 0 to 129",
        ),
        ("payload.inputs.y", {"datatype": "FP16", "shape": [1], "high": 1e5}, "expected a range within -65504.0 to 65504.0"),
        ("payload.lengths.n", 3, "payload.lengths.n: no input has this name in its shape"),
        ("payload.lengths.n", 0, "payload.lengths.n: 0 keeps the place of a length that only you can choose: a number above 0"),
        ("payload.lengths.n", "long", "payload.lengths.n: expected a number above 0 such as 128, or a distribution such as {"),
        ("payload.lengths.n", {"distribution": "bursty"}, "Invalid value 'bursty'; expected uniform, lognormal, values or csv"),
        ("payload.lengths.n", {"low": 1}, "payload.lengths.n.distribution: missing, and needed; expected uniform, lognormal,"),
        ("payload.lengths.n", {"distribution": "uniform", "low": 1}, "payload.lengths.n.high: missing, and needed"),
        (
            "payload.lengths.n",
            {"distribution": "uniform", "low": 9, "high": 3},
            "n: expected low <= high, got low = 9 and high = 3",
        ),
        ("payload.lengths.n", {"distribution": "values", "values": [3, 0]}, "payload.lengths.n.values[1]: Expected `int` >= 1"),
        (
            "payload.generate",
            {"prompt_tokens": 4, "output_tokens": 4},
            "payload: expected either inputs, such as [payload.inputs",
        ),
        ("payload", {"distinct": 4}, "payload: expected either inputs, such as [payload.inputs.input], or [payload.generate]"),
        ("payload", {"generate": {"prompt_tokens": 4}}, "payload.generate.output_tokens: missing, and needed"),
        (
            "payload",
            {"generate": {"prompt_tokens": 0, "output_tokens": 4}},
            "payload.generate.prompt_tokens: 0 keeps the place of",
        ),
        (
            "payload",
            {"generate": {"prompt_tokens": 4, "output_tokens": 4, "form": "words"}},
            "payload.generate.form: Invalid enum value 'words'; expected text or tokens",
        ),
        (
            "payload",
            {"generate": {"prompt_tokens": 4, "output_tokens": 4, "prefix": {"tokens": 4}}},
            "payload.generate.prefix.tokens: expected less than the longest prompt, 4 tokens",
        ),
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


@pytest.mark.parametrize(
    ("inputs", "size"),
    [
        ({"a": {"datatype": "FP16", "shape": ["n", 3]}}, 2 * 9 * 3),
        ({"a": {"datatype": "BYTES", "shape": ["n"], "low": 1, "high": 6}}, 9 * 5),
        ({"a": {"datatype": "BYTES", "shape": ["n"], "values": ["a", "ää"]}}, 9 * 4),
    ],
)
def test_the_bytes_of_a_request_are_those_of_its_largest(inputs: dict[str, Any], size: int) -> None:
    """Lengths drawn from 2 to 9, texts of 1 to 5 characters or of 1 and 4 bytes."""
    document = changed("payload", {"inputs": inputs, "lengths": {"n": {"distribution": "uniform", "low": 2, "high": 9}}})
    assert workloads.payload_bytes(workloads.from_builtins(document, "w.toml")) == size


def test_a_request_that_no_machine_holds_is_refused() -> None:
    """A slip in a shape or a length is told before anything is made."""
    with pytest.raises(UsageError, match="expected a request of at most 1,073,741,824 bytes, these shapes make 1,073,741,828"):
        workloads.from_builtins(changed("payload.inputs.x.shape", [2**28 + 1]), "w.toml")
    with pytest.raises(UsageError, match="at most 1,073,741,824 bytes"):
        workloads.from_builtins(changed("payload", {"generate": {"prompt_tokens": 2**40, "output_tokens": 1}}), "w.toml")


def test_a_dimension_whose_length_is_drawn_is_free_and_one_of_a_fixed_length_is_not() -> None:
    """What a model takes is compared with what will be sent."""
    payload = {
        "inputs": {"a": {"datatype": "FP32", "shape": [1, "n", "m"]}},
        "lengths": {"n": 7, "m": {"distribution": "uniform", "low": 1, "high": 2}},
    }
    w = workloads.from_builtins(changed("payload", payload), "w.toml")
    assert w.input_specs() == [TensorSpec("a", "FP32", (1, 7, -1))]


def test_the_input_that_is_wrong_is_named_among_several() -> None:
    """The library that reads the file does not say which; the first that is refused is meant."""
    right, wrong = {"datatype": "FP32", "shape": [1]}, {"datatype": "FP32", "shape": 1}
    document = changed("payload.inputs", {"a": right, "y.z": wrong, "z": wrong})
    with pytest.raises(UsageError, match=re.escape("mine.toml: payload.inputs.y.z.shape: Expected a list, got `int`")):
        workloads.from_builtins(document | {"load": {"arrivals": "bursty"}}, "mine.toml")


def test_flags_override_what_the_file_says() -> None:
    """None leaves a field as it is."""
    w = workloads.from_builtins(SMALLEST, "w.toml")
    changed_ = workloads.override(w, seed=9, duration_ns=None, load=Closed(8))
    assert (changed_.seed, changed_.duration_ns, changed_.load) == (9, w.duration_ns, Closed(8))


# ---------------------------------------------------------------- digest


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 2},
        {"load": Closed(2)},
        {"timeout_ns": Nanoseconds(1)},
        {"slo": Slo(latency_ns=Nanoseconds(1))},
        {"check": Check(every=2)},
        {"model": Model("other")},
    ],
)
def test_a_workload_that_sends_or_judges_otherwise_has_another_digest(change: dict[str, Any]) -> None:
    """Of two runs it says whether they may be compared."""
    base = make_workload()
    assert workloads.digest(replace(base, **change)) != workloads.digest(base)


def test_names_and_where_a_file_lies_are_not_in_a_workload_s_digest() -> None:
    """16 hex digits of what is sent, how, and how it is judged: another checkout's are the same."""
    base = make_workload(name="a", payload=Payload({"x": Input(DataType("FP32"), (1,), file="/a/x.npy", sha256="0f")}))
    other = make_workload(
        name="b", description="b", payload=Payload({"x": Input(DataType("FP32"), (1,), file="/b/x.npy", sha256="0f")})
    )
    assert workloads.digest(other) == workloads.digest(base)
    assert len(bytes.fromhex(workloads.digest(base))) == 8
    unread = make_workload(payload=Payload({"file": Input(DataType("FP32"), (1,), file="/a/x.npy")}))
    assert workloads.essence(unread)["payload"]["inputs"]["file"]["file"] == "/a/x.npy"


def test_a_mix_has_its_parts_in_its_digest_but_not_the_files_that_they_came_from() -> None:
    """A part's weight is how it is sent."""
    base = make_mix({"a": (1, 4), "b": (1, 4)})
    heavier = make_mix({"a": (2, 4), "b": (1, 4)})
    moved = replace(base, mix=tuple(replace(p, workload="./x.toml") for p in base.mix))
    assert workloads.digest(base) == workloads.digest(moved) != workloads.digest(heavier)
