"""A managed Triton: its program from a wheel, its models run by ONNX Runtime in the Python backend."""

import os
import secrets
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.recipes.catalog import BuiltModel
from bench.runtime.session import session_options_facts
from bench.servers import backend_env, installs, tritonserver
from bench.servers.base import ServerFacts
from bench.servers.launch import HOST, Ports
from bench.servers.process import Order
from bench.servers.releases import Release
from bench.servers.tritonserver import Settings


def prepare(release: Release, model: BuiltModel, settings: Settings, say: Callable[[str], None]) -> "Wheel":
    """Install what is missing; RunError names what the machine lacks."""
    backend_env.check_machine()
    return Wheel(
        installs.install(release, say),
        backend_env.backend_environment(say),
        model,
        settings,
        f"bench{secrets.token_hex(6)}",
        ServerFacts(
            kind="triton",
            version=release.triton,
            source=f"nvidia-pytriton {release.wheel} (NGC {release.ngc})",
            backend=f"python, onnxruntime {backend_env.onnxruntime_distribution()[1]}",
            options=settings.facts() | session_options_facts(settings.threads),
        ),
    )


@dataclass(frozen=True)
class Wheel:
    """See `bench.servers.launch.Plan`."""

    installed: Path
    environment: Path
    model: BuiltModel
    settings: Settings
    token: str  # tells this server from others: its id, and the beginning of its shared-memory names
    facts: ServerFacts
    port_count: int = 3

    def order(self, ports: Ports, log: Path) -> Order:
        folder = Path(tempfile.mkdtemp(prefix="bench-triton-"))
        tritonserver.write_repository(folder / "models", self.model, self.settings, "python")
        if own := backend_env.own_libpython():
            (folder / "lib").mkdir()
            (folder / "lib" / own.name).symlink_to(own)
        return Order(
            argv=[
                str(installs.program(self.installed)),
                f"--backend-directory={installs.backends(self.installed)}",
                f"--backend-config=python,shm-region-prefix-name={self.token}",
                *tritonserver.arguments(str(folder / "models"), HOST, ports, self.token, self.settings),
            ],
            log=str(log),
            env=environment(os.environ, self.environment, folder / "lib"),
            cwd=str(folder),
            shared_memory=[self.token],
            folders=[str(folder)],
        )

    def ready(self, ports: Ports, said: str) -> bool:
        return tritonserver.ready(ports, self.token, self.model.name)

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
