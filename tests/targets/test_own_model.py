"""Models of users': texts, several inputs and outputs, dimensions that differ from request to request."""

import dataclasses
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bench import payloads, words
from bench import workload as workloads
from bench.errors import RunError, UsageError
from bench.record import ERRORS
from bench.targets import kserve_model, open_target
from bench.targets.base import FINE, Verdict, WireRequest, request_id
from bench.targets.kserve import model_path
from bench.targets.talk import Talk
from bench.tensors import Tensors, TensorSpec
from bench.wire.line import Reply
from bench.workload import Workload

StandIn = Callable[[str, Any], Any]

KINDS = ["http binary", "http json", "grpc"]


def make_workload(*leave_out: str, **inputs: Any) -> Workload:
    """Texts of 1 to 9 characters and 1 to 40 numbers, both anew for each of six requests."""
    known: dict[str, Any] = {
        "text": {"datatype": "BYTES", "shape": [1, 1], "low": 1, "high": 10},
        "values": {"datatype": "FP32", "shape": [1, "n"]},
        "factor": {"datatype": "FP32", "shape": [1, 1]},
    } | inputs
    payload = {
        "inputs": {name: i for name, i in known.items() if name not in leave_out},
        "lengths": {"n": {"distribution": "uniform", "low": 1, "high": 40}},
        "distinct": 6,
    }
    if not any("n" in i["shape"] for i in payload["inputs"].values()):
        payload["lengths"] = {}
    document = {"name": "mine", "model": {"name": "own"}, "payload": payload, "load": {"arrivals": "closed"}}
    return workloads.from_builtins(document, "mine.toml")


def open_own(kind: str, own: Any, stand_in: StandIn, workload: Workload, **changes: Any) -> Any:
    """The target of a kind, for the user's model."""
    if kind == "http json":
        changes["extensions"] = ()
    endpoint = stand_in("triton-grpc" if kind == "grpc" else "triton-http", dataclasses.replace(own, **changes))
    return open_target(words.parse(endpoint.word), workload)


def exchange(target: Any, request: WireRequest, number: int) -> Reply:
    """Send a request as the engine does, and read its reply."""
    request.head[request.id_at : request.id_at + 16] = request_id(number)
    with Talk(target, 30) as talk:
        return talk.ask(request)


def replies(target: Any, requests: list[Tensors]) -> list[tuple[Verdict, Tensors]]:
    """The verdict and outputs of each request, sent twice."""
    found = []
    if hasattr(target, "requests"):
        prepared = target.requests(requests)
        for number in range(2 * len(requests)):
            reply = exchange(target, prepared[number % len(requests)], number)
            found.append((target.judge(reply, request_id(number)), target.outputs(reply)))
    else:
        call = target.caller(requests)
        for number in range(2 * len(requests)):
            reply = call(number % len(requests), number)
            found.append((reply.verdict, target.outputs(reply.answer)))
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_texts_and_lengths_that_vary_go_out_and_come_back(kind: str, own: Any, stand_in: StandIn) -> None:
    """Every request in its own shape, both outputs right, in binary, in JSON where a server takes no other, and over gRPC."""
    workload = make_workload()
    target = open_own(kind, own, stand_in, workload)
    target.probe()
    requests: Any = payloads.make(workload)
    assert len({request["values"].shape for request in requests}) > 2
    for number, (verdict, outputs) in enumerate(replies(target, requests)):
        assert verdict == FINE
        right = own.answer(requests[number % 6])
        assert outputs["label"].tolist() == right["label"].tolist()
        np.testing.assert_allclose(outputs["scaled"], right["scaled"], rtol=1e-6)
        assert outputs["scaled"].shape == right["scaled"].shape
    target.close()


@pytest.mark.parametrize("kind", KINDS)
def test_an_input_that_the_model_can_do_without_may_be_left_out(kind: str, own: Any, stand_in: StandIn) -> None:
    """As Triton's configuration says; the answers are those without it."""
    workload = make_workload("factor")
    target = open_own(kind, own, stand_in, workload)
    target.probe()
    requests: Any = payloads.make(workload)
    for number, (verdict, outputs) in enumerate(replies(target, requests)):
        assert verdict == FINE
        np.testing.assert_allclose(outputs["scaled"], own.answer(requests[number % 6])["scaled"], rtol=1e-6)
    target.close()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("leave_out", "changes"), [("text", {}), ("factor", {"config": None})])
def test_an_input_that_the_model_needs_may_not(
    kind: str, leave_out: str, changes: dict[str, Any], own: Any, stand_in: StandIn
) -> None:
    """Also where the server does not say which it needs; names, types and shapes of both sides are shown."""
    target = open_own(kind, own, stand_in, make_workload(leave_out), **changes)
    with pytest.raises(RunError, match="does not fit model 'own'") as refused:
        target.probe()
    assert "the model takes text BYTES[-1, 1], values FP32[-1, -1], factor FP32[-1, 1]" in str(refused.value)
    assert "values FP32[1, -1]" in str(refused.value)
    target.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_length_that_varies_does_not_fit_a_dimension_that_does_not(kind: str, own: Any, stand_in: StandIn) -> None:
    """A model of 40 numbers gets 40 or nothing."""
    fixed = {"inputs": (own.inputs[0], TensorSpec("values", "FP32", (-1, 40)), own.inputs[2])}
    for shape, lengths, fits in ((["n"], {"n": 40}, True), ([40], {}, True), (["n"], None, False), ([39], {}, False)):
        workload = make_workload(values={"datatype": "FP32", "shape": [1, *shape]})
        if lengths is not None:
            payload = msgspec.structs.replace(workload.payload, lengths=lengths)
            workload = msgspec.structs.replace(workload, payload=payload)
        target = open_own(kind, own, stand_in, workload, **fixed)
        if fits:
            target.probe()
        else:
            with pytest.raises(RunError, match=r"the model takes .*values FP32\[-1, 40\]"):
                target.probe()
        target.close()


