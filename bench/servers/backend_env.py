"""The Python environment that runs models inside a managed Triton, and what a machine must have for one."""

import contextlib
import ctypes
import importlib.metadata
import importlib.util
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

from bench import resources
from bench.errors import RunError
from bench.servers.driver import gpu_count
from bench.servers.installs import run_pip, staging

Say = Callable[[str], None]

# the backend's stub turns what a newer numpy hands it into outputs of 0 bytes
_NUMPY = "1.26.4"
_GLIBC = (2, 35)
_NO_BYTECODE = "no_bytecode.pth"


def check_machine() -> None:
    """RunError with a line for each thing that a managed Triton needs and this machine lacks."""
    if lacking := missing():
        raise RunError("a managed Triton cannot run here:\n  " + "\n  ".join(lacking))


def missing() -> list[str]:
    """What a managed Triton needs and this machine lacks, a line each, with the package that brings it."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    libc, number = platform.libc_ver()
    system = f"{platform.system()} {platform.machine()}"
    checks = [
        (system == "Linux x86_64", f"it is made for Linux x86_64; this is {system}"),
        (
            libc == "glibc" and tuple(map(int, number.split(".")[:2])) >= _GLIBC,
            f"it needs glibc 2.35 or later (Debian 12, Ubuntu 22.04); this is {libc or 'another C library'} {number}".rstrip(),
        ),
        (version in ("3.11", "3.12"), f"its Python backend works with Python 3.11 and 3.12; this is {version}"),
        (
            own_libpython() is not None or _loads(f"libpython{version}.so.1.0"),
            f"libpython{version}.so.1.0 is missing: apt install libpython{version}",
        ),
        (_importable("venv"), f"Python's venv module is missing: apt install python{version}-venv"),
        (_importable("pip"), f"pip is missing in {sys.prefix}: python -m ensurepip, or apt install python3-pip"),
    ]
    return [line for fine, line in checks if not fine]


def own_libpython() -> Path | None:
    """The shared library of the Python that runs this, where it was built with one (pyenv's may be, conda's is)."""
    folder, name = sysconfig.get_config_var("LIBDIR"), sysconfig.get_config_var("INSTSONAME")
    path = Path(folder or "", name or "")
    return path if ".so" in path.name and path.is_file() else None


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _importable(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def onnxruntime_distribution() -> tuple[str, str]:
    """(name, version) of the ONNX Runtime that is installed beside bench; RunError where there is none."""
    for name in ("onnxruntime-gpu", "onnxruntime"):
        try:
            return name, importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    raise RunError("ONNX Runtime is not installed: install inference-bench[cpu], or inference-bench[cuda] for an NVIDIA GPU")


def backend_environment(say: Say) -> Path:
    """The environment's folder, made unless it stands already: numpy 1 and the ONNX Runtime version that bench itself has."""
    name, version = onnxruntime_distribution()
    wanted = "onnxruntime-gpu" if gpu_count() else "onnxruntime"
    key = f"python{sys.version_info.major}.{sys.version_info.minor}-{wanted}-{version}-numpy-{_NUMPY}"
    folder = resources.cache_dir() / "backends" / key
    if _stands(folder):
        _write_no_bytecode(folder)
        return folder
    with staging(folder, "makes the Python environment of Triton's models", say) as new:
        if _stands(folder):
            return folder
        say(f"making the Python environment of Triton's models: {wanted} {version}, numpy {_NUMPY}")
        extras = "[cuda,cudnn]" if wanted == "onnxruntime-gpu" else ""
        pins = new / "constraints.txt"
        pins.write_text("".join(f"{line}\n" for line in companions(name)))
        wheels = [f"numpy=={_NUMPY}", f"{wanted}{extras}=={version}"]
        make_environment(new, ["-c", str(pins), *wheels], "cannot make the Python environment of Triton's models")
        _write_no_bytecode(new)
        shutil.rmtree(folder, ignore_errors=True)  # one whose Python is gone
        new.rename(folder)
    return folder


def _write_no_bytecode(folder: Path) -> None:
    """Have models leave no __pycache__ in their folder: it may be the user's.

    The backend's interpreter reads no environment variables, but the .pth files of its packages.
    """
    for packages in folder.glob("lib/python3.*/site-packages"):
        if not (packages / _NO_BYTECODE).exists():
            (packages / _NO_BYTECODE).write_text("import sys; sys.dont_write_bytecode = True\n")


def companions(distribution: str) -> list[str]:
    """What `distribution` depends on, as installed here ("name==version"), numpy apart."""
    pinned = []
    for requirement in importlib.metadata.requires(distribution) or []:
        name = re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]
        if name != "numpy" and "extra ==" not in requirement:
            with contextlib.suppress(importlib.metadata.PackageNotFoundError):
                pinned.append(f"{name}=={importlib.metadata.version(name)}")
    return pinned


def _stands(folder: Path) -> bool:
    return (folder / "bin" / "python3").exists()


def make_environment(folder: Path, install: list[str], what: str) -> None:
    """A Python environment in `folder` with what `pip install` makes of `install`; RunError, which begins with `what`."""
    # without pip: this Python's own installs into it, and Debian's ensurepip, which is a package apart, is not needed
    made = subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        raise RunError(f"{what}: {(made.stderr or made.stdout).strip()}")
    options = ["--only-binary", ":all:", "--disable-pip-version-check", "--progress-bar", "off"]
    run_pip(["--python", str(folder / "bin" / "python"), "install", *options, *install], folder / "pip.log", what)
