"""Reading a checkpoint's config.json: sizes out of it, and refusing what a recipe cannot serve."""

from typing import Any

from bench.errors import UsageError


def size(config: dict[str, Any], key: str, default: int | None = None) -> int:
    """A whole number above 0; `default` where the key is missing or null, which without one is a UsageError."""
    value = default if config.get(key) is None else config[key]
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UsageError(f"the checkpoint's config.json: {key}: expected a whole number above 0, got {value!r}")
    return value


def number(config: dict[str, Any], key: str, default: float) -> float:
    """A number above 0; `default` where the key is missing."""
    value = config.get(key, default)
    if not isinstance(value, int | float) or isinstance(value, bool) or value <= 0:
        raise UsageError(f"the checkpoint's config.json: {key}: expected a number above 0, got {value!r}")
    return float(value)


def only(config: dict[str, Any], key: str, *served: object) -> None:
    """UsageError where the key has another value than those served; a missing key is as good as one of them."""
    if key in config and config[key] not in served:
        expected = " or ".join(repr(value) for value in served)
        raise UsageError(f"the checkpoint's config.json: {key}: only {expected} can be served, got {config[key]!r}")


def divides(key: str, part: int, whole_key: str, whole: int) -> None:
    """UsageError unless `whole` is a multiple of `part`."""
    if whole % part:
        raise UsageError(f"the checkpoint's config.json: {whole_key}: expected a multiple of {key}, {part}, got {whole}")
