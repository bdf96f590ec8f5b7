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


def test_a_part_of_a_mix_takes_over_the_workload_that_it_names(two_shapes: Path, four_floats: Path) -> None:
    """Its model, payload, slo and check, from a file beside the mix's; the mix has the load, the times and the seed."""
    mixed, alone = resources.load_workload(str(two_shapes)), resources.load_workload(str(four_floats))
    small = mixed.mix[0]
    assert (small.model, small.payload, small.slo, small.check) == (alone.model, alone.payload, alone.slo, alone.check)
    assert (small.name, small.weight, small.workload) == ("small", 3.0, str(four_floats))
    assert {(part.load, part.duration_ns, part.seed) for part in mixed.parts} == {(mixed.load, 4 * 10**9, 1)}


def test_the_bundled_mix_is_of_the_bundled_workloads() -> None:
    """Three images to one text."""
    mixed = resources.load_workload("mixed")
    assert [(part.name, part.weight, part.workload) for part in mixed.mix] == [
        ("resnet50", 3.0, "resnet50"),
        ("bert-base", 1.0, "bert-base"),
    ]
    for part in mixed.mix:
        alone = resources.load_workload(part.name)
        assert (part.model, part.payload, part.slo, part.check) == (alone.model, alone.payload, alone.slo, alone.check)


def mixing(folder: Path, part: str, name: str = "mixture.toml") -> Path:
    """A mix of this part with one that states itself."""
    other = '[[mix]]\nname = "other"\nmodel = {name = "m"}\npayload.inputs.x = {datatype = "FP32", shape = [1]}\n'
    path = folder / name
    path.write_text(f'[[mix]]\n{part}\n{other}[load]\narrivals = "closed"\n')
    return path


def test_what_a_part_states_itself_goes_over_what_it_takes_over(four_floats: Path, tmp_path: Path) -> None:
    """Key by key: the rest of each table stays."""
    part = f"""workload = "{four_floats}"
    [mix.model]
    precision = "int8"
    [mix.payload]
    distinct = 2
    [mix.slo]
    latency = "9ms"
    [mix.check]
    tolerance = 0.5"""
    mine, alone = resources.load_workload(str(mixing(tmp_path, part))).mix[0], resources.load_workload(str(four_floats))
    assert mine.name == "four-floats"
    assert (mine.model.name, mine.model.precision) == ("echo", "int8")
    assert (mine.payload.inputs, mine.payload.distinct) == (alone.payload.inputs, 2)
    assert (mine.slo.quantile, mine.slo.latency_ns) == (0.9, 9_000_000)
    assert (mine.check.every, mine.check.tolerance) == (1, 0.5)


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("nonsense", "workload 'nonsense': not found; tried workloads/nonsense.toml here .*there are: .*mixed, .*resnet50"),
        ("./nonsense.toml", "workload './nonsense.toml': cannot read .*: No such file or directory; there are: "),
        ("mixed", "workload 'mixed' is a mix itself: expected one of a single model"),
        ("./mixture.toml", "workload './mixture.toml' is a mix itself: expected one of a single model"),
        ("./broken.toml", r"broken\.toml: load: missing, and needed"),
        ("./no.toml", r"no\.toml: not valid TOML"),
    ],
)
def test_a_part_that_names_no_workload_of_one_model_is_told(named: str, message: str, tmp_path: Path) -> None:
    """With the mix's file, the part, and what is wrong with what it names; a mix that names itself does not go round."""
    (tmp_path / "broken.toml").write_text('model = {name = "m"}\npayload.inputs.x = {datatype = "FP32", shape = [1]}\n')
    (tmp_path / "no.toml").write_text("model = ")
    with pytest.raises(UsageError, match=rf"mixture\.toml: mix\[0\]\.workload: .*{message}"):
        resources.load_workload(str(mixing(tmp_path, f'workload = "{named}"')))


def test_what_a_part_names_is_found_beside_the_mix_from_any_folder(
    tmp_path: Path, four_floats: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The part's own files too, and those of the workload that it names beside that one."""
    (tmp_path / "deeper").mkdir()
    text = four_floats.read_text().replace("shape = [1, 4]", 'shape = [1, 4]\nfile = "x.json"').replace("distinct = 4", "")
    (tmp_path / "deeper" / "named.toml").write_text(text)
    (tmp_path / "deeper" / "x.json").write_text("[[[1, 2, 3, 4]], [[5, 6, 7, 8]]]")
    (tmp_path / "y.json").write_text("[[1], [2], [3]]")
    path = mixing(tmp_path, 'workload = "deeper/named.toml"')
    path.write_text(path.read_text().replace("shape = [1]", 'shape = [1], file = "y.json"'))
    monkeypatch.chdir("/")
    named, other = resources.load_workload(str(path)).mix
    assert (named.payload.inputs["x"].file, named.payload.distinct) == (str(tmp_path / "deeper" / "x.json"), 2)
    assert (other.payload.inputs["x"].file, other.payload.distinct) == (str(tmp_path / "y.json"), 3)
    assert named.workload == str(tmp_path / "deeper" / "named.toml")


def test_a_file_of_a_part_that_is_wrong_is_told_with_its_part(tmp_path: Path) -> None:
    """A CSV of lengths, and a file of requests."""
    part = """name = "mine"
    model = {name = "m"}
    payload.inputs.x = {datatype = "FP32", shape = ["n"]}
    payload.lengths.n = {distribution = "csv", file = "n.csv"}"""
    with pytest.raises(UsageError, match=r"mixture\.toml: mix\[0\]: payload\.lengths\.n\.file: .*n\.csv: cannot be read"):
        resources.load_workload(str(mixing(tmp_path, part)))
    part = part.partition("payload.lengths")[0].replace('shape = ["n"]', 'shape = ["n"], file = "x.npy"')
    with pytest.raises(UsageError, match=r"mixture\.toml: mix\[0\]: payload\.inputs\.x: .*x\.npy: cannot be read"):
        resources.load_workload(str(mixing(tmp_path, part)))
