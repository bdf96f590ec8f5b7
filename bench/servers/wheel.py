"""A managed Triton: its program from a wheel, its models run by ONNX Runtime in the Python backend."""

import os
import secrets
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.servers import backend_env, installs, repositories, tritonserver
from bench.servers.base import ServerFacts
from bench.servers.launch import HOST, Ports
from bench.servers.process import Order
from bench.servers.releases import Release
from bench.servers.repositories import Repository


def prepare(release: Release, repository: Repository, args: tuple[str, ...], say: Callable[[str], None]) -> "Wheel":
    """Install what is missing; RunError names what the machine lacks."""
    backend_env.check_machine()
    facts = ServerFacts(
        kind="triton",
        version=release.triton,
        source=f"nvidia-pytriton {release.wheel} (NGC {release.ngc})",
        backend=repository.backend,
        options=tritonserver.options(repository.facts, args),
    )
    program, environment = installs.install(release, say), backend_env.backend_environment(say)
    return Wheel(program, environment, repository, args, f"bench{secrets.token_hex(6)}", facts)


@dataclass(frozen=True)
class Wheel:
    """See `bench.servers.launch.Plan`."""

    installed: Path
    environment: Path
    repository: Repository
    args: tuple[str, ...]  # the user's, for tritonserver
    token: str  # tells this server from others: its id, and the beginning of its shared-memory names
    facts: ServerFacts
    port_count: int = 3

    @property
    def ready_limit_s(self) -> float:
        return self.repository.ready_limit_s

    def order(self, ports: Ports, log: Path) -> Order:
        folder = Path(tempfile.mkdtemp(prefix="bench-triton-"))
        models = repositories.place(self.repository, folder / "models")
        if own := backend_env.own_libpython():
            (folder / "lib").mkdir()
            (folder / "lib" / own.name).symlink_to(own)
        more = (*self.repository.arguments, *self.args)
        return Order(
            argv=[
                str(installs.program(self.installed)),
                f"--backend-directory={installs.backends(self.installed)}",
                f"--backend-config=python,shm-region-prefix-name={self.token}",
                *tritonserver.arguments(str(models), HOST, ports, self.token, more),
            ],
            log=str(log),
            env=environment(os.environ, self.environment, folder / "lib"),
            cwd=str(folder),
            shared_memory=[self.token],
            folders=[str(folder)],
        )

    def ready(self, ports: Ports, said: str) -> bool:
        return tritonserver.ready(ports, self.token, self.repository.models)

    def words(self, ports: Ports) -> dict[str, str]:
        return tritonserver.words(ports)

    def root(self, pid: int) -> int:
        return pid


def environment(outer: Mapping[str, str], backend: Path, libraries: Path) -> dict[str, str]:
    """The server's environment variables.

    The backend's stub finds its packages by the first python3 on PATH, and its libpython in `libraries` (which holds nothing
    else, so that no other library there stands in for one of Triton's) or in the system.
    """
    kept = {name: value for name, value in outer.items() if not name.startswith("PYTHON") and name != "VIRTUAL_ENV"}
    paths = [str(libraries), *filter(None, [outer.get("LD_LIBRARY_PATH")])]
    return kept | {"PATH": f"{backend / 'bin'}:{outer.get('PATH', os.defpath)}", "LD_LIBRARY_PATH": ":".join(paths)}
