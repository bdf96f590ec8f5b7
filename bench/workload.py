"""What is sent, how fast and what is promised: the workload file and its loader."""

import math
import tomllib
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec
import numpy as np

from bench import arrivals, lengths, slo, units
from bench.arrivals import Load, Ramp, Rate, Steps
from bench.errors import UsageError
from bench.explain import explain
from bench.lengths import Length
from bench.slo import Nanoseconds, Quantile, Share, Slo
from bench.tensors import NUMPY_TYPES, TensorSpec

Count = Annotated[int, msgspec.Meta(ge=1)]

LARGEST = 2**30  # bytes of one request
FINEST = 10_000  # a part of a mix has at least one in so many of its requests
LONGEST_NS = 30 * 24 * 3600 * 10**9


class Size(int):
    """Bytes; in files "602 kB"."""


class DataType(str):
    """A KServe data type, "FP32"."""


class Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table of a workload file: every key is known, nothing is guessed."""


class Model(Strict, frozen=True):
    """Which model the server is asked for, and in which precision it was built."""

    name: str
    version: str = "1"
    precision: str = "fp32"
    preset: str = "full"
    weights: str = ""  # seeded; else the folder or the hub's name of a Hugging Face checkpoint


class Input(Strict, frozen=True):
    """One input tensor of each request, filled with seeded uniform values in [low, high).

    A name in `shape` is a length of `payload.lengths`, drawn anew for each request. BYTES are texts of [low, high) characters.
    Instead of a range: `values` to draw from, or a `file` of requests (.npy, .npz by the input's name, .json).
    """

    datatype: DataType
    shape: tuple[Count | str, ...]
    low: float = 0.0
    high: float = 1.0
    values: tuple[bool | int | float | str, ...] = ()
    file: str = ""
    sha256: str = ""  # of the file, as it was when the workload was read

    def problem(self) -> str | None:
        """What is wrong with the values that are asked for, if anything is."""
        if self.file:
            return "file and values contradict each other: one of the two" if self.values else None
        if self.values:
            return self._problem_of_values()
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            return f"expected low < high, got low = {self.low:g} and high = {self.high:g}"
        if self.datatype == "BYTES":
            if self.low < 0 or self.high <= 1 or self.high > LARGEST:
                return (
                    "expected how many characters its texts have, in [low, high), such as low = 8 and high = 64, "
                    f"or values, or a file; got low = {self.low:g} and high = {self.high:g}"
                )
            return None
        least, most = _limits(self.datatype)
        if self.low < least or self.high > most + (np.dtype(NUMPY_TYPES[self.datatype]).kind in "iu"):
            return f"expected a range within {least} to {most}, got {self.low:g} to {self.high:g}"
        return None

    def _problem_of_values(self) -> str | None:
        for value in self.values:
            if isinstance(value, str) != (self.datatype == "BYTES"):
                expected = "texts, which is what BYTES are" if self.datatype == "BYTES" else "numbers"
                return f"values: expected {expected}, got {value!r}"
            if not isinstance(value, str) and not _holds(self.datatype, value):
                return f"values: {value!r} is no {self.datatype}"
        return None


class Prefix(Strict, frozen=True):
    """The first `tokens` of a prompt are the same in all requests of a group, as a system prompt is."""

    tokens: Count
    groups: Count = 1


class Generate(Strict, frozen=True):
    """A prompt goes in, tokens stream out. Prompts are random token ids below `vocabulary`, or words where `form` is "text"."""

    prompt_tokens: Length
    output_tokens: Length
    vocabulary: Annotated[int, msgspec.Meta(ge=2)] = 32_000
    prefix: Prefix | None = None
    ignore_eos: bool = True  # the output is as long as asked for, whatever the model says
    form: Literal["tokens", "text"] = "tokens"

    def problem(self) -> str | None:
        """What is wrong with the lengths, if anything is."""
        for key, length in (("prompt_tokens", self.prompt_tokens), ("output_tokens", self.output_tokens)):
            if problem := lengths.problem(length):
                return f"{key}: {problem}"
        if self.prefix is not None and self.prefix.tokens >= lengths.most(self.prompt_tokens):
            return f"prefix.tokens: expected less than the longest prompt, {lengths.most(self.prompt_tokens)} tokens"
        return None


class Payload(Strict, frozen=True):
    """A pool of distinct requests, made before the clock starts and sent in turn: tensors, or prompts to go on from."""

    inputs: dict[str, Input] = {}
    generate: Generate | None = None
    lengths: dict[str, Length] = {}
    distinct: Count = 32
    size: Size | None = None


class Check(Strict, frozen=True):
    """One reply in `every` is compared with the reference answers: |difference| <= tolerance x the largest |reference|."""

    every: Count = 10
    tolerance: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1e-2
    reference: bool = True


class Part(Strict, frozen=True):
    """One model of several that a workload asks in turn: of `weight` out of the sum of all weights of its requests."""

    name: str
    model: Model
    payload: Payload
    workload: str = ""  # the name or file of the workload that the others were taken over from
    weight: Annotated[float, msgspec.Meta(gt=0, le=1e9)] = 1.0
    slo: Slo = Slo()
    check: Check = Check()


class Workload(Strict, frozen=True):
    """A workload file; see workloads/resnet50.toml for one with every key explained.

    It asks one model, or it is a mix of `parts`; then `model`, `payload` and `check` are each part's, and `slo` is of all.
    """

    name: str
    load: Load
    model: Model = Model("")
    payload: Payload = Payload()
    description: str = ""
    seed: Annotated[int, msgspec.Meta(ge=0)] = 1
    warmup_ns: Nanoseconds = msgspec.field(name="warmup", default=Nanoseconds(2 * 10**9))
    duration_ns: Nanoseconds = msgspec.field(name="duration", default=Nanoseconds(20 * 10**9))
    requests: Count | None = None
    timeout_ns: Nanoseconds = msgspec.field(name="timeout", default=Nanoseconds(10 * 10**9))
    slo: Slo = Slo()
    check: Check = Check()
    mix: tuple[Part, ...] = ()

    @property
    def parts(self) -> tuple["Workload", ...]:
        """The workload of each model under the same load; of one that is no mix, itself."""
        return tuple(
            msgspec.structs.replace(self, name=p.name, model=p.model, payload=p.payload, slo=p.slo, check=p.check, mix=())
            for p in self.mix
        ) or (self,)

    @property
    def generates(self) -> bool:
        """Whether tokens are streamed: in all parts of a mix, or in none."""
        return all(part.payload.generate is not None for part in self.parts)

    def input_specs(self) -> list[TensorSpec]:
        """The inputs of each request; a dimension whose length is drawn, or told by a file, is -1."""
        fixed = {name: length for name, length in self.payload.lengths.items() if isinstance(length, int)}
        return [
            TensorSpec(name, i.datatype, tuple(fixed.get(n, -1) if isinstance(n, str) else n for n in i.shape))
            for name, i in self.payload.inputs.items()
        ]


def parse(text: str, source: str, name: str) -> Workload:
    """The workload in the TOML `text`; UsageError names `source`, the key and what was expected there."""
    return from_builtins({"name": name} | read_document(text, source), source)


def read_document(text: str, source: str) -> dict[str, Any]:
    """The tables in the TOML `text`; UsageError where it is none."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{source}: not valid TOML: {error}") from None


