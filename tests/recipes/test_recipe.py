"""Finding recipes, and making checkpoints theirs."""

from dataclasses import replace

import pytest

from bench import resources
from bench.errors import UsageError
from bench.recipes import recipe


@pytest.mark.parametrize("name", resources.model_names())
def test_every_recipe_loads_and_has_both_presets(name: str) -> None:
    """Each folder of models/ defines a RECIPE with a full and a tiny preset, and batches of at least one."""
    known = recipe.load(name)
    assert {"full", "tiny"} <= set(known.presets)
    assert known.max_batch >= 1
    assert known.from_checkpoint is not None
    assert all(port.dims[0] == "batch" for a in known.presets.values() for port in (*a.inputs, *a.outputs) if port.dims)


@pytest.mark.parametrize("name", resources.model_names())
def test_every_precision_says_how_far_it_is_from_fp32(name: str) -> None:
    """Nothing for fp32 itself, something below 1 for the others; what is quantized as a whole is one of them."""
    known = recipe.load(name)
    assert known.precisions["fp32"] == 0
    assert all(0 < tolerance < 1 for precision, tolerance in known.precisions.items() if precision != "fp32")
    assert known.quantize.keys() <= known.precisions.keys() - {"fp32"}


@pytest.mark.parametrize(
    ("name", "precision", "preset", "message"),
    [
        ("resnet51", "fp32", "full", "model 'resnet51': .*it can build: .*resnet50"),
        ("resnet50", "int3", "full", "model resnet50: unknown precision 'int3'; it can be built as: .*fp32"),
        ("resnet50", "fp32", "small", "model resnet50: unknown preset 'small'; it has: full, tiny"),
    ],
)
def test_an_unknown_choice_is_refused_with_what_exists(name: str, precision: str, preset: str, message: str) -> None:
    """A wrong name, precision or preset is the user's to mend, and the message says with what."""
    with pytest.raises(UsageError, match=message):
        recipe.choose(name, precision, preset)


def test_no_precision_is_the_recipes_first() -> None:
    """A model is built as its recipe says unless one is asked for."""
    for name in resources.model_names():
        known, precision, architecture = recipe.choose(name, "", "tiny")
        assert precision == next(iter(known.precisions))
        assert architecture is known.presets["tiny"]


def test_a_recipe_without_checkpoints_refuses_them() -> None:
    """It says what it can be built of."""
    known = replace(recipe.load("resnet50"), from_checkpoint=None)
    with pytest.raises(UsageError, match="model toy: it cannot be built from a checkpoint, only with seeded weights"):
        recipe.adopt("toy", known, {}, ())


@pytest.mark.parametrize("name", resources.model_names())
def test_a_checkpoint_of_another_architecture_is_refused_with_both(name: str) -> None:
    """The model_type of its config.json is compared with the recipe's, and both are printed."""
    known = recipe.load(name)
    message = (
        rf"model {name}: .* another architecture: expected model_type '{known.model_type}' in its config.json, got 'llama'"
    )
    with pytest.raises(UsageError, match=message):
        recipe.adopt(name, known, {"model_type": "llama"}, ())


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("bert-base", {"vocab_size": "many"}),
        ("bert-base", {"num_hidden_layers": []}),
        ("qwen-1.5b", {}),
        ("qwen-1.5b", {"hidden_size": 0}),
        ("resnet50", {"depths": 3}),
        ("resnet50", {"embedding_size": "wide"}),
        ("resnet50", {"hidden_sizes": None}),
        ("resnet50", {"id2label": 1}),
    ],
)
def test_a_config_with_nonsense_in_it_is_one_clear_error(name: str, config: dict[str, object]) -> None:
    """Never a traceback: the message says that it is the checkpoint's config.json that has to be mended."""
    with pytest.raises(UsageError, match=r"the checkpoint's config\.json"):
        recipe.adopt(name, recipe.load(name), config, ())
