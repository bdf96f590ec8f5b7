"""`bench serve`, with a server that is made up."""

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bench import servers
from bench.commands import serve
from bench.errors import RunError, UsageError
from bench.recipes import build
from bench.recipes.catalog import BuiltModel
from bench.servers.base import OwnModel, Served, ServerFacts
from bench.servers.digests import of_folder
from bench.words import Word


class Scripted:
    """A server that ends as `ending` says."""

    words = {"http": "triton-http://127.0.0.1:8000", "grpc": "triton-grpc://127.0.0.1:8001"}  # noqa: RUF012
    pid = 1
    facts = ServerFacts("triton", "2.48.0", "nvidia-pytriton 0.5.10", "python")

    def __init__(self, log: Path, ending: Callable[[], int]) -> None:
        self.log, self._ending, self.stopped = log, ending, False

    def exited(self, wait_s: float = 0.0) -> int | None:
        return self._ending()

    def stop(self) -> None:
        self.stopped = True

    def kill(self) -> None: ...


def interrupt() -> int:
    """The user presses Ctrl-C."""
    raise KeyboardInterrupt


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What was built and started; `ending` is how the server ends."""
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    seen: dict[str, Any] = {"ending": interrupt}

    def made(name: str, precision: str, preset: str, weights: str, say: object) -> BuiltModel:
        seen["model"] = (name, precision, preset, weights)
        return BuiltModel(name, precision or "fp32", preset, tmp_path, tmp_path, "", 1, (), (), 1)

    @contextmanager
    def start(word: Word, served: Served, log: Path, say: object) -> Iterator[Scripted]:
        seen["served"] = served
        log.parent.mkdir(parents=True, exist_ok=True)
        log.touch()
        seen["word"], seen["log"] = str(word), log
        seen["server"] = Scripted(log, seen["ending"])
        yield seen["server"]
        seen["server"].stop()

    monkeypatch.setattr(build, "build", made)
    monkeypatch.setattr(servers, "start", start)
    return seen


def bench_serve(*args: str) -> tuple[int, list[str], list[str]]:
    """(exit code, what is printed, what is said) of `bench serve ARGS`."""
    parser = argparse.ArgumentParser()
    serve.arguments(parser)
    printed: list[str] = []
    said: list[str] = []
    code = serve.run(parser.parse_args(args), printed.append, said.append)
    return code, printed, said


def test_serve_prints_its_target_words_and_ctrl_c_is_its_good_end(started: dict[str, Any]) -> None:
    """The words can be pasted into another command; the server is stopped on the way out."""
    code, printed, said = bench_serve("triton")
    assert code == 0
    assert printed == ["triton-http://127.0.0.1:8000", "triton-grpc://127.0.0.1:8001"]
    assert said[0] == f"serving resnet50 fp32 full with nvidia-pytriton 0.5.10; log: {started['log']}; Ctrl-C ends it"
    assert started["server"].stopped


def test_a_server_that_ends_by_itself_is_an_error(started: dict[str, Any]) -> None:
    """Nobody waits for a server that is gone."""
    started["ending"] = lambda: 1
    with pytest.raises(RunError, match="flask ended with exit status 1; its log"):
        bench_serve("flask")


def test_the_port_becomes_an_option_of_the_word(started: dict[str, Any]) -> None:
    """--port is short for it."""
    bench_serve("triton?threads=1", "--port", "8000")
    assert started["word"] == "triton?threads=1,port=8000"


def test_two_ports_are_refused(started: dict[str, Any]) -> None:
    """Neither of them silently wins."""
    with pytest.raises(UsageError, match="--port 8000: target triton"):
        bench_serve("triton?port=9000", "--port", "8000")


def test_two_precisions_are_refused(started: dict[str, Any]) -> None:
    """As two ports are."""
    with pytest.raises(UsageError, match=r"--precision fp32: target triton.* names another precision"):
        bench_serve("triton?precision=fp16", "--precision", "fp32")


@pytest.mark.parametrize(
    ("args", "model"),
    [
        ((), ("resnet50", "", "full", "")),
        (("--preset", "tiny"), ("resnet50", "", "tiny", "")),
        (("--model", "bert-base", "--precision", "int8"), ("bert-base", "int8", "full", "")),
        (("--model", "bert-base", "--weights", "org/name"), ("bert-base", "", "full", "org/name")),
        (("--workload", "resnet50"), ("resnet50", "fp32", "full", "")),
        (("--workload", "resnet50", "--preset", "tiny"), ("resnet50", "fp32", "tiny", "")),
    ],
)
def test_the_model_is_named_or_the_workload_s(
    args: tuple[str, ...], model: tuple[str, str, str, str], started: dict[str, Any]
) -> None:
    """What a run of that workload would be served by; without a precision it is the model's default."""
    bench_serve("flask", *args)
    assert started["model"] == model


def test_a_repository_of_the_user_s_is_served_by_a_model_s_name(started: dict[str, Any]) -> None:
    """Nothing is built."""
    models = Path(__file__).parents[1] / "models"
    _, _, said = bench_serve("triton", "--model-repository", str(models), "--model", "own")
    assert started["served"] == OwnModel("own", models, of_folder(models / "own"))
    assert said[0].startswith("serving own with ")
    assert "model" not in started


def test_a_repository_of_the_user_s_needs_a_model_s_name(started: dict[str, Any]) -> None:
    """The default is a model of bench's."""
    with pytest.raises(UsageError, match="--model-repository: --model NAME says which of its models to serve"):
        bench_serve("triton", "--model-repository", ".")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("triton?batching=continuous",), "option batching=continuous: for models that generate tokens"),
        (("triton?precision=fp8",), "unknown precision 'fp8'"),
    ],
)
def test_what_a_model_cannot_be_is_refused_before_it_is_built(
    args: tuple[str, ...], message: str, started: dict[str, Any]
) -> None:
    """Minutes of building would be wasted."""
    with pytest.raises(UsageError, match=message):
        bench_serve(*args)
    assert "model" not in started


def test_the_models_of_a_mix_are_served_together(started: dict[str, Any]) -> None:
    """By a server that can; one that cannot says so before anything is built."""
    _, _, said = bench_serve("triton", "--workload", "mixed", "--preset", "tiny")
    assert [(model.name, model.preset) for model in started["served"].models] == [("resnet50", "tiny"), ("bert-base", "tiny")]
    assert said[0].startswith("serving resnet50 fp32 tiny and bert-base fp32 tiny with ")
    del started["model"]
    with pytest.raises(UsageError, match="Flask serves one model, and workload mixed is a mix of several: resnet50, bert-base"):
        bench_serve("flask", "--workload", "mixed")
    assert "model" not in started


def test_a_model_and_a_workload_are_refused(started: dict[str, Any]) -> None:
    """A workload names its model."""
    with pytest.raises(UsageError, match="--model and --workload: one of the two"):
        bench_serve("flask", "--model", "resnet50", "--workload", "resnet50")


def test_a_wrong_word_is_refused_before_a_model_is_built(started: dict[str, Any]) -> None:
    """A minute of building would be wasted on a typing error."""
    with pytest.raises(UsageError, match="unknown option 'prot'"):
        bench_serve("triton?prot=http")
    assert "model" not in started
