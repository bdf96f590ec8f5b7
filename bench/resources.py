"""What comes with bench or lies beside the user: workload files, model sources, the cache."""

import os
from pathlib import Path
from typing import Any

from bench import named_files
from bench import workload as workloads
from bench.errors import UsageError
from bench.workload import Workload

_PACKAGE = Path(__file__).parent


def _bundled(name: str) -> Path:
    """A folder or file of data: inside the wheel, or at the top of the checkout."""
    inside = _PACKAGE / "_bundled" / name
    return inside if inside.exists() else _PACKAGE.parent / name


def cache_dir() -> Path:
    """Where installed servers and built models live: $BENCH_CACHE, else the user's cache folder."""
    if own := os.environ.get("BENCH_CACHE"):
        return Path(own).absolute()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base).absolute() / "inference-bench"


def model_names() -> list[str]:
    """The models that bench can build."""
    return sorted(p.parent.name for p in _bundled("models").glob("*/recipe.py"))


def model_source(name: str) -> Path:
    """The folder models/NAME; UsageError lists what exists."""
    if name not in model_names():
        raise UsageError(f"model {name!r}: bench has no recipe for it; it can build: {', '.join(model_names())}")
    return _bundled("models") / name


def workload_names() -> dict[str, Path]:
    """Workloads by name: the bundled ones, and over them those in ./workloads."""
    found = {p.stem: p for p in sorted(_bundled("workloads").glob("*.toml"))}
    return found | {p.stem: p for p in sorted(Path("workloads").glob("*.toml"))}


def load_workload(name: str) -> Workload:
    """The workload called `name`, or in the file `name` where it has a slash or ends in .toml; UsageError lists what exists.

    What the file names is found relative to it: CSV files of lengths are read, payload files named absolutely and by sha256,
    and parts of a mix completed by the workloads that they name.
    """
    path = workload_path(name)
    document = _read(path, name)
    if isinstance(document.get("mix"), list):
        document["mix"] = [_taken_over(part, n, path) for n, part in enumerate(document["mix"])]
    return _resolved(document, path)


def _read(path: Path, name: str) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise UsageError(f"workload {name!r}: cannot read {path}: {reason}; there are: {', '.join(workload_names())}") from None
    return workloads.read_document(text, str(path))


def _resolved(document: dict[str, Any], path: Path) -> Workload:
    source, folder = str(path), path.absolute().parent
    named_files.read_lengths(document, folder, source)
    workload = workloads.from_builtins({"name": path.stem} | document, source)
    return named_files.resolve(workload, document, folder, source)


def _taken_over(part: Any, n: int, path: Path) -> Any:
    """Part `n` of the mix in the file at `path`: what the workload has that it names, and over that what it states itself."""
    named = part.get("workload") if isinstance(part, dict) else None
    if not isinstance(named, str) or not named:
        return part  # which the loader judges
    where = f"{path}: mix[{n}].workload"
    try:
        other = path.absolute().parent / named if _is_path(named) else workload_path(named)
        document = _read(other, named)
        if "mix" in document:
            raise UsageError(f"workload {named!r} is a mix itself: expected one of a single model")
        taken = workloads.to_builtins(_resolved(document, other))
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from None
    tables = {key: taken[key] for key in ("model", "payload", "slo", "check")}
    stated = {key: tables[key] | value if isinstance(value, dict) and key in tables else value for key, value in part.items()}
    return {"name": taken["name"]} | tables | stated | {"workload": str(other) if _is_path(named) else named}


def workload_path(name: str) -> Path:
    """The file of the workload that is called, or lies at, `name`; UsageError lists the names there are."""
    if _is_path(name):
        return Path(name)
    names = workload_names()
    if name not in names:
        tried = f"workloads/{name}.toml here and among the bundled ones"
        raise UsageError(f"workload {name!r}: not found; tried {tried}; there are: {', '.join(names)}")
    return names[name]


def _is_path(name: str) -> bool:
    return "/" in name or name.endswith(".toml")


def is_bundled(path: Path) -> bool:
    """Whether a workload file comes with bench, and is not the user's to write beside."""
    return path.absolute().parent == _bundled("workloads").absolute()
