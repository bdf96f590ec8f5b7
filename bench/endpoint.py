"""A target word made live: a server started for it where it names one, and the model's reference answers beside it."""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from bench import resources, targets, words
from bench.errors import UsageError
from bench.recipes.catalog import BuiltModel
from bench.words import Word
from bench.workload import Workload


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Something that answers, or will when asked."""

    asked: Word  # as the user wrote it
    word: Word  # where it is
    name: str  # for people: "Triton 2.48.0"
    server: dict[str, Any] | None = None  # the facts of a server that bench started
    pid: int | None = None  # root of its process tree
    model: BuiltModel | None = None
    reference: Path | None = None
    exited: Callable[[], int | None] = field(default=lambda: None)

    def describe(self) -> dict[str, Any]:
        """What a run's record says of its target."""
        model = self.model and {"name": self.model.name, "digest": self.model.digest, "parameters": self.model.parameters}
        return {"word": str(self.word), "asked": str(self.asked), "name": self.name, "server": self.server, "model": model}


def check(word: Word) -> None:
    """UsageError where a word names nothing that bench knows; cheap, so that a slip is told before anything starts."""
    if word.endpoint:
        targets.check(word)
        return
    from bench import servers

    if word.kind not in servers.SERVERS:
        known = ", ".join([*servers.SERVERS, *(f"{scheme}://" for scheme in targets.TARGETS)])
        raise UsageError(f"target {word}: unknown; there are: {known}")
    servers.check(word)


@contextmanager
def live(word: Word, workload: Workload, log: Path, say: Callable[[str], None]) -> Iterator[Endpoint]:
    """The endpoint for `word`: started where bench manages it, and stopped after."""
    check(word)
    if word.kind == "echo":
        yield Endpoint(word, word, "echo")
        return
    model, reference = _model(workload, word, say)
    if word.endpoint:
        yield Endpoint(word, word, str(word.without(*word.options)), model=model, reference=reference)
        return
    from bench import servers

    if model is None:
        raise UsageError(
            f"target {word}: a managed server needs a model that bench can build: {', '.join(resources.model_names())}"
        )
    protocol = word.options.get("protocol", "http")
    say(f"starting {word} ...")
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(servers.start(word, model, log, say))
        at = words.parse(server.words[protocol])
        name = f"{server.facts.kind.capitalize()} {server.facts.version}".strip()
        endpoint = Endpoint(word, at, name, asdict(server.facts), server.pid, model, reference)
        yield replace(endpoint, exited=server.exited)


def _model(workload: Workload, word: Word, say: Callable[[str], None]) -> tuple[BuiltModel | None, Path | None]:
    """The workload's model and its reference answers; None for a model that bench has no recipe for."""
    if workload.model.name not in resources.model_names():
        return None, None
    from bench.recipes import build

    model = build.build(workload.model.name, workload.model.precision, workload.model.preset, say)
    return model, build.reference(model, workload, say) if workload.check.reference else None
