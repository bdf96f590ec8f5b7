"""A workload file to start from, written out of what a KServe v2 server says of a model."""

import json
import re
from collections.abc import Iterable

import numpy as np

from bench.tensors import NUMPY_TYPES, TensorSpec

CHANGE = "CHANGE ME"

_HEAD = """\
# What {target} says of its model {name}, as a workload.
# {todo}
description = {description}

seed = 1              # of payloads and schedules: the same seed sends the same bytes at the same times
warmup = "2s"         # sent and recorded, but not measured
duration = "20s"      # measured
timeout = "10s"       # {timeout}

[model]
name = {model}
version = {version}{version_note}

[payload]
distinct = 32         # distinct requests, made before the clock starts; leave it out to send all that a file holds
"""
_TAIL = """
[load]
arrivals = "closed"   # closed: `users` users, each sends when its last reply came
users = 4
# arrivals = "poisson"  # or "constant": sends are scheduled at `rate`, whatever the server does,
# rate = "20/s"         # and latency runs from the scheduled time
# users = 64            # connections that carry the schedule

# [slo]               # what is promised; `bench run` ends with exit code 1 where it is not kept
# latency = "100ms"   # P99 of the latency at most this ...
# error_rate = "1%"   # ... and at most 1 % of the requests fail

[check]               # `bench run --record-reference` asks every distinct request once, and keeps the answers
every = 10            # one reply in 10 is compared with its recorded answer ...
tolerance = 1e-2      # ... within 1 % of the answer's largest value; texts, INT32 and INT64 are equal
"""
_GENERATE_WORDS = """
[payload.generate]    # a prompt goes in, tokens stream out
form = "text"         # words; "tokens" sends random token ids below `vocabulary`, to a model that takes ids
"""
_GENERATE_IDS = """
[payload.generate]    # a prompt goes in, tokens stream out
form = "tokens"       # random token ids below `vocabulary`; "text" sends words, to a model that takes texts
vocabulary = 32000
"""
_GENERATE = """\
prompt_tokens = {distribution = "uniform", low = 16, high = 64}  # also a number, lognormal, values, or a column of a CSV
output_tokens = {distribution = "uniform", low = 16, high = 64}
ignore_eos = true     # the output is as long as asked for, whatever the model says
"""


def tensors(
    target: str,
    name: str,
    version: str,
    inputs: Iterable[TensorSpec],
    outputs: Iterable[TensorSpec],
    *,
    batched: bool,
    optional: Iterable[str] = (),
) -> str:
    """The file for a model that takes tensors; `batched` where the first dimension counts the items of a request.

    ValueError where there is nothing that bench could send. `optional` inputs are left out, as comments.
    """
    inputs = tuple(inputs)
    if not inputs:
        raise ValueError("it takes no input")
    for spec in inputs:
        if spec.datatype not in NUMPY_TYPES:
            raise ValueError(f"its input {spec} has a type that bench cannot send; it can send {', '.join(NUMPY_TYPES)}")
    shapes = _shapes(inputs, batched)
    required = [spec for spec in inputs if spec.name not in set(optional)] or list(inputs)
    lengths = sorted({n for spec in required for n in shapes[spec.name] if isinstance(n, str)})
    takes, gives = (", ".join(spec.name for spec in specs) for specs in (required, outputs))
    parts = [_head(target, name, version, f"{name}: {takes} -> {gives}", bool(lengths))]
    if lengths:
        parts.append(_lengths(lengths, {spec.name: shapes[spec.name] for spec in required}))
    parts += [_input(spec, shapes[spec.name]) for spec in required]
    for spec in inputs:
        if spec not in required:
            block = _input(spec, shapes[spec.name]).strip().splitlines()
            parts.append("\n" + "\n".join(f"# {line}" for line in ["optional, and left out:", *block]) + "\n")
    return "".join([*parts, _TAIL])


