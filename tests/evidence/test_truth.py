"""The server that knows the truth."""

import json
import urllib.request

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from hypothesis import given
from hypothesis import strategies as st

from bench.evidence.truth import Queue, Script
from bench.evidence.truth_server import running

MS = 1_000_000


def test_one_after_another_each_takes_its_time() -> None:
    """5 ms each: the second waits for the first, the third, who came late, for nobody."""
    queue = Queue(Script(5 * MS))
    assert [queue.answer_at(t * MS) for t in (0, 1, 20)] == [5 * MS, 10 * MS, 25 * MS]


def test_two_slots_serve_two_at_a_time() -> None:
    """The third waits for the first of the two that ends."""
    queue = Queue(Script(5 * MS, slots=2))
    assert [queue.answer_at(t * MS) for t in (0, 1, 2)] == [5 * MS, 6 * MS, 10 * MS]


def test_a_stall_stops_who_is_served_and_keeps_the_others_waiting() -> None:
    """From 10 to 110 ms after the first: one of 5 ms that began at 8 ends at 113, the next at 118, a later one at 125."""
    queue = Queue(Script(5 * MS, stall_at_ns=10 * MS, stall_ns=100 * MS))
    assert [queue.answer_at(t * MS) for t in (0, 8, 50, 120)] == [5 * MS, 113 * MS, 118 * MS, 125 * MS]


@given(st.lists(st.integers(0, 10**7), min_size=1, max_size=40), st.integers(1, 4))
def test_nobody_is_answered_before_its_service_could_be_over(gaps: list[int], slots: int) -> None:
    """Each is answered at least a service time after it came; replies of one slot are in order."""
    queue, arrivals = Queue(Script(3 * MS, slots=slots)), np.cumsum(gaps).tolist()
    answers = [queue.answer_at(t) for t in arrivals]
    assert all(a - t >= 3 * MS for a, t in zip(answers, arrivals, strict=True))
    assert slots > 1 or answers == sorted(answers)


def test_drawn_service_times_have_the_stated_mean() -> None:
    """20,000 exponential times of mean 1 ms."""
    queue = Queue(Script(MS, exponential=True))
    times = [queue.answer_at(t * 10**9) - t * 10**9 for t in range(20_000)]
    assert np.mean(times) == pytest.approx(MS, rel=0.03)
    assert np.std(times) == pytest.approx(MS, rel=0.05)


@pytest.mark.parametrize("client", [tritonclient.http, tritonclient.grpc])
def test_the_official_clients_can_drive_it(client: object) -> None:
    """Metadata, configuration, statistics, repository, and inference; the book has the request's two times."""
    with running(Script(20 * MS)) as server:
        place = server.http if client is tritonclient.http else server.grpc
        with client.InferenceServerClient(place) as connection:  # type: ignore[attr-defined]
            assert connection.is_server_live()
            assert connection.is_server_ready()
            assert connection.is_model_ready("truth")
            assert "truth" in str(connection.get_server_metadata())
            assert "x" in str(connection.get_model_metadata("truth", "1"))
            assert "TYPE_FP32" in str(connection.get_model_config("truth")) or "data_type" in str(
                connection.get_model_config("truth")
            )
            assert "READY" in str(connection.get_model_repository_index())
            x = client.InferInput("x", [16], "FP32")  # type: ignore[attr-defined]
            x.set_data_from_numpy(np.zeros(16, np.float32))
            reply = connection.infer("truth", [x], request_id="00000000000000a7")
            assert np.array_equal(reply.as_numpy("y"), np.zeros(16, np.float32))
            assert "1" in str(connection.get_inference_statistics("truth"))
        ((id_, (arrived, replied)),) = server.finish().items()
    assert id_ == "00000000000000a7"
    assert replied - arrived >= 20 * MS


def test_requests_without_an_id_are_counted() -> None:
    """Which other generators send."""
    with running(Script(0)) as server:
        body = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [0]}]}).encode()
        for _ in range(3):
            urllib.request.urlopen(f"http://{server.http}/v2/models/truth/infer", body, timeout=20).close()
        with urllib.request.urlopen(f"http://{server.http}/v2/models/truth/stats", timeout=20) as reply:
            assert json.load(reply)["model_stats"][0]["inference_count"] == 3
        assert len(server.finish()) == 3
