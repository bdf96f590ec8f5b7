"""The servers that bench starts itself, in one table."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib import import_module
from pathlib import Path
from typing import Protocol

from bench import words
from bench.errors import UsageError
from bench.recipes.catalog import BuiltModel
from bench.servers import launch
from bench.servers.base import HubModel, OneModel, OwnModel, Served, Server, ServerFacts, Several, side_by_side
from bench.words import Word

__all__ = [
    "SERVERS",
    "HubModel",
    "OneModel",
    "OwnModel",
    "Served",
    "Server",
    "ServerFacts",
    "Several",
    "check",
    "check_own",
    "side_by_side",
    "start",
]


class Kind(Protocol):
    """What the module of a server has."""

    OPTIONS: dict[str, tuple[str, ...] | str]

    def check(self, word: Word, model_context: int | None) -> None:
        """UsageError for what in a word cannot be, its options' names and plain values apart; see `bench.servers.check`."""
        ...

    def check_own(self, word: Word) -> None:
        """UsageError where this server, or an option, does not go with a model repository of the user's."""
        ...

    def plan(self, word: Word, served: Served, say: Callable[[str], None]) -> launch.Plan: ...


# imported when asked for, because what serves a model is heavy to import
SERVERS = {"triton": "bench.servers.triton", "flask": "bench.servers.flask"}


def check(word: Word, model_context: int | None = None) -> None:
    """UsageError unless `start` could make sense of the word; it lists what exists.

    `model_context`: tokens that the model to be served has, 0 for one that does not generate, None while it is not known.
    """
    _kind(word, model_context)


def check_own(word: Word) -> None:
    """UsageError unless the word names a server that could serve a model repository of the user's."""
    _kind(word, None).check_own(word)


def start(
    word: Word, served: Served, log: Path, say: Callable[[str], None] = lambda text: None
) -> AbstractContextManager[Server]:
    """The server that `word` names, serving `served`, its output in `log`: ready in the context, gone without a trace after it.

    UsageError for a wrong word or a taken port; RunError where the server cannot be had or does not become ready.
    """
    kind = _kind(word, served.context if isinstance(served, BuiltModel) else None)
    return launch.launch(word, kind.plan(word, served, say), log)


def _kind(word: Word, model_context: int | None) -> Kind:
    if word.endpoint or word.kind not in SERVERS:
        raise UsageError(f"server {word}: unknown; bench can start: {', '.join(SERVERS)}")
    kind: Kind = import_module(SERVERS[word.kind])
    words.check_options(word, kind.OPTIONS)
    kind.check(word, model_context)
    return kind
