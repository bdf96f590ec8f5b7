"""Target words made live."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from bench import endpoint, resources, words
from bench.endpoint import Endpoint
from bench.errors import UsageError
from bench.targets import TARGETS
from bench.testing import make_workload
from bench.workload import Check, Model


def silent(text: str) -> None:
    """Nobody listens."""


@pytest.mark.parametrize(
    "word", ["triton", "triton@24.07?instances=2,batching=off", "flask?workers=2", *(f"{s}://" for s in TARGETS)]
)
def test_a_word_that_names_something_is_accepted(word: str) -> None:
    """Every server that bench starts, and every scheme."""
    endpoint.check(words.parse(word))


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("nonsense", r"target nonsense: unknown; there are: triton, flask, triton-http://, .*echo://"),
        ("tritn@24.07", r"target tritn@24\.07: unknown"),
        ("http://x", r"unknown scheme http://; there are: triton-http://"),
        ("triton://x", r"unknown scheme triton://"),
        ("triton@1.0", r"1\.0"),
        ("triton?nonsense=1", r"unknown option 'nonsense'; triton has: .*protocol"),
        ("triton?protocol=carrier-pigeon", r"option protocol: expected .*http.*, got 'carrier-pigeon'"),
        ("flask@24.07", r"flask"),
        ("flask?workers=0", r"option workers: expected a whole number above 0"),
    ],
)
def test_a_word_that_names_nothing_is_refused_before_anything_starts(word: str, message: str) -> None:
    """With what there is instead."""
    with pytest.raises(UsageError, match=message):
        endpoint.check(words.parse(word))


def test_the_scripted_endpoint_needs_no_model(tmp_path: Path) -> None:
    """echo:// answers any workload, and nothing is built or started for it."""
    word = words.parse("echo://?service=1ms")
    with endpoint.live(word, make_workload(), tmp_path / "server.log", silent) as live:
        assert live == Endpoint(word, word, "echo", exited=live.exited)
        assert live.exited() is None
    assert list(tmp_path.iterdir()) == []


def test_a_managed_server_needs_a_model_that_can_be_built(tmp_path: Path) -> None:
    """Told before a server is started, with the models there are."""
    workload = make_workload(model=Model("nonsense"))
    with (
        pytest.raises(UsageError, match=r"target flask: .*can build: .*resnet50"),
        endpoint.live(words.parse("flask"), workload, tmp_path / "server.log", silent),
    ):
        pytest.fail("it came alive")


def test_an_endpoint_that_runs_already_may_serve_a_model_that_bench_does_not_know(tmp_path: Path) -> None:
    """There are no reference answers then; options are no part of its name."""
    word = words.parse("triton-http://127.0.0.1:8000")
    with endpoint.live(word, make_workload(model=Model("theirs")), tmp_path / "server.log", silent) as live:
        assert (live.name, live.model, live.reference) == ("triton-http://127.0.0.1:8000", None, None)


@pytest.mark.parametrize("reference", [True, False])
def test_a_known_model_is_built_with_its_reference_answers_where_they_are_asked_for(
    reference: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record of the run names the model by its digest."""
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    bundled = resources.load_workload("resnet50")
    tiny = replace(bundled, model=Model("resnet50", preset="tiny"), payload=replace(bundled.payload, distinct=1))
    workload = replace(tiny, check=Check(reference=reference))
    with endpoint.live(words.parse("onnx://cpu"), workload, tmp_path / "server.log", silent) as live:
        assert live.model is not None
        assert (live.reference is not None) == reference
        described = live.describe()
    assert described["model"] == {"name": "resnet50", "digest": live.model.digest, "parameters": live.model.parameters}
    assert described["server"] is None
