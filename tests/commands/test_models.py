"""`bench models`."""

import argparse
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest

from bench import resources
from bench.commands import models
from bench.errors import UsageError
from bench.recipes import catalog, graph, recipe
from bench.runtime import generation

GOLDEN = Path(__file__).parents[1] / "golden"
MANUAL = Path(__file__).parents[2] / "docs" / "models.md"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own."""
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def bench_models(*words: str) -> tuple[list[str], list[str]]:
    """What `bench models WORDS` prints and says."""
    parser = argparse.ArgumentParser()
    models.arguments(parser)
    printed: list[str] = []
    said: list[str] = []
    assert models.run(parser.parse_args(words), printed.append, said.append) == 0
    return printed, said


def test_build_prints_what_stands_and_says_what_it_does() -> None:
    """Two lines a model: name, precision, preset, size, parameters, digest, weights and folder; progress goes elsewhere."""
    printed, said = bench_models("build", "resnet50", "--preset", "tiny")
    model = catalog.find("resnet50", preset="tiny")
    assert model is not None
    assert [" ".join(line.split()) for line in printed] == [
        f"resnet50 fp32 tiny 0.8 MB 130,962 parameters sha256 {model.digest[:8]}",
        f"seeded, in {model.folder}",
    ]
    assert said[0] == "building resnet50 fp32 tiny (0.5 MB)"


@pytest.mark.parametrize("name", resources.model_names())
def test_no_precision_is_the_models_own(name: str) -> None:
    """The list says which it is."""
    bench_models("build", name, "--preset", "tiny")
    (model,) = catalog.built()
    listed = " ".join(bench_models("list")[0])
    assert f"precisions: {model.precision} (default), " in listed


def test_a_second_build_prints_the_same_and_has_nothing_to_say() -> None:
    """What stands is reused."""
    first, _ = bench_models("build", "resnet50", "--preset", "tiny")
    assert bench_models("build", "resnet50", "--preset", "tiny") == (first, [])


def test_a_wrong_name_is_refused_before_any_model_is_built() -> None:
    """`build resnet50 nonsense` does not spend a minute on the first to fail at the second."""
    with pytest.raises(UsageError, match="nonsense"):
        bench_models("build", "resnet50", "nonsense", "--preset", "tiny")
    assert catalog.built() == []


def test_list_shows_what_can_be_built_and_that_nothing_is(cache: Path) -> None:
    """A newcomer sees the names to type, the precisions and the presets of each."""
    printed, _ = bench_models("list")
    first = next(number for number, line in enumerate(printed) if line.split()[0] == "resnet50")
    assert printed[first].endswith("ResNet-50 v1.5, image classification")
    assert printed[first + 1].strip() == "precisions: fp32 (default), fp16, int8; presets: full, tiny"
    assert printed[-1] == f"nothing is built yet in {cache}"


def test_list_shows_what_is_built_and_what_is_out_of_date(monkeypatch: pytest.MonkeyPatch) -> None:
    """A built model has the lines that build printed, its folder from the cache on; one by an older recipe is marked."""
    built, _ = bench_models("build", "resnet50", "--preset", "tiny")
    *_, first, second = bench_models("list")[0]
    assert first == built[0]
    assert second.strip() == "seeded, in repository/fp32-tiny/resnet50"
    monkeypatch.setattr(catalog, "FORMAT", catalog.FORMAT + 1)
    assert bench_models("list")[0][-3:-1] == [first, second]
    assert bench_models("list")[0][-1].strip() == "made by an older recipe: the next build replaces it"


def test_the_list_is_readable_in_eighty_columns() -> None:
    """Whatever is built."""
    for name in resources.model_names():
        bench_models("build", name, "--preset", "tiny")
    bench_models("build", "resnet50", "--weights", str(GOLDEN / "resnet"))
    assert max(map(len, bench_models("list")[0][1:])) <= 80


def checkpoint(name: str, tmp_path: Path) -> Path:
    """A copy of a golden checkpoint, to be damaged."""
    return Path(shutil.copytree(GOLDEN / name, tmp_path / "copies" / name))


@pytest.mark.parametrize(("name", "golden"), [("bert-base", "bert"), ("resnet50", "resnet")])
def test_a_checkpoint_becomes_a_model_with_the_answers_of_the_reference(name: str, golden: str) -> None:
    """Built by the command, its outputs are within 1e-4 of the largest value of what transformers computed."""
    printed, _ = bench_models("build", name, "--weights", str(GOLDEN / golden), "--precision", "fp32")
    (model,) = catalog.built()
    assert model.weights.rpartition("-")[0] == golden
    assert f"{model.weights}, in {model.folder}" in printed[1]
    session = onnxruntime.InferenceSession(model.onnx)
    with np.load(GOLDEN / golden / "ref.npz") as stored:
        inputs = {spec.name: stored[spec.name] for spec in model.inputs}
        for spec, output in zip(session.get_outputs(), session.run(None, inputs), strict=True):
            assert np.abs(output - stored[spec.name]).max() < 1e-4 * np.abs(stored[spec.name]).max()


def test_a_qwen_checkpoint_goes_on_as_the_reference_does() -> None:
    """Built by the command, it gives the greedy tokens that transformers gave after the same prompts."""
    bench_models("build", "qwen-1.5b", "--weights", str(GOLDEN / "qwen2"), "--precision", "fp32")
    (model,) = catalog.built()
    assert model.context == 256
    with np.load(GOLDEN / "qwen2" / "ref.npz") as stored:
        prompts = [(ids, stored["greedy"].shape[1]) for ids in stored["input_ids"]]
        answered = [tokens.tolist() for tokens, _ in generation.greedy(model.onnx, prompts, threads=1)]
        assert answered == stored["greedy"].tolist()


@pytest.mark.parametrize("name", resources.model_names())
def test_a_checkpoint_is_built_in_every_precision(name: str) -> None:
    """Side by side with one another and with the seeded one, and all are found again."""
    golden = {"bert-base": "bert", "qwen-1.5b": "qwen2", "resnet50": "resnet"}[name]
    precisions = list(recipe.load(name).precisions)
    for precision in precisions:
        bench_models("build", name, "--weights", str(GOLDEN / golden), "--precision", precision)
    bench_models("build", name, "--preset", "tiny")
    checkpoints = [model for model in catalog.built() if model.weights != catalog.SEEDED]
    assert sorted(model.precision for model in checkpoints) == sorted(precisions)
    assert len({model.digest for model in catalog.built()}) == len(precisions) + 1
    assert bench_models("build", name, "--weights", str(GOLDEN / golden), "--precision", precisions[-1])[1] == []


def damage(folder: Path, how: str) -> None:
    """Make a checkpoint such as users bring."""
    weights = folder / "model.safetensors"
    match how:
        case "truncated":
            os.truncate(weights, weights.stat().st_size - 1000)
        case "pickled":
            weights.rename(folder / "pytorch_model.bin")
        case "no config":
            (folder / "config.json").unlink()
        case "other shapes":
            config = (folder / "config.json").read_text()
            (folder / "config.json").write_text(config.replace('"intermediate_size": 96', '"intermediate_size": 97'))
        case "more layers":
            config = (folder / "config.json").read_text()
            (folder / "config.json").write_text(config.replace('"num_hidden_layers": 2', '"num_hidden_layers": 3'))


@pytest.mark.parametrize(
    ("how", "words", "code", "message"),
    [
        (
            "whole",
            ("--precision", "int3"),
            2,
            "model bert-base: unknown precision 'int3'; it can be built as: fp32, fp16, int8",
        ),
        ("whole", ("--preset", "tiny"), 2, "model bert-base: preset 'tiny' and weights contradict each other"),
        ("truncated", (), 2, r"model\.safetensors: truncated: expected [\d,]+ bytes or more, it has [\d,]+;"),
        ("pickled", (), 2, "pickled by PyTorch; convert them to model.safetensors first"),
        ("no config", (), 2, "no config.json in it; there is: model.safetensors, ref.npz"),
        (
            "other shapes",
            (),
            2,
            r"tensor 'encoder.layer.0.intermediate.dense.bias': expected the shape \[97\], got \[96\]",
        ),
        ("more layers", (), 2, "no tensor 'encoder.layer.2.attention.self.query.bias' among its 39"),
    ],
)
def test_a_checkpoint_that_cannot_be_served_is_one_clear_error(
    bench: Callable[..., Any], cache: Path, tmp_path: Path, how: str, words: tuple[str, ...], code: int, message: str
) -> None:
    """Message, exit code, and nothing left of it in the cache."""
    folder = checkpoint("bert", tmp_path)
    damage(folder, how)
    said = bench("models", "build", "bert-base", "--weights", folder, *words)
    assert said.code == code
    assert re.search(message, said.err)
    assert len(said.err.splitlines()) == 1
    assert not said.out
    assert not cache.exists()


@pytest.mark.parametrize("name", resources.model_names())
def test_a_checkpoint_of_another_architecture_is_one_clear_error(bench: Callable[..., Any], cache: Path, name: str) -> None:
    """The next model's golden is none of this one's."""
    other = {"bert-base": "qwen2", "qwen-1.5b": "resnet", "resnet50": "bert"}[name]
    said = bench("models", "build", name, "--weights", GOLDEN / other)
    assert said.code == 2
    assert f"model {name}: the checkpoint is of another architecture: expected model_type " in said.err
    assert said.err.rstrip().endswith(f"in its config.json, got '{other}'")
    assert not cache.exists()


def test_a_disk_too_small_is_one_clear_error(bench: Callable[..., Any], cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is written, for a checkpoint as for seeded weights."""
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1_000_000))
    for words in (("--preset", "tiny"), ("--weights", GOLDEN / "bert")):
        said = bench("models", "build", "bert-base", *words)
        assert said.code == 3
        assert re.search(r"model bert-base: .* has 1\.0 MB free and the model needs .* MB; .*BENCH_CACHE", said.err)
    assert catalog.built() == []
    assert [path.suffix for path in (cache / "building").iterdir()] == [".lock", ".lock"]


