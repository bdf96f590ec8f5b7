"""Reference answers."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from bench import payloads, workload
from bench.errors import RunError, UsageError
from bench.recipes import reference as references
from bench.recipes.build import build
from bench.recipes.catalog import BuiltModel
from bench.recipes.reference import check_inputs, reference
from bench.tensors import TensorSpec
from bench.workload import Workload


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


@pytest.fixture
def model() -> BuiltModel:
    """The tiny ResNet-50."""
    return build("resnet50", preset="tiny")


def test_answers_are_those_of_each_request_in_turn(model: BuiltModel) -> None:
    """Entry n of the file is what ONNX Runtime answers to request n, batch dimension included."""
    path = reference(model, small(), lambda text: None)
    session = onnxruntime.InferenceSession(model.onnx)
    expected = [session.run(["logits"], request)[0] for request in payloads.make(small())]
    with np.load(path, allow_pickle=False) as answers:
        assert list(answers) == ["logits"]
        assert answers["logits"].shape == (3, 2, 10)
        np.testing.assert_allclose(answers["logits"], expected, rtol=1e-5, atol=1e-6)


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
    assert reference(model, small(seed=1), lambda text: None) != reference(model, small(seed=2), lambda text: None)


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
        reference(model, wrong, lambda text: None)


def test_an_input_that_is_not_sent_is_missed(model: BuiltModel) -> None:
    """A workload that leaves an input out is refused as well as one that sends a wrong one."""
    two = replace(model, inputs=(*model.inputs, TensorSpec("mask", "BOOL", (-1, 5))))
    with pytest.raises(UsageError, match=r"the model takes input FP32\[-1, 3, 224, 224\], mask BOOL\[-1, 5\]"):
        check_inputs(two, small())


def test_any_batch_is_taken(model: BuiltModel) -> None:
    """The batch is free, whatever max_batch a server will allow."""
    check_inputs(model, small(shape=(100, 3, 224, 224)))


def test_an_interrupted_write_leaves_no_answers(model: BuiltModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fills in the middle gives one error and no half file that a later run would read."""
    before = sorted(Path(model.folder).rglob("*"))

    def full_disk(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full_disk)
    with pytest.raises(RunError, match=r"cannot store reference answers in .*references: No space left on device"):
        reference(model, small(), lambda text: None)
    assert sorted(Path(model.folder).rglob("*")) == before
