"""What every target that streams tokens owes to whoever measures through it; the endpoints are scripted."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import msgspec
import pytest

from bench import payloads, words
from bench import workload as workloads
from bench.errors import RunError, UsageError
from bench.evidence.script import script
from bench.evidence.stream_accuracy import scripted
from bench.payloads import Prompt
from bench.targets import TARGETS, open_target
from bench.targets.base import FINE, Streamed, Verdict, request_id
from bench.targets.talk import Talk
from bench.workload import Workload

KINDS = ["openai", "triton-http", "triton-grpc", "flask"]
WITH_IDS = KINDS[1:]

Open = Callable[..., Any]


@pytest.fixture(scope="module")
def place() -> Iterator[Callable[[str], str]]:
    """The address of a scripted server of each kind, started when it is first asked for."""
    started: dict[str, str] = {}
    with ExitStack() as stack:

        def start(kind: str) -> str:
            if kind not in started:
                started[kind] = stack.enter_context(scripted(kind))[0]
            return started[kind]

        yield start


@pytest.fixture
def open_at(place: Callable[[str], str]) -> Iterator[Open]:
    """Opens the target of a kind at its scripted server, or elsewhere."""
    opened: list[Any] = []

    def open_(kind: str, workload: Workload | None = None, at: str | None = None) -> Any:
        opened.append(open_target(words.parse(f"{kind}://{at or place(kind)}"), workload or made()))
        return opened[-1]

    yield open_
    for target in opened:
        target.close()


def made(**generate: Any) -> Workload:
    """Prompts of three ids, answers of five tokens."""
    document = {
        "name": "small",
        "model": {"name": "scripted"},
        "payload": {"distinct": 3, "generate": {"prompt_tokens": 3, "output_tokens": 5} | generate},
        "load": {"arrivals": "closed"},
    }
    return workloads.from_builtins(document, "small.toml")


def ask_all(target: Any, prompts: list[Prompt], numbers: range) -> list[tuple[Verdict, Streamed]]:
    """The verdict on the head, or the call, and the stream, of one request after another."""
    if not hasattr(target, "requests"):
        call = target.caller(prompts)
        replies = [(call(n % len(prompts), n), prompts[n % len(prompts)]) for n in numbers]
        return [(reply.verdict, target.streamed(reply.answer, prompt)) for reply, prompt in replies]
    answers, requests = [], target.requests(prompts)
    with Talk(target, 30) as talk:
        for n in numbers:
            request = requests[n % len(prompts)]
            request.head[request.id_at : request.id_at + 16] = request_id(n)
            reply = talk.ask(request)
            answers.append((target.judge(reply, request_id(n)), target.streamed(reply, prompts[n % len(prompts)])))
    return answers


@pytest.mark.parametrize("kind", KINDS)
def test_a_probe_tells_who_answers_and_how_tokens_are_counted(kind: str, open_at: Open) -> None:
    """The facts go to run.json."""
    facts = open_at(kind).probe()
    assert facts.name
    assert facts.version is not None
    assert facts.details["tokens_counted"]
    json.dumps(facts.details)


@pytest.mark.parametrize("kind", KINDS)
def test_every_stream_has_the_tokens_asked_for_with_times_that_rise(kind: str, open_at: Open) -> None:
    """Every distinct request twice over one connection: the pieces that the script sent, in its order."""
    target = open_at(kind)
    target.probe()
    prompts = payloads.make(made())
    before = time.perf_counter_ns()
    for n, (verdict, streamed) in enumerate(ask_all(target, prompts, range(6))):  # type: ignore[arg-type]
        assert verdict == FINE == streamed.verdict
        wanted = [tokens for _, tokens in script(n, 5)]
        assert sum(streamed.tokens) == sum(wanted) == 5
        if kind != "flask":  # a line is a piece of its own, and an empty one is none
            assert list(streamed.tokens) == wanted
        assert list(streamed.t_ns) == sorted(streamed.t_ns)
        assert before < streamed.t_ns[0]
        before = streamed.t_ns[-1]
        if kind in WITH_IDS:
            assert streamed.outputs["tokens"].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("kind", KINDS)
def test_where_nothing_listens_the_error_names_the_address(kind: str, nobody: str, open_at: Open) -> None:
    """And asks whether the server runs."""
    with pytest.raises(RunError, match=f"nothing answers at {nobody}.*is the server running"):
        open_at(kind, at=nobody).probe()


@pytest.mark.parametrize("kind", KINDS)
def test_an_address_that_is_none_is_an_error_of_the_user(kind: str, open_at: Open) -> None:
    """The message shows the form."""
    with pytest.raises(UsageError, match=f"expected {kind}://HOST:PORT"):
        open_at(kind, at="here:x")


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_that_is_not_there_is_refused_by_name(kind: str, open_at: Open) -> None:
    """Before the first request of the run."""
    workload = made()
    model = msgspec.structs.replace(workload.model, name="unscripted")
    with pytest.raises(RunError, match="no model 'unscripted'"):
        open_at(kind, msgspec.structs.replace(workload, model=model)).probe()


def test_the_models_that_an_openai_style_server_has_are_listed(open_at: Open) -> None:
    """And the option that names one."""
    workload = made()
    model = msgspec.structs.replace(workload.model, name="unscripted")
    with pytest.raises(RunError, match=r"it has: scripted \(\?model=NAME\)"):
        open_at("openai", msgspec.structs.replace(workload, model=model)).probe()


@pytest.mark.parametrize("scheme", [scheme for scheme, kind in TARGETS.items() if not kind.generates])
def test_a_kind_that_cannot_stream_says_so_and_who_can(scheme: str) -> None:
    """The message lists the others."""
    with pytest.raises(UsageError, match=rf"{scheme}:// streams no tokens; .* can be sent to: triton-http://, .*openai://"):
        open_target(words.parse(f"{scheme}://"), made())


def test_an_openai_style_endpoint_takes_no_tensors() -> None:
    """The message says what it takes, and who takes tensors."""
    document = {
        "name": "t", "model": {"name": "m"}, "load": {"arrivals": "closed"},
        "payload": {"inputs": {"x": {"datatype": "FP32", "shape": [1]}}},
    }  # fmt: skip
    with pytest.raises(UsageError, match=r"takes no tensors, only prompts .*can be sent to: triton-http://"):
        open_target(words.parse("openai://x"), workloads.from_builtins(document, "t.toml"))


@pytest.mark.parametrize("word", ["openai://x?api=chat", "flask://x"])
def test_a_form_of_prompts_that_an_endpoint_does_not_take_is_an_error_of_the_user(word: str) -> None:
    """The message names the key."""
    form = "tokens" if "chat" in word else "text"
    with pytest.raises(UsageError, match=r"set payload\.generate\.form"):
        open_target(words.parse(word), made(form=form))


# ---------------------------------------------------------------- what is sent


def sent(word: str, workload: Workload) -> tuple[str, dict[str, Any]]:
    """The path and the document of a wire target's first request, which says its length rightly."""
    request = open_target(words.parse(word), workload).requests(payloads.make(workload))[0]  # type: ignore[attr-defined]
    head, _, body = bytes(request.head + request.body).partition(b"\r\n\r\n")
    assert b"Content-Length: %d" % len(body) in head
    assert request.head[request.id_at : request.id_at + 16] == b"0" * 16
    return head.split()[1].decode(), json.loads(body)


