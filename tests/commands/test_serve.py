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
from bench.recipes.catalog import BuiltModel
from bench.servers.base import ServerFacts
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

    def build(name: str, precision: str, preset: str, say: object) -> BuiltModel:
        seen["model"] = (name, precision, preset)
        return BuiltModel(name, precision, preset, tmp_path, tmp_path, "", 1, (), (), 1)

    @contextmanager
    def start(word: Word, model: BuiltModel, log: Path, say: object) -> Iterator[Scripted]:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.touch()
        seen["word"], seen["log"] = str(word), log
        seen["server"] = Scripted(log, seen["ending"])
        yield seen["server"]
        seen["server"].stop()

    monkeypatch.setattr(serve, "build", build)
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


@pytest.mark.parametrize(
    ("args", "model"),
    [
        ((), ("resnet50", "fp32", "full")),
        (("--preset", "tiny"), ("resnet50", "fp32", "tiny")),
        (("--model", "bert", "--precision", "int8"), ("bert", "int8", "full")),
        (("--workload", "resnet50"), ("resnet50", "fp32", "full")),
        (("--workload", "resnet50", "--preset", "tiny"), ("resnet50", "fp32", "tiny")),
    ],
)
def test_the_model_is_named_or_the_workload_s(
    args: tuple[str, ...], model: tuple[str, str, str], started: dict[str, Any]
) -> None:
    """What a run of that workload would be served by."""
    bench_serve("flask", *args)
    assert started["model"] == model


def test_a_model_and_a_workload_are_refused(started: dict[str, Any]) -> None:
    """A workload names its model."""
    with pytest.raises(UsageError, match="--model and --workload: one of the two"):
        bench_serve("flask", "--model", "resnet50", "--workload", "resnet50")


def test_a_wrong_word_is_refused_before_a_model_is_built(started: dict[str, Any]) -> None:
    """A minute of building would be wasted on a typing error."""
    with pytest.raises(UsageError, match="unknown option 'prot'"):
        bench_serve("triton?prot=http")
    assert "model" not in started
