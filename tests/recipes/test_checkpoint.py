"""Checkpoints: one file or several, whole or refused before anything is built."""

import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from bench.errors import RunError, UsageError
from bench.recipes import checkpoint as checkpoints
from bench.recipes.checkpoint import Checkpoint, open_checkpoint
from bench.recipes.weights import WHOLE, Weight, seeded

TENSORS: dict[str, np.ndarray] = {
    "a": np.arange(6, dtype=np.float32).reshape(3, 2),
    "b": np.arange(4, dtype=np.float16),
    "n": np.arange(2),
}


def write(folder: Path, shards: int = 1, tensors: dict[str, np.ndarray] = TENSORS) -> Path:
    """A checkpoint in the layout of Hugging Face, in one file or sharded tensor by tensor."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text('{"model_type": "toy"}')
    if shards == 1:
        save_file(tensors, folder / "model.safetensors")
        return folder
    placed = {name: f"model-{n % shards + 1:05}-of-{shards:05}.safetensors" for n, name in enumerate(tensors)}
    for file in sorted(set(placed.values())):
        save_file({name: array for name, array in tensors.items() if placed[name] == file}, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": placed}))
    return folder


@contextmanager
def opened(where: Path | str) -> Iterator[Checkpoint]:
    """The checkpoint there, closed after."""
    with closing(open_checkpoint(str(where), lambda text: None)) as checkpoint:
        yield checkpoint


def refused(where: Path | str) -> str:
    """What is said of a checkpoint that cannot be opened: one line."""
    with pytest.raises(UsageError) as error:
        open_checkpoint(str(where), lambda text: None)
    assert "\n" not in str(error.value)
    return str(error.value)


def same(name: str) -> str:
    """A mapping for checkpoints that call weights as the model does."""
    return name


@pytest.mark.parametrize("shards", [1, 2])
def test_tensors_come_as_float32_rows_by_the_names_of_the_mapping(tmp_path: Path, shards: int) -> None:
    """From one file as from several; a weight without a name there comes from the other source."""
    with opened(write(tmp_path / "toy", shards)) as checkpoint:
        assert checkpoint.config == {"model_type": "toy"}
        assert checkpoint.names == {"a", "b", "n"}
        mapping = {"x": "a", "y": "b", "z": None}.__getitem__
        source = checkpoint.source(mapping, seeded(3))
        np.testing.assert_array_equal(source(Weight("x", (3, 2)), slice(1, 3)), TENSORS["a"][1:])
        y = source(Weight("y", (4,)), WHOLE)
        assert y.dtype == np.float32
        np.testing.assert_array_equal(y, TENSORS["b"])
        z = Weight("z", (5,), std=1.0)
        np.testing.assert_array_equal(source(z, WHOLE), seeded(3)(z, WHOLE))


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (Weight("c", (1,)), r"checkpoint .*/toy: no tensor 'c' among its 3"),
        (Weight("a", (2, 3)), r"checkpoint .*/toy: tensor 'a': expected the shape \[2, 3\], got \[3, 2\]"),
        (Weight("n", (2,)), r"checkpoint .*/toy: tensor 'n': expected values of type F32, F16, BF16, got I64"),
    ],
    ids=["missing", "shape", "type"],
)
def test_a_tensor_that_is_not_what_the_model_needs_is_refused(tmp_path: Path, weight: Weight, message: str) -> None:
    """By the check that is made before anything is written, and by the source itself."""
    with opened(write(tmp_path / "toy")) as checkpoint:
        with pytest.raises(UsageError, match=message):
            checkpoint.check([Weight("b", (4,)), weight], same)
        with pytest.raises(UsageError, match=message):
            checkpoint.source(same, seeded(0))(weight, WHOLE)


def test_a_refusal_names_the_models_weight_too_and_how_many_more_there_are(tmp_path: Path) -> None:
    """Where the checkpoint has other names, both are needed to find the fault; hundreds of lines are not."""
    with opened(write(tmp_path / "toy")) as checkpoint, pytest.raises(UsageError) as error:
        checkpoint.check([Weight(name, (9,)) for name in "pqr"], lambda name: {"p": "a", "q": "b", "r": None}[name])
    assert "tensor 'a' (the model's p): expected the shape [9]" in str(error.value)
    assert str(error.value).endswith("(and 1 more such)")


def test_an_empty_folder_has_no_config(tmp_path: Path) -> None:
    """The first thing that is missing is named, and what is there."""
    assert refused(tmp_path).endswith(": no config.json in it; there is: nothing")


def test_pickled_weights_have_to_be_converted_first(tmp_path: Path) -> None:
    """A checkpoint from before safetensors is refused with what to do."""
    folder = write(tmp_path / "toy")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    assert "pickled by PyTorch; convert them to model.safetensors first" in refused(folder)


def test_a_folder_with_other_files_says_which(tmp_path: Path) -> None:
    """An adapter, for example, is no model."""
    folder = write(tmp_path / "toy")
    (folder / "model.safetensors").rename(folder / "adapter_model.safetensors")
    said = refused(folder)
    assert "no model.safetensors and no model.safetensors.index.json in it" in said
    assert said.endswith("there is: adapter_model.safetensors, config.json")


def test_a_truncated_shard_is_named_with_both_sizes(tmp_path: Path) -> None:
    """Found when the checkpoint is opened."""
    folder = write(tmp_path / "toy", shards=3)
    shard = folder / "model-00002-of-00003.safetensors"
    size = shard.stat().st_size
    os.truncate(shard, size - 1)
    assert refused(folder).startswith(f"{shard}: truncated: expected {size} bytes or more, it has {size - 1};")


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    """A download that was broken off."""
    folder = write(tmp_path / "toy", shards=3)
    (folder / "model-00002-of-00003.safetensors").unlink()
    assert refused(folder) == (
        f"{folder}: 1 of the 3 files that model.safetensors.index.json names are missing: model-00002-of-00003.safetensors"
    )


def test_a_shard_without_its_tensor_is_named(tmp_path: Path) -> None:
    """Files of two downloads that were mixed up."""
    folder = write(tmp_path / "toy", shards=3)
    save_file({"c": TENSORS["a"]}, folder / "model-00001-of-00003.safetensors")
    assert "model-00001-of-00003.safetensors: no tensor 'a' in it, where model.safetensors.index.json places it" in refused(
        folder
    )


@pytest.mark.parametrize(
    "index", ["{", "[]", "{}", '{"weight_map": {"a": "../model.safetensors"}}', '{"weight_map": {"a": 1}}']
)
def test_a_damaged_index_is_refused(tmp_path: Path, index: str) -> None:
    """Nor does an index lead out of its folder."""
    folder = write(tmp_path / "toy", shards=2)
    (folder / "model.safetensors.index.json").write_text(index)
    assert str(folder / "model.safetensors.index.json") in refused(folder)


@pytest.mark.parametrize("config", ["", "{", "[1]", "\xff"])
def test_a_damaged_config_is_refused(tmp_path: Path, config: str) -> None:
    """Whatever stands in it."""
    folder = write(tmp_path / "toy")
    (folder / "config.json").write_bytes(config.encode("latin-1"))
    assert refused(folder).startswith(f"{folder}/config.json: damaged: ")


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    """The folder that holds it is meant."""
    said = refused(write(tmp_path / "toy") / "model.safetensors")
    assert said.endswith("expected the folder that holds config.json and model.safetensors, got a file")


def test_a_refused_checkpoint_leaves_no_file_open(tmp_path: Path) -> None:
    """A program that tries many folders does not run out of files."""
    folder = write(tmp_path / "toy", shards=3)
    os.truncate(folder / "model-00003-of-00003.safetensors", 9)
    before = len(os.listdir("/proc/self/fd"))
    refused(folder)
    assert len(os.listdir("/proc/self/fd")) == before


def label(folder: Path) -> str:
    """The label of the checkpoint in a folder."""
    with opened(folder) as checkpoint:
        return checkpoint.label


def test_the_label_is_the_folders_name_and_eight_digits_of_what_it_holds(tmp_path: Path) -> None:
    """The same checkpoint has the same digits in another folder, in one file or several."""
    first = label(write(tmp_path / "My toy_1"))
    name, digits = first.rsplit("-", 1)
    assert name == "my-toy-1"
    assert len(digits) == 8
    assert int(digits, 16) >= 0
    assert label(write(tmp_path / "other", shards=2)) == f"other-{digits}"


@pytest.mark.parametrize("size", [10, 2**20])
@pytest.mark.parametrize("change", ["values", "config", "name", "shape", "type"])
def test_another_checkpoint_has_another_label(tmp_path: Path, size: int, change: str) -> None:
    """Trained on, reshaped or renamed, it is never taken for the one before; large tensors are covered by samples."""
    values = seeded(0)(Weight("w", (size,), std=1.0), WHOLE)
    before = label(write(tmp_path / "toy", tensors={"w": values}))
    changed = {
        "values": {"w": values * np.float32(0.999)},
        "config": {"w": values},
        "name": {"v": values},
        "shape": {"w": values.reshape(2, -1)},
        "type": {"w": values.view(np.int32)},
    }[change]
    folder = write(tmp_path / "toy", tensors=changed)
    if change == "config":
        (folder / "config.json").write_text('{"model_type": "toy", "hidden_act": "gelu"}')
    assert label(folder) != before


def hub(monkeypatch: pytest.MonkeyPatch, answer: Any) -> list[tuple[Any, ...]]:
    """Stands in for huggingface_hub: `answer` is the folder that it fetches, or what it raises. What was asked of it."""
    asked: list[tuple[Any, ...]] = []

    def snapshot_download(name: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        asked.append((name, revision, allow_patterns))
        if isinstance(answer, Exception):
            raise answer
        return str(answer)

    module = ModuleType("huggingface_hub")
    module.snapshot_download = snapshot_download  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    return asked


def test_a_name_on_the_hub_is_fetched_and_names_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what is read is asked for, and the label is the name's, not that of the folder in the hub's cache."""
    asked = hub(monkeypatch, write(tmp_path / "0f3c"))
    said: list[str] = []
    with closing(open_checkpoint("Org/Toy-1.5B@v2", said.append)) as checkpoint:
        assert checkpoint.label.startswith("org-toy-1.5b-v2-")
    wanted = ["config.json", "model.safetensors", "model.safetensors.index.json", "model-*.safetensors"]
    assert asked == [("Org/Toy-1.5B", "v2", wanted)]
    assert said == ["fetching Org/Toy-1.5B@v2 from the Hugging Face hub"]


