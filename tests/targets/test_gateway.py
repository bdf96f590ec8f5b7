"""Servers behind a gateway that speaks TLS, wants to see a token and routes by host: all calls get in, and no secret out."""

import contextlib
import json
import re
import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hpack import Decoder

from bench import payloads, servers, words
from bench import workload as workloads
from bench.errors import RunError
from bench.evidence.stream_accuracy import scripted
from bench.evidence.truth import Script
from bench.evidence.truth_server import running
from bench.recipes.build import build
from bench.targets import open_target
from bench.targets.base import FINE, request_id
from bench.targets.talk import Talk
from bench.wire import frames
from bench.wire.frames import frame
from bench.words import Word
from bench.workload import Workload

TOKEN = "sesame-0123456789abcdef"
HEADERS = (("Authorization", f"Bearer {TOKEN}"), ("Host", "models.example"), ("X-Team", "blue"))
Serve = Callable[..., "Gateway"]


class Refused(Exception):
    """The gateway's own answer to a request, in place of the server's."""


class Gateway:
    """Hands on to `upstream` whatever shows the token and names the host; `asked` has the fields of every request."""

    def __init__(self, upstream: str, certificate: Path | None = None, forbidden: str = "") -> None:
        host, _, port = upstream.partition(":")
        self._upstream, self._forbidden = (host, int(port)), forbidden
        self.asked: list[dict[str, str]] = []
        self.names: list[str | None] = []  # that TLS was asked for
        self._context: ssl.SSLContext | None = None
        if certificate is not None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(certificate)
            self._context.set_alpn_protocols(["h2", "http/1.1"])
            self._context.sni_callback = lambda connection, name, context: self.names.append(name)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(20)

    def judge(self, fields: dict[str, str], path: str) -> tuple[int, str] | None:
        """Status and reason where a request is not handed on."""
        self.asked.append(fields)
        if fields.get("authorization") != f"Bearer {TOKEN}":
            return 401, "who are you"
        if fields.get("host") != "models.example":
            return 404, "no such host"
        if self._forbidden and path.endswith(self._forbidden):
            return 403, f"{fields['authorization']} may not do that"
        return None

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._threads.append(threading.Thread(target=self._serve, args=(connection,), daemon=True))
                self._threads[-1].start()

    def _serve(self, plain: socket.socket) -> None:
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            stack.enter_context(plain)
            client = plain if self._context is None else self._context.wrap_socket(plain, server_side=True)
            server = stack.enter_context(socket.create_connection(self._upstream))
            stack.enter_context(client)
            hear: Any = None
            while True:
                for side in select.select([client, server], [], [])[0]:
                    data = side.recv(65536)
                    if not data:
                        return
                    if side is server:
                        client.sendall(data)
                        continue
                    hear = hear or (_Http2 if data.startswith(b"PRI") else _Http1)(self).hear
                    try:
                        hear(data)
                        server.sendall(data)
                    except Refused as refused:
                        client.sendall(refused.args[0])


class _Http1:
    def __init__(self, gateway: Gateway) -> None:
        self._gateway, self._head, self._left = gateway, b"", 0

    def hear(self, data: bytes) -> None:
        while data:
            if self._left:
                taken = min(self._left, len(data))
                self._left, data = self._left - taken, data[taken:]
                continue
            head, end, rest = (self._head + data).partition(b"\r\n\r\n")
            if not end:
                self._head += data
                return
            first, *lines = head.decode("latin-1").split("\r\n")
            fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            self._head, self._left, data = b"", int(fields.get("content-length", 0)), rest
            if refused := self._gateway.judge(fields, first.split()[1]):
                body = json.dumps({"error": refused[1]}).encode()
                raise Refused(b"HTTP/1.1 %d No\r\nContent-Length: %d\r\n\r\n%s" % (refused[0], len(body), body))


