"""What every target owes to whoever measures through it; the endpoints are stand-ins, or the real thing in this process."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench import payloads, words
from bench.errors import RunError, UsageError
from bench.record import ERRORS
from bench.targets import kserve_grpc, open_target
from bench.targets.base import FINE, Verdict, WireRequest, request_id
from bench.targets.kserve_messages import Layouts
from bench.targets.talk import Talk
from bench.tensors import Tensors, TensorSpec
from bench.wire.line import Reply, Varying
from bench.workload import DataType, Input, Payload, Workload

SCHEMES = ["triton-http", "triton-grpc", "flask", "onnx", "echo"]
OVER_A_NETWORK = SCHEMES[:3]
# a server's configuration fixes what the model's file leaves free
TAKEN = {"triton-http": (-1, 3, 224, 224), "triton-grpc": (-1, 3, 224, 224), "flask": (-1, 3, -1, -1), "onnx": (-1, 3, -1, -1)}

Open = Callable[..., Any]


@pytest.fixture
def open_at(made: Any, serve: Any) -> Iterator[Open]:
    """Opens the target of a scheme, for the tiny model's workload unless told otherwise."""
    opened: list[Any] = []

    def open_(scheme: str, workload: Workload | None = None, place: str | None = None, onnx: bool = True) -> Any:
        endpoint = serve(scheme)
        word = endpoint.word if place is None else f"{scheme}://{place}"
        opened.append(open_target(words.parse(word), workload or made.workload, endpoint.onnx if onnx else None))
        return opened[-1]

    yield open_
    for target in opened:
        target.close()


def exchange(target: Any, request: WireRequest, number: int) -> Reply:
    """Send one request as the engine does, and read its reply."""
    request.head[request.id_at : request.id_at + 16] = request_id(number)
    with Talk(target, 30) as talk:
        return talk.ask(request)


def ask_all(target: Any, tensors: list[Tensors], numbers: range) -> list[tuple[Verdict, Tensors]]:
    """The verdict and the outputs of one reply after another, the payloads in turn."""
    if hasattr(target, "requests"):
        requests = target.requests(tensors)
        replies = [(exchange(target, requests[n % len(tensors)], n), request_id(n)) for n in numbers]
        return [(target.judge(reply, id_), target.outputs(reply)) for reply, id_ in replies]
    call = target.caller(tensors)
    answers = [call(n % len(tensors), n) for n in numbers]
    return [(answer.verdict, target.outputs(answer.answer)) for answer in answers]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_probe_tells_who_answers_and_what_the_model_takes_and_gives(scheme: str, made: Any, open_at: Open) -> None:
    """Name, version, inputs and outputs; echo:// takes and gives what the workload sends."""
    facts = open_at(scheme).probe()
    assert facts.name
    assert facts.version
    sent = tuple(made.workload.input_specs())
    assert facts.inputs == (sent if scheme == "echo" else (TensorSpec("input", "FP32", TAKEN[scheme]),))
    assert facts.outputs == (sent if scheme == "echo" else made.model.outputs)
    json.dumps(facts.details)  # they go to run.json


@pytest.mark.parametrize("scheme", SCHEMES)
def test_good_replies_are_judged_so_and_their_outputs_are_the_reference_answers(scheme: str, made: Any, open_at: Open) -> None:
    """Every distinct request twice, so that what a target remembers of replies is used too."""
    target = open_at(scheme)
    target.probe()
    tensors = payloads.make(made.workload)
    right = {"input": np.stack([t["input"] for t in tensors])} if scheme == "echo" else made.answers
    for n, (verdict, outputs) in enumerate(ask_all(target, tensors, range(6))):
        assert verdict == FINE
        assert outputs.keys() == right.keys()
        for name, array in outputs.items():
            np.testing.assert_allclose(array, right[name][n % 3], rtol=1e-4, atol=1e-5)


def reshaped(workload: Workload, name: str, shape: tuple[int, ...]) -> Workload:
    return msgspec.structs.replace(workload, payload=Payload({name: Input(DataType("FP32"), shape)}))


