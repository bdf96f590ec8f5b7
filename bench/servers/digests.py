"""What tells one folder of a model's files from another: a digest of all that is in it."""

import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from bench.errors import RunError

_LEFT_BY_PYTHON = "__pycache__"


def of_folder(folder: Path) -> str:
    """sha256, in hex digits, over the relative names and the contents of all files in `folder`, links followed.

    RunError names what cannot be read. A file is read again only once its size or time has changed, so that a command which
    starts a server many times reads it once.
    """
    together = hashlib.sha256()
    try:
        for path in _files(folder):
            status = path.stat()
            together.update(hashlib.sha256(bytes(path.relative_to(folder))).digest())
            together.update(_of_file(path, status.st_size, status.st_mtime_ns))
    except OSError as error:
        raise RunError(f"model in {folder}: {error.filename}: cannot be read: {error.strerror}") from None
    return together.hexdigest()


def _files(folder: Path, above: tuple[Path, ...] = ()) -> Iterator[Path]:
    here = folder.resolve()
    if here in above:  # a link to a folder that it lies in has no end
        return
    for path in sorted(folder.iterdir()):
        if not path.is_dir():
            yield path
        elif path.name != _LEFT_BY_PYTHON:
            yield from _files(path, (*above, here))


@cache
def _of_file(path: Path, size: int, mtime_ns: int) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
