"""What a comparison is one of, in words."""

from typing import Any

import pytest

from bench.analysis.alike import Difference, Differences
from bench.reports import under_test
from bench.testing import make_run

WHEEL = {
    "kind": "triton",
    "version": "2.48.0",
    "source": "nvidia-pytriton 0.5.10 (NGC 24.07)",
    "backend": "python, onnxruntime 1.32.0",
}
NVIDIA = WHEEL | {"image": "nvcr.io/nvidia/tritonserver:24.07-py3", "digest": "sha256:aa", "backend": "onnxruntime"}
FLASK = {"kind": "flask", "version": "3.1.3", "source": "Flask 3.1.3, gunicorn 27.0.1", "backend": "onnxruntime 1.32.0"}


def found(**values: tuple[str, ...]) -> Differences:
    return Differences(tuple(Difference(name.replace("_", " "), of_sides) for name, of_sides in values.items()), ())


@pytest.mark.parametrize(
    ("values", "title"),
    [
        ({}, "the same target on all sides"),
        ({"server_version": ("2.46.0", "2.48.0"), "server's_source": ("a", "b")}, "server version 2.46.0 against 2.48.0"),
        ({"server's_source": ("a", "b"), "image_digest": ("none", "c")}, "server's source a against b"),
        ({"batching": ("off", "dynamic")}, "batching off against dynamic"),
        ({"threads": ("1", "2"), "instances": ("2", "1")}, "threads 1 against 2 and instances 2 against 1"),
        ({"target": ("flask", "triton"), "server_version": ("3.1", "2.48.0")}, "Flask against Triton"),
        ({"target": ("onnx", "openai"), "workers": ("1", "none")}, "ONNX Runtime in process against OpenAI-style endpoint"),
        ({"protocol": ("http", "grpc")}, "protocol http against grpc"),
        ({"device": ("CPU", "GPU"), "providers": ("CPUExecutionProvider", "CUDA")}, "device CPU against GPU"),
        ({"precision": ("fp32", "int8"), "model_hash": ("a", "b")}, "precision fp32 against int8"),
        ({"precision_of_a": ("fp32", "int8"), "model_hash_of_a": ("a", "b")}, "precision of a fp32 against int8"),
        ({"batching": ("off", "dynamic", "off")}, "batching off against dynamic"),
        (
            {"target": ("triton", "triton", "flask"), "server_version": ("2.46.0", "2.48.0", "3.1")},
            "server version 2.46.0 against 2.48.0; Triton against Flask",
        ),
    ],
)
def test_the_title_names_what_is_under_test_and_not_what_follows_from_it(
    values: dict[str, tuple[str, ...]], title: str
) -> None:
    """Each other side against the first."""
    assert under_test.title(found(**values)) == title


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        (
            {"word": "triton-http://h:1", "server": WHEEL},
            "Triton 2.48.0 from nvidia-pytriton 0.5.10 (NGC 24.07), started by bench: it tests Triton's front end, scheduler "
            "and Python backend, not its ONNX Runtime or TensorRT backends",
        ),
        (
            {"word": "triton-http://h:1", "server": NVIDIA, "answered_as": {"version": "2.48.0"}},
            "Triton 2.48.0 in NVIDIA's image nvcr.io/nvidia/tritonserver:24.07-py3, started by bench: it tests this image with "
            "its ONNX Runtime backend",
        ),
        (
            {"word": "triton-http://h:1", "server": NVIDIA | {"image": "mine:7", "backend": "vllm"}},
            "Triton 2.48.0 in the image mine:7, started by bench: it tests this image with its vLLM backend",
        ),
        (
            {"word": "triton-http://h:1", "server": NVIDIA | {"image": "mine:7", "backend": "as the model's own says"}},
            "Triton 2.48.0 in the image mine:7, started by bench: it tests this image with the backend that the model's own "
            "configuration names",
        ),
        (
            {"word": "triton-grpc://h:1", "server": None, "answered_as": {"version": "2.51.0"}},
            "not started by bench, which knows of it what it says of itself: Triton 2.51.0",
        ),
        (
            {"word": "flask://h:1", "server": FLASK},
            "Flask 3.1.3, gunicorn 27.0.1, started by bench; models are run by onnxruntime 1.32.0",
        ),
        (
            {"word": "onnx://cpu", "answered_as": {"name": "onnxruntime", "version": "1.32.0"}},
            "in bench's own process, by onnxruntime 1.32.0: it tests the model without a server",
        ),
        ({"word": "echo://"}, "no server: answers in virtual time"),
    ],
)
def test_a_side_says_where_its_server_came_from_and_what_that_tests(target: dict[str, Any], sentence: str) -> None:
    """A wheel has no ONNX Runtime backend, and of another's server bench knows little: a verdict is one of no more."""
    assert under_test.origin(make_run([1.0], target=target)) == sentence


def test_each_difference_has_a_line_with_the_values_of_all_sides() -> None:
    """Long ones are cut, and control characters of a server's are none of ours."""
    differing = [
        Difference("driver", ("550", "560")),
        Difference("server version", ("1, 2", "2"), within=True),
        Difference("workload payload.inputs.x.values", ("1, " * 100, "\x1b[31m")),
    ]
    first, second, third = under_test.lines(differing)
    assert (first, second) == ("driver: 550 / 560", "server version (within a side): 1, 2 / 2")
    assert third == f"workload payload.inputs.x.values: {'1, ' * 19}... /  [31m".replace("/  [", "/ [")