def test_an_openai_style_request_has_only_fields_that_every_server_knows_unless_asked() -> None:
    """Others refuse what they do not know; an option sends it."""
    workload = made()
    path, document = sent("openai://x", workload)
    first: Any = payloads.make(workload)[0]
    assert path == "/v1/completions"
    assert document == {
        "model": "scripted", "prompt": first.ids.tolist(), "max_tokens": 5, "temperature": 0, "stream": True,
        "stream_options": {"include_usage": True},
    }  # fmt: skip
    _, more = sent("openai://x?usage=each,ignore_eos=yes,model=other", workload)
    assert more | document == document | {"ignore_eos": True, "min_tokens": 5} | {"stream_options": document["stream_options"]}
    assert more["stream_options"] == {"include_usage": True, "continuous_usage_stats": True}
    assert more["model"] == "other"
    assert "stream_options" not in sent("openai://x?usage=none", workload)[1]
    assert "ignore_eos" not in sent("openai://x?ignore_eos=yes", made(ignore_eos=False))[1]


def test_an_openai_style_chat_is_one_message_of_the_user() -> None:
    """Of text."""
    workload = made(form="text")
    path, document = sent("openai://x?api=chat", workload)
    first: Any = payloads.make(workload)[0]
    assert path == "/v1/chat/completions"
    assert document["messages"] == [{"role": "user", "content": first.text}]
    assert "prompt" not in document


