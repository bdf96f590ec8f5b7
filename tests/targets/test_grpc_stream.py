"""A gRPC stream that goes wrong, and the next request of its user: by bench's own client, and by NVIDIA's."""

import itertools
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2, service_pb2_grpc

from bench import payloads, words
from bench import workload as workloads
from bench.record import ERRORS
from bench.slo import Nanoseconds
from bench.targets import open_target
from bench.targets.base import FINE
from bench.targets.talk import Talk
from bench.wire import grpc as grpc_wire
from bench.wire.line import Head, Reply
from bench.workload import Workload


def made(timeout_ns: int) -> Workload:
    """A prompt of three ids, an answer of five tokens."""
    document = {
        "name": "small",
        "model": {"name": "scripted"},
        "payload": {"distinct": 1, "generate": {"prompt_tokens": 3, "output_tokens": 5}},
        "load": {"arrivals": "closed"},
    }
    return msgspec.structs.replace(workloads.from_builtins(document, "small.toml"), timeout_ns=Nanoseconds(timeout_ns))


class Servicer(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    """Says of its model what a target wants to hear, and answers one request after another by `scripts`."""

    def __init__(self, scripts: Iterator[Callable[[Any], Iterator[Any]]]) -> None:
        self._scripts = scripts

    def ServerMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
        return service_pb2.ServerMetadataResponse(name="stand-in", version="1")

    def ModelMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
        inputs = [{"name": n, "datatype": "BYTES", "shape": [1]} for n in ("text_input", "sampling_parameters")]
        outputs = [{"name": "text_output", "datatype": "BYTES", "shape": [-1]}]
        return service_pb2.ModelMetadataResponse(name="scripted", versions=["1"], inputs=inputs, outputs=outputs)

    def ModelStreamInfer(self, requests: Any, context: Any) -> Iterator[Any]:  # noqa: N802
        for request in requests:
            assert len(request.inputs) == len(request.raw_input_contents) == 2
            yield from next(self._scripts)(context)


def piece(text: str = "", error: str = "", final: bool = False) -> Any:
    reply = service_pb2.ModelInferResponse(model_name="scripted", model_version="1")
    if text:
        reply.outputs.append(service_pb2.ModelInferResponse.InferOutputTensor(name="text_output", datatype="BYTES", shape=[1]))
        reply.raw_output_contents.append(len(text).to_bytes(4, "little") + text.encode())
    reply.parameters["triton_final_response"].bool_param = final
    return service_pb2.ModelStreamInferResponse(infer_response=reply, error_message=error)


def serve(*scripts: Callable[[Any], Iterator[Any]]) -> tuple[Any, int]:
    """A server that answers one request after another by a script each, and its port."""
    server = grpc.server(ThreadPoolExecutor(4))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Servicer(iter(scripts)), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, port


def good(context: Any) -> Iterator[Any]:
    yield piece(" 1 2 3")
    yield piece(" 4 5")
    yield piece(final=True)


def says_error(context: Any) -> Iterator[Any]:
    yield piece(" 1 2")
    yield piece(error="out of memory", final=True)
    yield piece(final=True)  # nobody waits for it any more


def aborts(context: Any) -> Iterator[Any]:
    yield piece(" 1 2")
    context.abort(grpc.StatusCode.UNAVAILABLE, "going away")


def aborts_at_once(context: Any) -> Iterator[Any]:
    context.abort(grpc.StatusCode.UNAVAILABLE, "going away")
    yield


def refuses(context: Any) -> Iterator[Any]:
    context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no such input")
    yield


def falls_silent(context: Any) -> Iterator[Any]:
    yield piece(" 1 2")
    while context.is_active():
        time.sleep(0.01)


def says_nothing(context: Any) -> Iterator[Any]:
    while context.is_active():
        time.sleep(0.01)
    yield from ()


def says_no_end(context: Any) -> Iterator[Any]:
    yield piece(" 1 2 3")
    yield piece(" 4 5")


def ends_early(context: Any) -> Iterator[Any]:
    yield piece(" 1 2")
    yield piece(final=True)


@pytest.mark.parametrize(
    ("bad", "error", "tokens", "message"),
    [
        (says_error, "status", [2], "an error in the stream: out of memory"),
        (aborts, "broken", [2], "gRPC UNAVAILABLE: going away"),
        (aborts_at_once, "status", None, "gRPC UNAVAILABLE: going away"),
        (refuses, "status", None, "gRPC INVALID_ARGUMENT: no such input"),
        (ends_early, "tokens", [2], "came to 2 tokens, asked for were 5"),
        (says_no_end, "", [3, 2], ""),
    ],
)
def test_a_stream_that_fails_is_told_by_its_kind_and_the_next_on_its_connection_is_good(
    bad: Any, error: str, tokens: list[int] | None, message: str
) -> None:
    """With what came of it; a stream whose last piece does not say that it is the last ends all the same."""
    server, port = serve(bad, good)
    target: Any = open_target(words.parse(f"triton-grpc://127.0.0.1:{port}"), made(20 * 10**9))
    target.probe()
    (prompt,) = prompts = payloads.make(made(20 * 10**9))
    (request,) = target.requests(prompts)
    with Talk(target, 30) as talk:
        reply = talk.ask(request)
        verdict, streamed = target.judge(reply, b"0" * 16), None
        if verdict == FINE:
            streamed = target.streamed(reply, prompt)
            verdict = streamed.verdict
        assert (ERRORS[verdict.error], streamed and list(streamed.tokens)) == (error, tokens)
        assert message in verdict.message
        reply = talk.ask(request)
        assert target.judge(reply, b"0" * 16) == target.streamed(reply, prompt).verdict == FINE
        assert target.streamed(reply, prompt).outputs["tokens"].tolist() == [1, 2, 3, 4, 5]
    server.stop(None).wait()


@given(st.integers(0, 10**6), st.lists(st.integers(0, 10**6), max_size=5))
def test_the_pieces_of_a_stream_have_the_times_when_they_were_whole(cut: int, edges: list[int]) -> None:
    """Whatever came of the next one with them; of a stream that broke off, only whole pieces count."""
    target: Any = open_target(words.parse("triton-grpc://x"), made(10**9))
    (prompt,) = payloads.make(made(10**9))
    whole = [grpc_wire.prefixed(piece(text).SerializeToString()) for text in (" 1", " 2 3", " 4", " 5")]
    ends, body = list(itertools.accumulate(map(len, whole))), b"".join(whole)
    cut %= len(body) + 1
    there = sorted({cut, *(edge % (cut + 1) for edge in edges)} - {0})
    marks = tuple((1000 + n, upto) for n, upto in enumerate(there))
    ended = "" if cut == len(body) else "the connection was closed"
    reply = Reply(Head(0, cut, True, {b":status": b"200"}), body[:cut], marks, ended)
    streamed = target.streamed(reply, prompt)
    assert streamed.t_ns == [next(t for t, upto in marks if upto >= end) for end in ends if end <= cut]
    assert list(streamed.tokens) == [1, 2, 1, 1][: len(streamed.t_ns)]
    assert ERRORS[streamed.verdict.error] == ("" if cut == len(body) else "broken")
    if cut not in (0, *ends):
        torn = target.streamed(reply._replace(ended=""), prompt).verdict
        assert ERRORS[torn.error] == "protocol"
        assert "the stream ended within a message" in torn.message


@pytest.mark.parametrize(
    ("bad", "error", "tokens", "message"),
    [
        (says_error, "status", [2], "an error in the stream: out of memory"),
        (aborts, "broken", [2], "gRPC UNAVAILABLE: going away"),
        (aborts_at_once, "connect", [], "gRPC UNAVAILABLE: going away"),
        (refuses, "status", [], "gRPC INVALID_ARGUMENT: no such input"),
        (falls_silent, "stalled", [2], "fell silent for 300ms, after 1 pieces"),
        (says_nothing, "timeout", [], "no reply within 300ms"),
        (ends_early, "tokens", [2], "came to 2 tokens, asked for were 5"),
    ],
)
def test_a_stream_of_the_official_client_that_fails_is_told_by_its_kind_and_the_next_is_good(
    bad: Any, error: str, tokens: list[int], message: str
) -> None:
    """With what came of it; nothing that is left of it is taken for the next one's."""
    server, port = serve(bad, good, bad, good)
    workload = made(300_000_000 if error in ("timeout", "stalled") else 20 * 10**9)
    target: Any = open_target(words.parse(f"triton-grpc://127.0.0.1:{port}?client=tritonclient"), workload)
    try:
        target.probe()
        (prompt,) = prompts = payloads.make(workload)
        call = target.caller(prompts)
        for n in (0, 2):
            reply = call(0, n)
            streamed = target.streamed(reply.answer, prompt) if reply.answer is not None else None
            verdict = reply.verdict if reply.verdict != FINE else streamed.verdict
            assert (ERRORS[verdict.error], list(streamed.tokens) if streamed else []) == (error, tokens)
            assert message in verdict.message
            again = call(0, n + 1)
            assert again.verdict == target.streamed(again.answer, prompt).verdict == FINE
            assert target.streamed(again.answer, prompt).outputs["tokens"].tolist() == [1, 2, 3, 4, 5]
    finally:
        target.close()
        server.stop(None).wait()


def test_a_stream_of_the_official_client_may_take_longer_than_the_timeout_as_long_as_it_is_not_silent() -> None:
    """The timeout is the longest silence: four pieces, each within it, together beyond it."""

    def slowly(context: Any) -> Iterator[Any]:
        for _ in range(4):
            time.sleep(0.3)
            yield piece(" 1")
        yield piece(" 1")
        yield piece(final=True)

    server, port = serve(slowly)
    workload = made(1_000_000_000)
    target: Any = open_target(words.parse(f"triton-grpc://127.0.0.1:{port}?client=tritonclient"), workload)
    try:
        target.probe()
        (prompt,) = prompts = payloads.make(workload)
        began = time.perf_counter_ns()
        reply = target.caller(prompts)(0, 0)
        assert time.perf_counter_ns() - began > 1_000_000_000
        assert reply.verdict == target.streamed(reply.answer, prompt).verdict == FINE
    finally:
        target.close()
        server.stop(None).wait()