@pytest.mark.parametrize("scheme", [*OVER_A_NETWORK, "onnx"])
@pytest.mark.parametrize(
    ("name", "shape"), [("input", (1, 4, 224, 224)), ("pixels", (1, 3, 224, 224)), ("input", (3, 224, 224))]
)
def test_a_workload_that_does_not_fit_is_refused_with_both_sides(
    scheme: str, name: str, shape: tuple[int, ...], made: Any, open_at: Open
) -> None:
    """Another shape, another name, another rank: the message shows what is sent and what the model takes."""
    with pytest.raises(RunError) as error:
        open_at(scheme, reshaped(made.workload, name, shape)).probe()
    assert f"it sends {name} FP32{list(shape)}" in str(error.value)
    assert f"the model takes input FP32{list(TAKEN[scheme])}" in str(error.value)


@pytest.mark.parametrize("scheme", OVER_A_NETWORK)
@pytest.mark.parametrize("changes", [{"name": "resnet51"}, {"version": "2"}])
def test_a_model_that_is_not_there_is_refused_with_those_that_are(
    scheme: str, changes: dict[str, str], made: Any, open_at: Open
) -> None:
    """The message names the model and the version that were asked for, and what is served."""
    model = msgspec.structs.replace(made.workload.model, **changes)
    with pytest.raises(RunError) as error:
        open_at(scheme, msgspec.structs.replace(made.workload, model=model)).probe()
    assert f"no model {model.name!r} version {model.version}" in str(error.value)
    assert re.search(r"it has: resnet50 \(1", str(error.value))


@pytest.mark.parametrize("scheme", OVER_A_NETWORK)
def test_where_nothing_listens_the_error_names_the_address(scheme: str, nobody: str, open_at: Open) -> None:
    """And asks whether the server runs."""
    with pytest.raises(RunError, match=f"nothing answers at {nobody}.*is the server running"):
        open_at(scheme, place=nobody).probe()


@pytest.mark.parametrize("scheme", OVER_A_NETWORK)
def test_an_address_that_is_none_is_an_error_of_the_user(scheme: str, open_at: Open) -> None:
    """The message shows the form."""
    with pytest.raises(UsageError, match=f"expected {scheme}://HOST:PORT"):
        open_at(scheme, place="here:x")


def test_a_model_that_was_not_built_is_named(open_at: Open) -> None:
    """onnx:// needs the model's file."""
    with pytest.raises(RunError, match=r"model 'resnet50' is not built"):
        open_at("onnx", onnx=False)


def test_a_device_that_onnx_does_not_have_is_refused(open_at: Open) -> None:
    """The message says which it has."""
    with pytest.raises(UsageError, match=r"expected onnx://cpu or onnx://cuda:0 .*, got 'gpu'"):
        open_at("onnx", place="gpu")


def test_what_is_no_kserve_server_is_said_to_be_none(serve: Any, open_at: Open) -> None:
    """The Flask baseline behind triton-http://, and the other way round."""
    flask, triton = (serve(scheme).word.partition("://")[2] for scheme in ("flask", "triton-http"))
    with pytest.raises(RunError, match="GET /v2 answered 404: no KServe v2 server"):
        open_at("triton-http", place=flask).probe()
    with pytest.raises(RunError, match="GET /metadata answered 400: no Flask baseline"):
        open_at("flask", place=triton).probe()


# ---------------------------------------------------------------- replies that are not good


def in_body(old: bytes, new: bytes) -> Callable[[Reply], Reply]:
    """The reply with `old` replaced in its body by as many bytes."""

    def change(reply: Reply) -> Reply:
        assert reply.body.count(old) == 1
        assert len(old) == len(new)
        return reply._replace(body=reply.body.replace(old, new))

    return change


def without_header(name: bytes) -> Callable[[Reply], Reply]:
    return lambda r: r._replace(head=r.head._replace(headers={k: v for k, v in r.head.headers.items() if k != name}))


def refused(reply: Reply) -> Reply:
    return Reply(reply.head._replace(status=503), b'{"error":"too busy"}')


def of_another(reply: Reply) -> Reply:
    id_, other = request_id(0), request_id(77)
    headers = {k: other if v == id_ else v for k, v in reply.head.headers.items()}
    return Reply(reply.head._replace(headers=headers), reply.body.replace(id_, other))


def truncated(reply: Reply) -> Reply:
    return reply._replace(body=reply.body[:-4])


