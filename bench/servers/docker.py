"""Triton in NVIDIA's image, or in another that holds a tritonserver with the ONNX Runtime backend."""

import secrets
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.errors import RunError, UsageError
from bench.servers import releases, repositories, tritonserver
from bench.servers.base import ServerFacts
from bench.servers.launch import HOST, Ports
from bench.servers.process import Order
from bench.servers.repositories import INSIDE, Repository
from bench.servers.triton_options import vllm
from bench.words import Word

_PORTS: Ports = (8000, 8001, 8002)  # a container has all ports to itself


def image(word: Word) -> str:
    """The image that `word` asks for. A release that bench cannot install may well be an image; only its form is checked."""
    if own := word.options.get("image"):
        if word.version:
            raise UsageError(f"target {word}: a version or an image, not both: the image decides what runs")
        return own
    release = word.version or releases.DEFAULT
    known = [r.ngc for r in releases.RELEASES if release in (r.ngc, r.triton)]
    tag = known[0] if known else release
    year, _, month = tag.partition(".")
    if not (len(year) == len(month) == 2 and (year + month).isdigit()):
        raise UsageError(
            f"target {word}: with via=docker a version is an NGC release such as {releases.DEFAULT}, got {release!r}"
        )
    return f"nvcr.io/nvidia/tritonserver:{tag}-{'vllm-python-' if vllm(word) else ''}py3"


def prepare(image: str, repository: Repository, gpu: bool, args: tuple[str, ...], say: Callable[[str], None]) -> "Container":
    """Pull the image unless it is there; RunError where no Docker engine answers or the image cannot be had."""
    engine = _docker(["info", "--format", "{{.ServerVersion}}"], "no Docker engine answers here")
    try:
        identity = _image_id(image)
    except RunError:
        say(f"pulling {image}: several GB the first time")
        _docker(["pull", "--quiet", image], f"cannot pull {image}")
        identity = _image_id(image)
    facts = ServerFacts(
        kind="triton",
        version=image.rpartition(":")[2].removesuffix("-py3").removesuffix("-vllm-python"),
        source=f"image {image} {identity[:19]} (Docker {engine})",
        backend=repository.backend,
        options=tritonserver.options(repository.facts, args),
        image=image,
        digest=identity,
    )
    return Container(image, repository, gpu, args, f"bench-{secrets.token_hex(6)}", facts)


@dataclass(frozen=True)
class Container:
    """See `bench.servers.launch.Plan`."""

    image: str
    repository: Repository
    gpu: bool
    args: tuple[str, ...]  # the user's, for tritonserver
    name: str
    facts: ServerFacts
    port_count: int = 3

    @property
    def ready_limit_s(self) -> float:
        return self.repository.ready_limit_s

    def order(self, ports: Ports, log: Path) -> Order:
        folder = Path(tempfile.mkdtemp(prefix="bench-triton-"))
        repositories.place(self.repository, folder / "models")
        folder.chmod(0o755)  # the container's user may be another
        return Order(
            argv=self.run_arguments(folder / "models", ports),
            log=str(log),
            folders=[str(folder)],
            # the process that is guarded is only Docker's client
            cleanup=[["docker", "rm", "--force", self.name]],
        )

    def run_arguments(self, made: Path, ports: Ports) -> list[str]:
        """The whole `docker run`; `made` is the repository that bench has made, if it has."""
        mine = [] if self.repository.own else [f"{made}:{INSIDE}:ro"]
        return [
            "docker",
            "run",
            "--rm",
            f"--name={self.name}",
            *(["--gpus=all"] if self.gpu else []),
            "--shm-size=1g",
            *(f"--publish={HOST}:{outer}:{inner}" for outer, inner in zip(ports, _PORTS, strict=True)),
            *(f"--volume={volume}" for volume in (*mine, *self.repository.volumes)),
            self.image,
            "tritonserver",
            *tritonserver.arguments(INSIDE, "0.0.0.0", _PORTS, self.name, (*self.repository.arguments, *self.args)),
        ]

    def ready(self, ports: Ports, said: str) -> bool:
        return tritonserver.ready(ports, self.name, self.repository.models)

    def words(self, ports: Ports) -> dict[str, str]:
        return tritonserver.words(ports)

    def root(self, pid: int) -> int:
        return int(_docker(["inspect", "--format", "{{.State.Pid}}", self.name], f"container {self.name} is gone"))


def _image_id(image: str) -> str:
    return _docker(["image", "inspect", "--format", "{{.Id}}", image], f"image {image} is not here")


def _docker(arguments: list[str], problem: str) -> str:
    """What a docker command prints; RunError tells the problem and what docker said."""
    try:
        done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=3600, check=False)
        said = (done.stderr or done.stdout).strip().splitlines()
        if done.returncode == 0:
            return done.stdout.strip()
    except FileNotFoundError:
        said = ["there is no docker command"]
    raise RunError(f"{problem} ({said[-1] if said else 'it said nothing'}); via=wheel needs no Docker")
