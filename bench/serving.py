"""Which model a target word is to serve, and whether that model, served so, can carry the workload."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from bench import lengths, resources, servers
from bench.errors import UsageError
from bench.recipes.catalog import BuiltModel
from bench.servers import digests
from bench.servers.base import DEFAULT_CONTEXT, HubModel, OneModel, OwnModel
from bench.tensors import TensorSpec
from bench.words import Word
from bench.workload import Model, Workload

if TYPE_CHECKING:
    from bench.recipes.graph import Architecture

_HUB_NAMES = {"qwen-1.5b": "Qwen/Qwen2.5-1.5B-Instruct"}  # what vLLM loads where the workload names no weights


def check(word: Word, workload: Workload, repository: Path | None = None) -> None:
    """UsageError where a model of the workload cannot be had, cannot be served as the word asks, or is none for what is sent.

    Nothing is built for it. `word` is known to be one that bench can make sense of; `repository` is a user's own. A server that
    runs already serves what it likes, and only bench's own answers to compare with need a model of bench's.
    """
    check_together(word, [part.model for part in workload.parts], workload.name)
    for part in workload.parts:
        try:
            _check_part(word, part, repository)
        except UsageError as error:
            raise UsageError(f"part {part.name} of workload {workload.name}: {error}" if workload.mix else str(error)) from None


def check_together(word: Word, models: Sequence[Model], workload: str) -> None:
    """UsageError where one endpoint cannot have all these models of a workload, or could not tell them apart."""
    asked = dict.fromkeys(replace(model, precision=precision(word, model)) for model in models)
    names = [model.name for model in asked]
    if len(set(names)) > 1:
        them = f"workload {workload} is a mix of several: {', '.join(dict.fromkeys(names))}"
        if word.kind == "flask":
            raise UsageError(f"target {word}: Flask serves one model, and {them}; triton and onnx:// serve them together")
        if word.options.get("engine") == "vllm":
            raise UsageError(f"target {word}: option engine: vLLM takes the GPU for one model, and {them}")
        if word.kind == "openai" and "model" in word.options:
            raise UsageError(f"target {word}: option model: names one model, and {them}")
    if not word.endpoint and (twice := [name for name in names if names.count(name) > 1]):
        raise UsageError(
            f"target {word}: a server has one model of a name, and workload {workload} has parts that ask for {twice[0]} in "
            "another precision, preset, version or with other weights"
        )


def _check_part(word: Word, workload: Workload, repository: Path | None) -> None:
    if not runs_already(word):
        _check(word, workload, repository)
    elif workload.check.reference:
        with for_reference():
            _check(word, workload, repository)


def runs_already(word: Word) -> bool:
    """Whether the word names a server that is none of bench's."""
    return word.endpoint and word.kind not in ("onnx", "echo")


@contextmanager
def for_reference() -> Iterator[None]:
    """A UsageError raised within is of bench's own answers alone: it says how to do without them."""
    try:
        yield
    except UsageError as error:
        raise UsageError(
            f"{error}; that is of the answers that bench would compare with: check.reference = false runs without them"
        ) from None


def _check(word: Word, workload: Workload, repository: Path | None) -> None:
    context = check_model(word, workload.model, repository)
    generates = workload.payload.generate is not None
    if context is not None and generates != (context > 0):
        sent = "prompts, and the model generates no tokens" if generates else "inputs, and the model generates tokens"
        wanted = "[payload.inputs]" if generates else "[payload.generate]"
        raise UsageError(f"workload {workload.name}: it sends {sent}: model {workload.model.name} needs {wanted}")
    if context and workload.payload.generate is not None and workload.payload.generate.form != "tokens":
        raise UsageError(
            f"workload {workload.name}: it sends texts, and model {workload.model.name} as bench builds it has no tokenizer: "
            'it needs form = "tokens" in [payload.generate]'
        )
    vllm = word.options.get("engine") == "vllm"
    if vllm and (workload.payload.generate is None or workload.payload.generate.form != "text"):
        # ids written as text would be read digit by digit, and a prompt be some times as long as it is meant to be
        raise UsageError(
            f'workload {workload.name}: Triton\'s vLLM backend takes texts: it needs [payload.generate] with form = "text"'
        )
    if context is not None and not workload.model.weights:  # a checkpoint has limits of its own
        check_sizes(workload, _architecture(word, workload.model).limits())
    if context is not None and not runs_already(word):
        _check_room(word, workload, int(word.options.get("context", min(DEFAULT_CONTEXT, context))), context)
    elif vllm:
        _check_room(word, workload, int(word.options.get("context", DEFAULT_CONTEXT)), None)


