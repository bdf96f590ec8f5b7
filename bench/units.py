"""Quantities as people write them ("250ms", "20/s", "602 kB", "1%"), read and written exactly."""

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import NoReturn

NS = {"ns": 1, "us": 1_000, "µs": 1_000, "ms": 1_000_000, "s": 10**9, "min": 60 * 10**9, "h": 3600 * 10**9}
BYTES = {"B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
PER = {"s": 1, "min": 60, "h": 3600}

_QUANTITY = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([^\d\s.]\S*)?\s*")


def duration_ns(text: object) -> int:
    """Nanoseconds of "250ms", "1.5 s", "2min"; ValueError names what was expected."""
    return round(_parse(text, NS, 'a duration such as "250ms", "2s" or "1.5min"'))


def size_bytes(text: object) -> int:
    """Bytes of "602 kB", "64 MiB"; ValueError names what was expected."""
    return round(_parse(text, BYTES, 'a size such as "602 kB" or "64 MiB"'))


def rate_hz(text: object) -> float:
    """Events a second of "20/s", "90/min"; ValueError names what was expected."""
    expected = 'a rate such as "20/s" or "90/min"'
    if not isinstance(text, str) or "/" not in text:
        _refuse(text, expected)
    count, _, unit = text.partition("/")
    if unit.strip() not in PER:
        _refuse(text, expected)
    rate = _parse(count, {"": 1}, expected, text) / PER[unit.strip()]
    if rate <= 0:
        _refuse(text, expected + " above 0")
    return float(rate)


def share(text: object) -> float:
    """A share of one, of "1%" or 0.01; ValueError names what was expected."""
    expected = 'a share such as "1%" or 0.01'
    if isinstance(text, (int, float)) and not isinstance(text, bool):
        value = Fraction(text)
    else:
        value = _parse(text, {"%": Fraction(1, 100), "": 1}, expected)
    if not 0 <= value <= 1:
        _refuse(text, expected + ", between 0 and 1")
    return float(value)


def format_exact_duration(ns: int) -> str:
    """The shortest text that `duration_ns` reads back as exactly `ns`."""
    for unit in ("h", "min", "s", "ms", "us"):
        if ns and ns % NS[unit] == 0:
            return f"{ns // NS[unit]}{unit}"
    return f"{ns}ns"


def format_exact_size(count: int) -> str:
    """The shortest text that `size_bytes` reads back as exactly `count`."""
    for unit in ("GB", "MB", "kB"):
        if count and count % BYTES[unit] == 0:
            return f"{count // BYTES[unit]} {unit}"
    return f"{count} B"


def _parse(text: object, units: Mapping[str, Fraction | int], expected: str, whole: object = None) -> Fraction:
    match = _QUANTITY.fullmatch(text) if isinstance(text, str) else None
    if match is None or (match[2] or "") not in units:
        _refuse(text if whole is None else whole, expected)
    return Fraction(match[1]) * units[match[2] or ""]


def _refuse(text: object, expected: str) -> NoReturn:
    raise ValueError(f"expected {expected}, got {text!r}")
