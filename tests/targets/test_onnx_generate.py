"""Tokens from ONNX Runtime in the load process."""

import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import payloads, words
from bench import workload as workloads
from bench.errors import RunError, UsageError
from bench.payloads import Prompt
from bench.recipes.build import build
from bench.record import STALLED, STATUS, TIMEOUT, TOKENS
from bench.runtime import generation
from bench.targets import open_target
from bench.targets.base import FINE
from bench.targets.onnx_generate import Answer
from bench.workload import Workload

GOLDEN = Path(__file__).parents[1] / "golden" / "qwen2"
Open = Callable[..., Any]


@pytest.fixture(scope="module")
def onnx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Qwen2 of 320 tokens and a context of 256."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        return build("qwen-1.5b", "fp32", weights=str(GOLDEN)).onnx


def workload(timeout: str = "30s", **generate: Any) -> Workload:
    asked = {"prompt_tokens": {"distribution": "uniform", "low": 2, "high": 30}, "output_tokens": 6, "vocabulary": 320}
    document = {
        "name": "small",
        "timeout": timeout,
        "model": {"name": "qwen-1.5b"},
        "payload": {"distinct": 4, "generate": asked | generate},
        "load": {"arrivals": "closed"},
    }
    return workloads.from_builtins(document, "small.toml")


@pytest.fixture
def open_at(onnx: Path) -> Iterator[Open]:
    """Opens a word for a workload."""
    opened: list[Any] = []

    def open_(word: str = "onnx://cpu?threads=1", asked: Workload | None = None, file: Path | None = onnx) -> Any:
        opened.append(open_target(words.parse(word), asked or workload(), file))
        return opened[-1]

    yield open_
    for target in opened:
        target.close()


def prompts(asked: Workload) -> list[Prompt]:
    return list(payloads.make(asked))  # type: ignore[arg-type]


