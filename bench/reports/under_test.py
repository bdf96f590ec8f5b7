"""What a comparison is one of, in words: what is under test, where each server came from, and what is not alike."""

from collections.abc import Iterator, Sequence
from typing import Any

from bench.analysis.alike import Difference, Differences
from bench.analysis.flat import table
from bench.analysis.target import tested
from bench.record import Run
from bench.reports.tables import plain

_TARGETS = {"triton": "Triton", "flask": "Flask", "onnx": "ONNX Runtime in process", "openai": "OpenAI-style endpoint"}
_NVIDIA = "nvcr.io/nvidia/tritonserver:"
_BACKENDS = (
    ("python", "its Python backend"),
    ("vllm", "its vLLM backend"),
    ("onnxruntime", "its ONNX Runtime backend"),
    ("", "the backend that the model's own configuration names"),
)
_LONGEST = 60  # characters of a value

# what follows from another difference and is not told beside it
_FOLLOWS_FROM = {
    "server's source": ("server version",),
    "image digest": ("server version", "server's source"),
    "providers": ("device",),
    "io binding": ("device",),
    "cuda graphs": ("device",),
    "model hash": ("precision", "model repository"),
}


def title(found: Differences) -> str:
    """What is under test between the first side and each other: "server version 2.46.0 against 2.48.0"."""
    count = max((len(d.values) for d in found.under_test), default=1)
    pairs = (_pair(found.under_test, n) for n in range(1, count))
    return "; ".join(dict.fromkeys(filter(None, pairs))) or "the same target on all sides"


def _pair(differences: Sequence[Difference], n: int) -> str:
    differing = {d.name: (d.values[0], d.values[n]) for d in differences if d.values[0] != d.values[n]}
    if "target" in differing:
        return " against ".join(_TARGETS.get(kind, plain(kind)) for kind in differing["target"])
    told = {name: both for name, both in differing.items() if not _follows(name, differing)}
    return " and ".join(f"{plain(name)} {_short(base)} against {_short(new)}" for name, (base, new) in told.items())


def _follows(name: str, others: dict[str, tuple[str, str]]) -> bool:
    kind, _, part = name.partition(" of ")  # "model hash of PART"
    return any(f"{cause} of {part}" in others or cause in others for cause in _FOLLOWS_FROM.get(kind, ()))


def origin(run: Run) -> str:
    """Where a side's server came from, and what that tests."""
    told, server = tested(run), table(run.target, "server")
    kind, version = told["target"], plain(told.get("server version", ""))
    if kind == "onnx":
        return f"in bench's own process, by {plain(told['backend'])}: it tests the model without a server"
    if kind == "echo":
        return "no server: answers in virtual time"
    if not server:
        said = f"{_TARGETS.get(kind, plain(kind))} {version}".strip()
        return f"not started by bench, which knows of it what it says of itself: {said}"
    if kind == "triton":
        return _triton(server, version)
    return f"{plain(server.get('source'))}, started by bench; models are run by {plain(server.get('backend'))}"


def _triton(server: Any, version: str) -> str:
    if image := server.get("image"):
        whose = "NVIDIA's image" if image.startswith(_NVIDIA) else "the image"
        backend = next(said for name, said in _BACKENDS if str(server.get("backend")).startswith(name))
        return f"Triton {version} in {whose} {plain(image)}, started by bench: it tests this image with {backend}"
    return (
        f"Triton {version} from {plain(server.get('source'))}, started by bench: it tests Triton's front end, scheduler and "
        "Python backend, not its ONNX Runtime or TensorRT backends"
    )


def lines(differences: Sequence[Difference]) -> Iterator[str]:
    """Each difference on a line of its own: "driver: 550.54 / 560.28"."""
    for d in differences:
        within = " (within a side)" if d.within else ""
        yield f"{plain(d.name)}{within}: {' / '.join(map(_short, d.values))}"


def _short(value: str) -> str:
    text = plain(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
