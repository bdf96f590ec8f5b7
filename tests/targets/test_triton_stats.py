"""Triton's statistics as documents: batch sizes out of what it says, and nothing out of anything else."""

from typing import Any

import pytest

from bench import words
from bench.targets import triton_stats
from bench.workload import Model

STATS = {
    "model_stats": [
        {
            "name": "m",
            "version": "1",
            "batch_stats": [
                {"batch_size": 1, "compute_infer": {"count": 3, "ns": 5}},
                {"batch_size": 4, "compute_infer": {"count": 2, "ns": 9}},
            ],
        }
    ]
}
# as protobuf writes it in JSON: 64-bit numbers as texts, zeros left out
OF_PROTOBUF = {
    "model_stats": [
        {"batch_stats": [{"batch_size": "8", "compute_infer": {"count": "7"}}, {"batch_size": "2", "compute_infer": {}}]}
    ]
}
NOTHING = [{}, [], None, {"model_stats": []}, {"model_stats": [{"batch_stats": [{"batch_size": "x"}]}]}, "text"]


def over_http(monkeypatch: pytest.MonkeyPatch, status: int, document: Any) -> dict[int, int]:
    asked: list[str] = []

    def ask(word: Any, address: Any, path: str) -> tuple[int, Any]:
        asked.append(path)
        return status, document

    monkeypatch.setattr(triton_stats, "ask", ask)
    found = triton_stats.over_http(words.parse("triton-http://x"), "/v2/models/m/versions/1")
    assert asked == ["/v2/models/m/versions/1/stats"]
    return found


def test_each_batch_size_has_its_number_of_executions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the model's version that was asked for."""
    assert over_http(monkeypatch, 200, STATS) == {1: 3, 4: 2}
    assert over_http(monkeypatch, 200, OF_PROTOBUF) == {8: 7, 2: 0}


@pytest.mark.parametrize("document", NOTHING)
def test_a_server_without_statistics_says_nothing(document: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run is not spoilt by it."""
    assert over_http(monkeypatch, 200, document) is None
    assert over_http(monkeypatch, 404, STATS) is None


class Connection:
    """Stands in for a client of tritonclient.grpc."""

    def __init__(self, document: Any) -> None:
        self._document, self.closed = document, False

    def get_inference_statistics(self, name: str, version: str, **options: Any) -> Any:
        assert (name, version, options["as_json"]) == ("m", "1", True)
        if isinstance(self._document, Exception):
            raise self._document
        return self._document

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("document", [OF_PROTOBUF, *NOTHING])
def test_over_grpc_it_is_the_same_and_the_connection_is_closed(document: Any) -> None:
    """Whatever came."""
    connection = Connection(document)
    assert triton_stats.over_grpc(lambda: connection, Model("m")) == ({8: 7, 2: 0} if document is OF_PROTOBUF else None)
    assert connection.closed


def test_a_server_that_refuses_says_nothing() -> None:
    """One of another make has no such call."""
    from tritonclient.utils import InferenceServerException

    connection = Connection(InferenceServerException("unimplemented"))
    assert triton_stats.over_grpc(lambda: connection, Model("m")) is None
    assert connection.closed
