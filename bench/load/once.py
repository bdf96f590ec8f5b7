"""Every distinct request asked once and one after another, outside any measurement: answers to record."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench import payloads
from bench.answers import Answers
from bench.errors import RunError
from bench.payloads import Request
from bench.record import ANSWER, CLOSED, ERRORS, OK
from bench.targets import open_target
from bench.targets.base import FINE, Verdict, request_id
from bench.targets.talk import Talk
from bench.tensors import Tensors
from bench.units import format_exact_duration
from bench.wire.line import ProtocolError
from bench.words import Word
from bench.workload import Workload

PATIENCE_NS = 60 * 10**9  # at the least: a model's first answer may be slow


def ask_all(word: Word, workload: Workload, onnx: Path | None, progress: Callable[[float, str], None]) -> Answers:
    """The outputs of the target's replies, by payload; RunError at the first request that is not answered well."""
    target: Any = open_target(word, workload, onnx)
    try:
        target.probe()
        requests = payloads.make(workload)
        ask = _asking(target, requests, max(workload.timeout_ns, PATIENCE_NS))
        answers: Answers = {}
        for number, request in enumerate(requests):
            verdict, outputs = ask(number, request)
            if verdict.error != OK:
                raise RunError(
                    f"target {word}: request {number} was not answered well ({ERRORS[verdict.error]}): {verdict.message}; "
                    "nothing was recorded"
                )
            answers[number] = outputs
            progress((number + 1) / len(requests), f"{number + 1} of {len(requests)}")
        return answers
    finally:
        target.close()


def _asking(target: Any, requests: Sequence[Request], patience_ns: int) -> Callable[[int, Request], tuple[Verdict, Tensors]]:
    """A function (number, request) -> the verdict on the reply, and its outputs where it is good."""
    if hasattr(target, "requests"):
        prepared = target.requests(requests)

        def answer(number: int) -> tuple[Verdict, Any]:
            request, id_ = prepared[number], request_id(number)
            request.head[request.id_at : request.id_at + 16] = id_
            with Talk(target, patience_ns / 1e9) as talk:
                reply = talk.ask(request)
            if reply.ended and not hasattr(target, "streamed"):
                return Verdict(CLOSED, reply.ended), reply
            return target.judge(reply, id_), reply
    else:
        call = target.caller(requests)

        def answer(number: int) -> tuple[Verdict, Any]:
            reply = call(number, number)
            return reply.verdict, reply.answer

    def ask(number: int, request: Request) -> tuple[Verdict, Tensors]:
        try:
            verdict, reply = answer(number)
            return _taken_apart(target, reply, request) if verdict.error == OK else (verdict, {})
        except TimeoutError:
            problem = f"no reply within {format_exact_duration(patience_ns)}"
        except (OSError, ProtocolError) as error:
            problem = error.strerror or str(error) if isinstance(error, OSError) else str(error)
        return Verdict(CLOSED, problem), {}

    return ask


def _taken_apart(target: Any, reply: Any, request: Request) -> tuple[Verdict, Tensors]:
    try:
        if hasattr(target, "streamed"):
            streamed = target.streamed(reply, request)
            return streamed.verdict, streamed.outputs
        return FINE, target.outputs(reply)
    except Exception as problem:  # whatever a server sent
        return Verdict(ANSWER, f"its outputs cannot be read: {type(problem).__name__}: {str(problem)[:200]}"), {}
