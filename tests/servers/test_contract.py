"""What every server must do, with the real ones: nothing of them is made up here."""

import http.client
import json
import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from bench import servers, words
from bench.errors import RunError
from bench.recipes.catalog import BuiltModel
from bench.servers.base import Server
from bench.servers.launch import choose_ports

pytestmark = pytest.mark.real

KINDS = ["flask", "triton"]
WORDS = {"flask": "flask", "triton": "triton?max_batch=4"}


@pytest.fixture(scope="module", params=KINDS)
def server(request: pytest.FixtureRequest, tiny: BuiltModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that the tests below share."""
    log = tmp_path_factory.mktemp("logs") / "server.log"
    with servers.start(words.parse(WORDS[request.param]), tiny, log) as started:
        yield started


def ask(server: Server, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> tuple[int, bytes]:
    """(status, body) of one exchange with the server's HTTP address."""
    connection = http.client.HTTPConnection(*words.parse(server.words["http"]).address(0), timeout=30)
    try:
        connection.request(method, path, body, headers or {})
        reply = connection.getresponse()
        return reply.status, reply.read()
    finally:
        connection.close()


def infer(server: Server, image: np.ndarray) -> np.ndarray:
    """The server's logits for a batch of images."""
    if server.facts.kind == "flask":
        _, body = ask(server, "POST", "/predict", json.dumps({"inputs": {"input": image.tolist()}}).encode())
        return np.array(json.loads(body)["predictions"]["logits"], np.float32)
    tensor = {"name": "input", "datatype": "FP32", "shape": image.shape, "data": image.ravel().tolist()}
    _, body = ask(server, "POST", "/v2/models/resnet50/infer", json.dumps({"inputs": [tensor]}).encode())
    (output,) = json.loads(body)["outputs"]
    return np.array(output["data"], np.float32).reshape(output["shape"])


def images(model: BuiltModel, count: int) -> np.ndarray:
    (spec,) = model.inputs
    return np.random.default_rng(7).uniform(-2, 2, (count, *spec.shape[1:])).astype(np.float32)


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for temporary files that is this test's alone: others on this machine may have servers too."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return folder


def shared_memory(tree: set[int]) -> set[Path]:
    """The regions that these processes have mapped."""
    lines = [line for pid in tree for line in Path(f"/proc/{pid}/maps").read_text().splitlines()]
    return {Path(line.split()[5]) for line in lines if "/dev/shm/" in line}


def test_a_server_answers_as_onnx_runtime_does_when_many_ask_at_once(server: Server, tiny: BuiltModel) -> None:
    """Each of twelve requests of one or two images, four at a time, gets the answer to its own images."""
    data = images(tiny, 18)
    parts = np.split(data, np.cumsum([1, 2] * 6)[:-1])
    expected = onnxruntime.InferenceSession(tiny.onnx).run(None, {"input": data})[0]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda part: infer(server, part), parts))
    assert [len(answer) for answer in answers] == [1, 2] * 6
    np.testing.assert_allclose(np.concatenate(answers), expected, atol=1e-3 * np.abs(expected).max())
    assert np.abs(expected - expected[0]).max() > 0.01 * np.abs(expected).max()


def test_each_word_is_a_place_where_the_server_listens(server: Server) -> None:
    """On the loopback, and by a scheme that targets know."""
    schemes = {"flask": {"http": "flask"}, "triton": {"http": "triton-http", "grpc": "triton-grpc"}}
    targets = {protocol: words.parse(word) for protocol, word in server.words.items()}
    assert {protocol: word.kind for protocol, word in targets.items()} == schemes[server.facts.kind]
    for word in targets.values():
        address = word.address(0)
        assert address[0] == "127.0.0.1"
        socket.create_connection(address, timeout=10).close()


