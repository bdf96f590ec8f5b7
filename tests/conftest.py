"""The whole program, called as from a shell but in this process, and a workload that the scripted endpoint answers."""

import contextlib
import io
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import settings

from bench import cli, columns, store
from bench import workload as workloads
from bench.record import Run

# no timing is asserted, not even by hypothesis: machines are shared
settings.register_profile("bench", deadline=None)
settings.load_profile("bench")

FOUR_FLOATS = """\
description = "four floats, echoed"
warmup = "100ms"
duration = "2s"

[model]
name = "echo"

[payload]
distinct = 4

[payload.inputs.x]
datatype = "FP32"
shape = [1, 4]

[load]
arrivals = "closed"
users = 1

[slo]
quantile = "P90"
latency = "6ms"

[check]
every = 1
"""


TWO_SHAPES = """\
description = "two shapes, echoed, three to one"
warmup = "100ms"
duration = "4s"

[[mix]]
workload = "./four-floats.toml"
weight = 3
name = "small"

[[mix]]
name = "large"
[mix.model]
name = "large"
[mix.payload]
distinct = 3
[mix.payload.inputs.y]
datatype = "INT64"
shape = [2, 8]
high = 100
[mix.slo]
quantile = "P90"
latency = "4ms"

[load]
arrivals = "closed"
users = 1
"""


class Said(NamedTuple):
    """What a command left: its exit code, and what it wrote to stdout and stderr."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def bench() -> Callable[..., Said]:
    """Runs `bench WORDS...`."""

    def call(*words: str | Path) -> Said:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = cli.main([str(word) for word in words])
        return Said(code, out.getvalue(), err.getvalue())

    return call


@pytest.fixture(scope="session")
def certificates() -> Path:
    """PEM files, each a certificate and its key, valid until 2120: `localhost` (127.0.0.1 and ::1 too) and `elsewhere`, of the
    issuer in `ca`; `expired`, of the same; `selfsigned`, of nobody."""
    return Path(__file__).parent / "certificates"


@pytest.fixture
def listen(certificates: Path) -> Iterator[Callable[..., int]]:
    """Does with each connection what a script says, on a thread of its own, over TLS with a certificate; the port."""
    with contextlib.ExitStack() as stack:

        def start(script: Callable[[Any], None], certificate: str = "", protocols: tuple[str, ...] = ("h2", "http/1.1")) -> int:
            listener = socket.create_server(("127.0.0.1", 0))
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            if certificate:
                context.load_cert_chain(certificates / f"{certificate}.pem")
            if protocols:
                context.set_alpn_protocols(list(protocols))

            def converse(plain: socket.socket) -> None:
                with contextlib.suppress(OSError), contextlib.ExitStack() as open_:
                    open_.enter_context(plain)
                    script(open_.enter_context(context.wrap_socket(plain, server_side=True) if certificate else plain))

            def accept() -> None:
                with contextlib.suppress(OSError):
                    while True:
                        threading.Thread(target=converse, args=(listener.accept()[0],), daemon=True).start()

            threading.Thread(target=accept, daemon=True).start()
            stack.callback(listener.close)
            stack.callback(listener.shutdown, socket.SHUT_RDWR)
            return int(listener.getsockname()[1])

        yield start


@pytest.fixture(scope="session")
def four_floats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workload file for echo://: one user, 0.1 s of warm-up, 2 s measured, P90 promised in 6 ms, every reply compared."""
    path = tmp_path_factory.mktemp("workloads") / "four-floats.toml"
    path.write_text(FOUR_FLOATS)
    return path


@pytest.fixture(scope="session")
def two_shapes(four_floats: Path) -> Path:
    """A mix for echo://: three of four requests are those of four_floats, one is larger and promises a P90 of 4 ms."""
    path = four_floats.with_name("two-shapes.toml")
    path.write_text(TWO_SHAPES)
    return path


@pytest.fixture
def stored(tmp_path: Path) -> Callable[[Run], Path]:
    """Writes a run into a folder of its own below `tmp_path / "results"`, as a run that has ended lies there."""

    def write(run: Run) -> Path:
        folder = tmp_path / "results" / run.id
        folder.mkdir(parents=True)
        writer = columns.RecordWriter(folder / "requests-0.arrows")
        writer.write(run.records)
        writer.close()
        kept = {name: getattr(run, name) for name in ("id", "status", "created", "target", "environment", "window_ns", "load")}
        document = {"schema_version": store.SCHEMA_VERSION, "workload": workloads.to_builtins(run.workload)} | kept
        store.write_json(folder / "run.json", document)
        store.finish(folder)
        return folder

    return write
