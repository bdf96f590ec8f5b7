"""What is sent, how fast and what is promised: the workload file and its loader."""

import hashlib
import json
import tomllib
from decimal import Decimal
from typing import Any

import msgspec

from bench import arrivals, slo, units
from bench.arrivals import Ramp, Rate, Steps
from bench.errors import UsageError
from bench.explain import explain
from bench.slo import Nanoseconds, Quantile, Share
from bench.tensors import NUMPY_TYPES
from bench.workload_checks import check_mix, check_part, payload_bytes
from bench.workload_types import Check, DataType, Generate, Input, Model, Part, Payload, Prefix, Size, Workload

__all__ = [
    "Check", "DataType", "Generate", "Input", "Model", "Part", "Payload", "Prefix", "Size", "Workload",
    "digest", "essence", "from_builtins", "override", "parse", "payload_bytes", "read_document", "to_builtins",
]  # fmt: skip

_NOT_OF_THE_ESSENCE = ("name", "description", "round")  # a round's number tells two runs of one workload apart
_NO_VALUE: tuple[object, ...] = (None, "", [], (), {})
LONGEST_NS = 30 * 24 * 3600 * 10**9


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
        check_part(part, f"{source}: mix[{n}]" if workload.mix else source)
    if workload.mix:
        check_mix(workload, document, source)
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


def essence(workload: Workload) -> dict[str, Any]:
    """What is sent, how, and how it is judged, as plain values: of two workloads that do the same, the same.

    No names, descriptions or keys without a value; of a file whose digest is known, not where it lies.
    """
    document = to_builtins(workload)
    document["mix"] = [{key: value for key, value in part.items() if key != "workload"} for part in document.get("mix", ())]
    kept: dict[str, Any] = _by_content({key: value for key, value in document.items() if key not in _NOT_OF_THE_ESSENCE})
    return kept


def digest(workload: Workload) -> str:
    """16 hex digits that name a workload's essence."""
    return hashlib.sha256(json.dumps(essence(workload), sort_keys=True).encode()).hexdigest()[:16]


def _by_content(value: Any) -> Any:
    if isinstance(value, dict):
        known = {"file"} if isinstance(value.get("file"), str) and value.get("sha256") else set()
        return {key: _by_content(inner) for key, inner in value.items() if inner not in _NO_VALUE and key not in known}
    return [_by_content(inner) for inner in value] if isinstance(value, list | tuple) else value


def override(workload: Workload, **changes: Any) -> Workload:
    """The same workload with the given fields replaced, None meaning "as it is"."""
    kept = {key: value for key, value in changes.items() if value is not None}
    return msgspec.structs.replace(workload, **kept)


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
