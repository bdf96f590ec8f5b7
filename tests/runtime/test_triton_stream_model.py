"""The generating model for Triton's Python backend, under a stand-in for the backend's own module."""

import gc
import importlib
import json
import sys
import threading
import types
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.runtime import generation

FINAL = 1
PROMPT = np.array([5, 6, 7])


class Tensor:
    """A tensor as the backend hands it over and takes it."""

    def __init__(self, name: str, array: np.ndarray) -> None:
        self.name, self.array = name, array

    def as_numpy(self) -> np.ndarray:
        return self.array


@dataclass
class Response:
    """What a sender is given."""

    output_tensors: list[Tensor] = field(default_factory=list)
    error: Exception | None = None

    def value(self, name: str) -> Any:
        """The one value of an output; None where the response has not this output."""
        found = [tensor.array for tensor in self.output_tensors if tensor.name == name]
        return found[0].item() if found else None


class Sender:
    """Takes responses until the last; a client that has gone says so after `patience` of them."""

    def __init__(self, patience: int = 10_000, broken: bool = False) -> None:
        self.responses: list[Response] = []
        self.ended = threading.Event()
        self._patience, self._broken = patience, broken

    def send(self, response: Response | None = None, flags: int = 0) -> None:
        assert not self.ended.is_set(), "something was sent after the last"
        if self._broken:
            raise RuntimeError("the stream is no more")
        if response is not None:
            self.responses.append(response)
        if flags == FINAL:
            self.ended.set()

    def is_cancelled(self) -> bool:
        return len(self.responses) >= self._patience

    def text(self) -> str:
        assert self.ended.wait(30)
        return "".join(response.value("text_output").decode() for response in self.responses)

    def error(self) -> str:
        assert self.ended.wait(30)
        (response,) = self.responses
        return str(response.error)


class Request:
    """A request as the backend hands it over."""

    def __init__(self, sender: Sender, text: str, sampling: Any = None, *, parameters: str = "", **flags: Any) -> None:
        self._sender: Sender | None = sender
        self.tensors = {"text_input": np.array([text.encode()], object)}
        self.tensors |= {name: np.array([value]) for name, value in flags.items()}
        if sampling is not None:
            self.tensors["sampling_parameters"] = np.array([json.dumps(sampling).encode()], object)
        self._parameters = parameters

    def get_response_sender(self) -> Sender:
        sender, self._sender = self._sender, None
        assert sender is not None
        return sender

    def parameters(self) -> str:
        return self._parameters


