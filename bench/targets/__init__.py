"""What a request and a reply mean at each kind of endpoint, in one table."""

from importlib import import_module
from pathlib import Path

from bench import words
from bench.errors import UsageError
from bench.targets.base import Target
from bench.words import Word
from bench.workload import Workload

# scheme -> (module, class); imported when opened, because gRPC and ONNX Runtime are heavy
TARGETS = {
    "triton-http": ("bench.targets.kserve", "KServeHttp"),
    "triton-grpc": ("bench.targets.kserve_grpc", "KServeGrpc"),
    "flask": ("bench.targets.flask", "Flask"),
    "onnx": ("bench.targets.onnx", "Onnx"),
    "echo": ("bench.targets.echo", "Echo"),
}


def open_target(word: Word, workload: Workload, onnx: Path | None = None) -> Target:
    """The target that `word` names, for `workload`; `onnx` is the model's file, for targets in process. UsageError."""
    check_scheme(word)
    module, name = TARGETS[word.kind]
    kind = getattr(import_module(module), name)
    words.check_options(word, kind.OPTIONS)
    target: Target = kind(word, workload, onnx)
    return target


def check_scheme(word: Word) -> None:
    """UsageError where no target has this scheme."""
    if word.kind not in TARGETS:
        schemes = ", ".join(f"{name}://" for name in TARGETS)
        raise UsageError(f"target {word}: unknown scheme {word.kind}://; there are: {schemes}")