@pytest.mark.parametrize("form", ["tokens", "text"])
def test_tritons_request_is_named_as_its_vllm_backend_names_it(form: str) -> None:
    """Token ids as decimals; how long the answer shall be in JSON within the JSON."""
    workload = made(form=form)
    path, document = sent("triton-http://x", workload)
    first: Any = payloads.make(workload)[0]
    assert path == "/v2/models/scripted/versions/1/generate_stream"
    assert document["text_input"] == (first.text if form == "text" else " ".join(map(str, first.ids)))
    assert json.loads(document["sampling_parameters"]) == {
        "max_tokens": 5, "min_tokens": 5, "ignore_eos": True, "temperature": 0
    }  # fmt: skip
    assert document.keys() == {"id", "text_input", "sampling_parameters"}


def test_flasks_request_is_a_list_of_ids() -> None:
    """And how many tokens to answer with."""
    workload = made(ignore_eos=False)
    first: Any = payloads.make(workload)[0]
    assert sent("flask://x", workload) == (
        "/generate", {"prompt": first.ids.tolist(), "max_tokens": 5, "ignore_eos": False}
    )  # fmt: skip


# ---------------------------------------------------------------- models that do not fit


@pytest.fixture
def describing() -> Iterator[Callable[[dict[str, Any]], str]]:
    """Starts a server that answers each path with its document; its address."""
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
    from threading import Thread

    with ExitStack() as stack:

        def start(documents: dict[str, Any]) -> str:
            class Handler(BaseHTTPRequestHandler):
                def do_GET(self) -> None:
                    body = json.dumps(documents.get(self.path, {"error": "nothing there"})).encode()
                    self.send_response(200 if self.path in documents else 404)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

                def log_message(self, *args: Any) -> None:
                    pass

            server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
            thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
            thread.start()
            stack.callback(server.server_close)
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            return f"127.0.0.1:{server.server_port}"

        yield start


def triton(inputs: dict[str, str], outputs: dict[str, str], **config: Any) -> dict[str, Any]:
    """What Triton says of a model; an input whose type ends in ? may be left out."""
    path = "/v2/models/scripted/versions/1"
    metadata = {
        "name": "scripted",
        "inputs": [{"name": n, "datatype": t.strip("?"), "shape": [1]} for n, t in inputs.items()],
        "outputs": [{"name": n, "datatype": t, "shape": [-1]} for n, t in outputs.items()],
    }
    stated = {"input": [{"name": n, "optional": t.endswith("?")} for n, t in inputs.items()]}
    return {"/v2": {"name": "triton", "version": "2"}, path: metadata, f"{path}/config": stated | config}


TEXTS, DECOUPLED = {"text_input": "BYTES", "sampling_parameters": "BYTES?"}, {"decoupled": True}


