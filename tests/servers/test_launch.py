"""From a plan to a server that is ready, with scripted servers."""

import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench import words
from bench.errors import RunError, UsageError
from bench.servers import launch
from bench.servers.base import ServerFacts
from bench.servers.launch import HOST, Ports
from bench.servers.process import Order

WORD = words.parse("scripted")
FACTS = ServerFacts("scripted", "1", "here", "none")
SERVE = "import time; print('ready', flush=True); time.sleep(1000)"


@dataclass(frozen=True)
class Scripted:
    """A plan whose server is a Python script; `PORT` in it is the first port."""

    script: str
    facts: ServerFacts = FACTS
    port_count: int = 2
    ready_limit_s: float = 20.0

    def order(self, ports: Ports, log: Path) -> Order:
        return Order([sys.executable, "-c", self.script.replace("PORT", str(ports[0]))], str(log), cwd=str(log.parent))

    def ready(self, ports: Ports, said: str) -> bool:
        return "ready" in said.splitlines()

    def words(self, ports: Ports) -> dict[str, str]:
        return {"http": f"scripted://{HOST}:{ports[0]}"}

    def root(self, pid: int) -> int:
        return pid


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that something listens on."""
    with socket.create_server((HOST, 0)) as server:
        yield server.getsockname()[1]


def test_a_server_is_ready_inside_its_context_and_gone_after_it(tmp_path: Path, alive: Callable[[int], bool]) -> None:
    """What it is called, what it is, where its log lies: all there while it runs."""
    with launch.launch(WORD, Scripted(SERVE), tmp_path / "logs" / "server.log") as server:
        assert alive(server.pid)
        assert server.exited() is None
        assert server.words["http"].startswith("scripted://127.0.0.1:")
        assert server.facts.kind == "scripted"
        assert (server.facts.ready_s or 0.0) > 0.0
        assert server.log.read_text() == "ready\n"
    assert not alive(server.pid)


def test_an_error_in_the_body_ends_the_server(tmp_path: Path, alive: Callable[[int], bool]) -> None:
    """A run that fails leaves no server behind."""
    with pytest.raises(ZeroDivisionError), launch.launch(WORD, Scripted(SERVE), tmp_path / "log") as server:
        raise ZeroDivisionError
    assert not alive(server.pid)


def test_a_server_that_dies_while_starting_says_why(tmp_path: Path) -> None:
    """Its exit status and what its log says, and not what earlier servers wrote there."""
    log = tmp_path / "log"
    log.write_text("of another time\n")
    with pytest.raises(RunError) as caught, launch.launch(WORD, Scripted("import sys; sys.exit('no such model')"), log):
        pass
    assert str(caught.value) == (f"scripted did not start: it ended with exit status 1; its log ({log}) says:\n  no such model")


def test_a_server_that_never_gets_ready_is_given_up_and_ended(tmp_path: Path, alive: Callable[[int], bool]) -> None:
    """bench does not wait for ever, and what it gave up on does not run on."""
    script = "import os, time; print(os.getpid(), flush=True); time.sleep(1000)"
    for limit_s in (0.5, 5.0, 50.0):  # a busy machine may not have come to the script by then
        with pytest.raises(RunError, match=rf"scripted was not ready after {limit_s:g} s; its log"):
            launch.launch(WORD, Scripted(script, ready_limit_s=limit_s), tmp_path / "log").__enter__()
        if said := (tmp_path / "log").read_text():
            break
    assert not alive(int(said))


def test_a_port_that_is_taken_meanwhile_is_chosen_again(tmp_path: Path) -> None:
    """Between choosing a free port and binding it another program may come first."""
    script = (
        "import os, sys\n"
        "if not os.path.exists('once'): open('once', 'w'); sys.exit('Address already in use: PORT')\n"
        f"print('mine: PORT'); {SERVE}"
    )
    with launch.launch(WORD, Scripted(script), tmp_path / "log") as server:
        lines = server.log.read_text().splitlines()
        assert server.words["http"].endswith(lines[1].split()[-1])
    assert [line.split(":")[0] for line in lines] == ["Address already in use", "mine", "ready"]


def test_a_port_that_is_taken_again_and_again_is_an_error(tmp_path: Path) -> None:
    """The search for a port ends."""
    with (
        pytest.raises(RunError, match="Address already in use"),
        launch.launch(WORD, Scripted("import sys; sys.exit('Address already in use')"), tmp_path / "log"),
    ):
        pass


def test_a_port_that_was_asked_for_and_is_taken_is_a_usage_error(taken: int, tmp_path: Path) -> None:
    """It names the port and, where a server takes several, all of them."""
    word = words.parse(f"scripted?port={taken - 1}")
    expected = rf"port {taken} on 127\.0\.0\.1 cannot be had \(it needs {taken - 1} to {taken}\): Address already in use"
    with pytest.raises(UsageError, match=expected):
        launch.launch(word, Scripted(SERVE), tmp_path / "log").__enter__()


def test_a_port_beyond_the_last_is_a_usage_error() -> None:
    """65535 is the last port, and the last server's last port."""
    with pytest.raises(UsageError, match="expected at most 65533, got 65534"):
        launch.choose_ports(words.parse("scripted?port=65534"), 3)


def test_free_ports_are_distinct_and_free() -> None:
    """Triton needs three at once."""
    ports = launch.choose_ports(WORD, 3)
    assert len(set(ports)) == 3
    for port in ports:
        socket.create_server((HOST, port)).close()


def test_a_log_that_cannot_be_written_is_an_error_that_names_it(tmp_path: Path) -> None:
    """Before anything is started."""
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"cannot write the server's log .*/file/server\.log: "):
        launch.launch(WORD, Scripted(SERVE), tmp_path / "file" / "server.log").__enter__()


def test_nothing_that_answers_is_status_0(taken: int) -> None:
    """A server that is not there yet, and one that accepts but never answers in HTTP, are both not ready."""
    (port,) = launch.choose_ports(WORD, 1)
    assert launch.ask(port, "/") == (0, None)
