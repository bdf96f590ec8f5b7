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
from bench.servers.base import Server, ServerFacts
from bench.words import Word

__all__ = ["SERVERS", "Server", "ServerFacts", "check", "start"]


class Kind(Protocol):
    """What the module of a server has."""

    OPTIONS: dict[str, tuple[str, ...] | str]

    def check(self, word: Word) -> None:
        """UsageError for what in a word cannot be, its options' names and plain values apart."""
        ...

    def plan(self, word: Word, model: BuiltModel, say: Callable[[str], None]) -> launch.Plan: ...


# imported when asked for, because what serves a model is heavy to import
SERVERS = {"triton": "bench.servers.triton", "flask": "bench.servers.flask"}


def check(word: Word) -> None:
    """UsageError unless `start` could make sense of the word; it lists what exists."""
    _kind(word)


def start(
    word: Word, model: BuiltModel, log: Path, say: Callable[[str], None] = lambda text: None
) -> AbstractContextManager[Server]:
    """The server that `word` names, serving `model`, its output in `log`: ready in the context, gone without a trace after it.

    UsageError for a wrong word or a taken port; RunError where the server cannot be had or does not become ready.
    """
    return launch.launch(word, _kind(word).plan(word, model, say), log)


def _kind(word: Word) -> Kind:
    if word.endpoint or word.kind not in SERVERS:
        raise UsageError(f"server {word}: unknown; bench can start: {', '.join(SERVERS)}")
    kind: Kind = import_module(SERVERS[word.kind])
    words.check_options(word, kind.OPTIONS)
    kind.check(word)
    return kind
