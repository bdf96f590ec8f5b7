"""Where bench finds what comes with it, and what lies beside the user."""

from pathlib import Path

import pytest

from bench import resources
from bench.errors import UsageError


def test_the_cache_is_where_the_user_says_or_where_caches_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """$BENCH_CACHE, else $XDG_CACHE_HOME, else ~/.cache; always absolute, because servers start elsewhere."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    monkeypatch.setenv("BENCH_CACHE", "mine")
    assert resources.cache_dir() == tmp_path / "mine"
    monkeypatch.setenv("BENCH_CACHE", "")
    assert resources.cache_dir() == Path("/caches/inference-bench")
    monkeypatch.delenv("BENCH_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert resources.cache_dir() == Path("/home/somebody/.cache/inference-bench")


def test_what_comes_with_bench_is_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workloads and models."""
    monkeypatch.chdir(tmp_path)
    assert resources.load_workload("resnet50").model.name == "resnet50"
    assert (resources.model_source("resnet50") / "recipe.py").is_file()


@pytest.mark.parametrize("name", sorted(resources.workload_names()))
def test_every_workload_that_comes_with_bench_can_be_used(name: str) -> None:
    """It reads, and says what it is."""
    assert resources.load_workload(name).description


def test_a_model_without_a_recipe_is_told_with_those_that_have_one() -> None:
    """The names to type."""
    with pytest.raises(UsageError, match=r"model 'nonsense': .*it can build: .*resnet50"):
        resources.model_source("nonsense")


def test_a_workload_beside_the_user_goes_before_the_bundled_one(
    four_floats: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy in ./workloads is there to be changed."""
    (tmp_path / "workloads").mkdir()
    (tmp_path / "workloads" / "resnet50.toml").write_text(four_floats.read_text())
    monkeypatch.chdir(tmp_path)
    assert resources.load_workload("resnet50").description == "four floats, echoed"


def test_a_path_is_a_path_and_a_name_is_a_name(four_floats: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slash or .toml makes a path; a bare name is looked up, though a file of that name lies here."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text(four_floats.read_text())
    (tmp_path / "mine").write_text(four_floats.read_text())
    for path in ("mine.toml", "./mine.toml", "./mine", str(tmp_path / "mine.toml")):
        assert resources.load_workload(path).name == "mine"
    with pytest.raises(UsageError, match="workload 'mine': not found"):
        resources.load_workload("mine")


@pytest.mark.parametrize(("name", "reason"), [("./", "Is a directory"), ("x.toml", "No such file"), ("./latin", "not UTF-8")])
def test_a_workload_file_that_cannot_be_read_is_told_with_the_reason(
    name: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The path, what is wrong with it, and the names there are."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "latin").write_bytes(b'description = "\xe9"')
    with pytest.raises(UsageError, match=rf"workload '{name}': cannot read .*{reason}.*there are: .*resnet50"):
        resources.load_workload(name)
