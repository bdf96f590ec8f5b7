"""Target words made live."""

import dataclasses
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from msgspec.structs import replace

from bench import endpoint, resources, servers, serving, words
from bench.endpoint import Endpoint, PartModel
from bench.errors import RunError, UsageError
from bench.servers.base import OwnModel, Served, ServerFacts, Several
from bench.servers.digests import of_folder
from bench.targets import TARGETS
from bench.tensors import TensorSpec
from bench.testing import make_stream_workload, make_workload
from bench.words import Word
from bench.workload import Check, Generate, Model, Part, Payload, Workload

MODELS = Path(__file__).parent / "models"


def silent(text: str) -> None:
    """Nobody listens."""


@pytest.mark.parametrize(
    "word", ["triton", "triton@24.07?instances=2,batching=off", "flask?workers=2", *(f"{s}://cpu" for s in TARGETS)]
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
        pytest.raises(UsageError, match=r"target flask: .*can build: .*resnet50; for 'nonsense' .* --model-repository"),
        endpoint.live(words.parse("flask"), workload, tmp_path / "server.log", silent),
    ):
        pytest.fail("it came alive")


def test_an_endpoint_that_runs_already_may_serve_a_model_that_bench_does_not_know(tmp_path: Path) -> None:
    """There are no reference answers then; options are no part of its name."""
    word = words.parse("triton-http://127.0.0.1:8000")
    with endpoint.live(word, make_workload(model=Model("theirs")), tmp_path / "server.log", silent) as live:
        assert (live.name, live.models) == ("triton-http://127.0.0.1:8000", (PartModel("made"),))


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
        (of,) = live.models
        assert of.model is not None
        assert (of.reference is not None) == reference
        described = live.describe()
    assert described["model"] == {
        "name": "resnet50",
        "precision": "fp32",
        "preset": "tiny",
        "weights": "seeded",
        "digest": of.model.digest,
        "parameters": of.model.parameters,
        "context": 0,
    }
    assert described["server"] is None


def test_a_workload_s_model_is_checked_with_the_word(tmp_path: Path) -> None:
    """Two words of a comparison are checked before the first is started."""
    workload = make_workload(model=Model("nonsense"))
    endpoint.check(words.parse("triton-http://127.0.0.1:8000"), workload)
    endpoint.check(words.parse("echo://"), workload)
    with pytest.raises(UsageError, match="can build"):
        endpoint.check(words.parse("triton"), workload)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("triton-http://127.0.0.1:8000", "--model-repository goes with a Triton that bench starts; target .* is there already"),
        ("onnx://cpu", "--model-repository goes with a Triton"),
        ("echo://", "--model-repository goes with a Triton"),
        ("flask", "--model-repository goes with triton"),
        ("triton?batching=off", "option batching does not go with --model-repository"),
        ("triton", "model 'made' is not there; there are: own"),
    ],
)
def test_a_repository_of_the_user_s_goes_with_a_managed_triton_that_can_serve_it(word: str, message: str) -> None:
    """And with no option that its configuration decides."""
    with pytest.raises(UsageError, match=message):
        endpoint.check(words.parse(word), make_workload(), MODELS)


def test_a_repository_of_the_user_s_is_served_and_named_in_the_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is built for it, and there is no reference: bench has none for a model of its own name either."""
    own = OwnModel("own", MODELS, of_folder(MODELS / "own"))

    @contextmanager
    def start(word: Word, served: Served, log: Path, say: object) -> Iterator[SimpleNamespace]:
        assert served == own
        facts = ServerFacts("triton", "2.48.0", "here", "python")
        yield SimpleNamespace(words={"grpc": "triton-grpc://127.0.0.1:1"}, facts=facts, pid=7, exited=lambda: None)

    monkeypatch.setattr(servers, "start", start)
    word = words.parse("triton?protocol=grpc")
    with endpoint.live(word, make_workload(model=Model("own")), tmp_path / "log", silent, MODELS) as live:
        assert (live.name, live.pid) == ("Triton 2.48.0", 7)
        assert live.models == (PartModel("made", foreign=own),)
        assert str(live.word) == "triton-grpc://127.0.0.1:1"
        assert live.describe()["model"] == {"name": "own", "repository": str(MODELS), "digest": own.digest}


@pytest.mark.parametrize(
    ("asked", "driven"),
    [
        ("triton?client=tritonclient", "triton-http://127.0.0.1:1?client=tritonclient"),
        ("triton?protocol=grpc,client=lean", "triton-grpc://127.0.0.1:2?client=lean"),
        ("triton", "triton-http://127.0.0.1:1"),
    ],
)
def test_a_managed_triton_is_asked_by_the_client_that_its_word_names(
    asked: str, driven: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own options are of no concern to who asks it."""

    @contextmanager
    def start(word: Word, served: Served, log: Path, say: object) -> Iterator[SimpleNamespace]:
        places = {"http": "triton-http://127.0.0.1:1", "grpc": "triton-grpc://127.0.0.1:2"}
        yield SimpleNamespace(words=places, facts=ServerFacts("triton", "2", "here", "python"), pid=7, exited=lambda: None)

    monkeypatch.setattr(servers, "start", start)
    with endpoint.live(words.parse(asked), make_workload(model=Model("own")), tmp_path / "log", silent, MODELS) as live:
        assert (str(live.word), str(live.asked)) == (driven, asked)


