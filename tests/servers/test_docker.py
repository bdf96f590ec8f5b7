"""Triton in a container: pure, and under a scripted `docker`; no engine runs here."""

import json
import os
import sys
from pathlib import Path

import pytest

from bench import servers, words
from bench.errors import RunError, UsageError
from bench.recipes.catalog import BuiltModel
from bench.servers import docker, repositories, triton
from bench.servers.base import HubModel, OwnModel, ServerFacts
from bench.servers.docker import Container
from bench.servers.triton_options import Settings
from bench.tensors import TensorSpec

SPEC = TensorSpec("input", "FP32", (-1, 4))

# keeps what it was called with; `run` serves until it is asked to end, as Docker's client does
DOCKER = """#!{python} -S
import http.server, json, os, pathlib, sys
here = pathlib.Path(__file__).parent
with (here / "calls").open("a") as calls:
    calls.write(json.dumps(sys.argv[1:]) + "\\n")
verb = sys.argv[1]
answer = json.loads((here / "answers").read_text()).get(verb)
if answer == "refuse":
    sys.exit(f"Error: {{verb}} refused")
if verb == "pull":
    (here / "answers").write_text("{{}}")
if verb in ("info", "image", "inspect"):
    print({{"info": "28.0", "image": "sha256:" + "ab" * 32, "inspect": str(os.getppid())}}[verb])
if verb == "run":
    name = next(a.partition("=")[2] for a in sys.argv if a.startswith("--id="))
    port = int(next(a.split(":")[1] for a in sys.argv if a.endswith(":8000")))
    class Answers(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({{"name": name}}).encode())
    http.server.HTTPServer(("127.0.0.1", port), Answers).serve_forever()
"""


@pytest.fixture
def model(tmp_path: Path) -> BuiltModel:
    """A model's files."""
    version = tmp_path / "m" / "1"
    version.mkdir(parents=True)
    for name in ("model.onnx", "weights.bin"):
        (version / name).touch()
    return BuiltModel("m", "fp32", "full", version.parent, version / "model.onnx", "0" * 64, 1, (SPEC,), (SPEC,), 8)


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a scripted `docker`: what it refuses stands in `answers`, what it was asked in `calls`."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "docker").write_text(DOCKER.format(python=sys.executable))
    (folder / "docker").chmod(0o755)
    (folder / "answers").write_text("{}")
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setattr(triton, "gpu_count", lambda: 0)
    return folder


def verbs(engine: Path) -> list[str]:
    return [line.split('"')[1] for line in (engine / "calls").read_text().splitlines()]


@pytest.mark.parametrize(
    ("word", "image"),
    [
        ("triton?via=docker", "nvcr.io/nvidia/tritonserver:24.07-py3"),
        ("triton@24.05?via=docker", "nvcr.io/nvidia/tritonserver:24.05-py3"),
        ("triton@2.46.0?via=docker", "nvcr.io/nvidia/tritonserver:24.05-py3"),
        ("triton@25.11?via=docker", "nvcr.io/nvidia/tritonserver:25.11-py3"),
        ("triton@24.05?via=docker,engine=vllm", "nvcr.io/nvidia/tritonserver:24.05-vllm-python-py3"),
        ("triton?via=docker,image=registry.local:5000/triton:7", "registry.local:5000/triton:7"),
    ],
)
def test_an_image_is_a_release_s_or_the_user_s_own(word: str, image: str) -> None:
    """Every release has an image, those too that bench cannot install; a private one is taken as it is."""
    assert docker.image(words.parse(word)) == image


@pytest.mark.parametrize("word", ["triton@2.99.0?via=docker", "triton@latest?via=docker", "triton@24.07?via=docker,image=x"])
def test_a_version_that_names_no_image_is_a_usage_error(word: str) -> None:
    """Before anything is pulled."""
    with pytest.raises(UsageError, match="via=docker"):
        servers.check(words.parse(word))


def container(model: BuiltModel, gpu: bool, *args: str) -> Container:
    settings = Settings("dynamic", 1, 2, 8, 0, gpu=gpu)
    return Container("image:1", repositories.for_container(model, settings), gpu, args, "bench-x", ServerFacts("", "", "", ""))


def test_the_whole_docker_run(model: BuiltModel) -> None:
    """Ports on the loopback only, the GPUs, the repository and the model's files read-only, the user's arguments last."""
    plan = container(model, True, "--log-verbose=1")
    assert plan.run_arguments(Path("/private/models"), (9000, 9001, 9002)) == [
        "docker",
        "run",
        "--rm",
        "--name=bench-x",
        "--gpus=all",
        "--shm-size=1g",
        "--publish=127.0.0.1:9000:8000",
        "--publish=127.0.0.1:9001:8001",
        "--publish=127.0.0.1:9002:8002",
        "--volume=/private/models:/models:ro",
        f"--volume={model.onnx}:/models/m/1/model.onnx:ro",
        f"--volume={model.onnx.with_name('weights.bin')}:/models/m/1/weights.bin:ro",
        "image:1",
        "tritonserver",
        "--model-repository=/models",
        "--id=bench-x",
        "--http-address=0.0.0.0",
        "--http-port=8000",
        "--grpc-address=0.0.0.0",
        "--grpc-port=8001",
        "--metrics-address=0.0.0.0",
        "--metrics-port=8002",
        "--exit-timeout-secs=5",
        "--log-verbose=1",
    ]
    assert not [argument for argument in container(model, False).run_arguments(Path("/p"), (1, 2, 3)) if "gpu" in argument]


