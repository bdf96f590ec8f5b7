"""A real Triton with a model that does next to nothing, so that what is measured is everything else."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from bench import servers, words
from bench.errors import RunError
from bench.servers.base import OwnModel
from bench.servers.launch import ask
from bench.words import Word
from bench.workload import Workload, from_builtins

MODEL = "identity"
_CONFIG = """\
name: "identity"
backend: "python"
max_batch_size: 0
input { name: "x" data_type: TYPE_FP32 dims: [-1] }
output { name: "y" data_type: TYPE_FP32 dims: [16] }
instance_group { count: 1 kind: KIND_CPU }
"""


class Trivial(NamedTuple):
    """The server: where it is by protocol."""

    version: str
    places: dict[str, str]  # "http", "grpc" -> "127.0.0.1:PORT"

    def word(self, protocol: str, client: str) -> Word:
        """The target word of the model over `protocol`, asked by `client`."""
        return words.parse(f"triton-{protocol}://{self.places[protocol]}?client={client}")

    def answered(self) -> int:
        """Requests that the server has answered well so far, by its own count."""
        status, said = ask(int(self.places["http"].rpartition(":")[2]), f"/v2/models/{MODEL}/stats")
        if status != 200:
            raise RunError(f"Triton's statistics of model {MODEL}: HTTP {status}")
        return int(said["model_stats"][0]["inference_stats"]["success"]["count"])


@contextmanager
def serving(say: Callable[[str], None]) -> Iterator[Trivial]:
    """Start it; it ends with the context."""
    with tempfile.TemporaryDirectory(prefix="bench-trivial-") as name:
        folder = Path(name)
        version = folder / "models" / MODEL / "1"
        version.mkdir(parents=True)
        (version.parent / "config.pbtxt").write_text(_CONFIG, encoding="utf-8")
        shutil.copy(Path(__file__).with_name("identity_model.py"), version / "model.py")
        with servers.start(words.parse("triton"), OwnModel(MODEL, folder / "models"), folder / "log", say) as server:
            places = {protocol: words.parse(word).place for protocol, word in server.words.items()}
            yield Trivial(server.facts.version, places)


def workload(connections: int, floats: int, seconds: float) -> Workload:
    """A closed loop that sends so many floats a request, and compares nothing."""
    document: dict[str, Any] = {
        "name": "trivial",
        "model": {"name": MODEL},
        "payload": {"distinct": 8, "inputs": {"x": {"datatype": "FP32", "shape": [floats]}}},
        "load": {"arrivals": "closed", "users": connections},
        "warmup": "500ms",
        "duration": f"{seconds:g}s",
        "check": {"reference": False, "every": 1_000_000},
    }
    return from_builtins(document, "the trivial workload")
