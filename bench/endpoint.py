"""A target word made live: a server started for it where it names one, and the model's reference answers beside it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from bench import resources, servers, serving, targets, words
from bench.errors import UsageError
from bench.recipes.catalog import BuiltModel
from bench.servers.base import Served
from bench.targets import transport
from bench.words import Word
from bench.workload import Workload

_PORTS = {"triton-grpc": 8001, "flask": 5000}  # where the word has none; 8000 for all others


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
    foreign: Served | None = None  # what a server that bench started serves without bench having built it
    reference_model: BuiltModel | None = None  # whose answers those of another's server are compared with

    def describe(self) -> dict[str, Any]:
        """What a run's record says of its target."""
        model = describe_model(self.model or self.foreign)
        said = {"word": str(self.word), "asked": str(self.asked), "name": self.name, "server": self.server, "model": model}
        said |= transport.about(self.word)
        reference, compared = self.reference_model, self.reference
        if reference is not None and compared is not None and compared.is_relative_to(reference.folder):  # else: recorded ones
            said["reference_model"] = describe_model(reference)
        return said


def describe_model(model: Served | None) -> dict[str, Any] | None:
    """What a run's record says of a model: where it comes from, and what tells it from others of its name."""
    if isinstance(model, BuiltModel):
        shown = ("name", "precision", "preset", "weights", "digest", "parameters", "context")
        return {name: getattr(model, name) for name in shown}
    return None if model is None else {name: str(value) for name, value in asdict(model).items()}


def check(word: Word, workload: Workload | None = None, repository: Path | None = None) -> None:
    """UsageError where a word names nothing that bench knows, or nothing that could answer `workload`.

    Cheap, so that a slip is told before anything is built or started. `repository`: a model repository of the user's, which a
    Triton that bench starts is to serve.
    """
    if word.endpoint:
        targets.check(word)
        if word.kind == "onnx":
            from bench.targets import onnx

            onnx.check(word, workload)
        if repository is not None:
            raise UsageError(f"--model-repository goes with a Triton that bench starts; target {word} is there already")
    elif word.kind not in servers.SERVERS:
        known = ", ".join([*servers.SERVERS, *(f"{scheme}://" for scheme in targets.TARGETS)])
        raise UsageError(f"target {word}: unknown; there are: {known}")
    elif repository is None:
        servers.check(word)
    else:
        servers.check_own(word)
    if workload is not None and word.kind != "echo":
        serving.check(word, workload, repository)
    if workload is not None and _client(word) == {"client": targets.OFFICIAL}:
        targets.check_official(word, word.kind if word.endpoint else f"triton-{_protocol(word)}", workload)


@contextmanager
def live(
    word: Word, workload: Workload, log: Path, say: Callable[[str], None], repository: Path | None = None
) -> Iterator[Endpoint]:
    """The endpoint for `word`: started where bench manages it, and stopped after. See `check` for `repository`."""
    check(word, workload, repository)
    if word.kind == "echo":
        yield Endpoint(word, word, "echo")
        return
    if word.endpoint:
        yield _in_process(word, workload, say) if word.kind == "onnx" else _there_already(word, workload, say)
        return
    served = serving.choose(word, workload.model, repository, say)
    model, foreign = (served, None) if isinstance(served, BuiltModel) else (None, served)
    reference = _reference(model, workload, say)
    say(f"starting {word} ...")
    with servers.start(word, served, log, say) as server:
        yield Endpoint(
            asked=word,
            word=replace(words.parse(server.words[_protocol(word)]), options=_client(word)),
            name=f"{server.facts.kind.capitalize()} {server.facts.version}".strip(),
            server=asdict(server.facts),
            pid=server.pid,
            model=model,
            reference=reference,
            exited=server.exited,
            foreign=foreign,
        )


def _protocol(word: Word) -> str:
    return word.options.get("protocol", "http")


def _client(word: Word) -> dict[str, str]:
    return {key: value for key, value in word.options.items() if key == "client"}


def _in_process(word: Word, workload: Workload, say: Callable[[str], None]) -> Endpoint:
    from bench.targets import onnx

    onnx.check_device(word)
    model = serving.built(word, workload.model, say) if workload.model.name in resources.model_names() else None
    return Endpoint(word, word, _plain(word), model=model, reference=_reference(model, workload, say))


def _there_already(word: Word, workload: Workload, say: Callable[[str], None]) -> Endpoint:
    """A server that is none of bench's: a model is built for the reference answers alone, and not before something answers."""
    if not workload.check.reference or workload.model.name not in resources.model_names():
        return Endpoint(word, word, _plain(word))
    _knock(word)
    with serving.for_reference():
        model = serving.built(word, workload.model, say)
        return Endpoint(word, word, _plain(word), reference=_reference(model, workload, say), reference_model=model)


def _plain(word: Word) -> str:
    return str(word.without(*word.options))


def _knock(word: Word) -> None:
    """RunError where nothing listens, or not over TLS as it is asked for."""
    address = word.address(_PORTS.get(word.kind, 8000))
    protocol = transport.HTTP2 if word.kind == "triton-grpc" else transport.HTTP1
    try:
        transport.connect(address, transport.PATIENCE_S, transport.tls(word, protocol)).close()
    except OSError as error:
        raise transport.unreachable(word, address, error) from None


def _reference(model: BuiltModel | None, workload: Workload, say: Callable[[str], None]) -> Path | None:
    """The model's answers to the workload's requests, where they are asked for and can be made."""
    if model is None or not workload.check.reference:
        return None
    serving.check_sizes(workload, model.limits)
    from bench.recipes.reference import reference

    return reference(model, workload, say)
