"""What a request and a reply mean at each kind of endpoint, in one table."""

from importlib import import_module
from pathlib import Path

from bench import words
from bench.errors import UsageError
from bench.targets.base import Target
from bench.words import Word
from bench.workload import Workload

# scheme -> (module, class, options); imported when opened, because gRPC and ONNX Runtime are heavy
TARGETS: dict[str, tuple[str, str, dict[str, tuple[str, ...] | str]]] = {
    "triton-http": ("bench.targets.kserve", "KServeHttp", {}),
    "triton-grpc": ("bench.targets.kserve_grpc", "KServeGrpc", {}),
    "flask": ("bench.targets.flask", "Flask", {"encoding": ("json", "base64")}),
    "onnx": ("bench.targets.onnx", "Onnx", {"threads": "count"}),
    "echo": ("bench.targets.echo", "Echo", {"service": "duration", "slots": "count", "fail": "count", "wrong": "count"}),
}


def open_target(word: Word, workload: Workload, onnx: Path | None = None) -> Target:
    """The target that `word` names, for `workload`; `onnx` is the model's file, for targets in process. UsageError."""
    check(word)
    module, name = TARGETS[word.kind][:2]
    target: Target = getattr(import_module(module), name)(word, workload, onnx)
    return target


def check(word: Word) -> None:
    """UsageError where no target has this scheme, or this one has not these options."""
    if word.kind not in TARGETS:
        schemes = ", ".join(f"{name}://" for name in TARGETS)
        raise UsageError(f"target {word}: unknown scheme {word.kind}://; there are: {schemes}")
    words.check_options(word, TARGETS[word.kind][2])
