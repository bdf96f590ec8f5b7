"""Managed Tritons: downloaded by pip, checked against a known hash, unpacked side by side into the cache."""

import fcntl
import shutil
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import resources
from bench.errors import RunError
from bench.servers.process import Guarded, Order, describe_exit, said
from bench.servers.releases import Release

Say = Callable[[str], None]

_DISTRIBUTION = "nvidia-pytriton"
_WANTED = ("pytriton/tritonserver/", "nvidia_pytriton.libs/")  # the server, and not the Python package around it
_SERVER = Path("pytriton", "tritonserver")


def folder_of(release: Release) -> Path:
    """Where this release stands once it is installed."""
    return resources.cache_dir() / "tritons" / release.triton


def installed(release: Release) -> Path | None:
    """The folder of an installed release."""
    folder = folder_of(release)
    return folder if folder.is_dir() else None


def program(folder: Path) -> Path:
    """The tritonserver in an installed release's folder."""
    return folder / _SERVER / "bin" / "tritonserver"


def backends(folder: Path) -> Path:
    """Its backend folder for this Python's version; RunError where the release has none."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    found = folder / _SERVER / f"backends-{version}"
    if not found.is_dir():
        others = ", ".join(sorted(path.name.partition("-")[2] for path in found.parent.glob("backends-*")))
        raise RunError(f"Triton {folder.name} cannot run Python models by Python {version}; it has a backend for {others}")
    return found


def install(release: Release, say: Say) -> Path:
    """The folder of the release, installed unless it stands already; RunError where it cannot be had or is another."""
    return installed(release) or _install(release, say)


def _install(release: Release, say: Say) -> Path:
    folder = folder_of(release)
    with staging(folder, f"installs Triton {release.ngc}", say) as new:
        if folder.is_dir():
            return folder
        say(f"downloading Triton {release.ngc} ({release.triton}): {_DISTRIBUTION} {release.wheel}")
        wheel = _download(release, new)
        _unpack(wheel, new)
        wheel.unlink()
        new.rename(folder)
    say(f"installed Triton {release.ngc} in {folder}; {licence(release)}")
    return folder


def licence(release: Release) -> str:
    """Under which terms the user has what was installed, and where to read them."""
    texts = sorted(
        path for path in folder_of(release).glob("*.dist-info/**/*") if path.is_file() and path.name.upper().startswith("LICEN")
    )
    place = f"; text: {texts[0]}" if texts else ""
    return (
        f"licences: {_DISTRIBUTION} Apache-2.0, tritonserver BSD-3-Clause, and the NVIDIA CUDA runtime and DCGM libraries "
        f"in it NVIDIA's own terms{place}"
    )


@contextmanager
def staging(folder: Path, what: str, say: Say) -> Iterator[Path]:
    """An empty folder beside `folder` to make it in, while no other process does the same; gone afterwards unless renamed."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        new = folder.with_name(f".{folder.name}.new")
        with folder.with_name(f".{folder.name}.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say(f"waiting for another process that {what}")
                fcntl.flock(lock, fcntl.LOCK_EX)
            shutil.rmtree(new, ignore_errors=True)  # of a process that was killed
            new.mkdir()
            try:
                yield new
            finally:
                shutil.rmtree(new, ignore_errors=True)
    except OSError as error:
        raise RunError(
            f"cannot write in {folder.parent}: {error.strerror or error}; BENCH_CACHE names another folder"
        ) from None


def run_pip(arguments: list[str], log: Path, what: str) -> None:
    """Run this Python's pip, with the user's own configuration and its output in `log`; RunError shows its complaint."""
    # under a guardian, so that no pip goes on writing into the cache when bench is killed
    process = Guarded(Order([sys.executable, "-m", "pip", *arguments], str(log)))
    try:
        while (status := process.exited(1.0)) is None:
            pass
    finally:
        process.stop()
    if status != 0:
        raise RunError(f"{what}: pip {describe_exit(status)}: {_complaint(said(log))}")


def _complaint(text: str) -> str:
    """What pip said was wrong, from its first error on."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    first = next((i for i, line in enumerate(lines) if line.startswith("ERROR")), max(len(lines) - 3, 0))
    return " ".join(lines[first : first + 8]).removeprefix("ERROR: ") or "it said nothing"


def _download(release: Release, into: Path) -> Path:
    requirement = into / "requirement.txt"
    requirement.write_text(f"{_DISTRIBUTION}=={release.wheel} --hash=sha256:{release.sha256}\n")
    options = [
        "--no-deps",
        "--only-binary",
        ":all:",
        "--require-hashes",
        "--disable-pip-version-check",
        "--progress-bar",
        "off",
    ]
    log = into / "pip.log"
    run_pip(["download", *options, "-r", str(requirement), "-d", str(into)], log, f"cannot download Triton {release.ngc}")
    requirement.unlink()
    log.unlink()
    return next(into.glob("*.whl"))


def _unpack(wheel: Path, into: Path) -> None:
    """The server's own files, and for each Python's stub a copy of the Python backend with it."""
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.namelist():
            if member.startswith(_WANTED) or ".dist-info/" in member:
                archive.extract(member, into)
    server = into / _SERVER
    for stub in server.glob("python_backend_stubs/3.*/triton_python_backend_stub"):
        # beside the original: the backend finds its libraries by a path relative to its own
        backend = server / f"backends-{stub.parent.name}" / "python"
        shutil.copytree(server / "backends" / "python", backend)
        shutil.copy(stub, backend)
        (backend / stub.name).chmod(0o755)
    (server / "bin" / "tritonserver").chmod(0o755)
