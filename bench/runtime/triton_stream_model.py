"""A model for Triton's Python backend that generates: decoupled, each answer leaving token by token.

Copied into a model repository as VERSION/model.py, with bench/runtime beside it. Inputs and outputs are named and meant as in
Triton's vLLM backend, so that whatever asks the one can ask the other. What differs: texts are token ids with spaces between
them; of the sampling parameters max_tokens, min_tokens, ignore_eos and temperature are read, and refused where they ask for
something else than the likeliest tokens; log probabilities, images, adapters and embeddings there are none; a request that is
cancelled ends without an error.
"""

import json
import queue
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import triton_python_backend_utils as pb

from bench.runtime.generation import open_scheduler
from bench.runtime.session import default_threads

FINAL = pb.TRITONSERVER_RESPONSE_COMPLETE_FINAL
DEFAULT_TOKENS = 16


class Asked(NamedTuple):
    """What a request asks for."""

    ids: np.ndarray  # int64 [n]
    max_tokens: int
    ignore_eos: bool
    stream: bool
    echo: bool  # the prompt before the answer
    extra: frozenset[str]  # outputs besides text_output


class TritonPythonModel:
    """One instance: one scheduler.

    Parameters in the model's configuration, each with a default: `onnx_file`, absolute or relative to this file, `threads`,
    `batching`, `slots`, `context`, `prefill_chunk`, `max_queue_delay_us`.
    """

    def initialize(self, args: dict[str, str]) -> None:
        config = json.loads(args["model_config"])
        given = {name: value["string_value"] for name, value in config.get("parameters", {}).items()}
        self._scheduler = open_scheduler(
            Path(__file__).parent / given.get("onnx_file", "model.onnx"),
            threads=int(given.get("threads", default_threads())),
            provider="cuda" if args["model_instance_kind"] == "GPU" else "cpu",
            device=int(args["model_instance_device_id"]),
            batching=given.get("batching", "continuous"),
            slots=int(given.get("slots", 8)),
            context=int(given.get("context", 0)),
            prefill_chunk=int(given.get("prefill_chunk", -1)),
            max_queue_delay_ns=1000 * int(given.get("max_queue_delay_us", 0)),
        )
        # `send` returns when the server has taken the response; meanwhile the scheduler can have the next step computed
        self._made: queue.SimpleQueue[tuple[Answer, int, bool, str] | None] = queue.SimpleQueue()
        self._sending = threading.Thread(target=self._send, name="responses", daemon=True)
        self._sending.start()

    def execute(self, requests: list[Any]) -> None:
        for request in requests:
            sender = request.get_response_sender()
            try:
                self._submit(read(request), sender)
            except Exception as error:  # is this request's, and none of the others'
                sender.send(_failure(str(error)), flags=FINAL)

    def finalize(self) -> None:
        self._scheduler.close()
        self._made.put(None)
        self._sending.join()

    def _submit(self, asked: Asked, sender: Any) -> None:
        answer = Answer(asked, sender)

        def emit(token: int, last: bool, error: str) -> None:
            self._made.put((answer, token, last, error))

        answer.cancel = self._scheduler.submit(asked.ids, asked.max_tokens, emit, asked.ignore_eos)

    def _send(self) -> None:
        while (made := self._made.get()) is not None:
            answer, token, last, error = made
            try:
                answer.add(token, last, error)
            except Exception:  # the server does not take it any more
                answer.give_up()


