"""Reference answers."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from bench import answers, payloads, workload
from bench.errors import RunError, UsageError
from bench.load.answers import Reference
from bench.recipes import progress, recipe
from bench.recipes import reference as references
from bench.recipes.build import build
from bench.recipes.catalog import BuiltModel
from bench.recipes.reference import check_inputs, reference
from bench.record import SAME
from bench.runtime import generation
from bench.tensors import TensorSpec
from bench.workload import Check, Workload


def quiet(text: str) -> None:
    """Says nothing."""


def small(shape: tuple[int, ...] = (2, 3, 224, 224), name: str = "input", datatype: str = "FP32", seed: int = 1) -> Workload:
    """A workload of three distinct requests to the tiny ResNet-50."""
    document: dict[str, Any] = {
        "name": "small",
        "seed": seed,
        "model": {"name": "resnet50", "preset": "tiny"},
        "payload": {"distinct": 3, "inputs": {name: {"datatype": datatype, "shape": list(shape)}}},
        "load": {"arrivals": "closed"},
    }
    return workload.from_builtins(document, "small.toml")


def sentences(low: int = 3, high: int = 9) -> Workload:
    """A workload of four sentences of different lengths to the tiny BERT."""
    ids = {"datatype": "INT64", "shape": [1, "tokens"]}
    inputs = {
        "input_ids": ids | {"low": 0, "high": 300},
        "attention_mask": ids | {"values": [1]},
        "token_type_ids": ids | {"values": [0]},
    }
    lengths = {"tokens": {"distribution": "uniform", "low": low, "high": high}}
    document: dict[str, Any] = {
        "name": "sentences",
        "model": {"name": "bert-base", "preset": "tiny"},
        "payload": {"distinct": 4, "inputs": inputs, "lengths": lengths},
        "load": {"arrivals": "closed"},
    }
    return workload.from_builtins(document, "sentences.toml")


def prompts(**generate: Any) -> Workload:
    """A workload of three prompts to the tiny Qwen."""
    asked = {"prompt_tokens": {"distribution": "uniform", "low": 2, "high": 6}, "output_tokens": 5, "vocabulary": 1000}
    document: dict[str, Any] = {
        "name": "prompts",
        "model": {"name": "qwen-1.5b", "preset": "tiny"},
        "payload": {"distinct": 3, "generate": asked | generate},
        "load": {"arrivals": "closed"},
    }
    return workload.from_builtins(document, "prompts.toml")


@pytest.fixture
def model() -> BuiltModel:
    """The tiny ResNet-50."""
    return build("resnet50", preset="tiny")


@pytest.fixture
def qwen() -> BuiltModel:
    """The tiny Qwen."""
    return build("qwen-1.5b", preset="tiny")


def test_answers_are_those_of_each_request_in_turn(model: BuiltModel) -> None:
    """Answer n of the file is what ONNX Runtime answers to request n, batch dimension included; the file says to what."""
    stored, about = answers.read(reference(model, small(), quiet))
    session = onnxruntime.InferenceSession(model.onnx)
    assert list(stored) == [0, 1, 2]
    for number, request in enumerate(payloads.make(small())):
        assert list(stored[number]) == ["logits"]
        assert stored[number]["logits"].shape == (2, 10)
        np.testing.assert_allclose(stored[number]["logits"], session.run(None, request)[0], rtol=1e-5, atol=1e-6)
    assert about == {"payloads": payloads.digest(small()), "model": model.digest}


@pytest.mark.parametrize(
    ("name", "precision"), [("resnet50", "fp16"), ("resnet50", "int8"), ("bert-base", "int8"), ("bert-base", "fp16")]
)
def test_the_answer_to_another_request_is_different_in_every_precision(name: str, precision: str) -> None:
    """However far a precision may move its answers, a server that mixes replies up is found out."""
    asked = small() if name == "resnet50" else sentences(5, 5)
    path = reference(build(name, precision, "tiny"), asked, quiet)
    stored, about = answers.read(path)
    held = Reference.load(Check(tolerance=1e-2), path)
    assert held.tolerance == recipe.load(name).moves.get(precision, 1e-2) == float(about.get("tolerance", 1e-2))
    for wanted in stored:
        assert [held.compare(wanted, outputs)[0] == SAME for outputs in stored.values()] == [
            wanted == other for other in stored
        ]


def test_answers_are_as_long_as_what_they_answer() -> None:
    """Sentences of different lengths have hidden states of different lengths, none padded."""
    stored, _ = answers.read(reference(build("bert-base", preset="tiny"), sentences(), quiet))
    sent = [request["input_ids"].shape[1] for request in payloads.make(sentences()) if isinstance(request, dict)]
    assert len(set(sent)) > 1
    assert [stored[n]["last_hidden_state"].shape[1] for n in range(4)] == sent


def test_a_generating_model_answers_with_its_greedy_tokens_and_their_lead(qwen: BuiltModel) -> None:
    """Each prompt alone and read whole, as many tokens as the workload asks for."""
    stored, _ = answers.read(reference(qwen, prompts(), quiet))
    made = [prompt for prompt in payloads.make(prompts()) if isinstance(prompt, payloads.Prompt)]
    expected = generation.greedy(qwen.onnx, [(prompt.ids, 5) for prompt in made], threads=1)
    for number, (tokens, margin) in enumerate(expected):
        assert set(stored[number]) == {"tokens", "margin"}
        assert stored[number]["tokens"].tolist() == tokens.tolist()
        np.testing.assert_allclose(stored[number]["margin"], margin, atol=1e-3)
    assert len({tuple(outputs["tokens"].tolist()) for outputs in stored.values()}) == 3


@pytest.mark.parametrize("kind", ["computed", "generated"])
def test_long_answers_are_made_with_progress(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every few seconds it is said how many are answered."""
    made = build("resnet50" if kind == "computed" else "qwen-1.5b", preset="tiny")
    monkeypatch.setattr(progress, "EVERY_S", 0.0)
    said: list[str] = []
    reference(made, small() if kind == "computed" else prompts(), said.append)
    assert said[1:] == ["answered 1 of 3", "answered 2 of 3", "answered 3 of 3"]