def test_one_checkpoint_is_not_built_as_two_models() -> None:
    """It has one architecture."""
    with pytest.raises(UsageError, match="--weights: one checkpoint is of one model; got 2 models: bert-base, resnet50"):
        bench_models("build", "bert-base", "resnet50", "--weights", str(GOLDEN / "bert"))


def manual_table(title: str) -> dict[tuple[str, str], str]:
    """(model, precision) -> what the table under a title of docs/models.md says of it in its third or fourth cell."""
    section = MANUAL.read_text(encoding="utf-8").split(f"## {title}\n")[1].split("\n## ")[0]
    table, name = {}, ""
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| ") and cells[0] != "model" and not cells[1].startswith("-"):
            name = cells[0].split("`")[1] if cells[0] else name
            table[name, cells[1]] = cells[2] if cells[2].endswith(" MB") else cells[3]
    return table


@pytest.mark.parametrize("name", resources.model_names())
def test_the_manual_states_the_sizes_and_tolerances_of_the_recipes(name: str) -> None:
    """Every precision has its size, within 2 %, and every one but fp32 the tolerance that the tests hold it to."""
    known = recipe.load(name)
    sizes = {precision: size for (model, precision), size in manual_table("Sizes").items() if model == name}
    tolerances = {precision: text for (model, precision), text in manual_table("Precisions").items() if model == name}
    assert tolerances == {p: str(tolerance) for p, tolerance in known.precisions.items() if p != "fp32"}
    assert list(sizes) == list(known.precisions)
    for precision in sizes.keys() - known.quantize.keys():
        made = graph.trace(known.presets["full"], precision).nbytes() / 1e6
        assert float(sizes[precision].removesuffix(" MB").replace(",", "")) == pytest.approx(
            made, rel=0.02
        )  # tensors start at pages
