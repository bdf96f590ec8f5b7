"""From a server to a report: `bench workloads new` and `bench run --record-reference`, on a user's model served here."""

import dataclasses
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import answers, payloads, resources
from bench.tensors import TensorSpec

Bench = Callable[..., Any]
StandIn = Callable[[str, Any], Any]

SCHEMES = ["triton-http", "triton-grpc"]
FILLED = '{distribution = "uniform", low = 2, high = 9}'


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def new(bench: Bench, word: str, *more: str) -> Any:
    return bench("workloads", "new", "--target", word, "--model", "own", *more)


def complete(text: str) -> str:
    """What a user does: fill in the free dimension."""
    return re.sub(r"^length = 0  # CHANGE ME.*$", f"length = {FILLED}", text, flags=re.MULTILINE)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_new_workload_is_what_the_server_says_of_its_model(scheme: str, bench: Bench, own: Any, stand_in: StandIn) -> None:
    """On stdout, for a redirection; what is left to do on stderr. It reads, once its length is filled in."""
    said = new(bench, stand_in(scheme, own).word)
    assert said.code == 0
    assert said.err == "to do before it runs: fill in what is marked CHANGE ME\n"
    assert "# [payload.inputs.factor]" in said.out
    Path("own.toml").write_text(said.out)
    refused = bench("workloads", "check", "./own.toml")
    assert (refused.code, refused.out) == (2, "")
    assert "own.toml: payload.lengths.length: 0 keeps the place of a length that only you can choose" in refused.err
    Path("own.toml").write_text(complete(said.out))
    assert bench("workloads", "check", "./own.toml").out.startswith("./own.toml: ok: model own, ")


def test_both_protocols_say_the_same(bench: Bench, own: Any, stand_in: StandIn) -> None:
    """But for the first line, which names the target."""
    texts = [new(bench, stand_in(scheme, own).word).out.splitlines()[1:] for scheme in SCHEMES]
    assert texts[0] == texts[1]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_server_without_configurations_is_taken_at_its_metadata(
    scheme: str, bench: Bench, own: Any, stand_in: StandIn
) -> None:
    """A first dimension that is free everywhere is the batch; every input is needed."""
    text = new(bench, stand_in(scheme, dataclasses.replace(own, config=None)).word).out
    assert 'shape = [1, "length"]' in text
    assert "\n[payload.inputs.factor]\n" in text


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_model_that_takes_texts_and_gives_texts_by_those_names_is_one_that_generates(
    scheme: str, bench: Bench, own: Any, stand_in: StandIn
) -> None:
    """As Triton's vLLM backend names them."""
    renamed = {"inputs": (TensorSpec("text_input", "BYTES", (1,)),), "outputs": (TensorSpec("text_output", "BYTES", (-1,)),)}
    said = new(bench, stand_in(scheme, dataclasses.replace(own, config=None, **renamed)).word)
    assert (said.code, said.err) == (0, "")
    assert "[payload.generate]" in said.out


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--model other", r"no model 'other': .*unknown model.*; it has: own \(1, READY\)"),
        ("--model own --version 7", r"no model 'own' version 7: .*; it has: own \(1, READY\)"),
    ],
)
def test_a_model_that_is_not_there_is_told_with_those_that_are(
    scheme: str, words: str, message: str, bench: Bench, own: Any, stand_in: StandIn
) -> None:
    """One line, nothing on stdout, and the exit code of what could not be done."""
    said = bench("workloads", "new", "--target", stand_in(scheme, own).word, *words.split())
    assert (said.code, said.out, said.err.count("\n")) == (3, "", 1)
    assert re.search(message, said.err)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_an_input_that_bench_cannot_send_is_told(scheme: str, bench: Bench, own: Any, stand_in: StandIn) -> None:
    """With the types that it can."""
    brain = dataclasses.replace(own, config=None, inputs=(TensorSpec("x", "BF16", (-1, 3)),))
    said = new(bench, stand_in(scheme, brain).word)
    assert (said.code, said.out) == (3, "")
    assert "model 'own': its input x BF16[-1, 3] has a type that bench cannot send; it can send BOOL, INT8," in said.err


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_model_with_several_replies_to_a_request_is_told(scheme: str, bench: Bench, own: Any, stand_in: StandIn) -> None:
    """Before a workload is written that could not run."""
    config = own.config | {"model_transaction_policy": {"decoupled": True}}
    said = new(bench, stand_in(scheme, dataclasses.replace(own, config=config)).word)
    assert (said.code, said.out) == (3, "")
    assert "model 'own' answers a request with several replies (decoupled)" in said.err


