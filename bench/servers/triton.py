"""`triton[@VERSION]`: a Triton that bench installs, or with via=docker NVIDIA's image of it."""

from collections.abc import Callable

from bench.errors import UsageError
from bench.recipes.catalog import BuiltModel
from bench.servers import docker, releases, tritonserver, wheel
from bench.servers.launch import Plan
from bench.servers.tritonserver import OPTIONS
from bench.words import Word

__all__ = ["OPTIONS", "check", "plan"]


def check(word: Word) -> None:
    """UsageError for a version that does not exist, a delay that is none, options that do not go together."""
    tritonserver.queue_delay_us(word)
    if _in_docker(word):
        docker.image(word)
        return
    releases.find(word.version)
    if "image" in word.options:
        raise UsageError(f"target {word}: option image goes with via=docker")


def plan(word: Word, model: BuiltModel, say: Callable[[str], None]) -> Plan:
    """How to start what `word` asks for; installs, or pulls, what is not there yet."""
    settings = tritonserver.read_settings(word, model)
    if _in_docker(word):
        return docker.prepare(docker.image(word), model, settings, say)
    return wheel.prepare(releases.find(word.version), model, settings, say)


def _in_docker(word: Word) -> bool:
    return word.options.get("via") == "docker"