def backend_module() -> types.ModuleType:
    """What `import triton_python_backend_utils` finds inside Triton, as far as the model uses it."""
    module: Any = types.ModuleType("triton_python_backend_utils")

    def get(request: Request, name: str) -> Tensor | None:
        return Tensor(name, request.tensors[name]) if name in request.tensors else None

    module.Tensor, module.InferenceResponse, module.TritonError = Tensor, Response, RuntimeError
    module.get_input_tensor_by_name, module.TRITONSERVER_RESPONSE_COMPLETE_FINAL = get, FINAL
    return module  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def model(ending_qwen: Path) -> Iterator[Any]:
    """An instance of two slots and a context of 64."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "triton_python_backend_utils", backend_module())
        patch.delitem(sys.modules, "bench.runtime.triton_stream_model", raising=False)
        made = importlib.import_module("bench.runtime.triton_stream_model").TritonPythonModel()
        given = {"onnx_file": str(ending_qwen), "threads": "1", "slots": "2", "context": "64", "prefill_chunk": "2"}
        config = {"parameters": {name: {"string_value": value} for name, value in given.items()}}
        made.initialize({"model_config": json.dumps(config), "model_instance_kind": "CPU", "model_instance_device_id": "0"})
        yield made
        made.finalize()
        sys.modules.pop("bench.runtime.triton_stream_model", None)


@pytest.fixture(scope="module")
def tokens(ending_qwen: Path) -> list[int]:
    """What the model answers PROMPT with."""
    ((made, _),) = generation.greedy(ending_qwen, [(PROMPT, 12)], threads=1)
    return made.tolist()  # type: ignore[no-any-return]


def text(ids: Any) -> str:
    return "".join(f" {token}" for token in ids)


ASKED = {"max_tokens": 12, "min_tokens": 12, "ignore_eos": True, "temperature": 0.0}


def test_a_stream_brings_each_token_in_a_response_of_its_own(model: Any, tokens: list[int]) -> None:
    """Texts that join to the whole, with the space before each."""
    sender = Sender()
    assert model.execute([Request(sender, "5 6 7", ASKED, stream=True)]) is None
    assert sender.text() == text(tokens)
    assert [response.value("text_output") for response in sender.responses] == [f" {token}".encode() for token in tokens]
    assert {len(response.output_tensors) for response in sender.responses} == {1}


def test_further_outputs_come_where_they_are_asked_for(model: Any) -> None:
    """Counts are of this response; the reason is that of the last."""
    sender = Sender()
    flags: dict[str, Any] = {f"return_{name}": True for name in ("finish_reason", "num_input_tokens", "num_output_tokens")}
    model.execute([Request(sender, "5 6 7", ASKED | {"max_tokens": 2, "min_tokens": 0}, stream=True, **flags)])
    sender.text()
    assert [
        [response.value(name) for name in ("finish_reason", "num_input_tokens", "num_output_tokens")]
        for response in sender.responses
    ] == [[b"None", 3, 1], [b"length", 3, 1]]


@pytest.mark.parametrize(("flags", "before"), [({}, "5 6 7"), ({"exclude_input_in_output": True}, "")])
def test_without_streaming_the_whole_comes_at_once(model: Any, tokens: list[int], flags: dict[str, Any], before: str) -> None:
    """The prompt before it, unless it is to be left out."""
    sender = Sender()
    model.execute([Request(sender, "5 6 7", ASKED, return_num_output_tokens=True, **flags)])
    assert sender.text() == before + text(tokens)
    assert [response.value("num_output_tokens") for response in sender.responses] == [12]


def test_an_end_of_text_ends_a_stream_unless_it_is_to_be_ignored(model: Any, tokens: list[int]) -> None:
    """Every fourth token ends a text here; the reason says so."""
    sender = Sender()
    asked = {"max_tokens": 12, "temperature": 0}
    model.execute([Request(sender, "5 6 7", asked, stream=True, return_finish_reason=True)])
    until = next(n for n, token in enumerate(tokens) if token % 4 == 0)
    assert until < 11
    assert sender.text() == text(tokens[: until + 1])
    assert sender.responses[-1].value("finish_reason") == b"stop"


def test_sampling_parameters_may_come_as_the_request_s_own(model: Any, tokens: list[int]) -> None:
    """As from the generate endpoint; without any, 16 tokens are the most."""
    sender = Sender()
    model.execute([Request(sender, "5 6 7", parameters=json.dumps({"max_tokens": 3, "ignore_eos": True}), stream=True)])
    assert sender.text() == text(tokens[:3])
    sender = Sender()
    model.execute([Request(sender, "5 6 7", parameters=json.dumps({"ignore_eos": "true"}), stream=True)])
    assert len(sender.text().split()) == 16


@pytest.mark.parametrize(
    ("prompt", "sampling", "flags", "message"),
    [
        ("once upon a time", {}, {}, "text_input: this model takes token ids, such as '12 345 7', got 'once upon a time'"),
        (f"1 {2**64}", {}, {}, "text_input: this model takes token ids"),
        ("", {}, {}, "at least one"),
        ("1 320", {}, {}, "token id 320 is not in the vocabulary, 0 to 319"),
        ("1 2", {"max_tokens": 63}, {}, "a prompt of 2 tokens and an answer of 63 are 65 tokens, the context has 64"),
        ("1 2", {"temperature": 0.5}, {}, "temperature: this model answers with the likeliest tokens, expected 0, got 0.5"),
        ("1 2", {"max_tokens": 9, "min_tokens": 3}, {}, "min_tokens: expected 0 or max_tokens, which is 9, got 3"),
        ("1 2", {}, {"stream": True, "exclude_input_in_output": False}, "exclude_input_in_output"),
        ("1 2", [1], {}, "sampling_parameters: expected a JSON object, got '[1]'"),
    ],
)  # fmt: skip
def test_what_cannot_be_answered_is_refused_alone(
    model: Any, tokens: list[int], prompt: str, sampling: dict[str, Any], flags: dict[str, Any], message: str
) -> None:
    """In a last response with the error; others of the same call are answered."""
    refused, good = Sender(), Sender()
    model.execute([Request(refused, prompt, sampling, **flags), Request(good, "5 6 7", ASKED, stream=True)])
    assert message in refused.error()
    assert good.text() == text(tokens)


def test_a_client_that_has_gone_is_answered_no_further(model: Any, tokens: list[int]) -> None:
    """The slot is free for others long before the answer would have ended."""
    sender, others = Sender(patience=2), [Sender() for _ in range(3)]
    model.execute([Request(sender, "1 2", {"max_tokens": 60, "ignore_eos": True}, stream=True)])
    model.execute([Request(other, "5 6 7", ASKED, stream=True) for other in others])
    assert [other.text() for other in others] == [text(tokens)] * 3
    assert sender.ended.wait(30)
    assert len(sender.responses) == 2


def test_a_server_that_takes_no_responses_does_not_stop_the_others(model: Any, tokens: list[int]) -> None:
    """A stream that broke inside Triton is one request's."""
    good = Sender()
    model.execute([Request(Sender(broken=True), "1 2", ASKED, stream=True), Request(good, "5 6 7", ASKED, stream=True)])
    assert good.text() == text(tokens)