class _Http2:
    def __init__(self, gateway: Gateway) -> None:
        self._gateway, self._data, self._decoder, self._skip = gateway, b"", Decoder(), len(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")

    def hear(self, data: bytes) -> None:
        self._data += data
        refused = b""
        while len(self._data) >= self._skip + frames.HEAD_BYTES:
            word, flags, stream = frames.heads_from(self._data, self._skip)
            begin = self._skip + frames.HEAD_BYTES
            if len(self._data) < begin + (word >> 8):
                break
            block, self._data, self._skip = self._data[begin : begin + (word >> 8)], self._data[begin + (word >> 8) :], 0
            if word & 0xFF == frames.HEADERS:
                assert flags & frames.END_HEADERS
                refused += self._headers(stream, block[5:] if flags & frames.WITH_PRIORITY else block)
        if refused:
            raise Refused(frame(frames.SETTINGS, 0, 0) + refused)

    def _headers(self, stream: int, block: bytes) -> bytes:
        fields = dict(self._decoder.decode(block))
        fields["host"] = fields[":authority"]
        refused = self._gateway.judge(fields, fields[":path"])
        if refused is None:
            return b""
        reply = [(b":status", b"%d" % refused[0]), (b"content-type", b"text/plain")]
        coded = b"".join(b"\0" + bytes([len(k)]) + k + bytes([len(v)]) + v for k, v in reply)
        flags = frames.END_HEADERS
        body = frame(frames.DATA, frames.END_STREAM, stream, refused[1].encode())
        return frame(frames.HEADERS, flags, stream, coded) + body


@pytest.fixture
def gateway(certificates: Path) -> Iterator[Serve]:
    """Starts a gateway in front of "HOST:PORT"; over TLS with a certificate, named, unless that is ""."""
    with contextlib.ExitStack() as stack:

        def start(upstream: str, certificate: str = "localhost", **options: Any) -> Gateway:
            made = Gateway(upstream, certificates / f"{certificate}.pem" if certificate else None, **options)
            stack.callback(made.stop)
            return made

        yield start


@pytest.fixture(scope="module")
def truth() -> Iterator[dict[str, str]]:
    """A server by hand for HTTP, and by the library h2 for gRPC; where it is, by scheme."""
    with running(Script(100_000)) as server:
        yield {"triton-http": server.http, "triton-grpc": server.grpc}


def workload(**model: str) -> Workload:
    document = {
        "name": "small",
        "model": {"name": "truth"} | model,
        "payload": {"distinct": 2, "inputs": {"x": {"datatype": "FP32", "shape": [50_000]}}},
        "load": {"arrivals": "closed"},
        "check": {"reference": False},
    }
    return workloads.from_builtins(document, "small.toml")


def generating() -> Workload:
    document = {
        "name": "small",
        "model": {"name": "scripted"},
        "payload": {"distinct": 2, "generate": {"prompt_tokens": 3, "output_tokens": 5}},
        "load": {"arrivals": "closed"},
    }
    return workloads.from_builtins(document, "small.toml")


def word(text: str, headers: tuple[tuple[str, str], ...] = HEADERS) -> Word:
    return replace(words.parse(text), headers=headers)


def ask_all(target: Any, requests: Any) -> None:
    """Every request once, each with a good reply."""
    if hasattr(target, "requests"):
        prepared = target.requests(requests)
        with Talk(target, 30) as talk:
            for n, request in enumerate(prepared):
                request.head[request.id_at : request.id_at + 16] = request_id(n)
                assert target.judge(talk.ask(request), request_id(n)) == FINE
    else:
        call = target.caller(requests)
        assert [call(n, n).verdict for n in range(len(requests))] == [FINE] * len(requests)


def all_have(asked: list[dict[str, str]], sent: tuple[tuple[str, str], ...] = HEADERS) -> bool:
    return bool(asked) and all(fields.get(name.lower()) == value for fields in asked for name, value in sent)


# a certificate that is not for this host, and the way that asks for none of that
TLS = [("", ""), ("localhost", "ca={ca},"), ("localhost", "tls=unverified,"), ("elsewhere", "tls=unverified,")]


@pytest.mark.parametrize("client", ["lean", "tritonclient"])
@pytest.mark.parametrize("scheme", ["triton-http", "triton-grpc"])
@pytest.mark.parametrize(("certificate", "options"), TLS)
def test_every_call_for_tensors_has_the_headers(
    scheme: str, client: str, certificate: str, options: str, gateway: Serve, truth: dict[str, str], certificates: Path
) -> None:
    """Metadata, requests and statistics, in plain text and over TLS, which asks for the host in the word.

    But where no certificate is wanted and grpcio wants one: it must ask for a name that the certificate has.
    """
    way = gateway(truth[scheme], certificate)
    place = f"localhost:{way.port}?{options.format(ca=certificates / 'ca.pem')}client={client}"
    target: Any = open_target(word(f"{scheme}://{place}"), workload())
    try:
        assert target.probe().name == "truth"
        before, executed = len(way.asked), target.batches()[1]
        ask_all(target, payloads.make(workload()))
        assert target.batches() == {1: executed + 2}
        assert len(way.asked) >= before + 4
    finally:
        target.close()
    assert all_have(way.asked)
    names = set(way.names) - ({"any.elsewhere.example"} if scheme == "triton-grpc" and certificate == "elsewhere" else set())
    assert names == ({"localhost"} if certificate else set())


@pytest.mark.parametrize(
    ("kind", "client"),
    [("openai", ""), ("flask", ""), ("triton-http", ""), ("triton-grpc", ""), ("triton-grpc", ",client=tritonclient")],
)
def test_every_call_for_tokens_has_the_headers(kind: str, client: str, gateway: Serve, certificates: Path) -> None:
    """Of every kind of target that streams."""
    with scripted(kind) as (place, *_):
        way = gateway(place)
        options = f"?ca={certificates / 'ca.pem'}{client}"
        target: Any = open_target(word(f"{kind}://localhost:{way.port}{options}"), generating())
        try:
            target.probe()
            before = len(way.asked)
            ask_all(target, payloads.make(generating()))
            assert len(way.asked) > before
        finally:
            target.close()
    assert all_have(way.asked)


def test_an_authority_that_the_certificate_has_keeps_its_port(
    gateway: Serve, truth: dict[str, str], certificates: Path
) -> None:
    """As without TLS: only where grpcio would refuse it the control calls leave the port out."""
    hosts = []
    for certificate, options in TLS:
        way = gateway(truth["triton-grpc"], certificate)
        target = open_target(
            word(f"triton-grpc://localhost:{way.port}?{options.format(ca=certificates / 'ca.pem')}client=lean", HEADERS[:1]),
            workload(),
        )
        with pytest.raises(RunError, match=r"the server's metadata cannot be had: .*404"):
            target.probe()
        hosts.append(way.asked[-1]["host"].replace(str(way.port), "PORT"))
    assert hosts == ["localhost:PORT", "localhost:PORT", "localhost:PORT", "localhost"]


def test_a_certificate_that_nobody_checks_is_asked_for_by_the_host_where_it_is_the_host_s(
    gateway: Serve, truth: dict[str, str]
) -> None:
    """Gateways may route by that name; an address is none, also where the certificate has a name before it."""
    way = gateway(truth["triton-grpc"])
    open_target(word(f"triton-grpc://127.0.0.1:{way.port}?tls=unverified"), workload()).probe()
    assert set(way.names) == {None}


@pytest.mark.parametrize("scheme", ["triton-http", "triton-grpc", "openai", "flask"])
def test_who_shows_no_token_is_told_how_to(scheme: str, gateway: Serve, truth: dict[str, str]) -> None:
    """In the one line that says what went wrong."""
    way = gateway(truth.get(scheme, truth["triton-http"]), "")
    made = generating() if scheme == "openai" else workload()
    with pytest.raises(RunError, match=re.escape("--header 'Authorization: ...'")):
        open_target(word(f"{scheme}://localhost:{way.port}", ()), made).probe()


# ---------------------------------------------------------------- the whole program


def written(folder: Path) -> bytes:
    """All that lies in a folder, in one."""
    return b"\0".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


@pytest.fixture
def flags() -> list[str]:
    return [part for name, value in HEADERS for part in ("--header", f"{name}: {value}")]


SIXTEEN = """\
[model]
name = "truth"
[payload]
distinct = 2
[payload.inputs.x]
datatype = "FP32"
shape = [16]
[load]
arrivals = "closed"
"""
FEW = ["--requests", "30", "--warmup", "0s", "--users", "2"]


def test_a_run_over_tls_keeps_the_names_of_headers_and_no_value(
    bench: Any, gateway: Serve, truth: dict[str, str], certificates: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, flags: list[str],
) -> None:  # fmt: skip
    """From a workload that the server describes to the report, engine and all."""
    monkeypatch.chdir(tmp_path)
    way = gateway(truth["triton-grpc"])
    target = f"triton-grpc://localhost:{way.port}?ca={certificates / 'ca.pem'}"
    said = bench("workloads", "new", "--target", target, "--model", "truth", *flags)
    assert said.code == 0, said.err
    Path("mine.toml").write_text(said.out.replace("length = 0 ", "length = 8 "))
    ran = bench("run", "./mine.toml", "--target", target, "--record-reference", *FEW, *flags)
    assert (ran.code, len(re.findall(r"failed requests +0% ", ran.out))) == (0, 1), ran.err
    (folder,) = Path("results").iterdir()
    kept = json.loads((folder / "run.json").read_text())["target"]
    assert kept["headers_sent"] == ["Authorization", "Host", "X-Team"]
    assert kept["tls"] == "on: the server's certificate was verified"
    assert kept["word"] == target
    assert all_have(way.asked)
    assert len(way.asked) > 60
    assert "headers sent" in (folder / "report.html").read_text()
    assert TOKEN.encode() not in written(tmp_path)
    assert TOKEN not in said.err + ran.out + ran.err


def test_a_server_that_says_the_secret_in_its_reply_is_not_repeated(
    bench: Any, gateway: Serve, truth: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    flags: list[str],
) -> None:  # fmt: skip
    """A gateway that refuses, with what it was shown: the message is kept without that."""
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text(SIXTEEN)
    way = gateway(truth["triton-http"], "", forbidden="/infer")
    target = f"triton-http://localhost:{way.port}"
    ran = bench("run", "./mine.toml", "--target", target, *FEW, *flags)
    assert ran.code == 4
    (folder,) = Path("results").iterdir()
    assert "Bearer *** may not do that" in json.loads((folder / "run.json").read_text())["load"]["messages"]["status"]
    assert TOKEN.encode() not in written(tmp_path)
    assert TOKEN not in ran.out + ran.err
    recorded = bench("run", "./mine.toml", "--target", target, "--record-reference", *FEW, *flags)
    assert recorded.code == 3
    assert "*** may not do that" in recorded.err
    assert TOKEN not in recorded.err


# ---------------------------------------------------------------- a real Triton


@pytest.fixture(scope="module")
def triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The tiny ResNet-50 behind a Triton; where it is, by scheme."""
    log = tmp_path_factory.mktemp("logs") / "triton"
    with servers.start(words.parse("triton"), build("resnet50", preset="tiny"), log) as server:
        yield {text.partition("://")[0]: text.partition("://")[2] for text in server.words.values()}
        server.kill()


@pytest.mark.real
@pytest.mark.parametrize("client", ["lean", "tritonclient"])
@pytest.mark.parametrize("scheme", ["triton-http", "triton-grpc"])
def test_a_real_triton_is_measured_through_it(
    scheme: str, client: str, bench: Any, gateway: Serve, triton: dict[str, str], certificates: Path, tmp_path: Path,
    flags: list[str],
) -> None:  # fmt: skip
    """Over TLS, by both clients: all answers are right."""
    way = gateway(triton[scheme])
    path = tmp_path / "tiny.toml"
    bundled = bench("workloads", "show", "resnet50").out
    path.write_text(bundled.replace('preset = "full"', 'preset = "tiny"'))
    assert 'preset = "tiny"' in path.read_text()
    target = f"{scheme}://localhost:{way.port}?ca={certificates / 'ca.pem'}"
    ran = bench("run", path, "--target", target, "--client", client, "--output", tmp_path / "results", *FEW, *flags)
    assert (ran.code, len(re.findall(r"failed requests +0% ", ran.out))) == (0, 1), ran.out + ran.err
    assert all_have(way.asked)