BAD = [
    ("triton-http", refused, "status", "HTTP 503: too busy"),
    ("triton-http", of_another, "protocol", "carries the id 000000000000004d"),
    ("triton-http", in_body(b'"model_version":"1"', b'"model_version":"2"'), "version", "version '2', asked was '1'"),
    ("triton-http", in_body(b"[1,10]", b"[1,11]"), "shape", "answered logits FP32[1, 11]; expected logits FP32[-1, 10]"),
    ("triton-http", in_body(b'"logits"', b'"digits"'), "shape", "answered digits"),
    ("triton-http", truncated, "shape", "outputs of 40 bytes announced, 36 sent"),
    ("triton-http", in_body(b'"outputs"', b'"inputs_"'), "protocol", "no KServe v2 inference reply"),
    ("triton-http", in_body(b'"shape"', b'"SHAPE"'), "protocol", "no KServe v2 inference reply"),
    ("triton-http", in_body(b'"outputs":', b'"outputs"='), "protocol", "no KServe v2 inference reply"),
    ("triton-http", without_header(b"inference-header-content-length"), "protocol", "no KServe v2 inference reply"),
    ("flask", refused, "status", "HTTP 503: too busy"),
    ("flask", of_another, "protocol", "carries another id"),
    ("flask", in_body(b'"version":"1"', b'"version":"2"'), "version", "version '2', asked was '1'"),
    ("flask", in_body(b'"logits":[1,10]', b'"logits":[1,11]'), "shape", "expected logits FP32[-1, 10]"),
    ("flask", in_body(b'"predictions"', b'"Predictions"'), "protocol", "no prediction of the Flask baseline"),
    ("flask", in_body(b'"shapes"', b'"Shapes"'), "protocol", "no prediction of the Flask baseline"),
]


@pytest.mark.parametrize(("scheme", "change", "error", "message"), BAD)
@pytest.mark.parametrize("good_before", [False, True])
def test_a_reply_that_is_not_good_is_judged_by_what_is_wrong(
    scheme: str, change: Callable[[Reply], Reply], error: str, message: str, good_before: bool, made: Any, open_at: Open
) -> None:
    """Also when a good reply came before; and a good one after it is good."""
    target = open_at(scheme)
    target.probe()
    reply = exchange(target, target.requests(payloads.make(made.workload))[0], 0)
    if good_before:
        assert target.judge(reply, request_id(0)) == FINE
    verdict = target.judge(change(reply), request_id(0))
    assert ERRORS[verdict.error] == error
    assert message in verdict.message
    assert target.judge(reply, request_id(0)) == FINE


def test_a_broken_first_reply_does_not_condemn_the_good_ones(made: Any, open_at: Open) -> None:
    """The Flask baseline's replies begin alike: one that is cut off in its numbers is not taken for the rest."""
    target = open_at("flask")
    target.probe()
    reply = exchange(target, target.requests(payloads.make(made.workload))[0], 0)
    assert ERRORS[target.judge(truncated(reply), request_id(0)).error] == "protocol"
    assert target.judge(reply, request_id(0)) == FINE


@pytest.mark.parametrize("id_", [request_id(5).decode(), None, request_id(6).decode()])
def test_an_id_is_checked_wherever_it_stands_in_a_reply(id_: str | None, made: Any, open_at: Open) -> None:
    """Servers other than Triton write their JSON in another order; one that sends no id is believed."""
    target = open_at("triton-http")
    target.probe()
    reply = exchange(target, target.requests(payloads.make(made.workload))[0], 5)
    length = int(reply.head.headers[b"inference-header-content-length"])
    document = json.loads(reply.body[:length])
    del document["id"]
    text = json.dumps(document | ({} if id_ is None else {"id": id_})).encode()
    headers = reply.head.headers | {b"inference-header-content-length": b"%d" % len(text)}
    other = Reply(reply.head._replace(headers=headers), text + reply.body[length:])
    for _ in range(2):
        assert ERRORS[target.judge(other, request_id(5)).error] == ("protocol" if id_ == request_id(6).decode() else "")


def set_to(**fields: Any) -> Callable[[Any], None]:
    def change(reply: Any) -> None:
        for name, value in fields.items():
            setattr(reply, name, value)

    return change


def no_contents(reply: Any) -> None:
    del reply.raw_output_contents[:]


def eleven_classes(reply: Any) -> None:
    reply.outputs[0].shape[1] = 11


