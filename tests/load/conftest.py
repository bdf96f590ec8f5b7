"""A scripted server on raw sockets, a stand-in target for it, and what the rows of a recorder come to."""

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import payloads, store
from bench import workload as workloads
from bench.load.answers import Reference
from bench.load.pool import Member, Pool
from bench.load.recorder import Recorder
from bench.payloads import Prompt
from bench.record import BROKEN, PROTOCOL, RECORD, STATUS, Chunks, Run
from bench.targets import streams
from bench.targets.base import FINE, Facts, Streamed, Verdict, WireRequest
from bench.tensors import Tensors
from bench.wire import http1
from bench.wire.line import Reply
from bench.workload import Check, Workload


@dataclass(frozen=True, slots=True)
class Request:
    """What the server was sent; `turn` counts the requests on one connection from 0."""

    path: str
    headers: dict[str, str]
    body: bytes
    turn: int

    @property
    def id(self) -> int:
        return int(self.headers["x-request-id"], 16)


def reply_to(request: Request, status: str = "200 OK", body: bytes | None = None, extra: str = "") -> bytes:
    """A whole reply that carries the request's id, and its body unless another is given."""
    content = request.body if body is None else body
    id_ = request.headers.get("x-request-id", "")
    return f"HTTP/1.1 {status}\r\nX-Request-Id: {id_}\r\n{extra}Content-Length: {len(content)}\r\n\r\n".encode() + content


@dataclass(slots=True)
class Exchange:
    """One request and the connection it came on; a script answers it by the methods, or does not."""

    request: Request
    connection: socket.socket
    server: "Server"
    open: bool = True

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def reply(self, **options: Any) -> None:
        self.send(reply_to(self.request, **options))

    def close(self) -> None:
        self.open = False

    def wait(self) -> None:
        """Do nothing until the server is stopped or `server.gate` is opened."""
        self.server.gate.wait()


Script = Callable[[Exchange], None]


