"""Whether a workload can be made and measured: what its file says, held together."""

import math
from typing import Any

import numpy as np

from bench import lengths, units
from bench.errors import UsageError
from bench.tensors import NUMPY_TYPES
from bench.workload_types import Generate, Input, Payload, Workload

LARGEST = 2**30  # bytes of one request
FINEST = 10_000  # a part of a mix has at least one in so many of its requests


def check_mix(workload: Workload, document: dict[str, Any], source: str) -> None:
    """UsageError where the parts of a mix cannot be told apart, or not be measured together."""
    for key in ("model", "payload", "check"):
        if key in document:
            raise UsageError(f"{source}: {key}: each part of a mix has its own ([mix.{key}]), and there is none beside them")
    names = [part.name for part in workload.mix]
    if len(names) < 2:
        raise UsageError(f"{source}: mix: expected two parts or more; a workload of one model has no [[mix]]")
    total = math.fsum(part.weight for part in workload.mix)
    for n, part in enumerate(workload.mix):
        if names.index(part.name) < n:
            raise UsageError(f"{source}: mix[{n}].name: {part.name!r} is another part's: expected a name of its own for each")
        if not math.isfinite(part.weight) or part.weight < total / FINEST:
            raise UsageError(
                f"{source}: mix[{n}].weight: expected at least one in {FINEST:,} of all weights together ({total:g}), "
                f"got {part.weight:g}"
            )
    generating = [part.name for part in workload.mix if part.payload.generate is not None]
    if others := [name for name in names if name not in generating] if generating else []:
        raise UsageError(
            f"{source}: mix: {generating[0]} streams tokens ([payload.generate]) and {others[0]} does not: one run measures "
            "either tokens or whole replies, so that they need a run each"
        )
    if problem := workload.slo.problem(workload.generates):
        raise UsageError(f"{source}: slo.{problem}")


def check_part(workload: Workload, source: str) -> None:
    """UsageError where the payload of a workload of one model cannot be made, or is not what it or the SLO says."""
    payload = workload.payload
    for key, missing in (("model", not workload.model.name), ("payload", payload == Payload())):
        if missing:
            raise UsageError(f"{source}: {key}: missing, and needed")
    if bool(payload.inputs) == (payload.generate is not None):
        raise UsageError(
            f"{source}: payload: expected either inputs, such as [payload.inputs.input], or [payload.generate] "
            "for a model that streams tokens"
        )
    if payload.generate and (problem := _problem_of_prompts(payload.generate)):
        raise UsageError(f"{source}: payload.generate.{problem}")
    for name, length in payload.lengths.items():
        if problem := lengths.problem(length):
            raise UsageError(f"{source}: payload.lengths.{name}: {problem}")
    told = dict.fromkeys(n for i in payload.inputs.values() if i.file for n in i.shape if isinstance(n, str))
    if unused := payload.lengths.keys() - {n for i in payload.inputs.values() for n in i.shape}:
        raise UsageError(f"{source}: payload.lengths.{min(unused)}: no input has this name in its shape")
    for name, i in payload.inputs.items():
        if problem := _problem_of_input(i):
            raise UsageError(f"{source}: payload.inputs.{name}: {problem}")
        for dimension in i.shape:
            if isinstance(dimension, str) and not i.file and dimension not in payload.lengths | told:
                known = ", ".join(payload.lengths) or "none"
                raise UsageError(
                    f"{source}: payload.inputs.{name}.shape: {dimension!r} is no length of payload.lengths; there are: {known}"
                )
    if (size := payload_bytes(workload)) > LARGEST:
        raise UsageError(
            f"{source}: payload.inputs: expected a request of at most {LARGEST:,} bytes, these shapes make {size:,}"
        )
    _check_size(workload, source)
    if problem := workload.slo.problem(payload.generate is not None):
        raise UsageError(f"{source}: slo.{problem}")