class Answer:
    """What a request has been answered so far. It lets go of its sender at the end: one that is held keeps the model loaded."""

    def __init__(self, asked: Asked, sender: Any) -> None:
        self._asked, self._sender = asked, sender
        self._unsent: list[int] = []
        self._made = 0
        self.cancel: Callable[[], None] | None = None

    def add(self, token: int, last: bool, error: str) -> None:
        """Send on what was made, or keep it where the whole is wanted at once."""
        if self._sender is None:
            self.give_up()
            return
        if error:
            self._end(_failure(f"Error generating stream: {error}"))
            return
        self._unsent.append(token)
        self._made += 1
        if last:
            self._end(self._response("length" if self._made == self._asked.max_tokens else "stop"))
        elif _is_cancelled(self._sender):
            sender = self._sender
            self.give_up()
            sender.send(flags=FINAL)
        elif self._asked.stream:
            self._sender.send(self._response("None"))

    def _response(self, finish_reason: str) -> Any:
        begins = self._made == len(self._unsent)
        echoed = self._asked.ids.tolist() if self._asked.echo and begins else []
        text = "".join(f" {token}" for token in [*echoed, *self._unsent])
        arrays = {
            "text_output": np.array([(text[1:] if echoed else text).encode()], np.object_),
            "finish_reason": np.array([finish_reason.encode()], np.object_),
            "num_input_tokens": np.array([len(self._asked.ids)], np.uint32),
            "num_output_tokens": np.array([len(self._unsent)], np.uint32),
        }
        self._unsent = []
        wanted = {"text_output"} | self._asked.extra
        return pb.InferenceResponse([pb.Tensor(name, array) for name, array in arrays.items() if name in wanted])

    def give_up(self) -> None:
        """Answer no further."""
        self._sender = None
        if self.cancel is not None:
            self.cancel()

    def _end(self, response: Any) -> None:
        sender, self._sender = self._sender, None
        sender.send(response, flags=FINAL)


def read(request: Any) -> Asked:
    """What a request asks for; ValueError says what this model cannot do."""
    stream = _flag(request, "stream") is True
    excluded = _flag(request, "exclude_input_in_output")
    if stream and excluded is False:
        raise ValueError("When streaming, `exclude_input_in_output` = False is not allowed.")
    text = _text(request, "sampling_parameters")
    parameters = _parameters((request.parameters() if text is None else text) or "{}")
    wanted = int(parameters.get("max_tokens", DEFAULT_TOKENS))
    least, temperature = int(parameters.get("min_tokens", 0)), float(parameters.get("temperature", 0))
    if temperature != 0:
        raise ValueError(f"temperature: this model answers with the likeliest tokens, expected 0, got {temperature:g}")
    if least not in (0, wanted):
        raise ValueError(f"min_tokens: expected 0 or max_tokens, which is {wanted}, got {least}")
    ignore_eos = str(parameters.get("ignore_eos", False)).lower() == "true" or least == wanted
    extra = ("finish_reason", "num_input_tokens", "num_output_tokens")
    return Asked(
        ids=_ids(_text(request, "text_input") or ""),
        max_tokens=wanted,
        ignore_eos=ignore_eos,
        stream=stream,
        echo=not stream and not excluded,
        extra=frozenset(name for name in extra if _flag(request, f"return_{name}")),
    )


def _parameters(text: str) -> dict[str, Any]:
    try:
        parameters = json.loads(text)
    except ValueError:
        parameters = None
    if not isinstance(parameters, dict):
        raise ValueError(f"sampling_parameters: expected a JSON object, got {text[:40]!r}")
    return parameters


def _ids(text: str) -> np.ndarray:
    try:
        return np.array([int(word) for word in text.split()], np.int64)
    except (ValueError, OverflowError):
        raise ValueError(f"text_input: this model takes token ids, such as '12 345 7', got {text[:40]!r}") from None


def _text(request: Any, name: str) -> str | None:
    tensor = pb.get_input_tensor_by_name(request, name)
    if tensor is None:
        return None
    value = tensor.as_numpy().ravel()[0]
    return value.decode() if isinstance(value, bytes) else str(value)


def _flag(request: Any, name: str) -> bool | None:
    tensor = pb.get_input_tensor_by_name(request, name)
    return None if tensor is None else bool(tensor.as_numpy().ravel()[0])


def _failure(message: str) -> Any:
    return pb.InferenceResponse(error=pb.TritonError(message))


def _is_cancelled(sender: Any) -> bool:
    return hasattr(sender, "is_cancelled") and sender.is_cancelled()  # Triton 2.39 and later
