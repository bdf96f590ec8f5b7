"""Finding recipes."""

import pytest

from bench import resources
from bench.errors import UsageError
from bench.recipes import recipe


@pytest.mark.parametrize("name", resources.model_names())
def test_every_recipe_loads_and_has_both_presets(name: str) -> None:
    """Each folder of models/ defines a RECIPE with a full and a tiny preset, and batches of at least one."""
    known = recipe.load(name)
    assert {"full", "tiny"} <= set(known.presets)
    assert known.precisions
    assert known.max_batch >= 1
    assert all(port.dims[0] == "batch" for a in known.presets.values() for port in (*a.inputs, *a.outputs))


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
