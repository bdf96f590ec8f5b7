"""What is sent, how fast and what is promised: the workload file and its loader."""

import math
import tomllib
from decimal import Decimal
from typing import Annotated, Any

import msgspec
import numpy as np

from bench import arrivals, slo, units
from bench.arrivals import Load, Rate
from bench.errors import UsageError
from bench.slo import Nanoseconds, Quantile, Share, Slo
from bench.tensors import NUMPY_TYPES, TensorSpec

Count = Annotated[int, msgspec.Meta(ge=1)]

LARGEST = 2**30  # bytes of one request
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


class Input(Strict, frozen=True):
    """One input tensor of each request, filled with seeded uniform values in [low, high)."""

    datatype: DataType
    shape: tuple[Count, ...]
    low: float = 0.0
    high: float = 1.0

    def problem(self) -> str | None:
        """What is wrong with the range, if anything is."""
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            return f"expected low < high, got low = {self.low:g} and high = {self.high:g}"
        kind = NUMPY_TYPES[self.datatype]
        if issubclass(kind, np.integer):
            limits = np.iinfo(kind)
            if self.low < limits.min or self.high > float(limits.max) + 1:
                return f"expected a range within {limits.min} to {limits.max}, got {self.low:g} to {self.high:g}"
        return None


class Payload(Strict, frozen=True):
    """A pool of distinct requests, made before the clock starts and sent in turn."""

    inputs: dict[str, Input]
    distinct: Count = 32
    size: Size | None = None


class Check(Strict, frozen=True):
    """One reply in `every` is compared with the reference answers: |difference| <= tolerance x the largest |reference|."""

    every: Count = 10
    tolerance: Annotated[float, msgspec.Meta(ge=0)] = 1e-2
    reference: bool = True


class Workload(Strict, frozen=True):
    """A workload file; see workloads/resnet50.toml for one with every key explained."""

    name: str
    model: Model
    payload: Payload
    load: Load
    description: str = ""
    seed: Annotated[int, msgspec.Meta(ge=0)] = 1
    warmup_ns: Nanoseconds = msgspec.field(name="warmup", default=Nanoseconds(2 * 10**9))
    duration_ns: Nanoseconds = msgspec.field(name="duration", default=Nanoseconds(20 * 10**9))
    requests: Count | None = None
    timeout_ns: Nanoseconds = msgspec.field(name="timeout", default=Nanoseconds(10 * 10**9))
    slo: Slo = Slo()
    check: Check = Check()

    def input_specs(self) -> list[TensorSpec]:
        return [TensorSpec(name, i.datatype, i.shape) for name, i in self.payload.inputs.items()]


def parse(text: str, source: str, name: str) -> Workload:
    """The workload in the TOML `text`; UsageError names `source`, the key and what was expected there."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{source}: not valid TOML: {error}") from None
    return from_builtins({"name": name} | document, source)


def from_builtins(document: dict[str, Any], source: str) -> Workload:
    """The workload in a decoded document; UsageError names `source`, the key and what was expected there."""
    try:
        workload = msgspec.convert(document, Workload, dec_hook=_decode)
    except msgspec.ValidationError as error:
        raise UsageError(f"{source}: {_explain(str(error))}") from None
    for name, i in workload.payload.inputs.items():
        if problem := i.problem():
            raise UsageError(f"{source}: payload.inputs.{name}: {problem}")
    if not workload.payload.inputs:
        raise UsageError(f"{source}: payload.inputs: expected at least one input, such as [payload.inputs.input]")
    if (size := payload_bytes(workload)) > LARGEST:
        raise UsageError(
            f"{source}: payload.inputs: expected a request of at most {LARGEST:,} bytes, these shapes make {size:,}"
        )
    for key, value in (("duration", workload.duration_ns), ("timeout", workload.timeout_ns), ("warmup", workload.warmup_ns)):
        if not (value > 0 or key == "warmup") or value > LONGEST_NS:
            expected = f"above 0 and at most {units.format_exact_duration(LONGEST_NS)}"
            raise UsageError(f"{source}: {key}: expected a duration {expected}, got {units.format_exact_duration(value)}")
    _check_size(workload, source)
    return workload


def to_builtins(workload: Workload) -> dict[str, Any]:
    """The same workload as a document of plain values, as a file would hold it; `from_builtins` reads it back."""
    document = msgspec.to_builtins(workload, enc_hook=_encode)
    assert isinstance(document, dict)
    return {key: value for key, value in document.items() if value is not None}


def payload_bytes(workload: Workload) -> int:
    """Bytes of one request's tensors."""
    total = 0
    for spec in workload.input_specs():
        count = 1
        for n in spec.shape:
            count *= n
        total += count * NUMPY_TYPES[spec.datatype](0).itemsize
    return total


def override(workload: Workload, **changes: Any) -> Workload:
    """The same workload with the given fields replaced, None meaning "as it is"."""
    kept = {key: value for key, value in changes.items() if value is not None}
    return msgspec.structs.replace(workload, **kept)


def _check_size(workload: Workload, source: str) -> None:
    stated, actual = workload.payload.size, payload_bytes(workload)
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


def _decode(kind: type, value: object) -> object:
    return _DECODERS[kind](value)


def _encode(value: object) -> object:
    return _ENCODERS[type(value)](value)


def _data_type(text: object) -> DataType:
    if text not in NUMPY_TYPES:
        raise ValueError(f"expected one of {', '.join(NUMPY_TYPES)}, got {text!r}")
    return DataType(text)


def _explain(error: str) -> str:
    """msgspec's "MESSAGE - at `$.a.b`", led by the key and completed with the keys that exist."""
    message, _, path = error.partition(" - at `$")
    key = path.rstrip("`").lstrip(".").replace("[...]", ".*")
    if "missing required field" in message:
        return f"{key + '.' if key else ''}{message.split('`')[1]}: missing, and needed"
    if "unknown field" in message:
        known = ", ".join(sorted(_fields_at(key)))
        unknown = message.split("`")[1]
        return f"{key + '.' if key else ''}{unknown}: unknown key; known here: {known}"
    if key.endswith("arrivals"):
        message = f"{message}; expected closed, constant or poisson"
    return f"{key}: {message}" if key else message


def _fields_at(key: str) -> list[str]:
    tables: dict[str, list[type[msgspec.Struct]]] = {
        "": [Workload], "model": [Model], "payload": [Payload], "slo": [Slo], "check": [Check],
        "load": [arrivals.Closed, arrivals.Poisson],
    }  # fmt: skip
    structs = tables.get(key, [Input])
    names = {field.encode_name for struct in structs for field in msgspec.structs.fields(struct)}
    return [*names, "arrivals"] if key == "load" else [*names]