def from_builtins(document: dict[str, Any], source: str) -> Workload:
    """The workload in a decoded document; UsageError names `source`, the key and what was expected there."""
    try:
        workload = _convert(document)
    except msgspec.ValidationError as error:
        raise UsageError(f"{source}: {explain(str(error), document, Workload, _convert)}") from None
    workload = _timed(workload, document, source)
    for n, part in enumerate(workload.parts):
        _check_part(part, f"{source}: mix[{n}]" if workload.mix else source)
    if workload.mix:
        _check_mix(workload, document, source)
    for key, value in (("duration", workload.duration_ns), ("timeout", workload.timeout_ns), ("warmup", workload.warmup_ns)):
        if not (value > 0 or key == "warmup") or value > LONGEST_NS:
            expected = f"above 0 and at most {units.format_exact_duration(LONGEST_NS)}"
            raise UsageError(f"{source}: {key}: expected a duration {expected}, got {units.format_exact_duration(value)}")
    return workload


def _timed(workload: Workload, document: dict[str, Any], source: str) -> Workload:
    """The workload with the duration that its load has of itself; UsageError where it states another, or a count."""
    if not isinstance(workload.load, Steps | Ramp):
        return workload
    length = workload.load.duration_ns
    for key, contradicts in (("duration", workload.duration_ns != length), ("requests", workload.requests is not None)):
        if document.get(key) is not None and contradicts:
            parts = "steps" if isinstance(workload.load, Steps) else "stages"
            raise UsageError(
                f"{source}: {key}: contradicts load.{parts}, which last {units.format_exact_duration(length)}: leave it out"
            )
    return msgspec.structs.replace(workload, duration_ns=Nanoseconds(length))