@pytest.mark.parametrize(
    ("change", "error", "status"),
    [
        (grpc.StatusCode.INTERNAL, "status", 13),
        (grpc.StatusCode.UNAVAILABLE, "status", 14),
        (set_to(id="another"), "protocol", 0),
        (set_to(id=request_id(7).decode()), "protocol", 0),
        (set_to(id=""), "", 0),
        (set_to(model_version="2"), "version", 0),
        (eleven_classes, "shape", 0),
        (no_contents, "shape", 0),
    ],
)
@pytest.mark.parametrize("good_before", [False, True])
def test_a_reply_over_grpc_is_judged_by_what_is_wrong(
    change: Any, error: str, status: int, good_before: bool, made: Any, serve: Any, open_at: Open
) -> None:
    """Also when a good reply came before; one after it is good again; a server that leaves the id out is believed."""
    target = open_at("triton-grpc")
    target.probe()
    request = target.requests(payloads.make(made.workload))[0]
    if good_before:
        assert target.judge(exchange(target, request, 9), request_id(9)) == FINE
    serve("triton-grpc").spoil(change)
    try:
        bad = exchange(target, request, 0)
    finally:
        serve("triton-grpc").spoil(None)
    verdict = target.judge(bad, request_id(0))
    assert (ERRORS[verdict.error], bad.head.status) == (error, status)
    assert bool(verdict.message) == bool(error)
    assert target.judge(exchange(target, request, 1), request_id(1)) == FINE


def in_two(reply: Reply) -> Reply:
    return reply._replace(body=reply.body * 2)


def compressed(reply: Reply) -> Reply:
    return reply._replace(body=b"\1" + reply.body[1:])


def no_protobuf(reply: Reply) -> Reply:
    return reply._replace(body=reply.body[:5] + b"\xff" * (len(reply.body) - 5))


@pytest.mark.parametrize("change", [in_two, compressed, no_protobuf, truncated])
def test_what_is_no_reply_of_kserve_over_grpc_is_said_to_be_none(change: Any, made: Any, open_at: Open) -> None:
    """Two messages, one that is compressed, other bytes, half of one."""
    target = open_at("triton-grpc")
    target.probe()
    reply = exchange(target, target.requests(payloads.make(made.workload))[0], 0)
    assert target.judge(reply, request_id(0)) == FINE
    verdict = target.judge(change(reply), request_id(0))
    assert ERRORS[verdict.error] == "protocol"
    assert "the reply is no KServe v2 inference reply" in verdict.message


def test_a_reply_over_grpc_that_was_changed_is_judged_as_if_none_had_come_before(made: Any, open_at: Open) -> None:
    """What is remembered of good replies is told apart from others by every byte that is neither id nor contents."""
    fresh, knows = (open_at("triton-grpc") for _ in range(2))
    fresh.probe()
    knows.probe()
    reply = exchange(knows, knows.requests(payloads.make(made.workload))[0], 0)
    assert knows.judge(reply, request_id(0)) == FINE

    @settings(deadline=None)
    @given(st.lists(st.tuples(st.integers(0, len(reply.body) - 1), st.integers(0, 255)), min_size=1, max_size=3))
    def changed(changes: list[tuple[int, int]]) -> None:
        body = bytearray(reply.body)
        for at, value in changes:
            body[at] = value
        other = reply._replace(body=bytes(body))
        fresh._layouts = Layouts()
        assert knows.judge(other, request_id(0)) == fresh.judge(other, request_id(0))

    changed()


def test_a_call_that_onnx_runtime_refuses_is_an_error_and_not_the_end(made: Any, open_at: Open) -> None:
    """The message is ONNX Runtime's."""
    target = open_at("onnx")
    target.probe()
    call = target.caller([{"input": np.zeros((1, 3, 8), np.float32)}])
    reply = call(0, 0)
    assert ERRORS[reply.verdict.error] == "status"
    assert "Invalid rank" in reply.verdict.message


def test_echo_refuses_and_answers_wrongly_as_often_as_asked(made: Any, tmp_path: Path) -> None:
    """fail=3 and wrong=2 of requests 1 to 6: 3 and 6 are refused, 2 and 4 are wrong."""
    target = open_target(words.parse("echo://?fail=3,wrong=2"), made.workload)
    tensors = payloads.make(made.workload)
    call: Any = target.caller(tensors)  # type: ignore[attr-defined]
    replies = [call(0, number) for number in range(6)]
    assert [reply.status for reply in replies] == [200, 200, 503, 200, 200, 503]
    right = [r.answer is not None and np.array_equal(r.answer["input"], tensors[0]["input"]) for r in replies]
    assert right == [True, False, False, False, True, False]


