"""Tokens streamed by Triton to NVIDIA's own gRPC client: one bidirectional stream a user, on a channel of its own."""

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import tritonclient.grpc as client
from tritonclient.utils import InferenceServerException

from bench.payloads import Prompt
from bench.record import BROKEN, CONNECT, STALLED, STATUS, TIMEOUT
from bench.targets.base import FINE, CallReply, Facts, Streamed, Verdict, request_id
from bench.targets.channels import PORT, Channels
from bench.targets.kserve_generate import take_apart, values
from bench.targets.kserve_grpc import words_of
from bench.targets.kserve_grpc_generate import outputs_by_name, probe, tensors
from bench.tensors import Tensors, TensorSpec
from bench.units import format_exact_duration
from bench.words import Word
from bench.workload import Workload

_FINAL = "triton_final_response"


class Answer(NamedTuple):
    """What came of a request: (time in ns, reply) of each, and how it broke off."""

    pieces: list[tuple[int, Any]]
    ended: str


class OfficialStream:
    """A decoupled model behind `inference.GRPCInferenceService/ModelStreamInfer`, asked by tritonclient.grpc."""

    def __init__(self, word: Word, workload: Workload, onnx: Path | None = None) -> None:
        self._word, self._workload = word, workload
        word.address(PORT)  # one that is none is told before anything else
        self._channels: Channels | None = None
        self._inputs: dict[str, TensorSpec] = {}
        self._users: list[_User] = []
        self.counted: dict[str, int] = {}

    def probe(self) -> Facts:
        facts = probe(self._word, self._workload)
        self._inputs = {spec.name: spec for spec in facts.inputs}
        self._channels = self._channels or Channels(self._word)
        return facts

    def caller(self, payloads: Sequence[Prompt]) -> Callable[[int, int], CallReply]:
        prepared = [_tensors(values(prompt, self._inputs), self._inputs) for prompt in payloads]
        assert self._channels is not None
        user = _User(self._channels.open(), self._workload, prepared)
        self._users.append(user)
        return user.call

    def streamed(self, answer: Answer, prompt: Prompt) -> Streamed:
        pieces = [(t_ns, outputs_by_name(reply)) for t_ns, reply in answer.pieces]
        # the final response of a stream is empty, and often nothing but final
        spoken = [(t_ns, piece) for t_ns, piece in pieces if piece.keys() - {"model_version"}]
        return take_apart(spoken, prompt, self._workload.model.version, self.counted, None, answer.ended)

    def outputs(self, answer: Any) -> Tensors:
        raise AssertionError("a streamed reply is taken apart by `streamed`")

    def close(self) -> None:
        for user in self._users:
            user.close()


class _User:
    """One user's channel and the stream on it, opened anew after anything went wrong there."""

    def __init__(self, connection: Any, workload: Workload, prepared: list[list[Any]]) -> None:
        self._model, self._timeout_ns, self._prepared = workload.model, workload.timeout_ns, prepared
        self._connection = connection
        self._streaming = False
        self._heard = _Heard()

    def call(self, payload: int, number: int) -> CallReply:
        """Send a request and wait for the end of its stream."""
        if self._heard.error is not None:  # it may also have come between two requests, from a server that went away
            self.close_stream()
        heard = self._heard = _Heard()
        if not self._streaming:
            # a stream hears of its requests through the callback that it began with
            self._connection.start_stream(lambda result, error: self._heard.hear(result, error))
            self._streaming = True
        try:
            self._connection.async_stream_infer(
                self._model.name,
                self._prepared[payload],
                self._model.version,
                request_id=request_id(number).decode(),
                enable_empty_final_response=True,
            )
        except InferenceServerException as error:
            heard.hear(None, error)
        silent = heard.wait(time.perf_counter_ns(), self._timeout_ns)
        verdict, status = (FINE, 0) if heard.error is None and not silent else heard.verdict(self._timeout_ns)
        if verdict != FINE:
            self.close_stream()
        if not heard.pieces:
            return CallReply(status, verdict, None)
        return CallReply(status, verdict, Answer(heard.pieces, verdict.message))

    def close_stream(self) -> None:
        """Cancel what is under way."""
        if self._streaming:
            self._connection.stop_stream(cancel_requests=True)
            self._streaming = False

    def close(self) -> None:
        self.close_stream()
        self._connection.close()


class _Heard:
    """What the stream's thread hears of one request while its user waits."""

    __slots__ = ("error", "last_ns", "over", "pieces")

    def __init__(self) -> None:
        self.pieces: list[tuple[int, Any]] = []
        self.error: InferenceServerException | None = None
        self.last_ns = 0
        self.over = threading.Event()

    def hear(self, result: Any, error: InferenceServerException | None) -> None:
        """The stream's callback: as little as can be, for the next reply waits."""
        now = time.perf_counter_ns()
        if error is not None:
            self.error = error
            self.over.set()
            return
        reply = result.get_response()
        self.last_ns = now
        self.pieces.append((now, reply))
        if _FINAL in reply.parameters and reply.parameters[_FINAL].bool_param:
            self.over.set()

    def wait(self, start_ns: int, timeout_ns: int) -> bool:
        """Wait for the end; whether it fell silent for too long instead."""
        while True:
            left_ns = max(self.last_ns, start_ns) + timeout_ns - time.perf_counter_ns()
            if self.over.wait(max(left_ns, 0) / 1e9):
                return False
            if left_ns <= 0:
                return True

    def verdict(self, timeout_ns: int) -> tuple[Verdict, int]:
        """What went wrong, and gRPC's number for it."""
        begun, error = bool(self.pieces), self.error
        if error is None:
            silence = format_exact_duration(timeout_ns)
            if begun:
                return Verdict(STALLED, f"the stream fell silent for {silence}, after {len(self.pieces)} pieces"), 0
            return Verdict(TIMEOUT, f"no reply within {silence}"), 0
        code = next((c for c in grpc.StatusCode if str(c) == error.status()), None)
        if code is None:  # the model's own words, within the stream
            return Verdict(STATUS, f"an error in the stream: {words_of(error)}"), 0
        if code == grpc.StatusCode.UNAVAILABLE:
            return Verdict(BROKEN if begun else CONNECT, f"gRPC {code.name}: {words_of(error)}"), int(code.value[0])
        return Verdict(STATUS, f"gRPC {code.name}: {words_of(error)}"), int(code.value[0])


def _tensors(sent: dict[str, Any], inputs: dict[str, TensorSpec]) -> list[Any]:
    made = []
    for name, (datatype, array) in tensors(sent, inputs).items():
        tensor = client.InferInput(name, list(array.shape), datatype)
        tensor.set_data_from_numpy(array)
        made.append(tensor)
    return made