def to_builtins(workload: Workload) -> dict[str, Any]:
    """The same workload as a document of plain values, as a file would hold it; `from_builtins` reads it back."""
    document = msgspec.to_builtins(workload, enc_hook=_encode)
    assert isinstance(document, dict)
    left_out = ("model", "payload", "check") if workload.mix else ("mix",)
    return {key: value for key, value in document.items() if value is not None and key not in left_out}


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


def override(workload: Workload, **changes: Any) -> Workload:
    """The same workload with the given fields replaced, None meaning "as it is"."""
    kept = {key: value for key, value in changes.items() if value is not None}
    return msgspec.structs.replace(workload, **kept)


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


def _check_mix(workload: Workload, document: dict[str, Any], source: str) -> None:
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


def _check_part(workload: Workload, source: str) -> None:
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
    if payload.generate and (problem := payload.generate.problem()):
        raise UsageError(f"{source}: payload.generate.{problem}")
    for name, length in payload.lengths.items():
        if problem := lengths.problem(length):
            raise UsageError(f"{source}: payload.lengths.{name}: {problem}")
    told = dict.fromkeys(n for i in payload.inputs.values() if i.file for n in i.shape if isinstance(n, str))
    if unused := payload.lengths.keys() - {n for i in payload.inputs.values() for n in i.shape}:
        raise UsageError(f"{source}: payload.lengths.{min(unused)}: no input has this name in its shape")
    for name, i in payload.inputs.items():
        if problem := i.problem():
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


_DECODERS: dict[type, Any] = {
    Nanoseconds: lambda x: Nanoseconds(units.duration_ns(x)),
    Size: lambda x: Size(units.size_bytes(x)),
    Share: lambda x: Share(units.share(x)),
    Rate: arrivals.parse_rate,
    Quantile: slo.parse_quantile,
    DataType: lambda x: _data_type(x),
}
_ENCODERS: dict[type, Any] = {
    Nanoseconds: units.format_exact_duration,
    Size: units.format_exact_size,
    Share: float,
    Rate: lambda x: f"{Decimal(repr(float(x))):f}/s",  # never an exponent, which nobody writes in a file
    Quantile: slo.quantile_name,
    DataType: str,
}


def _convert(document: object) -> Workload:
    return msgspec.convert(document, Workload, dec_hook=_decode)


def _decode(kind: type, value: object) -> object:
    return _DECODERS[kind](value)


def _encode(value: object) -> object:
    return _ENCODERS[type(value)](value)


def _data_type(text: object) -> DataType:
    if text not in NUMPY_TYPES:
        raise ValueError(f"expected one of {', '.join(NUMPY_TYPES)}, got {text!r}")
    return DataType(text)
