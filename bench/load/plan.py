"""A plan as plain values, as it goes from process to process."""

import json
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

from bench import words
from bench import workload as workloads
from bench.load import Crew, Files, Plan
from bench.load.share import Share


def to_json(plan: Plan) -> str:
    """A plan as one line."""
    return json.dumps(to_document(plan))


def from_json(line: str) -> Plan:
    """The plan in a line of `to_json`."""
    return from_document(json.loads(line))


def to_document(plan: Plan) -> dict[str, Any]:
    """A plan as a document of plain values."""
    return {
        "workload": workloads.to_builtins(plan.workload),
        "target": str(plan.target),
        "headers": [list(header) for header in plan.target.headers],
        "folder": str(plan.folder),
        "files": [{"onnx": str(of.onnx or ""), "reference": str(of.reference or "")} for of in plan.files],
        "ceilings": list(plan.ceilings),
        "crew": list(astuple(plan.crew)),
        "share": list(plan.share),
    }


def from_document(document: dict[str, Any]) -> Plan:
    """The plan in a document of `to_document`."""
    return Plan(
        workload=workloads.from_builtins(document["workload"], "the load's plan"),
        target=replace(words.parse(document["target"]), headers=tuple((name, value) for name, value in document["headers"])),
        folder=Path(document["folder"]),
        files=tuple(Files(**{key: Path(path) if path else None for key, path in of.items()}) for of in document["files"]),
        ceilings=tuple(document["ceilings"]),
        crew=Crew(*document["crew"]),
        share=Share(*document["share"]),
    )
