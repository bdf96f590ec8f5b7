"""The server that knows the truth, on a socket for HTTP and one for gRPC: one thread, one epoll, one timerfd.

Run as a process of its own, with a `Script` as JSON: it says its two ports on stdout, serves until stdin closes, and then says
its book as JSON. A request has arrived when its last byte was read; a reply counts as sent just before it is given to the
system.
"""

import gc
import heapq
import json
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from itertools import count
from typing import Any, NamedTuple, Protocol

from bench.evidence.truth import CONFIG, INDEX, METADATA, MODEL, OUTPUTS, SERVER, Asked, Book, Queue, Script
from bench.load.pacer import Timer

_PIECE = 65536
_STOP_S = 20.0


class Speaker(Protocol):
    """One connection: bytes in, what was asked out."""

    def hear(self, data: bytes) -> list[Asked]: ...


class Http:
    """KServe v2 over HTTP/1.1."""

    def __init__(self, book: Book) -> None:
        self._book, self._data = book, b""

    def hear(self, data: bytes) -> list[Asked]:
        self._data += data
        asked = []
        while (end := self._data.find(b"\r\n\r\n")) >= 0:
            first, *lines = self._data[:end].decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            size = int(headers.get("content-length", 0))
            if len(self._data) < end + 4 + size:
                if headers.pop("expect", ""):
                    asked.append(Asked(b"HTTP/1.1 100 Continue\r\n\r\n"))
                    self._data = self._data.replace(b"Expect: 100-continue\r\n", b"", 1)
                break
            body, self._data = self._data[end + 4 : end + 4 + size], self._data[end + 4 + size :]
            method, path, _ = first.split(" ", 2)
            asked.append(self._infer(headers, body) if path.endswith("/infer") else Asked(self._document(method, path)))
        return asked

    def _infer(self, headers: Mapping[str, str], body: bytes) -> Asked:
        document = json.loads(body[: int(headers.get("inference-header-content-length", len(body)))])
        id_ = str(document.get("id", ""))
        output = {"name": "y", "datatype": "FP32", "shape": [OUTPUTS], "parameters": {"binary_data_size": 4 * OUTPUTS}}
        told = {"id": id_} if id_ else {}
        text = json.dumps({**told, "model_name": MODEL, "model_version": "1", "outputs": [output]}).encode()
        head = (
            f"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nInference-Header-Content-Length: {len(text)}\r\n"
            f"Content-Length: {len(text) + 4 * OUTPUTS}\r\n\r\n"
        )
        return Asked(b"", id_, lambda: head.encode() + text + bytes(4 * OUTPUTS))

    def _document(self, method: str, path: str) -> bytes:
        model = f"/v2/models/{MODEL}"
        known: dict[str, Any] = {
            "/v2": SERVER,
            "/v2/health/live": None,
            "/v2/health/ready": None,
            "/v2/repository/index": INDEX,
            model: METADATA,
            f"{model}/config": CONFIG,
            f"{model}/ready": None,
            f"{model}/stats": {"model_stats": [self._book.statistics()]},
        }
        path = path.replace("/versions/1", "").rstrip("/")
        found = path in known
        said = known.get(path) if found else {"error": f"{method} {path}: not known here"}
        body = b"" if said is None else json.dumps(said).encode()
        status = "200 OK" if found else "404 Not Found"
        head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        return head.encode() + body


class Server:
    """Listens, hears, queues and answers."""

    def __init__(self, script: Script, book: Book, speakers: Sequence[Callable[[Book], Speaker]], until: int) -> None:
        self._queue, self._book, self._until = Queue(script), book, until
        self._epoll, self._timer = select.epoll(), Timer()
        listeners = [socket.create_server(("127.0.0.1", 0), backlog=512) for _ in speakers]
        self._listeners = {listener.fileno(): listener for listener in listeners}
        self._speaks = dict(zip(self._listeners, speakers, strict=True))
        self.ports = [listener.getsockname()[1] for listener in listeners]
        self._connections: dict[int, tuple[socket.socket, Speaker]] = {}
        self._due: list[tuple[int, int, int, str, Callable[[], bytes]]] = []
        self._order = count()
        for fd in (*self._speaks, self._timer.fd, until):
            self._epoll.register(fd, select.EPOLLIN)

    def serve(self) -> None:
        """Until `until` has something to read."""
        while True:
            for fd, _ in self._epoll.poll():
                if fd == self._until:
                    return
                if fd == self._timer.fd:
                    self._timer.clear()
                    self._answer()
                elif fd in self._listeners:
                    connection, _ = self._listeners[fd].accept()
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    self._connections[connection.fileno()] = connection, self._speaks[fd](self._book)
                    self._epoll.register(connection.fileno(), select.EPOLLIN)
                else:
                    self._hear(fd)

    def _hear(self, fd: int) -> None:
        connection, speaker = self._connections[fd]
        try:
            data = connection.recv(_PIECE)
        except OSError:
            data = b""
        now = time.perf_counter_ns()
        if not data:
            self._epoll.unregister(fd)
            del self._connections[fd]
            connection.close()
            return
        for asked in speaker.hear(data):
            self._send(fd, asked.reply)
            if asked.id is not None:
                number = next(self._order)
                id_ = asked.id or f"#{number}"  # which other clients may leave out
                self._book.arrived(id_, now)
                heapq.heappush(self._due, (self._queue.answer_at(now), number, fd, id_, asked.answer))
        self._arm()

    def _answer(self) -> None:
        while self._due and self._due[0][0] <= time.perf_counter_ns():
            _, _, fd, id_, answer = heapq.heappop(self._due)
            reply = answer()
            self._book.replied(id_, time.perf_counter_ns())
            self._send(fd, reply)
        self._arm()

    def _arm(self) -> None:
        if self._due:
            self._timer.arm(self._due[0][0])

    def _send(self, fd: int, reply: bytes) -> None:
        if reply and fd in self._connections:
            try:
                self._connections[fd][0].sendall(reply)
            except OSError:
                return  # the client is gone, which its next read tells


class Running(NamedTuple):
    """A server in a process of its own."""

    http: str  # "127.0.0.1:PORT"
    grpc: str
    pid: int
    finish: Callable[[], dict[str, list[int]]]  # ends it: request id -> when it had arrived, and when it was answered


@contextmanager
def running(script: Script) -> Iterator[Running]:
    """Start it; it ends with the context."""
    command = [sys.executable, "-P", "-m", "bench.evidence.truth_server", json.dumps(asdict(script))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:

        def finish() -> dict[str, list[int]]:
            said, _ = process.communicate(timeout=_STOP_S)
            times: dict[str, list[int]] = json.loads(said)
            return times

        try:
            assert process.stdout is not None
            http, grpc = (f"127.0.0.1:{port}" for port in process.stdout.readline().split())
            yield Running(http, grpc, process.pid, finish)
        finally:
            process.kill()


def main() -> None:
    """Serve one script."""
    from bench.evidence.truth_grpc import Grpc

    book, script = Book(), Script(**json.loads(sys.argv[1]))
    server = Server(script, book, [Http, Grpc], sys.stdin.fileno())
    gc.collect()
    gc.freeze()
    gc.disable()
    print(*server.ports, flush=True)
    server.serve()
    print(json.dumps(book.times), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
