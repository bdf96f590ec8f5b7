"""What every server that bench starts is given to serve, and what it is to its user."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from bench.recipes.catalog import BuiltModel

DEFAULT_CONTEXT = 1024  # tokens that a prompt and its answer have together, unless a target word says otherwise


@dataclass(frozen=True, slots=True)
class OwnModel:
    """A model of the user's, in a Triton model repository of the user's, which is only read."""

    name: str
    repository: Path
    digest: str = ""  # of the model's folder, see `bench.servers.digests`; "" where it was not asked for


@dataclass(frozen=True, slots=True)
class HubModel:
    """A model that vLLM reads from a Hugging Face checkpoint by itself."""

    name: str  # as requests ask for it
    weights: str  # the checkpoint's folder, or its name on the hub


OneModel = BuiltModel | OwnModel | HubModel


@dataclass(frozen=True, slots=True)
class Several:
    """Models that one server serves side by side."""

    models: tuple[OneModel, ...]


Served = OneModel | Several


def side_by_side(models: Sequence[OneModel]) -> Served:
    """What serves all of `models`, each once."""
    different = tuple(dict.fromkeys(models))
    return different[0] if len(different) == 1 else Several(different)


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What a server is and how it was set up: what a fair comparison has to show of both sides."""

    kind: str  # "triton", "flask"
    version: str
    source: str  # where its program came from
    backend: str  # what runs the model in it
    options: dict[str, str | int] = field(default_factory=dict)
    image: str = ""  # of the container that it runs in
    digest: str = ""  # the image's id
    ready_s: float | None = None  # from its start until it answered with its models loaded; None where it is not ready yet


class Server(Protocol):
    """A server that is ready. It ends with the context manager it came from, however bench ends."""

    words: dict[str, str]  # protocol -> target word: {"http": "triton-http://127.0.0.1:8000"}
    pid: int  # root of its process tree
    facts: ServerFacts
    log: Path

    def exited(self, wait_s: float = 0.0) -> int | None:
        """Its exit status once it has ended (minus the signal's number where one ended it); waits for that at most `wait_s`."""
        ...

    def stop(self) -> None:
        """End it and wait until nothing of it is left. A second call does nothing."""
        ...

    def kill(self) -> None:
        """End its process group at once by SIGKILL, as a fault would."""
        ...
