"""Managed installs, by the real pip from a folder of made-up wheels."""

import hashlib
import os
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from bench.errors import RunError
from bench.servers import installs
from bench.servers.releases import Release

SERVER = "pytriton/tritonserver"
VERSIONS = ("3.11", "3.12")


def wheel(folder: Path) -> Release:
    """A wheel laid out as NVIDIA's, and the release that it is."""
    path = folder / "nvidia_pytriton-9.9.9-py3-none-any.whl"
    info = "nvidia_pytriton-9.9.9.dist-info"
    files = {
        "pytriton/__init__.py": "import numpy\n",
        f"{SERVER}/bin/tritonserver": "#!/bin/sh\n",
        f"{SERVER}/backends/python/libtriton_python.so": "library",
        **{f"{SERVER}/python_backend_stubs/{v}/triton_python_backend_stub": f"stub {v}" for v in VERSIONS},
        "nvidia_pytriton.libs/libtritonserver.so": "library",
        f"{info}/LICENSE": "terms",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: nvidia-pytriton\nVersion: 9.9.9\nRequires-Dist: numpy<2\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": "",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return Release("99.01", "9.9.0", "9.9.9", hashlib.sha256(path.read_bytes()).hexdigest())


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own, and a pip that knows the folder of wheels and no index."""
    (tmp_path / "wheels").mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def release(tmp_path: Path) -> Release:
    """A release that can be had."""
    return wheel(tmp_path / "wheels")


def unhidden(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def test_an_install_holds_the_server_and_not_the_package_around_it(release: Release, cache: Path) -> None:
    """The binary runs, each Python's backend has its stub, and the package whose dependencies nobody wants is left out."""
    folder = installs.install(release, lambda text: None)
    assert folder == cache / "tritons" / "9.9.0" == installs.installed(release)
    assert os.access(installs.program(folder), os.X_OK)
    for version in VERSIONS:
        backend = folder / SERVER / f"backends-{version}" / "python"
        assert (backend / "libtriton_python.so").read_text() == "library"
        assert (backend / "triton_python_backend_stub").read_text() == f"stub {version}"
        assert os.access(backend / "triton_python_backend_stub", os.X_OK)
    assert unhidden(folder) == ["nvidia_pytriton-9.9.9.dist-info", "nvidia_pytriton.libs", "pytriton"]
    assert not (folder / "pytriton" / "__init__.py").exists()


def test_the_first_install_names_the_licence_and_the_second_has_nothing_to_say(release: Release, cache: Path) -> None:
    """What is reused needs neither a download nor a word."""
    said: list[str] = []
    installs.install(release, said.append)
    assert "NVIDIA's own terms" in said[-1]
    assert str(cache / "tritons/9.9.0/nvidia_pytriton-9.9.9.dist-info/LICENSE") in said[-1]
    spoken = len(said)
    installs.install(release, said.append)
    assert len(said) == spoken


def test_a_wheel_with_another_hash_is_refused_and_nothing_is_left(release: Release, cache: Path) -> None:
    """What is not what it should be is not even unpacked."""
    other = replace(release, sha256="0" * 64)
    with pytest.raises(
        RunError, match=r"cannot download Triton 99\.01: pip ended with exit status 1: .*DO NOT MATCH THE HASHES"
    ):
        installs.install(other, lambda text: None)
    assert installs.installed(other) is None
    assert unhidden(cache / "tritons") == []


def test_a_wheel_that_cannot_be_had_is_an_error_with_pips_reason(cache: Path) -> None:
    """No network, or an index without it: pip says which."""
    missing = Release("99.02", "9.9.1", "9.9.8", "0" * 64)
    with pytest.raises(RunError, match=r"Triton 99\.02.*No matching distribution found for nvidia-pytriton==9\.9\.8"):
        installs.install(missing, lambda text: None)
    assert unhidden(cache / "tritons") == []


def test_two_processes_that_install_at_once_download_once(release: Release) -> None:
    """The second waits, says so, and takes what the first made."""
    said: list[str] = []
    with ThreadPoolExecutor(2) as pool:
        folders = list(pool.map(lambda _: installs.install(release, said.append), range(2)))
    assert folders[0] == folders[1] == installs.installed(release)
    assert sum(text.startswith("downloading") for text in said) == 1


def test_what_a_killed_install_left_is_no_hindrance(release: Release, cache: Path) -> None:
    """A half-made folder is never taken for an install, and goes with the next one."""
    half = cache / "tritons" / ".9.9.0.new"
    half.mkdir(parents=True)
    (half / "half a wheel").touch()
    assert installs.installed(release) is None
    assert not (installs.install(release, lambda text: None) / "half a wheel").exists()
    assert unhidden(cache / "tritons") == ["9.9.0"]


def test_a_cache_that_cannot_be_written_is_named(release: Release, cache: Path) -> None:
    """With the variable that names another."""
    cache.touch()
    with pytest.raises(RunError, match=r"cannot write in .*/cache/tritons: Not a directory; BENCH_CACHE"):
        installs.install(release, lambda text: None)


def test_a_release_without_a_backend_for_this_python_lists_those_it_has(
    release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Older releases have none for Python 3.12."""
    folder = installs.install(release, lambda text: None)
    major, minor = sys.version_info[:2]
    assert installs.backends(folder).name == f"backends-{major}.{minor}"
    monkeypatch.setattr("sys.version_info", type("Version", (), {"major": 3, "minor": 99}))
    with pytest.raises(
        RunError, match=r"Triton 9\.9\.0 cannot run Python models by Python 3\.99; it has a backend for 3\.11, 3\.12"
    ):
        installs.backends(folder)