@dataclass(slots=True)
class Server:
    """Listens on a port of its own and does with each request what its script says; a thread a connection."""

    script: Script
    listener: socket.socket
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    gate: threading.Event = field(default_factory=threading.Event)
    _sockets: list[socket.socket] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)

    @property
    def address(self) -> tuple[str, int]:
        host, port = self.listener.getsockname()
        return host, port

    def start(self) -> None:
        self._spawn(self._accept)

    def stop(self) -> None:
        self.gate.set()
        for connection in (self.listener, *self._sockets):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self.listener.close()

    def _spawn(self, target: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # what a script sends apart arrives apart
                self.connections += 1
                self._sockets.append(connection)
                self._spawn(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        turn, open_ = 0, True
        with connection, contextlib.suppress(OSError), connection.makefile("rb") as stream:
            while open_ and (request := _read(stream, turn)) is not None:
                self.requests.append(request)
                exchange = Exchange(request, connection, self)
                self.script(exchange)
                open_, turn = exchange.open, turn + 1
            # makefile() keeps the socket open, so the end is said aloud
            connection.shutdown(socket.SHUT_RDWR)


def _read(stream: Any, turn: int) -> Request | None:
    first = stream.readline()
    if not first:
        return None
    headers = {}
    while (line := stream.readline().strip()) != b"":
        name, _, value = line.decode().partition(": ")
        headers[name.lower()] = value
    return Request(first.decode().split()[1], headers, stream.read(int(headers.get("content-length", 0))), turn)


class Plain:
    """A target whose requests are a payload's bytes under an id, and whose replies are good when they carry it."""

    line = http1.Http1Line

    def __init__(self, address: tuple[str, int]) -> None:
        self.address = address

    def probe(self) -> Facts:
        return Facts("plain", "1")

    def requests(self, payloads: Sequence[Tensors]) -> list[WireRequest]:
        made = []
        for tensors in payloads:
            body = b"".join(array.tobytes() for array in tensors.values())
            head = http1.request_head("/", "made", {"X-Request-Id": "0" * 16}, len(body))
            made.append(WireRequest(bytearray(head), head.index(b"0" * 16), body))
        return made

    def judge(self, reply: Reply, id_: bytes) -> Verdict:
        if reply.head.status != 200:
            return Verdict(STATUS, f"HTTP {reply.head.status}")
        return FINE if reply.head.headers[b"x-request-id"] == id_ else Verdict(PROTOCOL, "another id")

    def outputs(self, answer: Reply) -> Tensors:
        return {"x": np.frombuffer(answer.body, np.float32)}

    def close(self) -> None:
        pass


class Streaming(Plain):
    """A target whose replies are lines, each the number of tokens in it; "end" is the last, "error" what a server may say."""

    def __init__(self, address: tuple[str, int]) -> None:
        super().__init__(address)
        self.prompts: list[Prompt] = []

    def requests(self, payloads: Sequence[Any]) -> list[WireRequest]:
        return super().requests([{"x": prompt.ids} for prompt in payloads])

    def streamed(self, answer: Reply, prompt: Prompt) -> Streamed:
        self.prompts.append(prompt)
        taken, ended = streams.Taken(), False
        for t_ns, line in streams.line_texts(answer):
            ended = line == b"end"
            if line == b"error":
                taken.fail(STATUS, "the server said error")
            elif not ended:
                taken.add(t_ns, int(line))
                taken.ids += [7] * int(line)
        if not ended and not answer.ended:
            taken.fail(BROKEN, "no end")
        return taken.streamed(prompt, answer.ended)


class Written(list[np.ndarray]):
    """A record writer that keeps what it is given."""

    def __init__(self) -> None:
        self.chunks: list[Chunks] = []

    def write(self, records: np.ndarray, chunks: Chunks | None = None) -> None:
        self.append(records)
        self.chunks += [] if chunks is None else [chunks]

    def streams(self) -> dict[int, tuple[list[int], list[int]]]:
        """Id of a record -> (times in ns, tokens) of its pieces."""
        both = zip(self, self.chunks, strict=True)
        return {
            int(id_): tuple(column.tolist() for column in chunks.of_record(n))  # type: ignore[misc]
            for records, chunks in both
            for n, id_ in enumerate(records["id"])
        }

    @property
    def records(self) -> np.ndarray:
        return np.concatenate([np.empty(0, RECORD), *self])


@pytest.fixture
def serve() -> Iterator[Callable[[Script], Server]]:
    """Starts a server with a script."""
    with contextlib.ExitStack() as stack:

        def start(script: Script) -> Server:
            listener = socket.create_server(("127.0.0.1", 0))
            server = Server(script, listener)
            stack.callback(server.stop)
            server.start()
            return server

        yield start


@pytest.fixture
def nobody() -> Iterator[tuple[str, int]]:
    """An address where nobody listens, and nobody else can begin to."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        yield reserved.getsockname()


@pytest.fixture
def drained() -> Callable[..., np.ndarray]:
    """The records that the rows become which a recorder was told to hand over."""

    def drain(recorder: Recorder) -> np.ndarray:
        written = Written()
        recorder.drain(written)  # type: ignore[arg-type]
        return written.records

    return drain


@pytest.fixture
def pool() -> Callable[..., Pool]:
    """The requests of a workload for a target, held to `answers`: {output: one for each request}."""

    def make(target: Any, workload: Workload, answers: Tensors | None = None, requests: Any = None) -> Pool:
        stacked = answers or {}
        each = {n: {name: a[n] for name, a in stacked.items()} for n in range(min(map(len, stacked.values()), default=0))}
        made = payloads.make(workload) if requests is None else requests
        return Pool([Member(workload, target, made, Reference(Check(tolerance=1e-3), each))])

    return make


@pytest.fixture
def plain() -> Callable[[tuple[str, int]], Plain]:
    """Makes the stand-in target for an address."""
    return Plain


@pytest.fixture
def streaming() -> Callable[[tuple[str, int]], Streaming]:
    """Makes the stand-in target that streams for an address."""
    return Streaming


@pytest.fixture
def written() -> Callable[[Recorder, Any], Written]:
    """What a writer is given of the rows that a recorder was told to hand over."""

    def drain(recorder: Recorder) -> Written:
        kept = Written()
        recorder.drain(kept)  # type: ignore[arg-type]
        return kept

    return drain


@pytest.fixture
def stored() -> Callable[[Path, Workload], Run]:
    """What a load has written to a folder, read as a run that died there."""

    def load(folder: Path, workload: Workload) -> Run:
        document = {
            "schema_version": store.SCHEMA_VERSION,
            "id": "made",
            "workload": workloads.to_builtins(workload),
            "target": {},
            "environment": {},
            "window_ns": [0, 0],
            "status": "running",
            "created": "2026-01-01T00:00:00+00:00",
            "load": {},
        }
        store.write_json(folder / "run.json", document)
        return store.load_run(folder)

    return load


@pytest.fixture
def flask_like() -> Script:
    """A script that speaks like the Flask baseline with a model "made" that answers its input x as y."""
    specs = {
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 4]}],
    }

    def script(exchange: Exchange) -> None:
        if exchange.request.path == "/metadata":
            document: dict[str, Any] = {"model": "made", "version": "1", "flask_version": "3", **specs}
        else:
            x = json.loads(exchange.request.body)["inputs"]["x"]
            document = {"model": "made", "version": "1", "shapes": {"y": [len(x), len(x[0])]}, "predictions": {"y": x}}
        exchange.reply(body=json.dumps(document).encode())

    return script


@pytest.fixture
def flask_streaming() -> Script:
    """A script that speaks like the Flask baseline with a model "made" that answers every prompt with 0, 1, 2, ..."""

    def script(exchange: Exchange) -> None:
        if exchange.request.path == "/metadata":
            about = {"model": "made", "version": "1", "flask_version": "3", "generates": True}
            exchange.reply(body=json.dumps(about).encode())
            return
        id_ = exchange.request.headers["x-request-id"]
        exchange.send(f"HTTP/1.1 200 OK\r\nX-Request-Id: {id_}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        for n in range(json.loads(exchange.request.body)["max_tokens"]):
            line = b'{"token": %d}\n' % n
            exchange.send(b"%x\r\n%s\r\n" % (len(line), line))
        exchange.send(b'f\r\n{"done": true}\n\r\n0\r\n\r\n')

    return script
