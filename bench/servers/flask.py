"""`flask`: the traditional deployment, gunicorn's worker processes around the Flask application of `bench.runtime`."""

import importlib.metadata
import os
import secrets
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.errors import RunError, UsageError
from bench.recipes.catalog import BuiltModel
from bench.runtime.session import default_threads, session_options_facts
from bench.servers import generating
from bench.servers.backend_env import onnxruntime_distribution
from bench.servers.base import Served, ServerFacts, Several
from bench.servers.driver import gpu_count
from bench.servers.generating import Scheduling
from bench.servers.launch import HOST, READY_LIMIT_S, Plan, Ports, ask
from bench.servers.process import Order
from bench.words import Word

OPTIONS: dict[str, tuple[str, ...] | str] = generating.OPTIONS | {
    "workers": "count",  # processes, each with a session of its own
    "threads": "count",  # of ONNX Runtime, in each worker
    "concurrency": "count",  # requests that a worker takes at a time (gunicorn's --threads)
    "encoding": ("json", "base64"),
    "precision": "of the model",
    "port": "count",
}
KEEP_ALIVE_S = 75
_MOST_WORKERS = 8  # each holds the whole model
_MODULE = "bench.runtime.flask_app"
_READY = "ready to serve"  # a worker writes it once its session is made; see `bench.runtime.flask_app`


def check(word: Word, model_context: int | None = None) -> None:
    """UsageError where a version is asked for (there is but the one that is installed), or what does not go with the model."""
    if word.version:
        installed = importlib.metadata.version("flask")
        raise UsageError(
            f"target {word}: flask has no versions to choose from; it runs with Flask {installed} as installed here"
        )
    generating.check(word, model_context, tuple(generating.OPTIONS))
    if model_context and word.options.get("encoding") == "base64":
        raise UsageError(f"target {word}: option encoding: for models that answer with tensors; this one generates tokens")


def check_own(word: Word) -> None:
    """UsageError: there is no such repository for Flask."""
    raise UsageError(f"target {word}: flask serves what bench builds; --model-repository goes with triton")


def plan(word: Word, served: Served, say: Callable[[str], None]) -> Plan:
    """How to start what `word` asks for."""
    if isinstance(served, Several):
        raise UsageError(f"target {word}: Flask serves one model, not {len(served.models)}")
    if not isinstance(served, BuiltModel):
        raise UsageError(f"target {word}: flask serves what bench builds")
    name, version = onnxruntime_distribution()
    gpu = gpu_count() > 0
    if gpu and name == "onnxruntime":
        raise RunError(
            "an NVIDIA driver answers, but ONNX Runtime is installed for the CPU: install inference-bench[cuda] for a fair "
            "comparison, or set CUDA_VISIBLE_DEVICES to nothing to keep both sides on the CPU"
        )
    options, cores = word.options, default_threads()
    scheduling = generating.read(word, "off", served.max_batch, served.context, gpu) if served.context else None
    workers = int(options.get("workers", 1 if scheduling else min(cores, _MOST_WORKERS)))
    return Gunicorn(
        model=served,
        workers=workers,
        threads=int(options.get("threads", default_session_threads(workers, cores, scheduling is not None))),
        concurrency=int(options.get("concurrency", default_concurrency(scheduling))),
        encoding=options.get("encoding", "json"),
        gpu=gpu,
        onnxruntime=version,
        server_id=secrets.token_hex(6),
        scheduling=scheduling,
    )


def default_concurrency(scheduling: Scheduling | None) -> int:
    """Requests that a worker takes at a time: of a model that joins them, no fewer than it may join."""
    return max(4, scheduling.slots) if scheduling and scheduling.batching != "off" else 4


