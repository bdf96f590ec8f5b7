"""`triton[@VERSION]`: a Triton that bench installs, or with via=docker NVIDIA's image of it."""

from collections.abc import Callable

from bench.errors import RunError, UsageError
from bench.servers import docker, releases, repositories, triton_options, wheel
from bench.servers.base import HubModel, OneModel, OwnModel, Served, Several
from bench.servers.driver import gpu_count
from bench.servers.launch import Plan
from bench.servers.repositories import Repository
from bench.servers.triton_options import OPTIONS, check_own, in_docker
from bench.words import Word

__all__ = ["OPTIONS", "check", "check_own", "plan"]


def check(word: Word, model_context: int | None = None) -> None:
    """UsageError for a version that does not exist, a value that is none, options that do not go together or with the model."""
    triton_options.check(word, model_context)
    if in_docker(word):
        docker.image(word)
        return
    releases.find(word.version)
    if "image" in word.options:
        raise UsageError(f"target {word}: option image goes with via=docker")


def plan(word: Word, served: Served, say: Callable[[str], None]) -> Plan:
    """How to start what `word` asks for; installs, or pulls, what is not there yet."""
    gpu = gpu_count() > 0
    models = served.models if isinstance(served, Several) else (served,)
    repository = repositories.together([_repository(word, model, gpu) for model in models])
    args = triton_options.args(word)
    if in_docker(word):
        return docker.prepare(docker.image(word), repository, gpu, args, say)
    return wheel.prepare(releases.find(word.version), repository, args, say)


def _repository(word: Word, served: OneModel, gpu: bool) -> Repository:
    if isinstance(served, OwnModel):
        check_own(word)
        return repositories.of_the_user(served, gpu)
    if isinstance(served, HubModel):
        if not gpu:
            raise RunError(f"{word}: vLLM needs an NVIDIA GPU, and no driver answers here")
        return repositories.for_vllm(served, word, gpu)
    settings = triton_options.read(word, served, gpu)
    return (repositories.for_container if in_docker(word) else repositories.for_wheel)(served, settings)
