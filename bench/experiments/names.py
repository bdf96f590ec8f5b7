"""What the sides of an experiment are called."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import words
from bench.errors import UsageError


def side_names(targets: Sequence[Mapping[str, Any]], labels: Sequence[str] = ()) -> list[str]:
    """Names that tell apart sides with these targets, as runs record them.

    Those of one name get the options in which they differ, then the protocol, or else their labels, without any numbers.
    Where sides differ in precision, every name says its own.
    """
    precisions = [_precision(target) for target in targets]
    apart = len(set(precisions)) > 1
    called = [_name(target) for target in targets]
    asked = [_options(target) for target in targets]
    made = []
    for n, name in enumerate(called):
        alike = [options for other, options in zip(called, asked, strict=True) if other == name]
        told = {key: value for key, value in asked[n].items() if len({of.get(key) for of in alike}) > 1}
        told |= {"precision": precisions[n]} if apart and precisions[n] else {}
        made.append(" ".join([name, *(f"{key}={value}" for key, value in sorted(told.items()))]))
    same = [made.count(name) > 1 for name in made]
    numbers = [str(made[: n + 1].count(name)) for n, name in enumerate(made)]
    return [f"{name} ({label})" if twice else name for name, label, twice in zip(made, labels or numbers, same, strict=True)]


def ends(paths: Sequence[Path]) -> list[str]:
    """The ends of paths, as long as it takes to tell them apart."""
    longest = max((len(path.parts) for path in paths), default=1)
    for parts in range(1, longest + 1):
        found = ["/".join(path.parts[-parts:]) for path in paths]
        if len(set(found)) == len(set(paths)):
            return found
    return [str(path) for path in paths]


def _name(target: Mapping[str, Any]) -> str:
    return next((str(target[key]) for key in ("name", "asked", "word") if target.get(key)), "target")


def _options(target: Mapping[str, Any]) -> dict[str, str]:
    try:
        return words.parse(str(target.get("asked", ""))).options
    except UsageError:  # of a run that another program recorded
        return {}


def _precision(target: Mapping[str, Any]) -> str:
    """Of the models that bench built for it, else the one that its word asks for."""
    parts = target.get("parts")
    holders = list(parts.values()) if isinstance(parts, Mapping) else [target]
    return ",".join(dict.fromkeys(_precisions(holders))) or _options(target).get("precision", "")


def _precisions(holders: Sequence[Any]) -> Iterator[str]:
    for holder in holders:
        model = holder.get("model") if isinstance(holder, Mapping) else None
        if isinstance(model, Mapping) and model.get("precision"):
            yield str(model["precision"])
