"""A target word made live: a server started for it where it names one, and the model's reference answers beside it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from bench import resources, servers, serving, targets, words
from bench.errors import UsageError
from bench.recipes.catalog import BuiltModel
from bench.servers.base import OneModel
from bench.targets import transport
from bench.words import Word
from bench.workload import Workload

_PORTS = {"triton-grpc": 8001, "flask": 5000}  # where the word has none; 8000 for all others


@dataclass(frozen=True, slots=True)
class PartModel:
    """The model of one part of a workload, and what its replies are held to."""

    part: str  # its name
    model: BuiltModel | None = None
    reference: Path | None = None
    foreign: OneModel | None = None  # what a server that bench started serves without bench having built it
    reference_model: BuiltModel | None = None  # whose answers those of another's server are compared with

    def describe(self) -> dict[str, Any]:
        """What a run's record says of it."""
        said: dict[str, Any] = {"model": describe_model(self.model or self.foreign)}
        reference, compared = self.reference_model, self.reference
        if reference is not None and compared is not None and compared.is_relative_to(reference.folder):  # else: recorded ones
            said["reference_model"] = describe_model(reference)
        return said


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Something that answers, or will when asked."""

    asked: Word  # as the user wrote it
    word: Word  # where it is
    name: str  # for people: "Triton 2.48.0"
    server: dict[str, Any] | None = None  # the facts of a server that bench started
    pid: int | None = None  # root of its process tree
    models: tuple[PartModel, ...] = ()  # of each part of the workload, in its order; none where nothing is known of any
    exited: Callable[[], int | None] = field(default=lambda: None)

    def describe(self) -> dict[str, Any]:
        """What a run's record says of its target; of a mix the models are told by its parts."""
        said = {"word": str(self.word), "asked": str(self.asked), "name": self.name, "server": self.server}
        said |= transport.about(self.word)
        if len(self.models) > 1:
            return said | {"parts": {one.part: one.describe() for one in self.models}}
        return said | (self.models[0].describe() if self.models else {"model": None})

    def held_to(self, recorded: Sequence[Path | None]) -> "Endpoint":
        """The same, with the replies of each part held to recorded answers where there are any."""
        held = [replace(one, reference=path or one.reference) for one, path in zip(self.models, recorded, strict=False)]
        return replace(self, models=tuple(held))


def describe_model(model: OneModel | None) -> dict[str, Any] | None:
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

            for part in [None] if workload is None else workload.parts:
                onnx.check(word, part)
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
    served = [serving.choose(word, part.model, repository, say) for part in workload.parts]
    models = tuple(_part_model(part, model, say) for part, model in zip(workload.parts, served, strict=True))
    say(f"starting {word} ...")
    with servers.start(word, servers.side_by_side(served), log, say) as server:
        there = words.parse(server.words[_protocol(word)])
        yield Endpoint(
            asked=word,
            word=replace(there, options=there.options | _client(word)),
            name=f"{server.facts.kind.capitalize()} {server.facts.version}".strip(),
            server=asdict(server.facts),
            pid=server.pid,
            models=models,
            exited=server.exited,
        )


def _protocol(word: Word) -> str:
    return word.options.get("protocol", "http")


def _client(word: Word) -> dict[str, str]:
    return {key: value for key, value in word.options.items() if key == "client"}


def _in_process(word: Word, workload: Workload, say: Callable[[str], None]) -> Endpoint:
    from bench.targets import onnx

    onnx.check_device(word)
    known = [part.model.name in resources.model_names() for part in workload.parts]
    served = [serving.built(word, p.model, say) if here else None for p, here in zip(workload.parts, known, strict=True)]
    models = tuple(_part_model(part, model, say) for part, model in zip(workload.parts, served, strict=True))
    return Endpoint(word, word, _plain(word), models=models)


def _there_already(word: Word, workload: Workload, say: Callable[[str], None]) -> Endpoint:
    """A server that is none of bench's: models are built for the reference answers alone, and not before something answers."""
    models = []
    for part in workload.parts:
        if not part.check.reference or part.model.name not in resources.model_names():
            models.append(PartModel(part.name))
            continue
        _knock(word)
        with serving.for_reference():
            model = serving.built(word, part.model, say)
            models.append(PartModel(part.name, reference=_reference(model, part, say), reference_model=model))
    return Endpoint(word, word, _plain(word), models=tuple(models))


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


def _part_model(part: Workload, model: OneModel | None, say: Callable[[str], None]) -> PartModel:
    """The model that a part is served with."""
    if not isinstance(model, BuiltModel):
        return PartModel(part.name, foreign=model)
    return PartModel(part.name, model, _reference(model, part, say))


def _reference(model: BuiltModel, workload: Workload, say: Callable[[str], None]) -> Path | None:
    """The model's answers to the workload's requests, where they are asked for."""
    if not workload.check.reference:
        return None
    serving.check_sizes(workload, model.limits)
    from bench.recipes.reference import reference

    return reference(model, workload, say)
