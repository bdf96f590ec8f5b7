"""From a plan to a server that is ready: ports, the wait, and an error that shows the log's end."""

import http.client
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from bench.errors import RunError, UsageError
from bench.servers.base import Server, ServerFacts
from bench.servers.process import Guarded, Order, describe_exit, said, tail
from bench.words import Word

HOST = "127.0.0.1"
READY_LIMIT_S = 180.0  # for what bench built itself
_POLL_S = 0.05
_TRIES = 3  # with other free ports, when one was taken between choosing and binding
_TAKEN = "in use"  # so end Triton's, gunicorn's and Docker's messages on a port that is taken

Ports = tuple[int, ...]


class Plan(Protocol):
    """A server as it is to be started, on ports that are not known yet."""

    @property
    def facts(self) -> ServerFacts: ...

    @property
    def port_count(self) -> int: ...

    @property
    def ready_limit_s(self) -> float: ...

    def order(self, ports: Ports, log: Path) -> Order:
        """What the guardian is to start; makes the folders that the order names."""
        ...

    def ready(self, ports: Ports, said: str) -> bool:
        """Whether the server, which has written `said` to its log, answers and serves its model."""
        ...

    def words(self, ports: Ports) -> dict[str, str]:
        """protocol -> target word."""
        ...

    def root(self, pid: int) -> int:
        """The root of the server's process tree, `pid` being the process that the guardian started."""
        ...


class Running:
    """A server that is ready; see `bench.servers.base.Server`."""

    def __init__(self, plan: Plan, process: Guarded, ports: Ports, log: Path, ready_s: float) -> None:
        self.words, self.log = plan.words(ports), log
        self.facts = replace(plan.facts, ready_s=round(ready_s, 3))
        self.pid = plan.root(process.pid)
        self._process = process

    def exited(self, wait_s: float = 0.0) -> int | None:
        return self._process.exited(wait_s)

    def stop(self) -> None:
        self._process.stop()

    def kill(self) -> None:
        self._process.kill()


@contextmanager
def launch(word: Word, plan: Plan, log: Path) -> Iterator[Server]:
    """The server, ready. UsageError where the port that was asked for is taken; RunError where it does not become ready."""
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.touch()
    except OSError as error:
        raise RunError(f"{word}: cannot write the server's log {log}: {error.strerror}") from None
    with ExitStack() as stack:
        for left in reversed(range(_TRIES)):
            ports = choose_ports(word, plan.port_count)
            begin, began = log.stat().st_size, time.monotonic()
            process = Guarded(plan.order(ports, log))
            stack.callback(process.stop)
            problem = _wait_ready(process, plan, ports, log, begin)
            ready_s = time.monotonic() - began
            if not problem:
                break
            process.stop()
            if "port" in word.options or _TAKEN not in said(log, begin) or not left:
                raise RunError(f"{word} {problem}{tail(log, begin)}")
        yield Running(plan, process, ports, log, ready_s)


def choose_ports(word: Word, count: int) -> Ports:
    """`count` free ports: those from `port` on where the word has this option, else any. UsageError where one is taken."""
    if "port" not in word.options:
        with ExitStack() as stack:
            sockets = [stack.enter_context(socket.create_server((HOST, 0))) for _ in range(count)]
            return tuple(s.getsockname()[1] for s in sockets)
    first = int(word.options["port"])
    if first + count - 1 > 65535:
        raise UsageError(f"target {word}: option port: expected at most {65536 - count}, got {first}")
    for port in range(first, first + count):
        try:
            socket.create_server((HOST, port)).close()
        except OSError as error:
            also = f" (it needs {first} to {first + count - 1})" if count > 1 else ""
            raise UsageError(
                f"target {word}: port {port} on {HOST} cannot be had{also}: {os.strerror(error.errno or 0)}"
            ) from None
    return tuple(range(first, first + count))


def _wait_ready(process: Guarded, plan: Plan, ports: Ports, log: Path, begin: int) -> str:
    """Wait until the server is ready; else what went wrong."""
    deadline = time.monotonic() + plan.ready_limit_s
    while time.monotonic() < deadline:
        status = process.exited(_POLL_S)
        if status is not None:
            return f"did not start: it {describe_exit(status)}"
        if plan.ready(ports, said(log, begin)):
            return ""
    return f"was not ready after {plan.ready_limit_s:g} s"


def ask(port: int, path: str) -> tuple[int, Any]:
    """(status, decoded JSON or None) of GET `path`; status 0 where nothing answers yet."""
    connection = http.client.HTTPConnection(HOST, port, timeout=2.0)
    try:
        connection.request("GET", path)
        reply = connection.getresponse()
        body = reply.read()
        return reply.status, json.loads(body) if body else None
    except (OSError, http.client.HTTPException, ValueError):
        return 0, None
    finally:
        connection.close()