def test_the_facts_tell_all_that_a_fair_comparison_shows(server: Server) -> None:
    """Whose program, which version, what runs the model, and the same session options on both sides."""
    facts = server.facts
    assert facts.kind in WORDS
    assert all((facts.version, facts.source, facts.backend))
    assert f"onnxruntime {onnxruntime.__version__}" in facts.backend
    settings = {"threads", "device", "intra_op_num_threads", "graph_optimization_level", "execution_mode", "allow_spinning"}
    own = {"flask": {"workers", "concurrency", "encoding"}, "triton": {"instances", "batching", "max_batch"}}
    assert settings | own[facts.kind] <= facts.options.keys()
    assert facts.options["allow_spinning"] == 0


def test_the_root_of_the_process_tree_runs_and_has_children(server: Server, descendants: Callable[[int], set[int]]) -> None:
    """What samplers sum up: the server with its workers or its backend's processes, and not bench."""
    tree = descendants(server.pid)
    assert len(tree) > 1
    assert os.getpid() not in tree
    assert server.exited() is None


@pytest.mark.parametrize("kind", KINDS)
def test_stop_leaves_nothing(
    kind: str,
    tiny: BuiltModel,
    tmp_path: Path,
    temporary: Path,
    descendants: Callable[[int], set[int]],
    alive: Callable[[int], bool],
) -> None:
    """No process, no shared memory, no folder; and the port is free again."""
    with servers.start(words.parse(kind), tiny, tmp_path / "log") as server:
        tree = descendants(server.pid)
        regions = shared_memory(tree)
        assert list(temporary.iterdir())
        assert bool(regions) == (kind == "triton")
    assert not [pid for pid in tree if alive(pid)]
    assert not [path for path in regions if path.exists()]
    assert not list(temporary.iterdir())
    assert server.exited() is not None
    for word in server.words.values():
        socket.create_server(words.parse(word).address(0)).close()


@pytest.mark.parametrize("kind", KINDS)
def test_kill_9_of_the_owner_leaves_nothing(
    kind: str,
    owner: Callable[[str], object],
    tiny: BuiltModel,
    temporary: Path,
    eventually: Callable[[Callable[[], bool]], bool],
    descendants: Callable[[int], set[int]],
    alive: Callable[[int], bool],
) -> None:
    """The hardest end that bench can come to."""
    process = owner(
        "import time\n"
        "from pathlib import Path\n"
        "from bench import servers, words\n"
        "from bench.recipes.build import build\n"
        f"with servers.start(words.parse({kind!r}), build('resnet50', preset='tiny'), Path('log')) as server:\n"
        "    print(server.pid, flush=True)\n"
        "    time.sleep(1000)"
    )
    tree = descendants(int(process.stdout.readline()))  # type: ignore[attr-defined]
    regions = shared_memory(tree)
    process.kill()  # type: ignore[attr-defined]
    assert eventually(lambda: not [pid for pid in tree if alive(pid)])
    assert eventually(lambda: not [path for path in regions if path.exists()] and not list(temporary.iterdir()))


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_that_does_not_load_is_shown_by_the_log_s_end(
    kind: str, tiny: BuiltModel, tmp_path: Path, temporary: Path
) -> None:
    """The reason stands in the error, and nothing is left."""
    junk = tmp_path / "model.onnx"
    junk.write_bytes(b"no model")
    with (
        pytest.raises(RunError, match=rf"(?s){kind} did not start: it .*; its log \(.*Protobuf parsing failed"),
        servers.start(words.parse(kind), replace(tiny, onnx=junk), tmp_path / "log"),
    ):
        pass
    assert not list(temporary.iterdir())


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_can_be_killed_and_started_again_on_its_port(kind: str, tiny: BuiltModel, tmp_path: Path) -> None:
    """A fault, and the recovery from it."""
    port = choose_ports(words.parse("triton"), 3)[0]
    word = words.parse(f"{kind}?port={port}")
    with servers.start(word, tiny, tmp_path / "log") as server:
        server.kill()
        assert server.exited() == -9
        with servers.start(word, tiny, tmp_path / "log") as again:
            assert again.words == server.words
            assert ask(again, "GET", "/metadata" if kind == "flask" else "/v2")[0] == 200
