"""The Flask baseline through its test client."""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bench.runtime import flask_app

REQUEST = {"inputs": {"x": [[1.0, 2.0], [3.0, 4.0]], "k": [[10], [100]]}}


def client(onnx_file: Path, encoding: str = "json") -> FlaskClient:
    environ = {
        "BENCH_MODEL_FILE": str(onnx_file),
        "BENCH_MODEL_NAME": "scale",
        "BENCH_MODEL_VERSION": "3",
        "BENCH_THREADS": "1",
        "BENCH_ENCODING": encoding,
        "BENCH_SERVER_ID": "abc",
    }
    return flask_app.create_app(environ).test_client()


@pytest.fixture(scope="module")
def lists(onnx_file: Path) -> FlaskClient:
    """A service that speaks nested lists."""
    return client(onnx_file)


@pytest.fixture(scope="module")
def base64s(onnx_file: Path) -> FlaskClient:
    """A service that speaks base64."""
    return client(onnx_file, "base64")


def test_a_prediction_is_exact_to_the_byte(lists: FlaskClient) -> None:
    """What is small and always the same comes first, so that a client can judge a reply by its head."""
    reply = lists.post("/predict", json=REQUEST)
    assert reply.status_code == 200
    assert reply.content_type == "application/json"
    assert reply.data == (
        b'{"model":"scale","version":"3","shapes":{"scaled":[2,2],"total":[2,1]},'
        b'"predictions":{"scaled":[[10.0,20.0],[300.0,400.0]],"total":[[30.0],[700.0]]}}'
    )


ROWS = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 3), st.integers(1, 4)),
    elements=st.floats(-(2.0**100), 2.0**100, width=32, allow_subnormal=False),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
@given(ROWS)
def test_both_encodings_carry_every_bit(lists: FlaskClient, base64s: FlaskClient, x: np.ndarray) -> None:
    """Times one, what comes back is what was sent, whichever way it travels."""
    k = np.ones((len(x), 1), np.int64)
    reply = lists.post("/predict", json={"inputs": {"x": x.tolist(), "k": k.tolist()}})
    np.testing.assert_array_equal(np.array(reply.json["predictions"]["scaled"], np.float32), x)  # type: ignore[index]
    reply = base64s.post("/predict", json={"inputs": {"x": packed("FP32", x), "k": packed("INT64", k)}})
    scaled = reply.json["predictions"]["scaled"]  # type: ignore[index]
    assert (scaled["datatype"], scaled["shape"]) == ("FP32", list(x.shape))
    assert base64.b64decode(scaled["data"]) == x.tobytes()


def packed(datatype: str, array: np.ndarray) -> dict[str, Any]:
    return {"datatype": datatype, "shape": list(array.shape), "data": base64.b64encode(array.tobytes()).decode()}


def body(**inputs: Any) -> bytes:
    return json.dumps({"inputs": REQUEST["inputs"] | inputs}).encode()


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        (b"", "the body is no JSON"),
        (b"\xff\xfe", "the body is no JSON"),
        (b"[1]", 'expected {"inputs": {NAME: TENSOR, ...}}'),
        (b'{"inputs": [1]}', 'expected {"inputs": {NAME: TENSOR, ...}}'),
        (b'{"inputs": {}}', "inputs: expected x, k, got none"),
        (b'{"inputs": {"x": [[1]]}}', "inputs: expected x, k, got x"),
        (body(z=[1]), "inputs: expected x, k, got x, k, z"),
        (body(x=[1.0, 2.0]), "input x: expected shape [-1, -1] (-1: any size), got [2]"),
        (body(k=[[1, 2], [3, 4]]), "input k: expected shape [-1, 1] (-1: any size), got [2, 2]"),
        (body(x=[[1.0], [2.0, 3.0]]), "input x: expected nested lists of FP32 numbers, all rows equally long"),
        (body(x="text"), "input x: expected nested lists of FP32"),
        (body(x=[["1.5"]]), "input x: expected nested lists of FP32"),
        (body(x=[[None]]), "input x: expected nested lists of FP32"),
        (body(x={"datatype": "FP32"}), "input x: expected nested lists of FP32"),
        (body(k=[[1.5], [2.5]]), "input k: expected nested lists of INT64"),
        (body(k=[[2**70], [1]]), "input k: expected nested lists of INT64"),
    ],
)
def test_a_bad_body_is_answered_400_with_what_was_expected(lists: FlaskClient, sent: bytes, message: str) -> None:
    """No number is guessed from what is none, and no request is answered by a traceback."""
    reply = lists.post("/predict", data=sent)
    assert reply.status_code == 400
    assert reply.json
    assert message in reply.json["error"]


