"""What a request and a reply mean at each kind of endpoint, in one table."""

from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from bench import words
from bench.errors import UsageError
from bench.targets import transport
from bench.targets.base import Target
from bench.words import Word
from bench.workload import Workload


class Kind(NamedTuple):
    """One kind of endpoint: "module:Class" for workloads of tensors, and for those that generate; "" where it has none."""

    tensors: str
    generates: str
    options: dict[str, tuple[str, ...] | str]
    official: tuple[str, str] = ("", "")  # the same two by the client of the server's own makers


LEAN, OFFICIAL = CLIENTS = ("lean", "tritonclient")  # the option `client`: bench's own, or NVIDIA's
_PRECISION: dict[str, tuple[str, ...] | str] = {"precision": "name"}
_OF_TRITON: dict[str, tuple[str, ...] | str] = _PRECISION | {"client": CLIENTS} | transport.OPTIONS
# scheme -> its targets; imported when opened, because gRPC and ONNX Runtime are heavy
TARGETS: dict[str, Kind] = {
    "triton-http": Kind(
        "bench.targets.kserve:KServeHttp",
        "bench.targets.kserve_generate:KServeGenerate",
        _OF_TRITON,
        ("bench.targets.official:OfficialHttp", ""),
    ),
    "triton-grpc": Kind(
        "bench.targets.kserve_grpc:KServeGrpc",
        "bench.targets.kserve_grpc_generate:KServeStream",
        _OF_TRITON,
        ("bench.targets.official:OfficialGrpc", "bench.targets.official_stream:OfficialStream"),
    ),
    "flask": Kind(
        "bench.targets.flask:Flask",
        "bench.targets.flask_generate:FlaskGenerate",
        _PRECISION | {"encoding": ("json", "base64")} | transport.OPTIONS,
    ),
    "openai": Kind(
        "",
        "bench.targets.openai:OpenAI",
        transport.OPTIONS
        | {
            "api": ("completions", "chat"),
            "model": "name",
            "usage": ("end", "each", "none"),
            "ignore_eos": ("no", "yes"),
        },
    ),
    "onnx": Kind(
        "bench.targets.onnx:Onnx",
        "bench.targets.onnx_generate:OnnxGenerate",
        _PRECISION
        | {
            "threads": "count",
            "provider": ("cpu", "cuda", "tensorrt"),
            "graphs": ("on", "off"),
            "binding": ("on", "off"),
            "batching": ("off", "dynamic", "continuous"),
            "max_batch": "count",
            "context": "count",
            "prefill_chunk": "number",
        },
    ),
    "echo": Kind(
        "bench.targets.echo:Echo", "", {"service": "duration", "slots": "count", "fail": "count", "wrong": "count"}
    ),
}  # fmt: skip
NETWORK, TRITON = ([kind for kind, has in TARGETS.items() if option in has.options] for option in ("tls", "client"))


def open_target(word: Word, workload: Workload, onnx: Path | None = None) -> Target:
    """The target that `word` names, for `workload`; `onnx` is the model's file, for targets in process. UsageError."""
    check(word)
    kind, generates = TARGETS[word.kind], workload.payload.generate is not None
    place = kind.generates if generates else kind.tensors
    if word.options.get("client") == OFFICIAL:
        check_official(word, word.kind, workload)
        place = kind.official[generates]
    if not place:
        which = ", ".join(f"{name}://" for name, k in TARGETS.items() if (k.generates if generates else k.tensors))
        problem = "streams no tokens" if generates else "takes no tensors, only prompts ([payload.generate])"
        raise UsageError(f"target {word}: {word.kind}:// {problem}; workload {workload.name!r} can be sent to: {which}")
    module, name = place.split(":")
    target: Target = getattr(import_module(module), name)(word, workload, onnx)
    return target


def check_official(word: Word, kind: str, workload: Workload) -> None:
    """UsageError where NVIDIA's client cannot send `workload` to what `word` means, an endpoint of `kind`."""
    if not TARGETS[kind].official[workload.generates]:
        raise UsageError(
            f"target {word}: option client: {OFFICIAL} has no client for generate_stream; triton-grpc:// can be "
            f"streamed from by it, and {kind}:// by client={LEAN}"
        )


def check(word: Word) -> None:
    """UsageError where no target has this scheme, or this one has not these options, or takes no such headers."""
    if word.kind not in TARGETS:
        schemes = ", ".join(f"{name}://" for name in TARGETS)
        raise UsageError(f"target {word}: unknown scheme {word.kind}://; there are: {schemes}")
    words.check_options(word, TARGETS[word.kind].options)
    if word.kind in NETWORK:
        transport.check(word)