def test_a_container_serves_and_is_removed_afterwards(model: BuiltModel, engine: Path, tmp_path: Path) -> None:
    """The client may die and the container live on: it is removed by its name."""
    with servers.start(words.parse("triton?via=docker"), model, tmp_path / "log") as server:
        assert server.facts.backend == "onnxruntime"
        assert server.facts.source == "image nvcr.io/nvidia/tritonserver:24.07-py3 sha256:abababababab (Docker 28.0)"
        assert server.facts.image == "nvcr.io/nvidia/tritonserver:24.07-py3"
        assert server.facts.digest == "sha256:" + "ab" * 32
        assert server.facts.options["allow_spinning"] == 1
        assert verbs(engine) == ["info", "image", "run", "inspect"]
    calls = (engine / "calls").read_text().splitlines()
    (name,) = [argument for argument in calls[2].split('"') if argument.startswith("--name=")]
    assert calls[-1] == f'["rm", "--force", "{name.partition("=")[2]}"]'


def test_an_image_that_is_not_here_is_pulled(model: BuiltModel, engine: Path, tmp_path: Path) -> None:
    """And said to be: it is gigabytes."""
    (engine / "answers").write_text('{"image": "refuse"}')
    said: list[str] = []
    with servers.start(words.parse("triton?via=docker"), model, tmp_path / "log", said.append):
        assert verbs(engine)[:4] == ["info", "image", "pull", "image"]
    assert said == ["pulling nvcr.io/nvidia/tritonserver:24.07-py3: several GB the first time"]


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ('{"info": "refuse"}', r"no Docker engine answers here \(Error: info refused\); via=wheel needs no Docker"),
        ('{"image": "refuse", "pull": "refuse"}', r"cannot pull nvcr.io/nvidia/tritonserver:24.07-py3 \(Error: pull refused\)"),
    ],
)
def test_what_docker_refuses_is_an_error_with_its_words(
    answers: str, message: str, model: BuiltModel, engine: Path, tmp_path: Path
) -> None:
    """And with the way that needs no Docker."""
    (engine / "answers").write_text(answers)
    with pytest.raises(RunError, match=message):
        servers.start(words.parse("triton?via=docker"), model, tmp_path / "log")


def test_without_a_docker_command_the_other_way_is_named(
    model: BuiltModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Most machines that this is tried on have none."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RunError, match=r"there is no docker command\); via=wheel needs no Docker"):
        servers.start(words.parse("triton?via=docker"), model, tmp_path / "log")


def run_call(engine: Path) -> list[str]:
    """The arguments of the one `docker run`."""
    (call,) = [call for call in map(json.loads, (engine / "calls").read_text().splitlines()) if call[0] == "run"]
    assert isinstance(call, list)
    return call


def test_a_repository_of_the_users_is_mounted_in_place_of_one_of_benchs(engine: Path, tmp_path: Path) -> None:
    """Read-only, and one of its models is loaded."""
    theirs = tmp_path / "theirs"
    (theirs / "own").mkdir(parents=True)
    with servers.start(words.parse("triton?via=docker"), OwnModel("own", theirs), tmp_path / "log") as server:
        assert server.facts.options == {"device": "CPU", "repository": str(theirs)}
    call = run_call(engine)
    assert [argument for argument in call if argument.startswith("--volume")] == [f"--volume={theirs}:/models:ro"]
    assert {"--model-control-mode=explicit", "--load-model=own"} < {*call}


def test_vllm_runs_in_its_own_image_with_the_gpu(engine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder that bench has made for it, and a place for what it fetches."""
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(triton, "gpu_count", lambda: 1)
    word = words.parse("triton@24.07?engine=vllm,via=docker,args=--log-verbose=1")
    with servers.start(word, HubModel("m", "org/name"), tmp_path / "log") as server:
        assert (server.facts.version, server.facts.backend) == ("24.07", "vllm")
        assert server.facts.options["model"] == "org/name"
    call = run_call(engine)
    assert {"--gpus=all", "nvcr.io/nvidia/tritonserver:24.07-vllm-python-py3", "--log-verbose=1"} < {*call}
    assert f"--volume={tmp_path}/cache/huggingface:/root/.cache/huggingface" in call


def test_vllm_without_a_gpu_is_an_error_before_anything_is_pulled(engine: Path, tmp_path: Path) -> None:
    """An image of many GB, for nothing."""
    with pytest.raises(RunError, match="vLLM needs an NVIDIA GPU, and no driver answers here"):
        servers.start(words.parse("triton?engine=vllm,via=docker"), HubModel("m", "org/name"), tmp_path / "log")
    assert not (engine / "calls").exists()
