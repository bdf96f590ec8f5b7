"""What a models/NAME/recipe.py defines, and how it is found and loaded."""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass

from bench import resources
from bench.errors import UsageError
from bench.recipes.graph import Architecture


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a model is made. The file models/NAME/recipe.py defines one and calls it RECIPE; NAME is the model's name."""

    title: str
    presets: Mapping[str, Architecture]  # "full", and "tiny": the same operators in a fraction of the size
    precisions: tuple[str, ...]
    max_batch: int
    seed: int = 0  # of the weights


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


def choose(name: str, precision: str, preset: str) -> tuple[Recipe, Architecture]:
    """The recipe of `name` and its architecture for `preset`; UsageError lists what exists instead."""
    recipe = load(name)
    if precision not in recipe.precisions:
        raise UsageError(f"model {name}: unknown precision {precision!r}; it can be built as: {', '.join(recipe.precisions)}")
    if preset not in recipe.presets:
        raise UsageError(f"model {name}: unknown preset {preset!r}; it has: {', '.join(recipe.presets)}")
    return recipe, recipe.presets[preset]
