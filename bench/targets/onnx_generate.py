"""Tokens from ONNX Runtime in the load process itself: all users share one scheduler, of the kind that servers have too."""

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import onnxruntime

from bench.errors import RunError, UsageError
from bench.payloads import Prompt
from bench.record import STALLED, STATUS, TIMEOUT
from bench.runtime import session as sessions
from bench.runtime.generation import open_scheduler
from bench.targets.base import FINE, CallReply, Facts, Streamed, Verdict
from bench.targets.kserve_generate import check_context
from bench.targets.onnx import place_of
from bench.targets.streams import Taken
from bench.tensors import Tensors
from bench.units import format_exact_duration
from bench.words import Word
from bench.workload import Workload

_COUNTED = {"tokens_counted": "one a call"}


class Answer:
    """A request that is being answered: the scheduler's thread adds, the user's waits for the end."""

    __slots__ = ("ended", "error", "t_ns", "tokens")

    def __init__(self) -> None:
        self.t_ns: list[int] = []
        self.tokens: list[int] = []
        self.error = ""
        self.ended = threading.Event()

    def emit(self, token: int, last: bool, error: str) -> None:
        """One token more, or an error: as `Scheduler.submit` says."""
        if error:
            self.error = error
        else:
            self.t_ns.append(time.perf_counter_ns())
            self.tokens.append(token)
        if last:
            self.ended.set()

    def wait(self, silence_ns: int) -> bool:
        """Wait for the end; False when nothing came for `silence_ns`."""
        since = time.perf_counter_ns()
        while not self.ended.wait((since + silence_ns - time.perf_counter_ns()) / 1e9):
            if not self.t_ns or self.t_ns[-1] + silence_ns <= time.perf_counter_ns():
                return False
            since = self.t_ns[-1]
        return True


class OnnxGenerate:
    """`onnx://cpu?batching=continuous`: the built model behind a scheduler that all users share."""

    def __init__(self, word: Word, workload: Workload, onnx: Path | None = None) -> None:
        provider, device = place_of(word)
        generate = workload.payload.generate
        if generate is not None and generate.form != "tokens":
            raise UsageError(
                f'target {word}: the model takes token ids, the workload sends texts; set payload.generate.form = "tokens"'
            )
        if onnx is None:
            raise RunError(f"target {word}: model {workload.model.name!r} is not built; see `bench models list`")
        self._word, self._workload = word, workload
        self._threads = int(word.options.get("threads", sessions.default_threads()))
        chunk = _prefill_chunk(word)
        began = time.perf_counter_ns()
        try:
            self._scheduler = open_scheduler(
                onnx,
                threads=self._threads,
                provider=provider,
                device=device,
                batching=word.options.get("batching", "continuous"),
                slots=int(word.options.get("max_batch", 8)),
                context=int(word.options.get("context", 0)),
                prefill_chunk=chunk,
            )
        except ValueError as error:
            raise UsageError(f"target {word}: option {error}") from None
        except Exception as error:  # ONNX Runtime's exceptions have no common base but this
            raise RunError(f"target {word}: {str(error).splitlines()[0]}") from None
        self._load_ns = time.perf_counter_ns() - began

    def probe(self) -> Facts:
        facts = self._scheduler.facts()
        generate = self._workload.payload.generate
        assert generate is not None
        if generate.vocabulary > int(facts["vocabulary"]):
            raise RunError(
                f"target {self._word}: workload {self._workload.name!r} has token ids below {generate.vocabulary}, "
                f"model {self._workload.model.name!r} a vocabulary of {facts['vocabulary']}"
            )
        check_context(self._word, self._workload, int(facts["context"]))
        options = sessions.session_options_facts(self._threads)
        return Facts(
            "onnxruntime", onnxruntime.__version__, details=options | facts | {"model_load_ns": self._load_ns} | _COUNTED
        )

    def batches(self) -> dict[int, int]:
        return self._scheduler.executed()

    def caller(self, payloads: Sequence[Prompt]) -> Callable[[int, int], CallReply]:
        silence_ns = self._workload.timeout_ns

        def call(payload: int, number: int) -> CallReply:
            prompt, answer = payloads[payload], Answer()
            try:
                cancel = self._scheduler.submit(prompt.ids, prompt.max_tokens, answer.emit, prompt.ignore_eos)
            except (ValueError, RuntimeError) as error:
                return CallReply(0, Verdict(STATUS, str(error)), None)
            if answer.wait(silence_ns):
                failed = answer.error and not answer.tokens
                return CallReply(0, Verdict(STATUS, answer.error), None) if failed else CallReply(0, FINE, answer)
            cancel()
            silence = format_exact_duration(silence_ns)
            if answer.tokens:
                return CallReply(0, Verdict(STALLED, f"after {len(answer.tokens)} tokens nothing for {silence}"), answer)
            return CallReply(0, Verdict(TIMEOUT, f"no token within {silence}"), None)

        return call

    def streamed(self, answer: Any, prompt: Prompt) -> Streamed:
        taken = Taken()
        for t_ns, token in zip(tuple(answer.t_ns), answer.tokens, strict=False):  # one that was given up may still grow
            taken.add(t_ns, 1)
            taken.ids.append(token)
        if answer.error:
            taken.fail(STATUS, f"an error in the stream: {answer.error}")
        return taken.streamed(prompt)

    def outputs(self, answer: Any) -> Tensors:
        raise AssertionError("a streamed answer is taken apart by `streamed`")

    def close(self) -> None:
        self._scheduler.close()


def _prefill_chunk(word: Word) -> int:
    text = word.options.get("prefill_chunk", "-1")
    if not text.isdecimal() and text != "-1":
        raise UsageError(
            f"target {word}: option prefill_chunk: expected a number of tokens, or 0 for whole prompts, got {text!r}"
        )
    return int(text)
