"""Who answers at the start of a run and at its end, in words that can be compared."""

from typing import Any

from bench.errors import BenchError
from bench.targets.base import Facts, Target

_TELLING = ("platform", "model", "served_model", "onnxruntime_version")  # of a server's details; others may change by the hour


def asked_again(target: Target, start: Facts) -> dict[str, Any]:
    """What the server said when the run began, and what it says now; why it says nothing, where it does not."""
    found: dict[str, Any] = {"server_at_start": _of(start)}
    try:
        return found | {"server_at_end": _of(getattr(target, "who", target.probe)())}
    except BenchError as error:
        return found | {"server_at_end_problem": str(error).splitlines()[0]}


def _of(facts: Facts) -> dict[str, str]:
    details = {key: str(facts.details[key]) for key in _TELLING if key in facts.details}
    return {"server": facts.name, "version": facts.version} | details