def generates(target: str, name: str, version: str, ids: bool = False) -> str:
    """The file for a model that streams tokens; `ids` where it takes token ids instead of words."""
    generate = _GENERATE_IDS if ids else _GENERATE_WORDS
    return _head(target, name, version, f"{name}: a prompt -> tokens", False) + generate + _GENERATE + _TAIL


def _head(target: str, name: str, version: str, description: str, lengths: bool) -> str:
    return _HEAD.format(
        target=target,
        name=json.dumps(name),
        todo=f"To do before it runs: fill in what is marked {CHANGE}." if lengths else "It runs as it is.",
        description=_text(description),
        timeout='a reply that takes longer is an error of kind "timeout"',
        model=_text(name),
        version=_text(version),
        version_note="" if version else "          # whichever the server takes; it names none",
    )


def _shapes(inputs: tuple[TensorSpec, ...], batched: bool) -> dict[str, list[int | str]]:
    """Each input's shape with a batch of one, and a name for each free dimension, the same at the same place."""
    free = sorted({axis for spec in inputs for axis, n in enumerate(spec.shape) if n < 0 and not (batched and axis == 0)})
    names = {axis: "length" if len(free) == 1 else f"length_{axis}" for axis in free}
    return {spec.name: [1 if n < 0 and batched and axis == 0 else names[axis] if n < 0 else n
                        for axis, n in enumerate(spec.shape)] for spec in inputs}  # fmt: skip


def _lengths(lengths: list[str], shapes: dict[str, list[int | str]]) -> str:
    lines = [
        "",
        "[payload.lengths]     # of the free dimensions: a number such as 128, or a distribution, drawn anew for each request:",
        '# {distribution = "uniform", low = 16, high = 128}',
        '# {distribution = "lognormal", median = 64, sigma = 0.8, high = 512}',
        '# {distribution = "csv", file = "traffic.csv", column = "length"}',
        "# Dimensions of one name are equally long within a request; give a dimension a name of its own where that is not so.",
    ]
    for name in lengths:
        users = ", ".join(_key(key) for key, shape in shapes.items() if name in shape)
        lines.append(f"{name} = 0  # {CHANGE}: how long {users} is")
    return "\n".join(lines) + "\n"


def _input(spec: TensorSpec, shape: list[int | str]) -> str:
    kind = np.dtype(NUMPY_TYPES[spec.datatype]).kind
    inside = ", ".join(_text(n) if isinstance(n, str) else str(n) for n in shape)
    files = ("" if kind == "O" else ".npy, ") + f".npz (an array called {json.dumps(spec.name)}) or .json"
    lines = [
        "",
        f"[payload.inputs.{_key(spec.name)}]",
        f'datatype = "{spec.datatype}"',
        f"shape = [{inside}]",
        *_filling(spec, kind),
        f'# file = "requests.npz"  # instead: {files}; the first dimension counts the requests',
    ]
    return "\n".join(lines) + "\n"


def _filling(spec: TensorSpec, kind: str) -> list[str]:
    """What the values are drawn from, by type, and by name where a name is telling."""
    name = spec.name.lower()
    if kind == "O":
        return ["low = 8               # texts of 8 to 63 letters",
                "high = 64", '# values = ["one text", "another"]  # instead: drawn from these']  # fmt: skip
    if kind == "b":
        return ["# true and false, as often"]
    if kind == "f":
        return ["low = 0.0             # uniform values in [low, high)", "high = 1.0"]
    if "mask" in name:
        return ["values = [1]          # a mask by its name: nothing is masked"]
    if "type" in name or "segment" in name:
        return ["values = [0]          # a kind of token by its name: one segment"]
    high = min(1000, np.iinfo(NUMPY_TYPES[spec.datatype]).max + 1)
    return ["low = 0               # whole numbers from low up to, but not including, high: ids below a vocabulary's size",
            f"high = {high}"]  # fmt: skip


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _text(name)


def _text(text: str) -> str:
    # a TOML string is escaped as JSON's is, but for DEL
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