def _check_size(workload: Workload, source: str) -> None:
    stated, actual = workload.payload.size, payload_bytes(workload)
    files = [i for i in workload.payload.inputs.values() if i.file]
    if any(i.datatype == "BYTES" or not all(isinstance(n, int) for n in i.shape) for i in files):
        return  # only a file can tell
    if stated is not None and abs(stated - actual) > 0.01 * actual:
        raise UsageError(
            f"{source}: payload.size: expected what the inputs make, {actual:,} bytes, got {units.format_exact_size(stated)}"
        )


def payload_bytes(workload: Workload) -> int:
    """Bytes of one request's tensors, the largest where lengths are drawn; texts as one byte a character, ids as 8 bytes.

    What only a file can tell, its texts and its free dimensions, counts as nothing and as 1.
    """
    if (generate := workload.payload.generate) is not None:
        return (8 if generate.form == "tokens" else 1) * lengths.most(generate.prompt_tokens)
    drawn = workload.payload.lengths
    total = 0
    for i in workload.payload.inputs.values():
        count = math.prod((lengths.most(drawn[n]) if n in drawn else 1) if isinstance(n, str) else n for n in i.shape)
        total += count * _item_bytes(i)
    return total


def _item_bytes(i: Input) -> int:
    if i.datatype != "BYTES":
        return np.dtype(NUMPY_TYPES[i.datatype]).itemsize
    if i.file:
        return 0
    return max(len(str(v).encode()) for v in i.values) if i.values else math.ceil(i.high) - 1


def _problem_of_input(i: Input) -> str | None:
    """What is wrong with the values that are asked for, if anything is."""
    if i.file:
        return "file and values contradict each other: one of the two" if i.values else None
    if i.values:
        return _problem_of_values(i)
    if not (math.isfinite(i.low) and math.isfinite(i.high) and i.low < i.high):
        return f"expected low < high, got low = {i.low:g} and high = {i.high:g}"
    if i.datatype == "BYTES":
        if i.low < 0 or i.high <= 1 or i.high > LARGEST:
            return (
                "expected how many characters its texts have, in [low, high), such as low = 8 and high = 64, "
                f"or values, or a file; got low = {i.low:g} and high = {i.high:g}"
            )
        return None
    least, most = _limits(i.datatype)
    if i.low < least or i.high > most + (np.dtype(NUMPY_TYPES[i.datatype]).kind in "iu"):
        return f"expected a range within {least} to {most}, got {i.low:g} to {i.high:g}"
    return None


def _problem_of_values(i: Input) -> str | None:
    for value in i.values:
        if isinstance(value, str) != (i.datatype == "BYTES"):
            expected = "texts, which is what BYTES are" if i.datatype == "BYTES" else "numbers"
            return f"values: expected {expected}, got {value!r}"
        if not isinstance(value, str) and not _holds(i.datatype, value):
            return f"values: {value!r} is no {i.datatype}"
    return None


def _problem_of_prompts(generate: Generate) -> str | None:
    """What is wrong with the lengths, if anything is."""
    for key, length in (("prompt_tokens", generate.prompt_tokens), ("output_tokens", generate.output_tokens)):
        if problem := lengths.problem(length):
            return f"{key}: {problem}"
    if generate.prefix is not None and generate.prefix.tokens >= lengths.most(generate.prompt_tokens):
        return f"prefix.tokens: expected less than the longest prompt, {lengths.most(generate.prompt_tokens)} tokens"
    return None


def _limits(datatype: str) -> tuple[float, float]:
    """The least and the largest number of a type; of BOOL, which has no range, any."""
    kind: np.dtype[Any] = np.dtype(NUMPY_TYPES[datatype])
    if kind.kind in "iu":
        whole = np.iinfo(kind)
        return int(whole.min), int(whole.max)
    if kind.kind == "f":
        return float(np.finfo(kind).min), float(np.finfo(kind).max)
    return -math.inf, math.inf


def _holds(datatype: str, value: bool | int | float) -> bool:
    kind = np.dtype(NUMPY_TYPES[datatype])
    if kind.kind == "b":
        return value in (0, 1)
    least, most = _limits(datatype)
    return least <= value <= most and (kind.kind == "f" or value == int(value))
