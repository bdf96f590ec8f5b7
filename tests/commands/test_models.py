"""`bench models`."""

import argparse
from pathlib import Path

import pytest

from bench.commands import models
from bench.errors import UsageError
from bench.recipes import catalog


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own."""
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    return tmp_path


def bench_models(*words: str) -> tuple[list[str], list[str]]:
    """What `bench models WORDS` prints and says."""
    parser = argparse.ArgumentParser()
    models.arguments(parser)
    printed: list[str] = []
    said: list[str] = []
    assert models.run(parser.parse_args(words), printed.append, said.append) == 0
    return printed, said


def test_build_prints_what_stands_and_says_what_it_does() -> None:
    """One line a model: name, precision, preset, size, parameters, digest, folder; progress goes elsewhere."""
    printed, said = bench_models("build", "resnet50", "--preset", "tiny")
    model = catalog.find("resnet50", preset="tiny")
    assert model is not None
    assert [" ".join(line.split()) for line in printed] == [
        f"resnet50 fp32 tiny 0.5 MB 130,962 parameters sha256 {model.digest[:12]} {model.folder}"
    ]
    assert said[0] == "building resnet50 fp32 tiny (0.5 MB)"


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
    """A newcomer sees the names to type."""
    printed, _ = bench_models("list")
    assert any(line.split()[0] == "resnet50" and "presets: full, tiny" in line for line in printed)
    assert printed[-1] == f"nothing is built yet in {cache}"


def test_list_shows_what_is_built_and_what_is_out_of_date(monkeypatch: pytest.MonkeyPatch) -> None:
    """A built model has the line that build printed; one by an older recipe is marked."""
    (built,), _ = bench_models("build", "resnet50", "--preset", "tiny")
    assert bench_models("list")[0][-1] == f"  {built}"
    monkeypatch.setattr(catalog, "FORMAT", catalog.FORMAT + 1)
    assert bench_models("list")[0][-1] == f"  {built}  (by an older recipe: the next build replaces it)"