@pytest.mark.parametrize(
    "tensor",
    [
        [[1.0, 2.0], [3.0, 4.0]],
        {"datatype": "FP64", "shape": [1, 1], "data": "AAAAAAAAAAA="},
        {"datatype": "FP32", "shape": [1, 1]},
        {"datatype": "FP32", "shape": [1, 1], "data": "%%%"},
        {"datatype": "FP32", "shape": [1, 2], "data": "AAAAAA=="},
        {"datatype": "FP32", "shape": "wide", "data": "AAAAAA=="},
    ],
)
def test_a_bad_base64_tensor_is_answered_400(base64s: FlaskClient, tensor: object) -> None:
    """The form that was expected stands in the answer."""
    reply = base64s.post("/predict", json={"inputs": {"x": tensor, "k": packed("INT64", np.ones((1, 1), np.int64))}})
    assert reply.status_code == 400
    assert reply.json
    assert 'input x: expected {"datatype": "FP32", "shape": [...], "data": BASE64}' in reply.json["error"]


def test_what_the_model_refuses_is_answered_500_in_json(lists: FlaskClient) -> None:
    """Two rows of x and three of k pass every check on their own."""
    reply = lists.post("/predict", data=body(k=[[1], [2], [3]]))
    assert reply.status_code == 500
    assert reply.json
    assert "Mul" in reply.json["error"]


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nowhere", 404), ("GET", "/predict", 405)])
def test_a_wrong_path_or_method_is_answered_in_json(lists: FlaskClient, method: str, path: str, status: int) -> None:
    """A client never has to read HTML."""
    reply = lists.open(path, method=method)
    assert reply.status_code == status
    assert reply.json
    assert f"{method} {path}" in reply.json["error"]


@pytest.mark.parametrize(("path", "status"), [("/predict", 200), ("/health", 200), ("/nowhere", 404)])
def test_the_request_s_id_comes_back(lists: FlaskClient, path: str, status: int) -> None:
    """Errors too can be matched to what caused them."""
    method = "POST" if path == "/predict" else "GET"
    reply = lists.open(path, method=method, json=REQUEST, headers={"X-Request-Id": "00ff"})
    assert (reply.status_code, reply.headers["X-Request-Id"]) == (status, "00ff")
    assert "X-Request-Id" not in lists.open(path, method=method, json=REQUEST).headers


def test_metadata_tells_what_is_served_and_how(base64s: FlaskClient) -> None:
    """Enough for a client to make a request, and for a record to show the settings."""
    metadata = base64s.get("/metadata").json
    assert metadata
    assert (metadata["model"], metadata["version"], metadata["encoding"]) == ("scale", "3", "base64")
    assert metadata["inputs"] == [
        {"name": "x", "datatype": "FP32", "shape": [-1, -1]},
        {"name": "k", "datatype": "INT64", "shape": [-1, 1]},
    ]
    assert [output["name"] for output in metadata["outputs"]] == ["scaled", "total"]
    assert metadata["session_options"]["intra_op_num_threads"] == 1
    assert metadata["providers"] == ["CPUExecutionProvider"]
    assert metadata["onnxruntime_version"]


def test_health_names_the_server(lists: FlaskClient) -> None:
    """Whoever started it can tell it from another on the same port."""
    assert lists.get("/health").json == {"status": "ok", "id": "abc"}


def test_a_worker_says_when_it_is_ready(onnx_file: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Once its session is made, not when it is asked for the first time."""
    client(onnx_file)
    assert "ready to serve scale version 3" in capfd.readouterr().err


def test_a_model_that_cannot_be_opened_stops_the_worker(onnx_file: Path) -> None:
    """At the start, not at the first request."""
    with pytest.raises(Exception, match=r"nowhere\.onnx"):
        client(onnx_file.with_name("nowhere.onnx"))