def test_texts_that_are_no_utf_8_need_binary_tensors(own: Any, stand_in: StandIn) -> None:
    """JSON has no other texts; the message names the input."""
    target = open_own("http json", own, stand_in, make_workload())
    target.probe()
    text = np.array([[b"\xff"]], np.object_)
    with pytest.raises(UsageError, match=r"payload\.inputs\.text: this server takes no binary tensors, and JSON no texts but"):
        target.requests([{"text": text, "values": np.zeros((1, 1), np.float32), "factor": np.ones((1, 1), np.float32)}])


@pytest.mark.parametrize("kind", KINDS)
def test_a_workload_without_a_version_takes_the_one_that_the_server_takes(kind: str, own: Any, stand_in: StandIn) -> None:
    """Some servers have no versions at all."""
    workload = make_workload()
    workload = msgspec.structs.replace(workload, model=msgspec.structs.replace(workload.model, version=""))
    target = open_own(kind, own, stand_in, workload)
    target.probe()
    request = target.requests(payloads.make(workload))[0]
    if kind == "grpc":
        assert target.judge(exchange(target, request, 0), request_id(0)) == FINE
    else:
        assert b"POST /v2/models/own/infer HTTP/1.1" in bytes(request.head)
    target.close()


def test_the_name_of_a_model_may_hold_anything() -> None:
    """A path escapes it."""
    assert model_path("a b/ä", "1") == "/v2/models/a%20b%2F%C3%A4/versions/1"


def numbers_cut(reply: Any) -> None:
    reply.raw_output_contents[1] = reply.raw_output_contents[1][:-4]


def texts_missing(reply: Any) -> None:
    reply.raw_output_contents[0] = b""


def one_missing(reply: Any) -> None:
    del reply.raw_output_contents[1]


def in_their_fields(reply: Any) -> None:
    """As servers other than Triton answer: values in the output itself, nothing raw."""
    text, numbers = reply.raw_output_contents
    reply.outputs[0].contents.bytes_contents.append(text[4:])
    reply.outputs[1].contents.fp32_contents.extend(np.frombuffer(numbers, np.float32).tolist())
    del reply.raw_output_contents[:]


def half_in_their_fields(reply: Any) -> None:
    in_their_fields(reply)
    del reply.outputs[1].contents.fp32_contents[0]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (numbers_cut, "shape"),
        (texts_missing, "shape"),
        (one_missing, "shape"),
        (in_their_fields, ""),
        (half_in_their_fields, "shape"),
    ],
)
def test_outputs_over_grpc_have_what_their_shapes_say(
    change: Callable[[Any], None], error: str, own: Any, stand_in: StandIn
) -> None:
    """Triton answers OK with empty contents where its Python backend has a numpy that it does not know."""
    workload = make_workload()
    endpoint = stand_in("triton-grpc", own)
    target: Any = open_target(words.parse(endpoint.word), workload)
    target.probe()
    requests: Any = payloads.make(workload)
    endpoint.spoil(change)
    reply = exchange(target, target.requests(requests)[0], 0)
    for _ in range(2):
        assert ERRORS[target.judge(reply, request_id(0)).error] == error
    if not error:
        outputs, right = target.outputs(reply), own.answer(requests[0])
        assert outputs["label"].tolist() == right["label"].tolist()
        np.testing.assert_allclose(outputs["scaled"], right["scaled"], rtol=1e-6)
    target.close()


def test_outputs_over_http_have_what_their_shapes_say(own: Any, stand_in: StandIn) -> None:
    """A size that is no tensor of the stated shape; a good reply to the same request is good before and after."""
    workload = make_workload()
    target = open_own("http binary", own, stand_in, workload)
    target.probe()
    request = target.requests(payloads.make(workload))[0]
    reply = exchange(target, request, 0)
    right = b'"scaled","datatype":"FP32","shape":[1,'
    assert right in reply.body
    bad = reply._replace(body=reply.body.replace(right, right[:-2] + b"2,"))
    assert target.judge(reply, request_id(0)) == FINE
    verdict = target.judge(bad, request_id(0))
    assert ERRORS[verdict.error] == "shape"
    assert "bytes as scaled FP32[2, " in verdict.message
    assert target.judge(reply, request_id(0)) == FINE


FIXED = {"BOOL": np.bool_, "INT8": np.int8, "UINT16": np.uint16, "INT64": np.int64, "FP16": np.float16, "FP64": np.float64}


@given(st.sampled_from(sorted(FIXED)), st.data())
def test_a_tensor_is_the_same_after_the_wire(datatype: str, data: st.DataObject) -> None:
    """Of any type and shape; its bytes weigh what they should and no other number does."""
    array = data.draw(hnp.arrays(FIXED[datatype], hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)))
    raw = kserve_model.encode(array)
    np.testing.assert_array_equal(kserve_model.decode(datatype, array.shape, raw), array)
    assert kserve_model.weighs(datatype, array.shape, len(raw))
    assert not kserve_model.weighs(datatype, array.shape, len(raw) + 1)


def test_brain_floats_are_read_as_floats() -> None:
    """Which numpy does not have: the upper half of a float32."""
    raw = b"".join(int(np.float32(x).view(np.uint32) >> 16).to_bytes(2, "little") for x in (1.0, -2.5, 0.0))
    assert kserve_model.weighs("BF16", (3,), 6)
    assert kserve_model.decode("BF16", (3,), raw).tolist() == [1.0, -2.5, 0.0]