def test_a_managed_flask_is_asked_as_its_own_word_says(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it takes, such as its encoding, is what it is sent."""

    @contextmanager
    def start(word: Word, served: Served, log: Path, say: object) -> Iterator[SimpleNamespace]:
        place = {"http": "flask://127.0.0.1:1?encoding=base64"}
        yield SimpleNamespace(words=place, facts=ServerFacts("flask", "3", "here", "python"), pid=7, exited=lambda: None)

    monkeypatch.setattr(servers, "start", start)
    asked = words.parse("flask?encoding=base64,workers=2")
    with endpoint.live(asked, tiny_resnet(Check(reference=False)), tmp_path / "log", silent) as live:
        assert str(live.word) == "flask://127.0.0.1:1?encoding=base64"


@pytest.mark.parametrize("word", ["triton?client=tritonclient", "triton-http://127.0.0.1:1?client=tritonclient"])
def test_a_client_that_cannot_stream_from_there_is_refused_before_anything_starts(word: str) -> None:
    """With the two ways out."""
    workload = make_stream_workload()
    message = (
        f"target {word}: option client: tritonclient has no client for generate_stream; triton-grpc:// can be .* client=lean"
    )
    with pytest.raises(UsageError, match=message.replace("?", r"\?")):
        endpoint.check(words.parse(word), replace(workload, model=Model("qwen-1.5b", preset="tiny")))


def test_a_record_has_the_names_of_headers_and_how_far_the_server_was_trusted() -> None:
    """Not what stands in them."""
    word = dataclasses.replace(words.parse("flask://h:1?tls=unverified"), headers=(("X-Token", "secret"),))
    described = Endpoint(word, word, "theirs").describe()
    assert (described["headers_sent"], described["tls"]) == (["X-Token"], "unverified: any certificate was accepted")
    assert "secret" not in str(described)


def tiny_resnet(check: Check) -> Workload:
    """One request to the tiny ResNet-50."""
    bundled = resources.load_workload("resnet50")
    payload = replace(bundled.payload, distinct=1)
    return replace(bundled, model=Model("resnet50", preset="tiny"), payload=payload, check=check)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache folder of this test, not there yet."""
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_server_of_another_s_is_not_said_to_serve_bench_s_model(tmp_path: Path, cache: Path) -> None:
    """Its replies are compared with that model's, and the record says just this; with other answers in place, not even this."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        word = words.parse(f"triton-http://127.0.0.1:{server.getsockname()[1]}")
        with endpoint.live(word, tiny_resnet(Check()), tmp_path / "log", silent) as live:
            assert live.models[0].reference is not None
            described = live.describe()
            recorded = live.held_to([tmp_path / "mine.reference.arrow"]).describe()
            assert live.held_to([None]).models == live.models
    assert described["model"] is None
    assert (described["reference_model"]["name"], described["reference_model"]["preset"]) == ("resnet50", "tiny")
    assert "reference_model" not in recorded


def test_nothing_is_built_for_a_server_of_another_s_without_a_reference(tmp_path: Path, cache: Path) -> None:
    """It may serve anything under a name that bench knows."""
    word = words.parse("triton-http://127.0.0.1:1")
    with endpoint.live(word, tiny_resnet(Check(reference=False)), tmp_path / "log", silent) as live:
        assert (live.models, "reference_model" in live.describe()) == ((PartModel("resnet50"),), False)
    assert not cache.exists()


@pytest.mark.parametrize("scheme", ["triton-http", "triton-grpc", "flask"])
def test_nothing_is_built_where_nothing_answers(scheme: str, tmp_path: Path, cache: Path) -> None:
    """A build may take minutes; a slip in the address is told in no time."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        word = words.parse(f"{scheme}://127.0.0.1:{reserved.getsockname()[1]}")
        message = r"nothing answers at 127\.0\.0\.1:\d+ \(Connection refused\); is the server running\?"
        with pytest.raises(RunError, match=message), endpoint.live(word, tiny_resnet(Check()), tmp_path / "log", silent):
            pytest.fail("it came alive")
    assert not cache.exists()


def two_tiny(*checks: Check) -> Workload:
    """A mix of the tiny ResNet-50 and the tiny BERT-base, one request each."""
    parts = []
    for name, check in zip(("resnet50", "bert-base"), checks, strict=True):
        bundled = resources.load_workload(name)
        parts.append(Part(name, Model(name, preset="tiny"), replace(bundled.payload, distinct=1), name, check=check))
    return make_workload(mix=tuple(parts), model=Model(""), payload=Payload())


def test_every_part_of_a_mix_has_its_model_and_its_answers(tmp_path: Path, cache: Path) -> None:
    """The record tells all of them, by their parts; a reference is made where it is asked for."""
    with endpoint.live(words.parse("onnx://cpu"), two_tiny(Check(), Check(reference=False)), tmp_path / "log", silent) as live:
        described = live.describe()
    assert [(one.part, one.model and one.model.name, one.reference is None) for one in live.models] == [
        ("resnet50", "resnet50", False),
        ("bert-base", "bert-base", True),
    ]
    assert "model" not in described
    assert {name: part["model"]["name"] for name, part in described["parts"].items()} == {
        "resnet50": "resnet50",
        "bert-base": "bert-base",
    }
    held = live.held_to([None, tmp_path / "mine.reference.arrow"])
    assert [one.reference for one in held.models] == [live.models[0].reference, tmp_path / "mine.reference.arrow"]


def test_for_a_server_of_another_s_only_the_answers_that_are_compared_are_made(tmp_path: Path, cache: Path) -> None:
    """The other part's model is not built."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        word = words.parse(f"triton-http://127.0.0.1:{server.getsockname()[1]}")
        with endpoint.live(word, two_tiny(Check(), Check(reference=False)), tmp_path / "log", silent) as live:
            described = live.describe()
    assert described["parts"]["resnet50"]["reference_model"]["preset"] == "tiny"
    assert described["parts"]["bert-base"] == {"model": None}
    assert [path.name for path in cache.glob("repository/*/*")] == ["resnet50"]


def test_a_managed_server_is_given_all_models_of_a_mix(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each once, though two parts ask for it."""
    seen: list[Served] = []

    @contextmanager
    def start(word: Word, served: Served, log: Path, say: object) -> Iterator[SimpleNamespace]:
        seen.append(served)
        facts = ServerFacts("triton", "2.48.0", "here", "python")
        yield SimpleNamespace(words={"http": "triton-http://127.0.0.1:1"}, facts=facts, pid=7, exited=lambda: None)

    monkeypatch.setattr(servers, "start", start)
    mixed = two_tiny(Check(), Check())
    mixed = replace(mixed, mix=(*mixed.mix, replace(mixed.mix[0], name="again")))
    with endpoint.live(words.parse("triton"), mixed, tmp_path / "log", silent) as live:
        assert [one.part for one in live.models] == ["resnet50", "bert-base", "again"]
    (several,) = seen
    assert isinstance(several, Several)
    assert several.models == tuple(one.model for one in live.models[:2])


def test_the_model_s_own_limits_are_held_against_what_a_checkpoint_brought(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint's are known once it is built; the reference would fail with ONNX Runtime's internals."""
    built = serving.built
    limits = (TensorSpec("input", "FP32", (-1, 3, 200, 200)),)
    monkeypatch.setattr(serving, "built", lambda *given: dataclasses.replace(built(*given), limits=limits))
    with (
        pytest.raises(UsageError, match="input input is up to 224 long, and model resnet50 takes 200 at most"),
        endpoint.live(words.parse("onnx://cpu"), tiny_resnet(Check()), tmp_path / "log", silent),
    ):
        pytest.fail("it came alive")


def test_texts_are_sent_to_a_server_of_another_s_without_bench_s_answers() -> None:
    """bench's own model has no tokenizer, which is no concern of theirs: the way out is named, and it is one."""
    word, generate = words.parse("openai://127.0.0.1:1"), Generate(4, 4, form="text")
    workload = make_workload(model=Model("qwen-1.5b", preset="tiny"), payload=Payload(generate=generate))
    with pytest.raises(UsageError, match=r"has no tokenizer: .*; .*check\.reference = false runs without them"):
        endpoint.check(word, workload)
    endpoint.check(word, replace(workload, check=Check(reference=False)))