def default_session_threads(workers: int, cores: int, generates: bool) -> int:
    """ONNX Runtime's threads in each worker: twice the cores in all, but just the cores for a model that generates.

    What is kindest to Flask, measured with ResNet-50 and JSON on 2 cores under 4 users (requests/s, P99): 1 worker of 2 threads
    20, 300 to 340 ms; 2 workers of 1 thread 23, 220 to 300 ms; 2 workers of 2 threads 22, 270 to 320 ms. But connections stay
    with the worker that took them, and now and then one worker takes all: with 1 thread it then leaves a core idle (a run of
    12/s looked like that). With 1 user 2 threads take 66 ms and 1 thread 88 ms.
    `bench demo 'flask?workers=1,threads=2' 'flask?workers=2,threads=1'` shows the like on another machine.
    """
    return max(1, (cores if generates else 2 * cores) // workers)


@dataclass(frozen=True)
class Gunicorn:
    """See `bench.servers.launch.Plan`."""

    model: BuiltModel
    workers: int
    threads: int
    concurrency: int
    encoding: str
    gpu: bool
    onnxruntime: str
    server_id: str
    scheduling: Scheduling | None = None  # of a model that generates
    port_count: int = 1
    ready_limit_s: float = READY_LIMIT_S

    @property
    def facts(self) -> ServerFacts:
        return ServerFacts(
            kind="flask",
            version=importlib.metadata.version("flask"),
            source=f"Flask {importlib.metadata.version('flask')}, gunicorn {importlib.metadata.version('gunicorn')} (gthread)",
            backend=f"onnxruntime {self.onnxruntime}",
            options={
                "device": "GPU" if self.gpu else "CPU",
                "workers": self.workers,
                "concurrency": self.concurrency,
                "threads": self.threads,
                "encoding": self.encoding,
                "keep_alive_s": KEEP_ALIVE_S,
            }
            | (self.scheduling.facts() if self.scheduling else {})
            | session_options_facts(self.threads, self.gpu),
        )

    def order(self, ports: Ports, log: Path) -> Order:
        folder = tempfile.mkdtemp(prefix="bench-flask-")
        # read from the working folder; an older gunicorn, which has no such socket, passes over the name
        Path(folder, "gunicorn.conf.py").write_text("control_socket_disable = True\n")
        return Order(
            argv=gunicorn_arguments(ports[0], self.workers, self.concurrency),
            log=str(log),
            # gunicorn's own environment variable, or a gunicorn.conf.py where bench stands, would change the server unseen
            env={k: v for k, v in os.environ.items() if k != "GUNICORN_CMD_ARGS"} | self._configuration(),
            cwd=folder,
            grace_s=5.0,
            folders=[folder],
        )

    def _configuration(self) -> dict[str, str]:
        own = {
            "BENCH_MODEL_FILE": str(self.model.onnx),
            "BENCH_MODEL_NAME": self.model.name,
            "BENCH_MODEL_VERSION": "1",
            "BENCH_THREADS": str(self.threads),
            "BENCH_PROVIDER": "cuda" if self.gpu else "cpu",
            "BENCH_ENCODING": self.encoding,
            "BENCH_SERVER_ID": self.server_id,
        }
        if self.scheduling is None:
            return own
        return own | {
            "BENCH_BATCHING": self.scheduling.batching,
            "BENCH_SLOTS": str(self.scheduling.slots),
            "BENCH_CONTEXT": str(self.scheduling.context),
            "BENCH_PREFILL_CHUNK": str(self.scheduling.prefill_chunk),
        }

    def ready(self, ports: Ports, said: str) -> bool:
        # /health is answered by whichever worker takes the connection: the log tells when the last one is there
        if said.count(_READY) < self.workers:
            return False
        status, health = ask(ports[0], "/health")
        return status == 200 and health.get("id") == self.server_id

    def words(self, ports: Ports) -> dict[str, str]:
        tail = "" if self.encoding == "json" else f"?encoding={self.encoding}"
        return {"http": f"flask://{HOST}:{ports[0]}{tail}"}

    def root(self, pid: int) -> int:
        return pid


def gunicorn_arguments(port: int, workers: int, concurrency: int) -> list[str]:
    """The whole gunicorn command."""
    return [
        sys.executable,
        "-m",
        "gunicorn",
        f"--bind={HOST}:{port}",
        "--worker-class=gthread",
        f"--workers={workers}",
        f"--threads={concurrency}",
        f"--keep-alive={KEEP_ALIVE_S}",
        "--timeout=120",
        "--graceful-timeout=2",
        f"{_MODULE}:create_app()",
    ]