@pytest.mark.parametrize("datatype", ["BOOL", "UINT8", "FP16", "FP32", "INT64", "BYTES"])
def test_echo_answers_wrongly_in_every_type(datatype: str, made: Any) -> None:
    """Of the same type and shape, and no value as it was sent."""
    payload = Payload(inputs={"x": Input(DataType(datatype), (2, 3), 1.0, 9.0)}, distinct=1)
    workload = msgspec.structs.replace(made.workload, payload=payload)
    tensors: Any = payloads.make(workload)
    call: Any = open_target(words.parse("echo://?wrong=1"), workload).caller(tensors)  # type: ignore[attr-defined]
    wrong, right = call(0, 0).answer["x"], tensors[0]["x"]
    assert (wrong.dtype, wrong.shape) == (right.dtype, right.shape)
    assert not np.any(wrong == right)


def test_an_unknown_scheme_is_refused_with_those_that_exist(made: Any) -> None:
    """The message lists them."""
    with pytest.raises(UsageError, match=r"unknown scheme gopher://; there are: triton-http://, .*, echo://"):
        open_target(words.parse("gopher://x:70"), made.workload)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_an_option_that_a_target_does_not_have_is_refused(scheme: str, made: Any, serve: Any) -> None:
    """The message names it, before anything is opened."""
    endpoint = serve(scheme)
    word = endpoint.word.partition("?")[0] + "?colour=red"
    with pytest.raises(UsageError, match=f"unknown option 'colour'; {scheme} has: "):
        open_target(words.parse(word), made.workload, endpoint.onnx)


@pytest.mark.parametrize("metadata", [{}, {"name": "made", "inputs": [{"shape": ["1"]}]}])
def test_metadata_over_grpc_that_is_none_is_one_error(metadata: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The JSON of a message leaves out what is empty, a name too."""
    answers = SimpleNamespace(
        get_server_metadata=lambda **_: {"name": "odd"}, get_model_metadata=lambda *_, **__: metadata, close=lambda: None
    )
    monkeypatch.setattr(kserve_grpc, "connect", lambda word: answers)
    with pytest.raises(RunError, match="the metadata of model 'made' is none of KServe v2"):
        kserve_grpc.describe(words.parse("triton-grpc://127.0.0.1:1"), "made", "")


def blanked(reply: Reply, varying: Varying) -> bytes:
    """A reply's body, with nothing where it varies."""
    body = bytearray(reply.body)
    for begin, end in ((varying.id_at, varying.id_at + 16), *varying.contents):
        body[begin:end] = bytes(end - begin)
    return bytes(body)


@pytest.mark.parametrize("scheme", ["triton-http", "triton-grpc"])
def test_good_replies_are_the_same_but_where_they_are_said_to_vary(scheme: str, made: Any, open_at: Open) -> None:
    """Of other payloads, with other ids; where they vary is the id, and as much as the outputs weigh."""
    target = open_at(scheme)
    target.probe()
    requests = target.requests(payloads.make(made.workload))
    replies = [exchange(target, requests[n], n) for n in range(3)]
    varying = [target.varying(reply, request_id(n)) for n, reply in enumerate(replies)]
    assert len(set(varying)) == 1
    assert len({blanked(reply, varying[0]) for reply in replies}) == 1
    assert len({reply.body for reply in replies}) == 3
    weight = sum(output.nbytes for output in target.outputs(replies[0]).values())
    assert sum(end - begin for begin, end in varying[0].contents) == weight
    assert replies[2].body[varying[0].id_at :][:16] == request_id(2)


@pytest.mark.parametrize("scheme", ["triton-http", "triton-grpc"])
def test_a_reply_whose_id_is_not_where_it_is_looked_for_is_taken_apart_each_time(scheme: str, made: Any, open_at: Open) -> None:
    """Servers other than Triton may leave it out, or put it elsewhere."""
    target = open_at(scheme)
    target.probe()
    reply = exchange(target, target.requests(payloads.make(made.workload))[0], 7)
    assert target.varying(reply, request_id(7)) is not None
    assert target.varying(reply, request_id(8)) is None
