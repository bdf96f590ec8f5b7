"""Building models: whole or not at all, once, and the same every time."""

import errno
import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import NoReturn

import onnxruntime
import pytest

from bench import resources
from bench.errors import RunError, UsageError
from bench.recipes import build as building
from bench.recipes import catalog, onnx_file, progress, recipe
from bench.recipes.build import build, built, find
from bench.recipes.repository import write_stock
from bench.tensors import TensorSpec


def tiny() -> catalog.BuiltModel:
    """The tiny ResNet-50, built unless it stands."""
    return build("resnet50", preset="tiny")


def refuse(*args: object, **kwargs: object) -> NoReturn:
    """Stands in for what must not be called."""
    raise AssertionError("called")


def test_a_built_model_lies_in_a_triton_model_repository(cache: Path) -> None:
    """repository/<precision>-<preset>/<name> holds 1/model.onnx, its weights and a config.pbtxt; only models lie beside it."""
    model = tiny()
    assert model.folder == cache / "repository" / "fp32-tiny" / "resnet50"
    assert model.onnx == model.folder / "1" / "model.onnx"
    assert [path.name for path in model.folder.parent.iterdir()] == ["resnet50"]
    assert sorted(path.name for path in (model.folder / "1").iterdir()) == ["model.onnx", "weights.bin"]
    write_stock(cache.parent, model)
    assert (model.folder / "config.pbtxt").read_text() == (cache.parent / "config.pbtxt").read_text()


def test_a_built_model_says_what_it_is() -> None:
    """Its digest is that of its files, and ONNX Runtime finds in them the inputs and outputs that it states."""
    model = tiny()
    assert (model.name, model.precision, model.preset, model.max_batch) == ("resnet50", "fp32", "tiny", 32)
    assert model.digest == onnx_file.digest(model.onnx.parent)
    assert model.outputs == (TensorSpec("logits", "FP32", (-1, 10)),)
    session = onnxruntime.InferenceSession(model.onnx)
    assert [(i.name, i.shape) for i in session.get_inputs()] == [("input", ["batch", 3, "height", "width"])]
    assert [(o.name, o.shape) for o in session.get_outputs()] == [("logits", ["batch", 10])]


def test_a_model_that_stands_is_found_and_reused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second build makes nothing; find and built give the same model."""
    assert find("resnet50", preset="tiny") is None
    assert built() == []
    model = tiny()
    monkeypatch.setattr(onnx_file, "write", refuse)
    assert tiny() == model
    assert find("resnet50", preset="tiny") == model
    assert built() == [model]
    assert find("resnet50") is None


EVERY = [(name, precision) for name in resources.model_names() for precision in recipe.load(name).precisions]


@pytest.mark.parametrize(("name", "precision"), EVERY)
def test_two_builds_have_the_same_digest(name: str, precision: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Built, thrown away and built again, every model is the same files in every precision."""
    monkeypatch.setattr(building, "reference", lambda *args: None)
    first = build(name, precision, "tiny")
    assert (first.precision, first.weights) == (precision, "seeded")
    shutil.rmtree(cache)
    assert build(name, precision, "tiny") == first


def test_no_precision_is_the_recipes_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Qwen in int4, the others in fp32; each in a folder of its own."""
    monkeypatch.setattr(building, "reference", lambda *args: None)
    assert [build(name, preset="tiny").precision for name in ("qwen-1.5b", "bert-base")] == ["int4", "fp32"]
    assert [path.name for path in sorted(resources.cache_dir().glob("repository/*"))] == ["fp32-tiny", "int4-tiny"]


def test_a_changed_recipe_is_built_anew(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model made by another recipe.py is not found, is still listed, and is replaced by the next build, its answers too."""
    first = tiny()
    source = tmp_path / "models" / "resnet50"
    shutil.copytree(resources.model_source("resnet50"), source)
    recipe = source / "recipe.py"
    recipe.write_text(recipe.read_text().replace("max_batch=32,", "max_batch=32, seed=1,"))
    monkeypatch.setattr(resources, "model_source", lambda name: source)
    assert find("resnet50", preset="tiny") is None
    assert built() == [first]
    second = tiny()
    assert second.digest != first.digest
    assert built() == [second]
    assert [path.name for path in (cache / "building").iterdir()] == ["resnet50-fp32-tiny.lock"]
    assert len(list((second.folder / "references").iterdir())) == 1


def test_a_change_of_format_builds_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """A later bench that stores models otherwise does not read this one's."""
    tiny()
    monkeypatch.setattr(catalog, "FORMAT", catalog.FORMAT + 1)
    assert find("resnet50", preset="tiny") is None


@pytest.mark.parametrize("damaged", ["1/model.onnx", "1/weights.bin", "model.json"])
@pytest.mark.parametrize("damage", ["gone", "cut"])
def test_a_damaged_model_is_built_anew(damaged: str, damage: str) -> None:
    """A file that is gone or cut short is noticed, and the next build mends it."""
    model = tiny()
    path = model.folder / damaged
    if damage == "gone":
        path.unlink()
    else:
        os.truncate(path, path.stat().st_size // 2)
    assert find("resnet50", preset="tiny") is None
    assert built() == []
    assert tiny() == model


def test_a_build_that_fails_leaves_the_model_before_and_nothing_half_built(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk in the middle: one error that names the place, no half model, the old one untouched."""
    before = tiny()
    monkeypatch.setattr(catalog, "FORMAT", catalog.FORMAT + 1)

    def full_disk(*args: object) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(catalog, "record", full_disk)
    with pytest.raises(RunError, match=f"model resnet50: cannot build it in {cache}: No space left on device"):
        tiny()
    assert built() == [before]
    assert [path.name for path in (cache / "building").iterdir()] == ["resnet50-fp32-tiny.lock"]


def test_a_disk_too_small_is_refused_before_anything_is_made(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says what is free, what is needed and how to choose another place."""
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=100_000_000))
    monkeypatch.setattr(onnx_file, "write", refuse)
    for precision, needed in (("fp32", "114.7"), ("int8", "227.4")):  # of int8 the fp32 model lies beside it for a while
        message = f"model resnet50: {cache} has 100.0 MB free and the model needs {needed} MB; .*BENCH_CACHE"
        with pytest.raises(RunError, match=message):
            build("resnet50", precision)
    with pytest.raises(RunError, match=r"model qwen-1.5b: .* the model needs 923.1 MB"):
        build("qwen-1.5b")
    assert built() == []