@pytest.mark.parametrize("patience", [3, 10_000])
def test_nothing_holds_a_sender_after_its_last_response(model: Any, patience: int) -> None:
    """One that is held keeps the model loaded: unload and shutdown would wait for it in vain."""
    sender = Sender(patience)
    model.execute([Request(sender, "1 2", ASKED, stream=True)])
    assert sender.ended.wait(30)
    held = weakref.ref(sender)
    following = Sender()
    model.execute([Request(following, "x")])  # has its error from this thread
    del sender
    wait = threading.Event()
    for _ in range(100):
        if held() is None:
            break
        wait.wait(0.01)
    assert held() is None, gc.get_referrers(held())


class Scripted:
    """A scheduler that makes a token when it is told to."""

    def __init__(self) -> None:
        self.emits: list[Callable[[int, bool, str], None]] = []
        self.cancelled = threading.Event()

    def submit(self, ids: np.ndarray, wanted: int, emit: Any, ignore_eos: bool) -> Callable[[], None]:
        self.emits.append(emit)
        return self.cancelled.set

    def make(self) -> None:
        for emit in self.emits:
            emit(3, False, "")

    def close(self) -> None:
        for emit in self.emits:
            emit(-1, True, "the model is being shut down")


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Any, Scripted]]:
    """An instance over a scripted scheduler, which the test finalizes."""
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", backend_module())
    monkeypatch.delitem(sys.modules, "bench.runtime.triton_stream_model", raising=False)
    module: Any = importlib.import_module("bench.runtime.triton_stream_model")
    scheduler = Scripted()
    monkeypatch.setattr(module, "open_scheduler", lambda *place, **options: scheduler)
    made = module.TritonPythonModel()
    made.initialize({"model_config": "{}", "model_instance_kind": "CPU", "model_instance_device_id": "0"})
    yield made, scheduler
    sys.modules.pop("bench.runtime.triton_stream_model", None)


def test_requests_that_are_under_way_at_the_end_are_told(scripted: tuple[Any, Scripted]) -> None:
    """Nobody waits for a model that has been unloaded."""
    made, _ = scripted
    sender = Sender()
    made.execute([Request(sender, "1 2", ASKED, stream=True)])
    made.finalize()
    assert sender.error() == "Error generating stream: the model is being shut down"


@pytest.mark.parametrize("sender", [Sender(patience=0), Sender(broken=True)], ids=["gone", "broken"])
def test_an_answer_that_nobody_takes_is_cancelled(scripted: tuple[Any, Scripted], sender: Sender) -> None:
    """The model does not go on with it; what was made meanwhile is dropped."""
    made, scheduler = scripted
    made.execute([Request(sender, "1 2", ASKED, stream=True)])
    scheduler.make()
    assert scheduler.cancelled.wait(10)
    scheduler.make()
    made.finalize()
    assert sender.responses == []
