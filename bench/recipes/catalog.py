"""The models that stand built in the cache: where each lies, what was recorded of it, whether its recipe has changed since."""

import hashlib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import msgspec

from bench import resources
from bench.tensors import TensorSpec

FORMAT = 1  # of what a built model's folder holds; a new number builds every model anew
FACTS = "model.json"
_BUILDERS = ("graph.py", "recipe.py", "repository.py", "weights.py")


@dataclass(frozen=True, slots=True)
class BuiltModel:
    """A model in the Triton model repository, as one precision and preset. Shapes have the batch first and -1 where free."""

    name: str
    precision: str
    preset: str
    folder: Path  # .../repository/<precision>[-<preset>]/<name>
    onnx: Path  # <folder>/1/model.onnx
    digest: str  # sha256 of that file
    parameters: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    max_batch: int


class _Facts(msgspec.Struct, frozen=True):
    """What model.json holds."""

    recipe: str  # digest of what the model was made by
    size: int  # bytes of the ONNX file
    model: dict[str, Any]  # the fields of BuiltModel, less its paths


def folder_of(name: str, precision: str, preset: str) -> Path:
    """Where this model stands when it is built; the folder above it is a Triton model repository."""
    return resources.cache_dir() / "repository" / (precision if preset == "full" else f"{precision}-{preset}") / name


def onnx_of(folder: Path) -> Path:
    """The ONNX file in a model's folder, where Triton looks for version 1."""
    return folder / "1" / "model.onnx"


def recipe_digest(name: str) -> str:
    """Names what a model is made by: the format, the recipe's source and that of the modules that carry it out."""
    files = [resources.model_source(name) / "recipe.py", *(Path(__file__).with_name(file) for file in _BUILDERS)]
    made_by = hashlib.sha256(f"format {FORMAT}".encode())
    for file in files:
        made_by.update(hashlib.sha256(file.read_bytes()).digest())
    return made_by.hexdigest()


def find(name: str, precision: str = "fp32", preset: str = "full") -> BuiltModel | None:
    """The model as it stands built; None where it is missing, damaged or made by an older recipe. UsageError: no such model."""
    current, stands = recipe_digest(name), _read(folder_of(name, precision, preset))
    return stands[1] if stands and stands[0] == current else None


def built() -> list[BuiltModel]:
    """All models that stand built, those of older recipes too, by name, precision and preset."""
    folders = [path.parent for path in resources.cache_dir().glob(f"repository/*/*/{FACTS}")]
    models = [stands[1] for folder in folders if (stands := _read(folder))]
    return sorted(models, key=lambda model: (model.name, model.precision, model.preset))


def record(model: BuiltModel, at: Path) -> None:
    """Write down in the folder `at` what `find` will read there."""
    described = {field.name: getattr(model, field.name) for field in fields(model) if field.name not in ("folder", "onnx")}
    facts = _Facts(recipe_digest(model.name), onnx_of(at).stat().st_size, described)
    (at / FACTS).write_bytes(msgspec.json.format(msgspec.json.encode(facts), indent=2) + b"\n")


def _read(folder: Path) -> tuple[str, BuiltModel] | None:
    """The digest of what the model there was made by, and the model; None where no whole one stands."""
    onnx = onnx_of(folder)
    try:
        facts = msgspec.json.decode((folder / FACTS).read_bytes(), type=_Facts)
        model = msgspec.convert(facts.model | {"folder": folder, "onnx": onnx}, BuiltModel)
        return (facts.recipe, model) if onnx.stat().st_size == facts.size else None
    except (OSError, msgspec.DecodeError):
        return None
