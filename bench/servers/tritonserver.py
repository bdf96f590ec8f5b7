"""What every tritonserver is told, wherever its program comes from: options, model repository, arguments."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from bench import units
from bench.errors import UsageError
from bench.recipes.catalog import BuiltModel
from bench.recipes.repository import config_text
from bench.runtime import session
from bench.servers.driver import gpu_count
from bench.servers.launch import HOST, Ports, ask
from bench.words import Word

OPTIONS: dict[str, tuple[str, ...] | str] = {
    "batching": ("off", "dynamic"),
    "instances": "count",  # of the model, on each device
    "threads": "count",  # of ONNX Runtime, in each instance
    "max_batch": "count",
    "max_queue_delay": "how long a request may wait for others to share its batch, such as 5ms",
    "protocol": ("http", "grpc"),  # which of its words is driven
    "port": "count",  # HTTP; gRPC and metrics have the next two
    "args": "more arguments for tritonserver, joined by +",
    "via": ("wheel", "docker"),
    "image": "with via=docker: an image in place of NVIDIA's of this release",
}


@dataclass(frozen=True, slots=True)
class Settings:
    """How a Triton is to serve a model, and what it is started with besides."""

    batching: str
    instances: int
    threads: int
    max_batch: int
    max_queue_delay_us: int
    gpu: bool
    args: tuple[str, ...] = ()

    def facts(self) -> dict[str, str | int]:
        """The settings as the record of a run shows them."""
        shown: dict[str, str | int] = {
            "device": "GPU" if self.gpu else "CPU",
            "batching": self.batching,
            "instances": self.instances,
            "threads": self.threads,
            "max_batch": self.max_batch,
            "max_queue_delay_us": self.max_queue_delay_us,
        }
        return shown | ({"args": " ".join(self.args)} if self.args else {})


def read_settings(word: Word, model: BuiltModel) -> Settings:
    """The settings in a word, whose options are known to exist, with a default for each that is left out."""
    options = word.options
    instances = int(options.get("instances", 1))
    return Settings(
        batching=options.get("batching", "dynamic"),
        instances=instances,
        threads=int(options.get("threads", max(1, session.default_threads() // instances))),
        max_batch=int(options.get("max_batch", model.max_batch)),
        max_queue_delay_us=queue_delay_us(word),
        gpu=gpu_count() > 0,
        args=tuple(filter(None, options.get("args", "").split("+"))),
    )


def queue_delay_us(word: Word) -> int:
    """The option max_queue_delay; UsageError says how it is written."""
    try:
        return units.duration_ns(word.options.get("max_queue_delay", "0ms")) // 1000
    except ValueError as error:
        raise UsageError(f"target {word}: option max_queue_delay: {error}") from None


def write_repository(folder: Path, model: BuiltModel, settings: Settings, backend: str) -> None:
    """A model repository in `folder`: for the "python" backend with the code that runs the model and a link to the model.

    For "onnxruntime", which runs in a container, the model is an empty file: the place where the real one is to be mounted.
    """
    version = folder / model.name / "1"
    version.mkdir(parents=True)
    if backend == "onnxruntime":
        (version / "model.onnx").touch()
    else:
        (version / "model.onnx").symlink_to(model.onnx)
        runtime = Path(session.__file__)
        shutil.copy(runtime.with_name("triton_model.py"), version / "model.py")
        shutil.copy(runtime, version / "session.py")
    text = config_text(
        model,
        backend=backend,
        batching=settings.batching,
        instances=settings.instances,
        max_batch=settings.max_batch,
        max_queue_delay_us=settings.max_queue_delay_us,
        gpu=settings.gpu,
        parameters=_parameters(backend, settings.threads),
    )
    (folder / model.name / "config.pbtxt").write_text(text)


def _parameters(backend: str, threads: int) -> dict[str, str]:
    """What `runtime.session` sets, in the backend's own words."""
    if backend == "python":
        return {"threads": str(threads)}
    return {"intra_op_thread_count": str(threads), "inter_op_thread_count": "1", "execution_mode": "0"}


def arguments(repository: str, host: str, ports: Ports, server_id: str, settings: Settings) -> list[str]:
    """tritonserver's arguments; the user's own come last and win."""
    http, grpc, metrics = ports
    return [
        f"--model-repository={repository}",
        f"--id={server_id}",
        f"--http-address={host}",
        f"--http-port={http}",
        f"--grpc-address={host}",
        f"--grpc-port={grpc}",
        f"--metrics-address={host}",
        f"--metrics-port={metrics}",
        "--exit-timeout-secs=5",
        *settings.args,
    ]


def ready(ports: Ports, server_id: str, model: str) -> bool:
    """Whether this very server, and not another on its port, serves the model."""
    status, about = ask(ports[0], "/v2")
    if status != 200 or about.get("name") != server_id:
        return False
    return ask(ports[0], "/v2/health/ready")[0] == 200 and ask(ports[0], f"/v2/models/{model}/ready")[0] == 200


def words(ports: Ports) -> dict[str, str]:
    """Its target words."""
    return {"http": f"triton-http://{HOST}:{ports[0]}", "grpc": f"triton-grpc://{HOST}:{ports[1]}"}