def test_a_model_that_answers_once_does_not_stream(describing: Any, open_at: Open) -> None:
    """The message says what its configuration lacks."""
    at = describing(triton(TEXTS, {"text_output": "BYTES"}, model_transaction_policy={"decoupled": False}))
    with pytest.raises(RunError, match=r"does not stream: .*decoupled"):
        open_at("triton-http", at=at).probe()


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        ({"prompt": "BYTES", "sampling_parameters": "BYTES"}, {"text_output": "BYTES"}),
        ({"text_input": "INT64", "sampling_parameters": "BYTES"}, {"text_output": "BYTES"}),
        (TEXTS | {"temperature": "FP32"}, {"text_output": "BYTES"}),
        (TEXTS, {"text_output": "INT64"}),
        (TEXTS, {"tokens": "BYTES"}),
    ],
)
def test_a_model_with_other_inputs_or_outputs_is_refused_with_both_sides(
    inputs: dict[str, str], outputs: dict[str, str], describing: Any, open_at: Open
) -> None:
    """Names, types and shapes of what is sent and of what the model takes and gives."""
    at = describing(triton(inputs, outputs, model_transaction_policy=DECOUPLED))
    with pytest.raises(RunError) as error:
        open_at("triton-http", at=at).probe()
    assert "it sends text_input BYTES[1], sampling_parameters BYTES[1] and expects text_output BYTES[-1]" in str(error.value)
    for name, kind in inputs.items():
        assert f"{name} {kind.strip('?')}[1]" in str(error.value)
    for name, kind in outputs.items():
        assert f"{name} {kind}[-1]" in str(error.value)


def test_of_the_inputs_that_a_model_may_have_only_those_are_sent_that_it_has(describing: Any, open_at: Open) -> None:
    """Streaming is asked for where it is an option, and so is the number of tokens."""
    inputs = TEXTS | {"stream": "BOOL?", "return_num_output_tokens": "BOOL?", "image": "BYTES?"}
    target = open_at("triton-http", at=describing(triton(inputs, {"text_output": "BYTES"}, model_transaction_policy=DECOUPLED)))
    target.probe()
    request = target.requests(payloads.make(made()))[0]
    document = json.loads(bytes(request.head + request.body).partition(b"\r\n\r\n")[2])
    assert document.keys() == {"id", "text_input", "sampling_parameters", "stream", "return_num_output_tokens"}
    assert document["stream"] is True


def flask(**about: Any) -> dict[str, Any]:
    return {"/metadata": {"model": "scripted", "version": "1"} | about}


@pytest.mark.parametrize(
    ("kind", "documents"),
    [
        ("flask", flask(generates=True, context=7)),
        (
            "triton-http",
            triton(
                TEXTS, {"text_output": "BYTES"}, model_transaction_policy=DECOUPLED,
                parameters={"context": {"string_value": "7"}},
            ),
        ),
    ],
)  # fmt: skip
def test_a_prompt_and_answer_longer_than_the_context_are_refused_with_the_numbers(
    kind: str, documents: dict[str, Any], describing: Any, open_at: Open
) -> None:
    """Three tokens and five do not fit seven; three and four do."""
    at = describing(documents)
    with pytest.raises(RunError, match=r"prompts of up to 3 tokens and answers of up to 5, .* the context of 7 tokens"):
        open_at(kind, at=at).probe()
    open_at(kind, made(output_tokens=4), at=at).probe()


def test_a_flask_baseline_that_does_not_generate_says_what_it_takes(describing: Any, open_at: Open) -> None:
    """It takes tensors."""
    with pytest.raises(RunError, match="does not generate there: it takes tensors"):
        open_at("flask", at=describing(flask())).probe()


def test_token_ids_outside_the_vocabulary_are_refused_before_the_run(describing: Any, open_at: Open) -> None:
    """With both numbers."""
    at = describing(flask(generates=True, vocabulary=1000))
    with pytest.raises(RunError, match="token ids below 32000, model 'scripted' a vocabulary of 1000"):
        open_at("flask", at=at).probe()


def test_what_is_no_such_server_is_said_to_be_none(place: Any, open_at: Open) -> None:
    """Triton behind openai://, and the other way round."""
    with pytest.raises(RunError, match="GET /v1/models answered 404: no OpenAI-style server"):
        open_at("openai", at=place("triton-http")).probe()
    with pytest.raises(RunError, match="GET /v2 answered 404: no KServe v2 server"):
        open_at("triton-http", at=place("openai")).probe()
    with pytest.raises(RunError, match="GET /metadata answered 404: no Flask baseline"):
        open_at("flask", at=place("openai")).probe()