def test_answers_are_computed_once(model: BuiltModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second time the file is there, nothing is computed and nothing is said."""
    said: list[str] = []
    path = reference(model, small(), said.append)
    monkeypatch.setattr(references, "onnxruntime", None)
    assert reference(model, small(), said.append) == path
    assert said == ["answering the 3 requests of small with resnet50 for reference"]
    assert path.parent == model.folder / "references"


def test_other_requests_have_answers_of_their_own(model: BuiltModel) -> None:
    """Another seed sends other bytes, whose answers lie in another file."""
    assert reference(model, small(seed=1), quiet) != reference(model, small(seed=2), quiet)


@pytest.mark.parametrize(
    ("wrong", "sends"),
    [
        (small(name="image"), r"image FP32\[2, 3, 224, 224\]"),
        (small(datatype="FP64"), r"input FP64\[2, 3, 224, 224\]"),
        (small(shape=(1, 3, 299, 224)), r"input FP32\[1, 3, 299, 224\]"),
        (small(shape=(3, 224, 224)), r"input FP32\[3, 224, 224\]"),
    ],
    ids=["name", "type", "size", "rank"],
)
def test_inputs_that_are_not_the_models_are_refused_with_both(model: BuiltModel, wrong: Workload, sends: str) -> None:
    """The message prints what the workload sends and what the model takes."""
    with pytest.raises(UsageError, match=rf"sends {sends}; the model takes input FP32\[-1, 3, 224, 224\]"):
        reference(model, wrong, quiet)


def test_an_input_that_is_not_sent_is_missed(model: BuiltModel) -> None:
    """A workload that leaves an input out is refused as well as one that sends a wrong one."""
    two = replace(model, inputs=(*model.inputs, TensorSpec("mask", "BOOL", (-1, 5))))
    with pytest.raises(UsageError, match=r"the model takes input FP32\[-1, 3, 224, 224\], mask BOOL\[-1, 5\]"):
        check_inputs(two, small())


def test_any_batch_is_taken(model: BuiltModel) -> None:
    """The batch is free, whatever max_batch a server will allow."""
    check_inputs(model, small(shape=(100, 3, 224, 224)))


def fault(built: BuiltModel, sent: Workload) -> str:
    """What is said of a workload that does not fit a model."""
    with pytest.raises(UsageError) as error:
        check_inputs(built, sent)
    return str(error.value)


def test_tensors_do_not_fit_a_model_that_generates_nor_prompts_another(model: BuiltModel, qwen: BuiltModel) -> None:
    """Both sides are printed, each as what it is."""
    takes_prompts = "the model takes prompts (token ids below 151,936) of up to 2,048 tokens with their answer"
    said = fault(qwen, small())
    assert said.startswith(
        "workload small does not fit model qwen-1.5b: they are not of one kind: the workload sends input FP32"
    )
    assert said.endswith(takes_prompts)
    said = fault(model, prompts())
    assert "sends prompts of up to 6 tokens (token ids below 1,000) to go on from by up to 5; " in said
    assert said.endswith("the model takes input FP32[-1, 3, 224, 224] (-1: any size)")


@pytest.mark.parametrize(
    ("generate", "problem"),
    [
        ({"prompt_tokens": 2040, "output_tokens": 9}, "the longest prompt and its answer have 2,049 tokens together, and the "
                                                      "context is 2,048"),
        ({"vocabulary": 151_937}, "token ids reach 151,937, and the vocabulary is 151,936"),
        ({"form": "text"}, "it has no tokenizer, and answers token ids alone"),
    ],
    ids=["context", "vocabulary", "text"],
)  # fmt: skip
def test_prompts_that_a_model_cannot_take_are_refused(qwen: BuiltModel, generate: dict[str, Any], problem: str) -> None:
    """Too long, out of the vocabulary, or words."""
    assert f"workload prompts does not fit model qwen-1.5b: {problem}: the workload sends prompts" in fault(
        qwen, prompts(**generate)
    )


def test_a_request_that_the_model_cannot_compute_is_one_clear_error(capfd: pytest.CaptureFixture[str]) -> None:
    """A text longer than BERT's 512 positions, for example: the request and its shapes are named, and nothing is stored."""
    built = build("bert-base", preset="tiny")
    before = sorted(built.folder.rglob("*"))
    with pytest.raises(UsageError) as error:
        reference(built, sentences(513, 513), quiet)
    said = str(error.value)
    assert said.startswith("workload sentences: model bert-base cannot answer its request 0 (input_ids INT64[1, 513], ")
    assert "\n" not in said
    assert capfd.readouterr() == ("", "")
    assert [path for path in sorted(built.folder.rglob("*")) if path not in before] == []


def test_prompts_that_the_model_cannot_compute_are_one_clear_error(qwen: BuiltModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime's reason alone, and nothing is stored."""

    def broken(*given: object, **named: object) -> None:
        raise RuntimeError("[ONNXRuntimeError] : 2 : in some node. Status Message: the heads are odd\nat line 3")

    before = sorted(qwen.folder.rglob("*"))
    monkeypatch.setattr(generation, "greedy", broken)
    with pytest.raises(UsageError, match=r"^workload prompts: model qwen-1.5b cannot answer its prompts: the heads are odd$"):
        reference(qwen, prompts(), quiet)
    assert sorted(qwen.folder.rglob("*")) == before


def test_a_prompt_may_fill_the_context_and_use_the_whole_vocabulary(qwen: BuiltModel) -> None:
    """The limits themselves are within."""
    check_inputs(qwen, prompts(prompt_tokens=2040, output_tokens=8, vocabulary=151_936))


def test_an_interrupted_write_leaves_no_answers(model: BuiltModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fills in the middle gives one error and no half file that a later run would read."""
    before = sorted(Path(model.folder).rglob("*"))

    def full_disk(path: Path, *args: object, **kwargs: object) -> None:
        path.write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(answers, "write", full_disk)
    with pytest.raises(RunError, match=r"cannot store reference answers in .*references: No space left on device"):
        reference(model, small(), quiet)
    assert sorted(Path(model.folder).rglob("*")) == before
