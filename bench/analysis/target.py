"""What a run's record says of its target as flat text: what serves and how it is set up, and the models that it serves."""

from collections.abc import Iterator, Mapping
from typing import Any

from bench import words
from bench.analysis.flat import UNKNOWN, Texts, flat, table
from bench.errors import UsageError
from bench.record import Run
from bench.words import Word

NO_SERVER = "not started by bench"
MODEL_HASH = "model hash"
_DIGITS = 16  # of a hash: enough to tell two apart
_PROTOCOLS = {"triton-http": ("triton", "http"), "triton-grpc": ("triton", "grpc"), "flask": ("flask", "http")}
_TOLD_APART = ("repository", "ca", "client", "precision")  # options that are told elsewhere, or say where something lies
_SAID_APART = ("name", "version", "platform")  # of what an endpoint answers
_IN_PROCESS = ("onnx", "echo")


def tested(run: Run) -> Texts:
    """What the target is, and how it is set up and asked: all that may be under test, the models apart."""
    driven, server, said = word(run, "word"), table(run.target, "server"), table(run.target, "answered_as")
    kind, protocol = _PROTOCOLS.get(driven.kind, (driven.kind, "http"))
    if kind in _IN_PROCESS:
        backend = f"{said.get('name', kind)} {said.get('version', '')}".strip()
        return {"target": kind, "protocol": "none: in process", "backend": backend} | _options(run, driven)
    found = {
        "target": server.get("kind") or kind,
        "server version": said.get("version") or server.get("version"),
        "server's source": f"image {server['image']}" if server.get("image") else server.get("source") or NO_SERVER,
        "image digest": server.get("digest"),
        "protocol": protocol,
        "backend": server.get("backend") or said.get("platform"),
        "client": driven.options.get("client", "lean") if kind == "triton" else "",
    }
    return {name: str(value) for name, value in found.items() if value} | _options(run, driven)


def hashes(run: Run) -> Texts:
    """The hash of each model that is served."""
    return {f"{MODEL_HASH}{who}": str(model.get("digest") or UNKNOWN)[:_DIGITS] for who, model in _models(run)}


def precisions(run: Run) -> Texts:
    """The precision of each model: as it was built, else as it was asked for."""
    asked = word(run, "asked").options.get("precision")
    parts = zip(_models(run), run.workload.parts, strict=False)
    return {f"precision{who}": model.get("precision") or asked or part.model.precision for (who, model), part in parts}


def repositories(run: Run) -> Texts:
    """Where the user's own models lie."""
    return {f"model repository{who}": model["repository"] for who, model in _models(run) if "repository" in model}


def make(run: Run) -> tuple[object, ...]:
    """What decides which settings the record has of a server: its kind, who started and who configured it."""
    server = table(run.target, "server")
    return tested(run)["target"], bool(server), bool(server.get("image")), server.get("backend") == "vllm", *repositories(run)


def asked(run: Run) -> set[str]:
    """The names of the options that the target's word has."""
    return {name.replace("_", " ") for name in word(run, "asked").options}


def chosen(run: Run) -> tuple[object, ...]:
    """What the user who named the target, and not the workload, chose of its models."""
    return word(run, "asked").options.get("precision"), tuple(repositories(run).values())


def tells(run: Run, package: str) -> bool:
    """Whether the target's own facts name this package with the version that the run's record has."""
    version = table(run.environment, "packages").get(package)
    server, said = table(run.target, "server"), table(run.target, "answered_as")
    told = f"{said.get('name')} {said.get('version')}; {server.get('source')}; {server.get('backend')}".lower()
    return f"{package.removesuffix('-gpu')} {version}" in told


def word(run: Run, key: str) -> Word:
    """The target word of the record: "asked" or "word"; one without options where there is none."""
    try:
        return words.parse(str(run.target.get(key) or run.target.get("word")))
    except UsageError:
        return Word("", True)


def _options(run: Run, driven: Word) -> Texts:
    server = table(run.target, "server")
    if server:
        said = dict(table(server, "options"))
    else:
        answered = table(run.target, "answered_as").items()
        said = {k: v for k, v in answered if k not in _SAID_APART and not k.endswith("_ns")} | driven.options
        said |= {key: run.target[key] for key in ("tls", "headers_sent") if key in run.target}
        said |= {"device": "CPU" if driven.place == "cpu" else "GPU"} if driven.kind == "onnx" else {}
    if "intra_op_num_threads" in said:  # what the option `threads` comes to
        said = {"threads": said.pop("intra_op_num_threads")} | said
    return {name.replace("_", " "): text for name, text in flat({k: v for k, v in said.items() if k not in _TOLD_APART})}


def _models(run: Run) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(" of PART", or "" where there is but one; what the record says of its model)."""
    parts = table(run.target, "parts")
    for part in run.workload.parts:
        of = table(parts, part.name) if run.workload.mix else run.target
        yield (f" of {part.name}" if run.workload.mix else ""), table(of, "model")
