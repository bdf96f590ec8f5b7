"""The distinct requests of a workload: seeded tensors or prompts, the same bytes everywhere."""

import hashlib
import json
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bench import lengths, payload_files
from bench import workload as workloads
from bench.errors import UsageError
from bench.tensors import NUMPY_TYPES, Tensors
from bench.workload import Generate, Input, Workload

# common English words, which tokenizers know as one token each (with the space before them)
WORDS = (  # noqa: SIM905
    "the of and to in is that it was for on are as with his they at be this from have or by one had not but what all were "
    "when we there can an your which their said if do will each about how up out them then she many some so these would other"
).split()
_LETTERS = np.frombuffer(b"abcdefghijklmnopqrstuvwxyz     ", np.uint8)


@dataclass(frozen=True, slots=True)
class Prompt:
    """A request for tokens: the prompt, as token ids or as text, and how many tokens to answer with."""

    ids: np.ndarray  # int64 [n]; empty where the prompt is a text
    text: str  # "" where the prompt is ids
    tokens: int  # of the prompt; of a text, its words
    max_tokens: int
    ignore_eos: bool = True


Request = Tensors | Prompt


def make(workload: Workload) -> Sequence[Request]:
    """The `distinct` requests: {input name: array of the stated shape and type} each, or a `Prompt`.

    UsageError where a file that an input names is missing, damaged, or holds something else.
    """
    if workload.payload.generate is not None:
        return prompts(workload, workload.payload.generate)
    count, inputs = workload.payload.distinct, workload.payload.inputs
    files = {name: payload_files.read(name, i, count) for name, i in inputs.items() if i.file}
    lengths_of = _lengths(workload, files)
    columns = {name: files[name] if i.file else _column(workload, name, i, lengths_of) for name, i in inputs.items()}
    return [{name: column[n] for name, column in columns.items()} for n in range(count)]


def prompts(workload: Workload, generate: Generate) -> list[Prompt]:
    """The prompts of a workload that generates."""
    count, seed = workload.payload.distinct, workload.seed
    wanted = lengths.draw(generate.output_tokens, seed, "output_tokens", count)
    made = []
    for n, length in enumerate(prompt_lengths(workload)):
        ids = _tokens(generate, seed, f"prompt/{n}", length)
        if generate.prefix is not None:
            shared = min(generate.prefix.tokens, length)
            ids[:shared] = _tokens(generate, seed, f"prefix/{n % generate.prefix.groups}", generate.prefix.tokens)[:shared]
        if generate.form == "text":
            text = " ".join(WORDS[i % len(WORDS)] for i in ids.tolist())
            made.append(Prompt(np.empty(0, np.int64), text, length, wanted[n], generate.ignore_eos))
        else:
            made.append(Prompt(ids, "", length, wanted[n], generate.ignore_eos))
    return made


def prompt_lengths(workload: Workload) -> list[int]:
    """Tokens of each distinct prompt, in the order of `make`; of a mix, part after part."""
    drawn: list[int] = []
    for part in workload.parts:
        assert part.payload.generate is not None
        drawn += lengths.draw(part.payload.generate.prompt_tokens, workload.seed, "prompt_tokens", part.payload.distinct)
    return drawn


def items(workload: Workload) -> int:
    """Items (images, sequences) in one request: the first dimension of its first input."""
    first = next(iter(workload.payload.inputs.values()), None)
    dimension = first.shape[0] if first and first.shape else 1
    return dimension if isinstance(dimension, int) else 1


def digest(workload: Workload) -> str:
    """Names what `make` makes: 16 hex digits over the inputs, their count and the seed."""
    document = workloads.to_builtins(workload)["payload"]
    made_of = {key: document.get(key) for key in ("inputs", "generate", "lengths")}
    for i in (made_of["inputs"] or {}).values():
        if i.get("sha256"):  # the same file in another place is the same
            i.pop("file")
    made_of |= {"distinct": workload.payload.distinct, "seed": workload.seed}
    return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:16]


def _lengths(workload: Workload, files: Mapping[str, Sequence[np.ndarray]]) -> dict[str, list[int]]:
    """Length -> how long it is in each request: as in the files whose inputs have it, else drawn."""
    payload = workload.payload
    found: dict[str, tuple[str, list[int]]] = {}
    for name, arrays in files.items():
        for axis, dimension in enumerate(payload.inputs[name].shape):
            if not isinstance(dimension, str):
                continue
            here = [array.shape[axis] for array in arrays]
            other, there = found.setdefault(dimension, (name, here))
            if here != there:
                n = next(n for n, (a, b) in enumerate(zip(here, there, strict=True)) if a != b)
                raise UsageError(
                    f"payload.inputs.{name}: {payload.inputs[name].file}: in request {n}, {dimension!r} is {here[n]}, "
                    f"and {there[n]} in input {other}"
                )
    drawn = {name: lengths.draw(length, workload.seed, name, payload.distinct) for name, length in payload.lengths.items()}
    return drawn | {dimension: sizes for dimension, (_, sizes) in found.items()}


def _column(workload: Workload, name: str, i: Input, lengths_of: Mapping[str, list[int]]) -> Sequence[np.ndarray]:
    """One input of all requests, filled."""
    shapes = [tuple(lengths_of[d][n] if isinstance(d, str) else d for d in i.shape) for n in range(workload.payload.distinct)]
    return [_fill(i, shape, workload.seed, f"{name}/{n}") for n, shape in enumerate(shapes)]


def _units(seed: int, name: str, count: int) -> np.ndarray:
    # raw PCG64 bits and exact float steps: numpy does not promise its distributions across versions
    bits = np.random.PCG64([seed, zlib.crc32(name.encode())]).random_raw(count)
    return np.asarray((bits >> np.uint64(40)).astype(np.float64) * 2.0**-24)


def _tokens(generate: Generate, seed: int, name: str, count: int) -> np.ndarray:
    return np.asarray(np.floor(_units(seed, name, count) * generate.vocabulary), np.int64)


def _fill(i: Input, shape: tuple[int, ...], seed: int, name: str) -> np.ndarray:
    unit = _units(seed, name, math.prod(shape))
    kind = np.dtype(NUMPY_TYPES[i.datatype])
    if i.values:
        chosen = [i.values[int(u * len(i.values))] for u in unit.tolist()]
        return _objects([str(c).encode() for c in chosen], shape) if kind.kind == "O" else np.array(chosen, kind).reshape(shape)
    if kind.kind == "O":
        return _objects(_texts(i, unit, seed, name), shape)
    if kind.kind == "b":
        return (unit >= 0.5).reshape(shape)
    values = unit * (i.high - i.low) + i.low
    if kind.kind in "iu":
        return np.floor(values).astype(kind).reshape(shape)
    rounded = values.astype(kind)
    # rounding to the type may reach `high`, which is outside
    return np.minimum(rounded, np.nextafter(kind.type(i.high), kind.type(i.low))).reshape(shape)


def _texts(i: Input, unit: np.ndarray, seed: int, name: str) -> list[bytes]:
    """Texts of [low, high) characters."""
    counts = np.floor(unit * (i.high - i.low) + i.low).astype(np.int64)
    letters = _LETTERS[(_units(seed, f"{name}/text", int(counts.sum())) * len(_LETTERS)).astype(np.int64)].tobytes()
    ends = np.cumsum(counts).tolist()
    return [letters[end - n : end] for end, n in zip(ends, counts.tolist(), strict=True)]


def _objects(texts: list[bytes], shape: tuple[int, ...]) -> np.ndarray:
    made = np.empty(len(texts), np.object_)
    made[:] = texts
    return made.reshape(shape)