def test_a_folder_that_is_there_is_not_looked_for_on_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`weights/toy` may be both."""
    asked = hub(monkeypatch, RuntimeError("called"))
    write(tmp_path / "weights" / "toy")
    monkeypatch.chdir(tmp_path)
    assert label(Path("weights/toy")).startswith("toy-")
    assert asked == []


def test_without_the_hubs_library_a_name_is_refused_with_two_ways_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Install it, or fetch the files elsewhere and pass the folder."""
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(RunError, match=r"weights org/toy: no such folder, .*pip install huggingface_hub.*hf download org/toy"):
        open_checkpoint("org/toy", lambda text: None)


def test_a_hub_that_does_not_answer_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first line of its reason, and how to do without."""
    hub(monkeypatch, ConnectionError("cannot reach it\nand a long tale"))
    with pytest.raises(RunError) as error:
        open_checkpoint("org/toy@main", lambda text: None)
    said = str(error.value)
    assert "org/toy@main: no such folder, and it cannot be fetched from the Hugging Face hub: cannot reach it; " in said
    assert "hf download org/toy --revision main --local-dir FOLDER" in said
    assert "long tale" not in said


@pytest.mark.parametrize("where", ["/no/such/folder", "./toy", "toy", "a/b/c", "../toy"])
def test_what_is_neither_folder_nor_name_is_never_asked_of_the_hub(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistyped path is an error at once, not a request to a stranger."""
    asked = hub(monkeypatch, RuntimeError("called"))
    assert refused(where) == f"weights {where}: no such folder, and no name on the Hugging Face hub, which are like org/name"
    assert asked == []


def test_reading_more_of_large_tensors_would_not_change_what_small_ones_add(tmp_path: Path) -> None:
    """A tensor is covered whole up to a size; one value in the middle of it counts."""
    count = checkpoints.WHOLE // 4
    values = np.zeros(count, np.float32)
    before = label(write(tmp_path / "toy", tensors={"w": values}))
    values[count // 3] = 1
    shutil.rmtree(tmp_path / "toy")
    assert label(write(tmp_path / "toy", tensors={"w": values})) != before
