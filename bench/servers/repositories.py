"""What a tritonserver is given to serve: a model repository that bench makes for it, or one of the user's."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench import resources
from bench.recipes.catalog import BuiltModel
from bench.recipes.repository import code, config_text, vllm_config_text
from bench.runtime import copy_beside
from bench.runtime.session import session_options_facts
from bench.servers import backend_env
from bench.servers.base import DEFAULT_CONTEXT, HubModel, OwnModel
from bench.servers.launch import READY_LIMIT_S
from bench.servers.triton_options import Settings, device
from bench.words import Word

INSIDE = "/models"  # the repository in a container
_HUB_CACHE = "/root/.cache/huggingface"
_WEIGHTS = "/weights"
_PATIENCE_S = 1800.0  # for what may be fetched over the network or compiled first, or is of any size


@dataclass(frozen=True, slots=True)
class Repository:
    """A model repository, before it is anywhere, and what goes with it."""

    models: tuple[str, ...]  # those that have to be ready
    backend: str  # what runs it
    facts: dict[str, str | int]
    files: Mapping[str, str] = field(default_factory=dict)  # path in it -> text, where bench makes it
    code: Mapping[str, str] = field(default_factory=dict)  # model -> the module of `bench.runtime` that is its model.py
    own: Path | None = None  # the user's, as it is
    volumes: tuple[str, ...] = ()  # HOST:INSIDE:ro, for a container
    arguments: tuple[str, ...] = ()  # of tritonserver
    ready_limit_s: float = READY_LIMIT_S


def place(repository: Repository, folder: Path) -> Path:
    """The folder to serve: the user's own, else `folder`, made here."""
    if repository.own is not None:
        return repository.own
    for name, text in repository.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for model, module in repository.code.items():
        version = folder / model / "1"
        version.mkdir(exist_ok=True)
        copy_beside(module, version)
    return folder


def together(parts: Sequence[Repository]) -> Repository:
    """One repository of all their models; of the facts, those that are not alike say whose they are."""
    facts: dict[str, str | int] = {}
    for part in parts:
        for key, value in part.facts.items():
            alike = all(other.facts.get(key) == value for other in parts)
            facts[key if alike else f"{', '.join(part.models)} {key}"] = value
    return Repository(
        models=tuple(model for part in parts for model in part.models),
        backend=", ".join(dict.fromkeys(part.backend for part in parts)),
        facts=facts,
        files={path: text for part in parts for path, text in part.files.items()},
        code={model: module for part in parts for model, module in part.code.items()},
        own=parts[0].own,
        volumes=tuple(dict.fromkeys(volume for part in parts for volume in part.volumes)),
        arguments=tuple(dict.fromkeys(argument for part in parts for argument in part.arguments)),
        ready_limit_s=max(part.ready_limit_s for part in parts),
    )


def for_wheel(model: BuiltModel, settings: Settings) -> Repository:
    """`model` in the Python backend, told where the model's own files are.

    They are not linked to: ONNX Runtime refuses weights behind a link that leaves the model's folder.
    """
    return Repository(
        models=(model.name,),
        backend=f"python, onnxruntime {backend_env.onnxruntime_distribution()[1]}",
        facts=settings.facts() | session_options_facts(settings.threads, settings.gpu),
        files={f"{model.name}/config.pbtxt": _python_config(model, settings, model.onnx)},
        code={model.name: code(model)},
    )


def for_container(model: BuiltModel, settings: Settings) -> Repository:
    """`model` in Triton's ONNX Runtime backend, or in the Python backend if it generates.

    Its own files are empty: the places where the real ones are mounted.
    """
    parts = [path for path in sorted(model.onnx.parent.iterdir()) if path.is_file() and path.suffix != ".py"]
    inside = Path(INSIDE, model.name, "1")
    config = _python_config(model, settings, inside / model.onnx.name) if model.context else _own_config(model, settings)
    return Repository(
        models=(model.name,),
        backend="python, onnxruntime of the image" if model.context else "onnxruntime",
        facts=settings.facts()
        | (session_options_facts(settings.threads, settings.gpu) if model.context else _own_facts(model, settings)),
        files={f"{model.name}/1/{path.name}": "" for path in parts} | {f"{model.name}/config.pbtxt": config},
        code={model.name: code(model)} if model.context else {},
        volumes=tuple(f"{path}:{inside / path.name}:ro" for path in parts),
    )


