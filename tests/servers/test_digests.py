"""What tells one folder of a model's files from another."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.errors import RunError
from bench.servers import digests
from bench.servers.digests import of_folder


def model(at: Path) -> Path:
    """A folder as a Triton model repository has it."""
    (at / "1").mkdir(parents=True)
    (at / "config.pbtxt").write_text('backend: "python"')
    (at / "1" / "model.py").write_text("pass")
    return at


def test_the_same_files_have_one_digest_wherever_they_lie(tmp_path: Path) -> None:
    """64 hex digits, whatever the folder is called and Python has left in it."""
    first, second = model(tmp_path / "a"), model(tmp_path / "deep" / "b")
    (second / "1" / "__pycache__").mkdir()
    (second / "1" / "__pycache__" / "model.cpython-311.pyc").write_bytes(b"x")
    assert of_folder(first) == of_folder(second)
    assert len(bytes.fromhex(of_folder(first))) == 32


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "1" / "model.py").write_text("pas5"),
        lambda folder: (folder / "1" / "model.py").rename(folder / "1" / "other.py"),
        lambda folder: (folder / "1").rename(folder / "2"),
        lambda folder: (folder / "2").symlink_to("1"),
        lambda folder: (folder / "1" / "model.py").unlink(),
    ],
    ids=["content", "name", "version", "a linked version", "a file less"],
)
def test_any_change_changes_the_digest(change: Callable[[Path], object], tmp_path: Path) -> None:
    """Of a content, a name, a version, also behind a link."""
    folder = model(tmp_path / "m")
    before = of_folder(folder)
    change(folder)
    assert of_folder(folder) != before


def test_a_link_to_a_folder_that_it_lies_in_is_followed_no_further(tmp_path: Path) -> None:
    """Else it had no end."""
    folder = model(tmp_path / "m")
    (folder / "1" / "up").symlink_to(folder)
    assert of_folder(folder)


def test_a_file_is_read_once_and_again_when_it_has_changed(tmp_path: Path) -> None:
    """A large one costs a command its time once, however many servers it starts."""
    folder = model(tmp_path / "m")
    read = digests._of_file.cache_info
    before = (of_folder(folder), read().misses)
    assert (of_folder(folder), read().misses) == before
    os.utime(folder / "config.pbtxt", ns=(1, 1))
    assert (of_folder(folder), read().misses) == (before[0], before[1] + 1)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """A link to what is no longer there."""
    folder = model(tmp_path / "m")
    (folder / "1" / "weights.bin").symlink_to(tmp_path / "gone")
    with pytest.raises(RunError, match=r"weights\.bin: cannot be read: No such file or directory"):
        of_folder(folder)
