"""Workload files written for models that bench does not know."""

import re
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import draft, payloads
from bench import workload as workloads
from bench.errors import UsageError
from bench.tensors import NUMPY_TYPES, TensorSpec

NAMES = st.text(min_size=1, max_size=9)
SPECS = st.lists(
    st.builds(
        TensorSpec,
        NAMES,
        st.sampled_from(sorted(NUMPY_TYPES)),
        st.lists(st.sampled_from([-1, 1, 2, 3]), max_size=3).map(tuple),
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda spec: spec.name,
)
TEXT, VALUES, FACTOR = (
    TensorSpec("text", "BYTES", (-1, 1)),
    TensorSpec("values", "FP32", (-1, -1)),
    TensorSpec("factor", "FP32", (-1, 1)),
)


def filled_in(text: str) -> str:
    """The file as a user would complete it: each placeholder a number."""
    return re.sub(rf" = 0  # {draft.CHANGE}.*", " = 7", text)


@given(SPECS, NAMES, NAMES, NAMES, st.booleans(), st.data())
def test_a_draft_is_a_workload_that_fits_its_model_once_its_lengths_are_filled_in(
    inputs: list[TensorSpec], target: str, name: str, version: str, batched: bool, data: st.DataObject
) -> None:
    """Whatever the model takes and is called: the file reads, sends those inputs and no others, and requests can be made."""
    optional = data.draw(st.sets(st.sampled_from([spec.name for spec in inputs])))
    target = "".join(c for c in target if c.isprintable())  # a word of the command line
    text = draft.tensors(target, name, version, inputs, inputs, batched=batched, optional=optional)
    workload = workloads.parse(filled_in(text), "mine.toml", "mine")
    sent = {spec.name: spec for spec in workload.input_specs()}
    assert set(sent) == {spec.name for spec in inputs} - optional or set(sent) == {spec.name for spec in inputs} == optional
    assert all(spec.fits(sent[spec.name].datatype, sent[spec.name].shape) for spec in inputs if spec.name in sent)
    assert (workload.model.name, workload.model.version) == (name, version)
    assert len(payloads.make(workload)) == workload.payload.distinct


@given(SPECS, st.booleans())
def test_a_draft_that_has_something_to_fill_in_does_not_run_before(inputs: list[TensorSpec], batched: bool) -> None:
    """The refusal says what belongs there; a model without free dimensions runs as it is."""
    text = draft.tensors("t", "m", "1", inputs, (), batched=batched)
    free = any(n < 0 for spec in inputs for axis, n in enumerate(spec.shape) if not (batched and axis == 0))
    assert (draft.CHANGE in text) == free
    if free:
        with pytest.raises(
            UsageError, match=r"payload\.lengths\.length\S*: 0 keeps the place of a length that only you can choose"
        ):
            workloads.parse(text, "mine.toml", "mine")
    else:
        assert workloads.parse(text, "mine.toml", "mine").payload.lengths == {}


def test_dimensions_at_the_same_place_share_a_length() -> None:
    """As ids and their mask do; those at other places have their own."""
    ids, mask, image = (
        TensorSpec("ids", "INT64", (-1, -1)),
        TensorSpec("mask", "INT64", (-1, -1)),
        TensorSpec("image", "FP32", (-1, 3, -1)),
    )
    alone = tomllib.loads(draft.tensors("t", "m", "1", (ids, mask), (), batched=True))["payload"]
    assert [alone["inputs"][name]["shape"] for name in ("ids", "mask")] == [[1, "length"], [1, "length"]]
    both = tomllib.loads(draft.tensors("t", "m", "1", (ids, mask, image), (), batched=True))["payload"]
    assert both["inputs"]["image"]["shape"] == [1, 3, "length_2"]
    assert both["lengths"] == {"length_1": 0, "length_2": 0}


def test_the_first_dimension_is_a_batch_of_one_where_it_is_a_batch() -> None:
    """Else it is a length like the others."""
    batch, free = (tomllib.loads(draft.tensors("t", "m", "1", [VALUES], (), batched=b))["payload"] for b in (True, False))
    assert batch["inputs"]["values"]["shape"] == [1, "length"]
    assert free["inputs"]["values"]["shape"] == ["length_0", "length_1"]


@pytest.mark.parametrize(
    ("name", "datatype", "filling"),
    [
        ("text", "BYTES", {"low": 8, "high": 64}),
        ("input_ids", "INT64", {"low": 0, "high": 1000}),
        ("small", "UINT8", {"low": 0, "high": 256}),
        ("attention_mask", "INT64", {"values": [1]}),
        ("token_type_ids", "INT64", {"values": [0]}),
        ("attention_mask", "FP32", {"low": 0.0, "high": 1.0}),
        ("flag", "BOOL", {}),
    ],
)
def test_values_are_drawn_as_the_type_or_a_telling_name_suggests(name: str, datatype: str, filling: dict[str, object]) -> None:
    """A range that such an input usually takes; masks mask nothing."""
    made = tomllib.loads(draft.tensors("t", "m", "1", [TensorSpec(name, datatype, (1,))], (), batched=False))
    assert made["payload"]["inputs"][name] == {"datatype": datatype, "shape": [1]} | filling


def test_an_optional_input_is_a_comment_that_can_be_taken_in() -> None:
    """Without the marks of the comment it is a table like the others."""
    text = draft.tensors("t", "m", "1", [TEXT, VALUES, FACTOR], (), batched=True, optional=["factor"])
    assert set(tomllib.loads(text)["payload"]["inputs"]) == {"text", "values"}
    assert "how long values is" in text
    taken_in = text.replace("# [payload.inputs.factor]\n# datatype", "[payload.inputs.factor]\ndatatype").replace(
        "# shape", "shape"
    )
    assert tomllib.loads(taken_in)["payload"]["inputs"]["factor"]["shape"] == [1, 1]


@pytest.mark.parametrize("ids", [False, True])
def test_a_model_that_generates_gets_prompts(ids: bool) -> None:
    """Words, or token ids; it runs as it is."""
    workload = workloads.parse(draft.generates("t", "m", "1", ids), "mine.toml", "mine")
    assert workload.payload.generate is not None
    assert workload.payload.generate.form == ("tokens" if ids else "text")
    assert len(payloads.make(workload)) == 32


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([TensorSpec("x", "BF16", (1,))], r"its input x BF16\[1\] has a type that bench cannot send; it can"),
        ([], "takes no input"),
    ],
)
def test_what_cannot_be_sent_is_refused(inputs: list[TensorSpec], message: str) -> None:
    """With what can."""
    with pytest.raises(ValueError, match=message):
        draft.tensors("t", "m", "1", inputs, (), batched=True)
