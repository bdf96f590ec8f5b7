"""The models that stand built in the cache: where each lies, what was recorded of it, whether its recipe has changed since."""

import hashlib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import msgspec

from bench import resources
from bench.tensors import TensorSpec

FORMAT = 2  # of what a built model's folder holds; a new number builds every model anew
FACTS = "model.json"
MODEL, WEIGHTS = "model.onnx", "weights.bin"  # the files of a model's one version
_NOT_BUILDERS = ("__init__.py", "build.py", "catalog.py", "progress.py", "reference.py")  # what they do does not change a model
SEEDED = "seeded"


@dataclass(frozen=True, slots=True)
class BuiltModel:
    """A model in the Triton model repository, as one precision and preset. Shapes have the batch first and -1 where free."""

    name: str
    precision: str
    preset: str
    folder: Path  # .../repository/<precision>[-<preset>][-<weights>]/<name>
    onnx: Path  # <folder>/1/model.onnx; its weights lie beside it
    digest: str  # sha256 over the sha256 of the two files
    parameters: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    max_batch: int
    weights: str = SEEDED  # else the checkpoint they were read from, and 8 hex digits of what it holds
    padded: bool = (
        False  # requests of different lengths may share a batch: zeros fill the free dimensions, and are cut off after
    )
    context: int = 0  # tokens a prompt and its answer may have together; 0 where the model does not generate
    limits: tuple[TensorSpec, ...] = ()  # the inputs with the largest size of each dimension, -1 where it may be any


class _Facts(msgspec.Struct, frozen=True):
    """What model.json holds."""

    recipe: str  # digest of what the model was made by
    sizes: dict[str, int]  # bytes of the files of its version, by name
    model: dict[str, Any]  # the fields of BuiltModel, less its paths


def folder_of(name: str, precision: str, preset: str, weights: str = "") -> Path:
    """Where this model stands when it is built; the folder above it is a Triton model repository."""
    parts = (precision, "" if preset == "full" else preset, "" if weights == SEEDED else weights)
    return resources.cache_dir() / "repository" / "-".join(part for part in parts if part) / name


def onnx_of(folder: Path) -> Path:
    """The ONNX file in a model's folder, where Triton looks for version 1."""
    return folder / "1" / MODEL


def recipe_digest(name: str) -> str:
    """Names what a model is made by: the format, the recipe's source and that of the modules that carry it out."""
    builders = (file for file in sorted(Path(__file__).parent.glob("*.py")) if file.name not in _NOT_BUILDERS)
    files = [resources.model_source(name) / "recipe.py", *builders]
    made_by = hashlib.sha256(f"format {FORMAT}".encode())
    for file in files:
        made_by.update(hashlib.sha256(file.read_bytes()).digest())
    return made_by.hexdigest()


def find(name: str, precision: str = "fp32", preset: str = "full", weights: str = "") -> BuiltModel | None:
    """The model as it stands built; None where it is missing, damaged or made by an older recipe. UsageError: no such model.

    `weights` is a checkpoint's label, "" for seeded ones.
    """
    current, stands = recipe_digest(name), _read(folder_of(name, precision, preset, weights))
    return stands[1] if stands and stands[0] == current else None


def built() -> list[BuiltModel]:
    """All models that stand built, those of older recipes too, by name, precision, preset and weights."""
    folders = [path.parent for path in resources.cache_dir().glob(f"repository/*/*/{FACTS}")]
    models = [stands[1] for folder in folders if (stands := _read(folder))]
    return sorted(models, key=lambda model: (model.name, model.precision, model.preset, model.weights))


def record(model: BuiltModel, at: Path) -> None:
    """Write down in the folder `at` what `find` will read there."""
    described = {field.name: getattr(model, field.name) for field in fields(model) if field.name not in ("folder", "onnx")}
    facts = _Facts(recipe_digest(model.name), _sizes(at), described)
    (at / FACTS).write_bytes(msgspec.json.format(msgspec.json.encode(facts), indent=2) + b"\n")


def _read(folder: Path) -> tuple[str, BuiltModel] | None:
    """The digest of what the model there was made by, and the model; None where no whole one stands."""
    onnx = onnx_of(folder)
    try:
        facts = msgspec.json.decode((folder / FACTS).read_bytes(), type=_Facts)
        model = msgspec.convert(facts.model | {"folder": folder, "onnx": onnx}, BuiltModel)
        return (facts.recipe, model) if _sizes(folder) == facts.sizes else None
    except (OSError, msgspec.DecodeError):
        return None


def _sizes(folder: Path) -> dict[str, int]:
    return {name: onnx_of(folder).with_name(name).stat().st_size for name in (MODEL, WEIGHTS)}