@pytest.mark.parametrize("word", ["flask://127.0.0.1:1", "onnx://cpu", "triton", "echo://"])
def test_a_target_that_cannot_tell_is_refused(word: str, bench: Bench) -> None:
    """With those that can."""
    said = new(bench, word)
    assert (said.code, said.out) == (2, "")
    assert f"target {word}: expected triton-http://HOST:PORT or triton-grpc://HOST:PORT" in said.err


@pytest.mark.parametrize("scheme", SCHEMES)
def test_where_nothing_answers_the_address_is_named(scheme: str, bench: Bench, nobody: str) -> None:
    """And asked whether it runs."""
    said = new(bench, f"{scheme}://{nobody}")
    assert (said.code, said.out) == (3, "")
    assert f"nothing answers at {nobody}" in said.err


RUN = ["--requests", "40", "--warmup", "0s", "--users", "2"]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_answers_are_recorded_once_and_compared_ever_after(scheme: str, bench: Bench, own: Any, stand_in: StandIn) -> None:
    """The first run records and compares; the next finds a server that has begun to answer otherwise."""
    changed: list[str] = []

    def answer(feeds: Any) -> Any:
        outputs = own.answer(feeds)
        return outputs | {"scaled": outputs["scaled"] * 2} if changed else outputs

    endpoint = stand_in(scheme, dataclasses.replace(own, answer=answer))
    Path("mine.toml").write_text(complete(new(bench, endpoint.word).out))
    recorded = bench("run", "./mine.toml", "--target", endpoint.word, "--record-reference", *RUN)
    assert recorded.code == 0, recorded.err
    assert "recorded 32 answers in mine.reference.arrow" in recorded.err
    kept, about = answers.read(Path("mine.reference.arrow"))
    assert about["target"] == endpoint.word
    requests: Any = payloads.make(resources.load_workload("./mine.toml"))
    for number, request in enumerate(requests):
        right = own.answer(request)
        assert kept[number]["label"].tolist() == right["label"].tolist()
        np.testing.assert_allclose(kept[number]["scaled"], right["scaled"], rtol=1e-6)
    changed.append("yes")
    wrong = bench("run", "./mine.toml", "--target", endpoint.word, *RUN)
    assert wrong.code == 4
    assert "differs from the reference answer" in " ".join(wrong.out.split())
    other = bench("run", "./mine.toml", "--target", endpoint.word, "--seed", "5", *RUN)
    assert (other.code, other.out) == (2, "")
    assert "mine.reference.arrow: recorded for other requests" in other.err


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_request_that_is_not_answered_well_ends_the_recording(scheme: str, bench: Bench, own: Any, stand_in: StandIn) -> None:
    """Nothing is recorded, not even what was answered before; no folder of a run stays."""
    asked: list[int] = []

    def answer(feeds: Any) -> Any:
        asked.append(1)
        outputs = own.answer(feeds)
        return outputs | {"scaled": outputs["scaled"].ravel()} if len(asked) == 5 else outputs

    endpoint = stand_in(scheme, dataclasses.replace(own, answer=answer))
    Path("mine.toml").write_text(complete(new(bench, endpoint.word).out))
    said = bench("run", "./mine.toml", "--target", endpoint.word, "--record-reference", *RUN)
    assert (said.code, said.out) == (3, "")
    assert re.search(r"request 4 was not answered well \(shape\): answered .*; nothing was recorded", said.err)
    assert sorted(os.listdir()) == ["mine.toml", "results"]
    assert os.listdir("results") == []


def test_what_cannot_be_recorded_is_refused_before_anything_starts(bench: Bench, four_floats: Path) -> None:
    """A workload that comes with bench, a target that has no answers of its own, a workload that compares nothing."""
    Path("off.toml").write_text(four_floats.read_text() + "reference = false\n")
    for words, message in (
        ("resnet50 --target onnx://cpu", "workload 'resnet50' comes with bench"),
        (f"{four_floats} --target echo://", "echo:// answers with what it is sent"),
        ("./off.toml --target triton-http://127.0.0.1:1", "compares nothing (check.reference = false)"),
    ):
        said = bench("run", *words.split(), "--record-reference")
        assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
        assert message in said.err
    assert not Path("results").exists()