def for_vllm(model: HubModel, word: Word, gpu: bool) -> Repository:
    """A folder for Triton's vLLM backend, with the engine's arguments in 1/model.json.

    Cached prefixes are off: the requests of a run come round again, and their prompts would not be read a second time.
    """
    local = Path(model.weights).is_dir()
    engine: dict[str, str | int | bool] = {
        "model": _WEIGHTS if local else model.weights,
        "max_model_len": int(word.options.get("context", DEFAULT_CONTEXT)),
        "enable_prefix_caching": False,
    }
    if "max_batch" in word.options:
        engine["max_num_seqs"] = int(word.options["max_batch"])
    cache = resources.cache_dir() / "huggingface"
    cache.mkdir(parents=True, exist_ok=True)  # Docker would make it, and root would own it
    mounted = f"{Path(model.weights).absolute()}:{_WEIGHTS}:ro" if local else f"{cache}:{_HUB_CACHE}"
    shown = {name: int(value) if isinstance(value, bool) else value for name, value in engine.items()}
    return Repository(
        models=(model.name,),
        backend="vllm",
        facts=shown | {"device": device(gpu), "model": model.weights},
        files={
            f"{model.name}/config.pbtxt": vllm_config_text(model.name),
            f"{model.name}/1/model.json": json.dumps(engine, indent=2) + "\n",
        },
        volumes=(mounted,),
        ready_limit_s=_PATIENCE_S,
    )


def of_the_user(model: OwnModel, gpu: bool) -> Repository:
    """The user's repository, of which Triton loads this model only: the others may be slow, large or broken."""
    return Repository(
        models=(model.name,),
        backend="as the model's own configuration says",
        facts={"device": device(gpu), "repository": str(model.repository)},
        own=model.repository,
        volumes=(f"{model.repository}:{INSIDE}:ro",),
        arguments=("--model-control-mode=explicit", f"--load-model={model.name}"),
        ready_limit_s=_PATIENCE_S,
    )


def _python_config(model: BuiltModel, settings: Settings, onnx_file: Path) -> str:
    parameters = {"onnx_file": str(onnx_file), "threads": str(settings.threads)}
    if model.padded:
        parameters["padded"] = "true"
    elif settings.gpu and settings.batching == "dynamic" and not settings.generating:
        parameters["batch_sizes"] = ",".join(map(str, _sizes(settings.max_batch)))
    if scheduling := settings.generating:
        parameters |= {
            "batching": scheduling.batching,
            "slots": str(scheduling.slots),
            "context": str(scheduling.context),
            "prefill_chunk": str(scheduling.prefill_chunk),
            "max_queue_delay_us": str(settings.max_queue_delay_us),
        }
    return _config(model, settings, "python", parameters)


def _sizes(most: int) -> list[int]:
    """Powers of two up to `most`, and that itself."""
    return sorted({1 << n for n in range(most.bit_length())} | {most})


def _own_config(model: BuiltModel, settings: Settings) -> str:
    """The same session options in the words of Triton's ONNX Runtime backend."""
    threads = {"intra_op_thread_count": str(settings.threads), "inter_op_thread_count": "1"}
    return _config(model, settings, "onnxruntime", threads | {"execution_mode": "0"})


def _own_facts(model: BuiltModel, settings: Settings) -> dict[str, str | int]:
    # the backend optimises fully and runs operators in sequence, as `runtime.session` asks for; its threads spin, and it has no
    # setting against that; it has no padding either
    facts: dict[str, str | int] = {"intra_op_num_threads": settings.threads, "inter_op_num_threads": 1, "allow_spinning": 1}
    return facts | ({"joins": "requests of equal length"} if model.padded else {})


def _config(model: BuiltModel, settings: Settings, backend: str, parameters: dict[str, str]) -> str:
    return config_text(
        model,
        backend=backend,
        batching=settings.batching,
        instances=settings.instances,
        max_batch=settings.max_batch,
        max_queue_delay_us=settings.max_queue_delay_us,
        gpu=settings.gpu,
        parameters=parameters,
    )
