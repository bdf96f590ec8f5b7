"""A record's nested values as flat text: a name for people, and what is there."""

from collections.abc import Iterator, Mapping
from typing import Any

Texts = dict[str, str]  # name for people -> value

UNKNOWN = "not known"


def table(holder: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """A table in a record; an empty one where there is none."""
    inner = holder.get(key)
    return inner if isinstance(inner, Mapping) else {}


def flat(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """(path, text) of every leaf of nested dicts and lists of dicts."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from flat(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list | tuple) and any(isinstance(inner, Mapping) for inner in value):
        for n, inner in enumerate(value):
            yield from flat(inner, f"{path}[{n}]")
    else:
        yield path, text(path, value)


def text(key: str, value: Any) -> str:
    """A value as it is compared and shown."""
    if value is None:
        return UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(text(key, inner) for inner in value)
    if isinstance(value, int | float) and key.endswith("_bytes"):  # a virtual machine's may differ by a page or two
        return f"{value / 2**30:.3g} GiB"
    return f"{value:g}" if isinstance(value, float) else str(value)
