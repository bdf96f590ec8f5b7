"""A tiny model to serve, and ways to see what a server says and leaves behind."""

import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bench import words
from bench.recipes.build import build
from bench.recipes.catalog import BuiltModel
from bench.servers.base import Server

LIMIT_S = 20.0  # a wait this long means that it will never come


@pytest.fixture(scope="session")
def tiny() -> BuiltModel:
    """ResNet-50's operators in 0.5 MB, in the user's own cache: the Tritons that the tests start lie there too."""
    return build("resnet50", preset="tiny")


@pytest.fixture
def ask() -> Callable[..., str]:
    """Asks a server's HTTP address, with a document as JSON, and returns what it answers."""

    def exchange(server: Server, method: str, path: str, document: Any = None) -> str:
        connection = http.client.HTTPConnection(*words.parse(server.words["http"]).address(0), timeout=30)
        try:
            connection.request(method, path, None if document is None else json.dumps(document))
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    return exchange


@pytest.fixture
def eventually() -> Callable[[Callable[[], bool]], bool]:
    """Waits until a condition holds, and says whether it ever did."""

    def wait(condition: Callable[[], bool]) -> bool:
        deadline = time.monotonic() + LIMIT_S
        while not (held := condition()) and time.monotonic() < deadline:
            time.sleep(0.02)
        return held

    return wait


@pytest.fixture
def alive() -> Callable[[int], bool]:
    """Whether a process runs; a zombie does not."""

    def runs(pid: int) -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except OSError:
            return False

    return runs


@pytest.fixture
def descendants() -> Callable[[int], set[int]]:
    """A process and all below it."""

    def below(root: int) -> set[int]:
        parents = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    parents[int(entry)] = int(Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[1])
                except OSError:
                    continue
        found = {root}
        while more := {pid for pid, parent in parents.items() if parent in found} - found:
            found |= more
        return found

    return below


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Runs a script in a Python, and a process group, of its own: an owner of servers that may be killed."""
    started: list[subprocess.Popen[str]] = []

    def run(script: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", script],
            cwd=tmp_path,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()
