"""Which model a target word is to serve, and whether that model, served so, can carry the workload."""

from collections.abc import Callable
from pathlib import Path

from bench import lengths, resources, servers
from bench.errors import UsageError
from bench.recipes.catalog import BuiltModel
from bench.servers.base import DEFAULT_CONTEXT, HubModel, OwnModel, Served
from bench.words import Word
from bench.workload import Model, Workload

_HUB_NAMES = {"qwen-1.5b": "Qwen/Qwen2.5-1.5B-Instruct"}  # what vLLM loads where the workload names no weights


def check(word: Word, workload: Workload, repository: Path | None = None) -> None:
    """UsageError where the workload's model cannot be had, cannot be served as the word asks, or is none for this workload.

    Nothing is built for it. `word` is known to be one that bench can make sense of; `repository` is a user's own.
    """
    context = check_model(word, workload.model, repository)
    generates = workload.payload.generate is not None
    if context is not None and generates != (context > 0):
        sent = "prompts, and the model generates no tokens" if generates else "inputs, and the model generates tokens"
        wanted = "[payload.inputs]" if generates else "[payload.generate]"
        raise UsageError(f"workload {workload.name}: it sends {sent}: model {workload.model.name} needs {wanted}")
    vllm = word.options.get("engine") == "vllm"
    if vllm and (workload.payload.generate is None or workload.payload.generate.form != "text"):
        # ids written as text would be read digit by digit, and a prompt be some times as long as it is meant to be
        raise UsageError(
            f'workload {workload.name}: Triton\'s vLLM backend takes texts: it needs [payload.generate] with form = "text"'
        )
    if context is not None and (not word.endpoint or word.kind == "onnx"):
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
    from bench.recipes import recipe  # which takes a quarter of a second to import

    context = recipe.choose(model.name, precision(word, model), model.preset)[2].context
    if not word.endpoint:
        servers.check(word, context)
    return context


def choose(word: Word, model: Model, repository: Path | None, say: Callable[[str], None]) -> Served:
    """What the server that `word` names is to serve, built where bench builds it. `check_model` has passed it."""
    if repository is not None:
        return own_model(model.name, repository)
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
