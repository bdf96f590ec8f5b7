"""What a models/NAME/recipe.py defines, and how it is found and loaded."""

import importlib.util
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import resources
from bench.errors import UsageError
from bench.recipes.graph import Architecture

# a checkpoint's config.json and the names of its tensors -> the architecture, and what the checkpoint calls each weight of it:
# None where it lacks one that may be missing, and that is seeded instead; UsageError where the recipe cannot serve it
FromCheckpoint = Callable[[dict[str, Any], Collection[str]], tuple[Architecture, Callable[[str], str | None]]]

# the folder with the fp32 model's model.onnx and weights.bin, and the folder to write the same two files to
Quantize = Callable[[Path, Path], None]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a model is made. The file models/NAME/recipe.py defines one and calls it RECIPE; NAME is the model's name."""

    title: str
    presets: Mapping[str, Architecture]  # "full", and "tiny": the same operators in a fraction of the size
    # the first is the default; how far seeded outputs may be from fp32's, as a share of the largest of them
    precisions: Mapping[str, float]
    max_batch: int
    # precision -> how far a right answer may lie from the same precision's reference, where rounding in another order, or
    # what shares the batch, moves it further than a workload's tolerance for fp32
    moves: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0  # of the weights
    padded: bool = False  # requests of different lengths may share a batch
    model_type: str = ""  # of the checkpoints it can be built from, as their config.json states it
    from_checkpoint: FromCheckpoint | None = None
    quantize: Mapping[str, Quantize] = field(default_factory=dict)  # precisions that are made of the whole fp32 model


def load(name: str) -> Recipe:
    """The recipe of the model `name`; UsageError lists the models that have one."""
    path = resources.model_source(name) / "recipe.py"
    spec = importlib.util.spec_from_file_location(f"bench_recipe_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    recipe = module.RECIPE
    assert isinstance(recipe, Recipe)
    return recipe


def choose(name: str, precision: str, preset: str) -> tuple[Recipe, str, Architecture]:
    """The recipe of `name`, the precision ("": the recipe's default) and the architecture; UsageError lists what exists."""
    recipe = load(name)
    precision = precision or next(iter(recipe.precisions))
    if precision not in recipe.precisions:
        raise UsageError(f"model {name}: unknown precision {precision!r}; it can be built as: {', '.join(recipe.precisions)}")
    if preset not in recipe.presets:
        raise UsageError(f"model {name}: unknown preset {preset!r}; it has: {', '.join(recipe.presets)}")
    return recipe, precision, recipe.presets[preset]


def adopt(
    name: str, recipe: Recipe, config: dict[str, Any], names: Collection[str]
) -> tuple[Architecture, Callable[[str], str | None]]:
    """What `recipe.from_checkpoint` makes of a checkpoint; UsageError where it is one of another architecture."""
    if recipe.from_checkpoint is None:
        raise UsageError(f"model {name}: it cannot be built from a checkpoint, only with seeded weights")
    # old ones and timm's do not state it; that their tensors have other names or shapes is found all the same
    if config.get("model_type") not in (None, recipe.model_type):
        raise UsageError(
            f"model {name}: the checkpoint is of another architecture: expected model_type {recipe.model_type!r} in its "
            f"config.json, got {config['model_type']!r}"
        )
    try:
        return recipe.from_checkpoint(config, names)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(f"model {name}: the checkpoint's config.json does not describe such a model: {error}") from None
