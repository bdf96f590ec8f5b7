"""`bench worker`: waits for a command on another host, works for it, waits for the next."""

import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

LIMIT_S = 40


@pytest.fixture
def worker() -> Iterator[Any]:
    """Starts the command."""
    started: list[subprocess.Popen[str]] = []

    def start(*flags: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "bench", "worker", *flags]
        started.append(subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


def test_without_a_master_it_says_so_once_and_ends_well_when_asked_to(worker: Any, free_port: int) -> None:
    """It goes on waiting, which is what it is for; an end asked for is exit code 0."""
    process = worker("--master", f"127.0.0.1:{free_port}")
    assert (
        process.stderr.readline() == f"waiting for a command at 127.0.0.1:{free_port} (Connection refused); Ctrl-C ends this\n"
    )
    process.send_signal(signal.SIGTERM)
    assert process.wait(LIMIT_S) == 0
    assert process.stderr.read() == "stopping\n"


def test_what_is_no_master_is_told_from_one(worker: Any) -> None:
    """A server that says nothing of a load: one run is not made, and the code says so."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_accept, args=(listener,), daemon=True).start()
        port = listener.getsockname()[1]
        process = worker("--master", f"127.0.0.1:{port}", "--once")
        assert process.wait(LIMIT_S) == 3
        assert f"no master of a load answers at 127.0.0.1:{port}" in process.stderr.read()


def _accept(listener: socket.socket) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        connection.close()


@pytest.fixture
def free_port() -> Iterator[int]:
    """A port where nobody listens, and nobody else can begin to."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        yield int(reserved.getsockname()[1])
