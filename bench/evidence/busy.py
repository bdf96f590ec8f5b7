"""Real Tritons with a model that works a fixed amount, so that one of them can be given a fifth more to do."""

import http.client
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import servers, words
from bench.errors import RunError
from bench.servers.base import OwnModel

MODEL = "busy"
_TRIED = 500  # products a request, to see how long they take
_STEP = 5  # products, of which 1.2 times as many is a whole number
_REQUEST = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [16], "data": [0.0] * 16}]})
_CONFIG = """\
name: "busy"
backend: "python"
max_batch_size: 0
input {{ name: "x" data_type: TYPE_FP32 dims: [-1] }}
output {{ name: "y" data_type: TYPE_FP32 dims: [16] }}
instance_group {{ count: 1 kind: KIND_CPU }}
parameters {{ key: "products" value {{ string_value: "{products}" }} }}
"""
WARMUP = "100ms"
WORKLOAD = f"""\
warmup = "{WARMUP}"

[model]
name = "{MODEL}"

[payload]
distinct = 8

[payload.inputs.x]
datatype = "FP32"
shape = [16]

[load]
arrivals = "closed"
users = 1

[check]
reference = false
every = 1_000_000
"""


@contextmanager
def serving(version: str, products: int, say: Callable[[str], None]) -> Iterator[str]:
    """A Triton of that release whose model makes so many products a request: its target word; it ends with the context."""
    with tempfile.TemporaryDirectory(prefix="bench-busy-") as name:
        folder = Path(name)
        repository(folder / "models", products)
        word = words.parse(f"triton@{version}")
        with servers.start(word, OwnModel(MODEL, folder / "models"), folder / "log", say) as server:
            yield server.words["http"]


def repository(folder: Path, products: int) -> None:
    """Write the model repository."""
    version = folder / MODEL / "1"
    version.mkdir(parents=True)
    (version.parent / "config.pbtxt").write_text(_CONFIG.format(products=products), encoding="utf-8")
    shutil.copy(Path(__file__).with_name("busy_model.py"), version / "model.py")


def products_in(version: str, milliseconds: float, say: Callable[[str], None]) -> int:
    """About how many products a request that takes so long here, a multiple of five: as a Triton takes for some of them."""
    with serving(version, _TRIED, say) as word:
        place = words.parse(word).place
        taken_ns = _undisturbed_ns(place)
    return as_many(milliseconds, taken_ns)


def as_many(milliseconds: float, taken_ns: int) -> int:
    """The multiple of five that takes so long where those that were tried took `taken_ns`."""
    return max(1, round(_TRIED * milliseconds * 1e6 / taken_ns / _STEP)) * _STEP


def _undisturbed_ns(place: str, requests: int = 300) -> int:
    """How long the fastest of some requests takes, one after another: what others do on the machine is not in it."""
    connection, taken = http.client.HTTPConnection(place, timeout=10.0), []
    for _ in range(requests):
        begin = time.perf_counter_ns()
        connection.request("POST", f"/v2/models/{MODEL}/infer", _REQUEST)
        reply = connection.getresponse()
        said = reply.read()
        taken.append(time.perf_counter_ns() - begin)
        if reply.status != 200:
            raise RunError(f"Triton with model {MODEL}: HTTP {reply.status}: {said.decode(errors='replace')}")
    connection.close()
    return min(taken)


def fifth_more(products: int) -> int:
    """1.2 times as many of a multiple of five."""
    return products * 6 // 5