def test_a_long_build_says_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every few seconds, in percent."""
    monkeypatch.setattr(progress, "EVERY_S", 0.0)
    said: list[str] = []
    build("resnet50", preset="tiny", say=said.append)
    shares = [int(line.split()[-1].rstrip("%")) for line in said if line.startswith("building resnet50 fp32 tiny: ")]
    assert len(shares) > 10
    assert shares == sorted(shares)
    assert 90 < shares[-1] <= 100


GOLDEN = Path(__file__).parents[1] / "golden"


def test_a_checkpoints_model_has_a_folder_of_its_own(cache: Path) -> None:
    """repository/<precision>-<checkpoint>/<name>, found by that label, reused, and listed with its weights."""
    model = build("bert-base", weights=str(GOLDEN / "bert"))
    assert model.weights.startswith("bert-")
    assert model.folder == cache / "repository" / f"fp32-{model.weights}" / "bert-base"
    assert find("bert-base", weights=model.weights) == model
    assert find("bert-base") is None
    assert built() == [model]
    assert model.padded
    assert not (model.folder / "references").exists()  # the bundled workload is for the seeded weights


def test_a_checkpoint_is_not_converted_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same folder with the same files is the same model."""
    model = build("bert-base", weights=str(GOLDEN / "bert"))
    monkeypatch.setattr(onnx_file, "write", refuse)
    assert build("bert-base", weights=str(GOLDEN / "bert")) == model


def test_a_preset_and_a_checkpoint_contradict_each_other() -> None:
    """The size is the checkpoint's."""
    with pytest.raises(UsageError, match="model bert-base: preset 'tiny' and weights contradict each other"):
        build("bert-base", preset="tiny", weights=str(GOLDEN / "bert"))


def test_a_checkpoint_that_is_refused_leaves_nothing_behind(cache: Path) -> None:
    """Another model's checkpoint is noticed before anything is made."""
    with pytest.raises(UsageError, match="another architecture"):
        build("qwen-1.5b", weights=str(GOLDEN / "bert"))
    assert not cache.exists()


def test_a_cache_that_cannot_be_written_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file where the cache folder should be is named."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "file"))
    with pytest.raises(RunError, match=f"cannot build it in {tmp_path / 'file'}: "):
        tiny()


def test_what_a_killed_build_left_is_cleared_away(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A half-built folder and a replaced model, both left by kill -9, are gone after the next build replaces a model."""
    tiny()
    monkeypatch.setattr(catalog, "FORMAT", catalog.FORMAT + 1)
    for leftover in ("resnet50-fp32-tiny", "resnet50-fp32-tiny.before"):
        (cache / "building" / leftover / "1").mkdir(parents=True)
        (cache / "building" / leftover / "1" / "model.onnx").write_text("half")
    tiny()
    assert [path.name for path in (cache / "building").iterdir()] == ["resnet50-fp32-tiny.lock"]


BUILD_ALOUD = """
from bench.recipes.build import build
model = build("resnet50", preset="tiny", say=lambda text: print(text, flush=True))
print(model.digest)
"""


def test_processes_that_build_at_once_wait_for_one_another(cache: Path) -> None:
    """While a third holds the lock both wait; then one builds, the other takes what was built, and both get the same file."""
    (cache / "building").mkdir(parents=True)
    with (cache / "building" / "resnet50-fp32-tiny.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        processes = [subprocess.Popen([sys.executable, "-c", BUILD_ALOUD], stdout=subprocess.PIPE, text=True) for _ in "ab"]
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("waiting for another process that builds resnet50 fp32 tiny")
    said = [process.communicate(timeout=60)[0].splitlines() for process in processes]
    assert sum(line.startswith("building") for lines in said for line in lines) == 1
    model = find("resnet50", preset="tiny")
    assert model is not None
    assert [lines[-1] for lines in said] == [model.digest] * 2


def test_the_answers_to_the_workload_of_its_name_are_made_with_a_model() -> None:
    """A run of workloads/resnet50.toml finds its reference answers ready."""
    assert len(list((tiny().folder / "references").glob("*.arrow"))) == 1


def test_a_workload_of_its_name_that_does_not_fit_does_not_stop_a_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The user's own workloads/resnet50.toml may be broken: the build says so and the model stands."""
    (tmp_path / "workloads").mkdir()
    (tmp_path / "workloads" / "resnet50.toml").write_text("seed = 'one'")
    monkeypatch.chdir(tmp_path)
    said: list[str] = []
    model = build("resnet50", preset="tiny", say=said.append)
    assert find("resnet50", preset="tiny") == model
    assert any("no reference answers made: workloads/resnet50.toml" in line for line in said)
