"""How a managed Triton is started: pure."""

from pathlib import Path

import pytest

from bench.recipes.catalog import BuiltModel
from bench.servers import backend_env, repositories
from bench.servers.base import OwnModel, ServerFacts
from bench.servers.triton_options import Settings
from bench.servers.wheel import Wheel, environment
from bench.tensors import TensorSpec


def test_the_backend_s_python_comes_first_and_the_user_s_settings_for_python_do_not_reach_it() -> None:
    """The stub takes the first python3 on PATH; a PYTHONHOME or an activated environment would lead it elsewhere."""
    outer = {"PATH": "/usr/bin", "PYTHONHOME": "/x", "PYTHONPATH": "/y", "VIRTUAL_ENV": "/z", "HOME": "/root"}
    assert environment(outer, Path("/cache/env"), Path("/private/lib")) == {
        "PATH": "/cache/env/bin:/usr/bin",
        "LD_LIBRARY_PATH": "/private/lib",
        "HOME": "/root",
    }


def test_libraries_that_the_user_names_stay_reachable() -> None:
    """CUDA may lie there."""
    outer = {"PATH": "/usr/bin", "LD_LIBRARY_PATH": "/cuda/lib:/more"}
    assert environment(outer, Path("/e"), Path("/l"))["LD_LIBRARY_PATH"] == "/l:/cuda/lib:/more"


def test_the_order_names_all_that_has_to_be_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The private repository, and shared memory under a prefix that is this server's alone."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    library = tmp_path / "libpython3.11.so.1.0"
    library.touch()
    monkeypatch.setattr(backend_env, "own_libpython", lambda: library)
    monkeypatch.setattr("bench.servers.wheel.installs.backends", lambda folder: folder / "backends")
    spec = TensorSpec("input", "FP32", (-1, 4))
    model = BuiltModel("m", "fp32", "full", tmp_path, tmp_path / "m.onnx", "0" * 64, 1, (spec,), (spec,), 8)
    repository = repositories.for_wheel(model, Settings("off", 1, 1, 8, 0, False))
    plan = Wheel(Path("/t"), Path("/e"), repository, ("--mine",), "benchabc", ServerFacts("", "", "", ""))
    order = plan.order((8000, 8001, 8002), tmp_path / "log")
    (folder,) = map(Path, order.folders)
    assert folder.parent == tmp_path
    assert (folder / "models" / "m" / "config.pbtxt").is_file()
    assert (folder / "lib" / library.name).samefile(library)
    assert order.shared_memory == ["benchabc"]
    assert "--backend-config=python,shm-region-prefix-name=benchabc" in order.argv
    assert f"--model-repository={folder}/models" in order.argv
    assert order.argv[-1] == "--mine"


def test_a_repository_of_the_users_is_not_among_what_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is served from where it lies; the user's arguments come after bench's own."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    monkeypatch.setattr("bench.servers.wheel.installs.backends", lambda folder: folder / "backends")
    repository = repositories.of_the_user(OwnModel("own", tmp_path / "theirs"), gpu=False)
    plan = Wheel(Path("/t"), Path("/e"), repository, ("--mine",), "benchabc", ServerFacts("", "", "", ""))
    order = plan.order((8000, 8001, 8002), tmp_path / "log")
    assert f"--model-repository={tmp_path}/theirs" in order.argv
    assert order.argv[-3:] == ["--model-control-mode=explicit", "--load-model=own", "--mine"]
    assert [Path(folder).parent for folder in order.folders] == [tmp_path / "temporary"]