def check_model(word: Word, model: Model, repository: Path | None = None) -> int | None:
    """Tokens that the model has (0: it generates none), None where bench does not build it; UsageError as for `check`."""
    if repository is not None:
        own_model(model.name, repository)
        return None
    if word.options.get("engine") == "vllm":
        _hub_model(word, model)
        return None
    if model.name not in resources.model_names():
        if not word.endpoint:
            raise _not_served(word, model)
        return None
    context = _architecture(word, model).context
    if not word.endpoint:
        servers.check(word, context)
    return context


def _architecture(word: Word, model: Model) -> "Architecture":
    from bench.recipes import recipe  # which takes a quarter of a second to import

    return recipe.choose(model.name, precision(word, model), model.preset)[2]


def choose(word: Word, model: Model, repository: Path | None, say: Callable[[str], None]) -> OneModel:
    """What the server that `word` names is to serve, built where bench builds it. `check_model` has passed it."""
    if repository is not None:
        own = own_model(model.name, repository)
        return dataclasses.replace(own, digest=digests.of_folder(own.repository / own.name))
    if word.options.get("engine") == "vllm":
        return _hub_model(word, model)
    return built(word, model, say)


def built(word: Word, model: Model, say: Callable[[str], None]) -> BuiltModel:
    """The model as bench builds it, in the precision that the word asks for."""
    from bench.recipes import build

    return build.build(model.name, precision(word, model), model.preset, model.weights, say)


def precision(word: Word, model: Model) -> str:
    """The word's, else the workload's."""
    return word.options.get("precision", model.precision)


def own_model(name: str, repository: Path) -> OwnModel:
    """The model `name` in a model repository of the user's; UsageError lists those that are there."""
    if not repository.is_dir():
        raise UsageError(f"--model-repository {repository}: expected a folder that has a folder for each model")
    there = sorted(path.name for path in repository.iterdir() if path.is_dir() and not path.name.startswith("."))
    if name not in there:
        raise UsageError(
            f"--model-repository {repository}: model {name!r} is not there; there are: {', '.join(there) or 'none'}"
        )
    return OwnModel(name, repository.absolute())


def _check_room(word: Word, workload: Workload, room: int, most: int | None) -> None:
    """UsageError unless the longest prompt and its answer fit in `room` tokens; the model has `most`."""
    if (generate := workload.payload.generate) is None:
        return
    prompt, output = lengths.most(generate.prompt_tokens), lengths.most(generate.output_tokens)
    if (needed := prompt + output) > room:
        more = most is None or needed <= most
        what = f"option context={needed} makes room for them" if more else f"the model has {most} at most"
        raise UsageError(
            f"workload {workload.name}: prompts of up to {prompt:,} tokens and answers of up to {output:,} make {needed:,}, "
            f"and target {word} has a context of {room:,}: {what}"
        )


def check_sizes(workload: Workload, limits: Sequence[TensorSpec]) -> None:
    """UsageError where a dimension of an input is, or may be drawn, larger than the model takes; `limits`: a BuiltModel's."""
    drawn = workload.payload.lengths
    for limit in limits:
        if limit.name not in workload.payload.inputs:
            continue
        for dimension, most in zip(workload.payload.inputs[limit.name].shape, limit.shape, strict=False):
            # a name that is no length is of a file: its requests tell
            size = dimension if isinstance(dimension, int) else lengths.most(drawn[dimension]) if dimension in drawn else 0
            if 0 <= most < size:
                raise UsageError(
                    f"workload {workload.name}: input {limit.name} is up to {size:,} long, and model {workload.model.name} "
                    f"takes {most:,} at most"
                )


def _hub_model(word: Word, model: Model) -> HubModel:
    weights = model.weights or _HUB_NAMES.get(model.name)
    if not weights:
        raise UsageError(
            f"target {word}: vLLM loads model {model.name} from a Hugging Face checkpoint, which model.weights has to name"
        )
    return HubModel(model.name, str(Path(weights).absolute()) if Path(weights).is_dir() else weights)


def _not_served(word: Word, model: Model) -> UsageError:
    known = ", ".join(resources.model_names())
    return UsageError(
        f"target {word}: a managed server needs a model that bench can build: {known}; "
        f"for {model.name!r} name a repository of your own by --model-repository"
    )
