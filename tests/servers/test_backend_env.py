"""What a machine must have for a managed Triton, and the environment of its models."""

import os
import subprocess
import zipfile
from pathlib import Path

import pytest

from bench.errors import RunError
from bench.servers import backend_env


def test_this_machine_has_what_the_suite_needs() -> None:
    """The tests start real Tritons: a machine that cannot is to say so here, line by line."""
    assert backend_env.missing() == []


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("platform.machine", lambda: "aarch64", "it is made for Linux x86_64; this is Linux aarch64"),
        ("platform.libc_ver", lambda: ("glibc", "2.31"), "glibc 2.35 or later (Debian 12, Ubuntu 22.04); this is glibc 2.31"),
        ("platform.libc_ver", lambda: ("", ""), "this is another C library"),
    ],
)
def test_a_machine_of_another_kind_is_told_apart(name: str, value: object, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line, with what is needed and what is here."""
    monkeypatch.setattr(f"bench.servers.backend_env.{name}", value)
    (lacking,) = backend_env.missing()
    assert line in lacking
    with pytest.raises(RunError, match="a managed Triton cannot run here:\n  "):
        backend_env.check_machine()


@pytest.mark.parametrize(("module", "package"), [("venv", "python3.11-venv"), ("pip", "python3-pip")])
def test_a_missing_module_names_the_package_that_brings_it(module: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Debian and Ubuntu split Python into packages; a newcomer copies the line."""
    monkeypatch.setattr("sys.version_info", type("Version", (), {"major": 3, "minor": 11}))
    monkeypatch.setattr(backend_env, "_loads", lambda library: True)
    monkeypatch.setattr(backend_env, "_importable", lambda name: name != module)
    (lacking,) = backend_env.missing()
    assert f"apt install {package}" in lacking


def test_a_libpython_that_is_nowhere_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """The backend's stub is linked against the very library of this Python's version."""
    monkeypatch.setattr("sys.version_info", type("Version", (), {"major": 3, "minor": 12}))
    monkeypatch.setattr(backend_env, "own_libpython", lambda: None)
    monkeypatch.setattr(backend_env, "_loads", lambda library: False)
    assert backend_env.missing() == ["libpython3.12.so.1.0 is missing: apt install libpython3.12"]


def test_a_python_of_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no numpy 1 for Python 3.13, and nothing else will do."""
    monkeypatch.setattr("sys.version_info", type("Version", (), {"major": 3, "minor": 13}))
    assert "its Python backend works with Python 3.11 and 3.12; this is 3.13" in backend_env.missing()


def test_a_python_without_a_shared_library_has_none_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A static build's archive is no library to load, and a name is no file."""
    settings = {"LIBDIR": str(tmp_path), "INSTSONAME": "libpython3.11.a"}
    monkeypatch.setattr("bench.servers.backend_env.sysconfig.get_config_var", settings.get)
    (tmp_path / "libpython3.11.a").touch()
    assert backend_env.own_libpython() is None
    settings["INSTSONAME"] = "libpython3.11.so.1.0"
    assert backend_env.own_libpython() is None
    (tmp_path / "libpython3.11.so.1.0").touch()
    assert backend_env.own_libpython() == tmp_path / "libpython3.11.so.1.0"


def test_without_onnx_runtime_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes by an extra, because two distributions of it install over each other."""

    def nowhere(name: str) -> str:
        raise backend_env.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr("bench.servers.backend_env.importlib.metadata.version", nowhere)
    with pytest.raises(RunError, match=r"inference-bench\[cpu\]"):
        backend_env.onnxruntime_distribution()


def test_companions_are_pinned_to_what_is_installed_here_and_numpy_is_not() -> None:
    """Both sides of a comparison run the same code below ONNX Runtime; only numpy must differ."""
    pinned = dict(line.split("==") for line in backend_env.companions("onnxruntime"))
    assert pinned["flatbuffers"] == backend_env.importlib.metadata.version("flatbuffers")
    assert "numpy" not in pinned


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own, and a pip that finds a made-up numpy and ONNX Runtime, and two versions of what this needs."""
    (tmp_path / "wheels").mkdir()
    here = backend_env.importlib.metadata.version
    made_up = [("numpy", "1.26.4"), ("onnxruntime", backend_env.onnxruntime_distribution()[1])]
    for name, number in [*made_up, ("flatbuffers", here("flatbuffers")), ("flatbuffers", "99.0")]:
        with zipfile.ZipFile(tmp_path / "wheels" / f"{name}-{number}-py3-none-any.whl", "w") as archive:
            info = f"{name}-{number}.dist-info"
            needs = "Requires-Dist: flatbuffers\n" if name == "onnxruntime" else ""
            archive.writestr(f"{name}.py", f"made_up = {number!r}\n")
            archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {number}\n{needs}")
            archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            archive.writestr(f"{info}/RECORD", "")
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(backend_env, "gpu_count", lambda: 0)
    return tmp_path / "cache"


def test_the_environment_has_numpy_1_and_benchs_own_onnx_runtime_and_is_made_once(cache: Path) -> None:
    """Its first python3 on PATH is all that the backend's stub asks for; it outlives being moved, and a Python that left."""
    said: list[str] = []
    folder = backend_env.backend_environment(said.append)
    assert folder.parent == cache / "backends"
    python = folder / "bin" / "python3"
    script = "import flatbuffers, numpy, onnxruntime as o; print(numpy.made_up, o.made_up, flatbuffers.made_up)"
    version, beside = backend_env.onnxruntime_distribution()[1], backend_env.importlib.metadata.version("flatbuffers")
    assert subprocess.check_output([python, "-I", "-c", script], text=True).split() == ["1.26.4", version, beside]

    (quiet,) = folder.glob("lib/python3.*/site-packages/no_bytecode.pth")
    quiet.unlink()  # of an environment that stands already
    assert backend_env.backend_environment(said.append) == folder
    assert len(said) == 1
    shown = subprocess.check_output([python, "-I", "-c", "import sys; print(sys.dont_write_bytecode)"], text=True)
    assert shown.strip() == "True"  # a model's folder may be the user's: no __pycache__ is left there

    for link in folder.glob("bin/python*"):
        link.unlink()
        link.symlink_to(cache / "uninstalled" / "python3")
    assert backend_env.backend_environment(said.append) == folder
    assert len(said) == 2
    assert subprocess.check_output([python, "-I", "-c", script], text=True).split() == ["1.26.4", version, beside]


def test_an_environment_that_cannot_be_made_is_an_error_and_leaves_nothing(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half an environment would fail every model that runs in it."""
    monkeypatch.setenv("PIP_FIND_LINKS", str(cache))
    with pytest.raises(RunError, match=r"Python environment of Triton's models: pip .*numpy==1\.26\.4"):
        backend_env.backend_environment(lambda text: None)
    assert [path for path in (cache / "backends").iterdir() if path.is_dir()] == []
