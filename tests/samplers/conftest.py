"""The scripted NVML that the real pynvml loads in the processes a test starts."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "native" / "nvml.c"


@pytest.fixture(scope="session")
def nvml_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the scripted libnvidia-ml.so.1."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.fail("no C compiler: these tests compile tests/native/nvml.c with `cc` (Debian, Ubuntu: apt install gcc)")
    folder = tmp_path_factory.mktemp("nvml")
    command = [compiler, "-std=gnu11", "-shared", "-fPIC", "-o", str(folder / "libnvidia-ml.so.1"), str(SOURCE)]
    compiled = subprocess.run(command, capture_output=True, text=True)
    assert compiled.returncode == 0, compiled.stderr
    return folder


@pytest.fixture
def nvml(nvml_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Set the script of the NVML that processes started from here on will find; tests/native/nvml.c says how to write one."""

    def play(script: str) -> None:
        monkeypatch.setenv("LD_LIBRARY_PATH", str(nvml_folder))
        monkeypatch.setenv("NVML_SCRIPT", script)

    return play


@pytest.fixture
def no_nvml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes started from here on find no NVML, also on a machine that has one."""
    folder = tmp_path / "no-nvml"
    folder.mkdir()
    (folder / "libnvidia-ml.so.1").write_text("not a library")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(folder))
