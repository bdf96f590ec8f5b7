"""The options of `triton?...`: how a Triton is to serve one of bench's models, and what it is started with besides."""

from dataclasses import dataclass

from bench import units
from bench.errors import UsageError
from bench.recipes.catalog import BuiltModel
from bench.runtime import session
from bench.servers import generating
from bench.servers.generating import Scheduling
from bench.targets import CLIENTS
from bench.words import Word

OPTIONS: dict[str, tuple[str, ...] | str] = generating.OPTIONS | {
    "instances": "count",  # of the model, on each device
    "threads": "count",  # of ONNX Runtime, in each instance
    "max_queue_delay": "how long a request may wait for others to share its batch, such as 5ms",
    "precision": "of the model",
    "engine": ("onnxruntime", "vllm"),
    "protocol": ("http", "grpc"),  # which of its words is driven
    "client": CLIENTS,  # by which it is
    "port": "count",  # HTTP; gRPC and metrics have the next two
    "args": "more arguments for tritonserver, joined by +",
    "via": ("wheel", "docker"),
    "image": "with via=docker: an image in place of NVIDIA's of this release",
}
# the options that say nothing of how a model is served
_OF_THE_SERVER = frozenset(("protocol", "client", "port", "args", "via", "image"))
_OF_VLLM = _OF_THE_SERVER | {"engine", "max_batch", "context"}


@dataclass(frozen=True, slots=True)
class Settings:
    """How a Triton is to serve a model."""

    batching: str
    instances: int
    threads: int
    max_batch: int
    max_queue_delay_us: int
    gpu: bool
    generating: Scheduling | None = None  # of a model that generates

    def facts(self) -> dict[str, str | int]:
        """The settings as the record of a run shows them."""
        shown: dict[str, str | int] = {
            "device": device(self.gpu),
            "batching": self.batching,
            "instances": self.instances,
            "threads": self.threads,
            "max_batch": self.max_batch,
            "max_queue_delay_us": self.max_queue_delay_us,
        }
        return shown | (self.generating.facts() if self.generating else {})


def read(word: Word, model: BuiltModel, gpu: bool) -> Settings:
    """The settings in a word that `check` has passed, with a default for each that is left out."""
    options = word.options
    instances = int(options.get("instances", 1))
    return Settings(
        batching=options.get("batching", "dynamic"),
        instances=instances,
        threads=int(options.get("threads", max(1, session.default_threads() // instances))),
        max_batch=int(options.get("max_batch", model.max_batch)),
        max_queue_delay_us=queue_delay_us(word),
        gpu=gpu,
        generating=generating.read(word, "dynamic", model.max_batch, model.context, gpu) if model.context else None,
    )


def check(word: Word, model_context: int | None) -> None:
    """UsageError for options whose values cannot be, or that the model (see `servers.check`) cannot be served with."""
    queue_delay_us(word)
    generating.check(word, model_context, ("context", "prefill_chunk"))
    if vllm(word):
        _refuse_others(word, _OF_VLLM, "engine=vllm, which decides that itself")
        if not in_docker(word):
            raise UsageError(f"target {word}: engine=vllm comes in NVIDIA's image only: via=docker goes with it")
    if model_context == 0 and (vllm(word) or word.options.get("batching") == "continuous"):
        option = "engine=vllm" if vllm(word) else "batching=continuous"
        raise UsageError(f"target {word}: option {option}: for models that generate tokens, which this one does not")
    if model_context and in_docker(word) and not vllm(word) and "image" not in word.options:
        raise UsageError(
            f"target {word}: NVIDIA's image has no ONNX Runtime for Python, which runs models that generate tokens: "
            "engine=vllm, an image of yours that has it, or via=wheel"
        )


def check_own(word: Word) -> None:
    """UsageError for an option that says how a model is served, where the user's own repository says it."""
    _refuse_others(word, _OF_THE_SERVER, "--model-repository: the model's config.pbtxt there decides that")


def queue_delay_us(word: Word) -> int:
    """The option max_queue_delay; UsageError says how it is written."""
    try:
        return units.duration_ns(word.options.get("max_queue_delay", "0ms")) // 1000
    except ValueError as error:
        raise UsageError(f"target {word}: option max_queue_delay: {error}") from None


def args(word: Word) -> tuple[str, ...]:
    """The user's own arguments for tritonserver."""
    return tuple(filter(None, word.options.get("args", "").split("+")))


def device(gpu: bool) -> str:
    """For the record of a run."""
    return "GPU" if gpu else "CPU"


def in_docker(word: Word) -> bool:
    """Whether an image is to run, rather than what bench installs."""
    return word.options.get("via") == "docker"


def vllm(word: Word) -> bool:
    """Whether Triton's vLLM backend is to run the model."""
    return word.options.get("engine") == "vllm"


def _refuse_others(word: Word, allowed: frozenset[str], what: str) -> None:
    for name in word.options:
        if name not in allowed:
            others = ", ".join(sorted(allowed - {"engine"}))
            raise UsageError(f"target {word}: option {name} does not go with {what}; {others} do")