@pytest.mark.parametrize("batching", ["off", "dynamic", "continuous"])
def test_users_at_the_same_time_get_the_tokens_of_each_alone(batching: str, onnx: Path, open_at: Open) -> None:
    """With the time of each, on the clock of the records."""
    asked = prompts(workload())
    alone = [tokens.tolist() for tokens, _ in generation.greedy(onnx, [(p.ids, p.max_tokens) for p in asked], threads=1)]
    target = open_at(f"onnx://cpu?threads=1,batching={batching},max_batch=3,prefill_chunk=4")
    target.probe()
    found: dict[int, Any] = {}

    def user(n: int) -> None:
        reply = target.caller(asked)(n, n)
        assert reply.verdict == FINE
        found[n] = target.streamed(reply.answer, asked[n])

    threads = [threading.Thread(target=user, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert [found[n].outputs["tokens"].tolist() for n in range(4)] == alone
    for streamed in found.values():
        assert streamed.verdict == FINE
        assert streamed.tokens == [1] * 6
        assert streamed.t_ns == sorted(streamed.t_ns)
    assert sum(size * count for size, count in target.batches().items()) == 4 * 5


def test_the_facts_say_how_tokens_are_made(open_at: Open) -> None:
    """The options of the word are in them."""
    details = open_at("onnx://cpu?threads=1,batching=dynamic,max_batch=3,context=99,prefill_chunk=0").probe().details
    told = {"intra_op_num_threads": 1, "batching": "dynamic", "slots": 3, "context": 99, "prefill_chunk": 0}
    assert {key: details[key] for key in told} == told


@pytest.mark.parametrize(
    ("word", "generate", "message"),
    [
        ("onnx://cpu?prefill_chunk=some", {}, "option prefill_chunk: expected a number of tokens, or 0 for whole prompts, got"),
        ("onnx://cpu?context=999", {}, "option context: the model was made for 256 tokens at most, got 999"),
        ("onnx://gpu", {}, "expected onnx://cpu or onnx://cuda:0"),
        ("onnx://cpu", {"form": "text"}, "the model takes token ids, the workload sends texts; set payload.generate.form ="),
    ],
)  # fmt: skip
def test_what_the_user_got_wrong_is_said(word: str, generate: dict[str, Any], message: str, open_at: Open) -> None:
    """One message that names the target and what was expected."""
    with pytest.raises(UsageError, match=re.escape(message)):
        open_at(word, workload(**generate))


@pytest.mark.parametrize(
    ("word", "generate", "message"),
    [
        ("onnx://cpu", {"vocabulary": 321}, "has token ids below 321, model 'qwen-1.5b' a vocabulary of 320"),
        ("onnx://cpu?context=35", {}, "together more than the context of 35 tokens"),
    ],
)
def test_a_workload_that_does_not_fit_is_refused_before_the_run(
    word: str, generate: dict[str, Any], message: str, open_at: Open
) -> None:
    """With both numbers."""
    with pytest.raises(RunError, match=re.escape(message)):
        open_at(word, workload(**generate)).probe()


def test_a_model_that_is_not_built_or_cannot_run_is_an_error_of_the_run(open_at: Open, tmp_path: Path) -> None:
    """The reason is in the message; a GPU is not replaced by the CPU."""
    with pytest.raises(RunError, match=r"model 'qwen-1\.5b' is not built"):
        open_at(file=None)
    with pytest.raises(RunError, match=r"nowhere\.onnx"):
        open_at(file=tmp_path / "nowhere.onnx")
    with pytest.raises(RunError, match=r"cuda:7 was asked for: "):
        open_at("onnx://cuda:7")


class Scripted:
    """A scheduler that makes some tokens and then says what it is told to, or nothing."""

    def __init__(self, tokens: int, error: str = "", refusal: str = "") -> None:
        self._tokens, self._error, self._refusal = tokens, error, refusal
        self.cancelled = 0

    def submit(self, ids: np.ndarray, wanted: int, emit: Any, ignore_eos: bool) -> Callable[[], None]:
        if self._refusal:
            raise ValueError(self._refusal)
        for n in range(self._tokens):
            emit(n, n + 1 == wanted, "")
        if self._error:
            emit(-1, True, self._error)

        def cancel() -> None:
            self.cancelled += 1

        return cancel

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("scheduler", "verdict", "message", "tokens"),
    [
        (Scripted(0), TIMEOUT, "no token within 20ms", None),
        (Scripted(2), STALLED, "after 2 tokens nothing for 20ms", 2),
        (Scripted(0, error="out of memory"), STATUS, "out of memory", None),
        (Scripted(0, refusal="too long"), STATUS, "too long", None),
    ],
    ids=["nothing", "silence", "error", "refusal"],
)
def test_what_goes_wrong_is_called_by_what_it_is(
    scheduler: Scripted, verdict: int, message: str, tokens: int | None, open_at: Open
) -> None:
    """A stream that had begun keeps what came; one that is given up is cancelled."""
    asked = workload(timeout="20ms")
    target = open_at(asked=asked)
    target.close()
    target._scheduler = scheduler
    reply = target.caller(prompts(asked))(0, 0)
    assert reply.verdict == (verdict, message)
    assert (reply.answer is None) == (tokens is None)
    assert scheduler.cancelled == (verdict in (TIMEOUT, STALLED))
    if tokens is not None:
        assert target.streamed(reply.answer, prompts(asked)[0]).verdict.error == TOKENS
        assert target.streamed(reply.answer, prompts(asked)[0]).tokens == [1] * tokens


def test_an_error_after_the_first_token_is_the_stream_s(open_at: Open) -> None:
    """The verdict on the whole; what came before it stays."""
    asked = workload()
    target = open_at(asked=asked)
    target.close()
    target._scheduler = Scripted(2, error="out of memory")
    reply = target.caller(prompts(asked))(0, 0)
    assert reply.verdict == FINE
    streamed = target.streamed(reply.answer, prompts(asked)[0])
    assert streamed.verdict == (STATUS, "an error in the stream: out of memory")
    assert streamed.outputs["tokens"].tolist() == [0, 1]


def test_silence_is_measured_from_the_last_token() -> None:
    """A long answer is no timeout, and it is not waited for by looking again and again."""
    waits: list[float | None] = []

    class Counted(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waits.append(timeout)
            return super().wait(timeout)

    answer = Answer()
    answer.ended = Counted()

    def make() -> None:
        for n in range(6):
            threading.Event().wait(0.1)
            answer.emit(n, n == 5, "")

    maker = threading.Thread(target=make)
    maker.start()
    assert answer.wait(500_000_000)
    maker.join()
    assert answer.tokens == list(range(6))
    assert len(waits) <= 7
