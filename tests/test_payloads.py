"""Payloads: the requests of a workload, the same bytes everywhere."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import payloads, resources, workload
from bench.errors import UsageError
from bench.payloads import Prompt
from bench.tensors import NUMPY_TYPES, Tensors
from bench.workload import Workload

INTEGERS = {"INT8": 7, "INT16": 15, "INT32": 31, "INT64": 40, "UINT8": 8, "UINT16": 16, "UINT32": 32, "UINT64": 40}

shapes = st.lists(st.integers(1, 5), min_size=1, max_size=4).map(tuple)


def make_workload(inputs: dict[str, dict[str, Any]], **payload: Any) -> Workload:
    """A workload of these inputs; `seed` apart, the other keywords are the payload's."""
    seed = payload.pop("seed", 1)
    document = {"name": "w", "seed": seed, "model": {"name": "m"}, "payload": {"inputs": inputs} | payload}
    return workload.from_builtins(document | {"load": {"arrivals": "closed"}}, "w.toml")


def requests(workload: Workload) -> list[Tensors]:
    """The requests of a workload of tensors."""
    made = payloads.make(workload)
    return [request for request in made if isinstance(request, dict)]


def generating(**changes: Any) -> Workload:
    """A workload of prompts of 3 to 20 tokens; `seed` and `distinct` apart, the keywords are of [payload.generate]."""
    lengths = {"prompt_tokens": {"distribution": "uniform", "low": 3, "high": 20}, "output_tokens": 5}
    payload = {"distinct": changes.pop("distinct", 8)}
    document = {"name": "w", "seed": changes.pop("seed", 1), "model": {"name": "m"}, "load": {"arrivals": "closed"}}
    return workload.from_builtins(document | {"payload": payload | {"generate": lengths | changes}}, "w.toml")


def prompts(workload: Workload) -> list[Prompt]:
    return [prompt for prompt in payloads.make(workload) if isinstance(prompt, Prompt)]


def floats(shape: tuple[int, ...] = (2, 8), **more: Any) -> dict[str, Any]:
    """A float32 input."""
    return {"datatype": "FP32", "shape": list(shape)} | more


@given(st.sampled_from(sorted(NUMPY_TYPES)), shapes, st.integers(1, 4))
def test_every_request_has_the_stated_inputs(datatype: str, shape: tuple[int, ...], distinct: int) -> None:
    """As many requests as asked for, each with all inputs, of the stated type and shape."""
    a = {"datatype": datatype, "shape": list(shape)} | ({"low": 0, "high": 9} if datatype == "BYTES" else {})
    made = requests(make_workload({"a": a, "b": floats()}, distinct=distinct))
    assert len(made) == distinct
    for request in made:
        assert list(request) == ["a", "b"]
        assert request["a"].dtype == NUMPY_TYPES[datatype]
        assert request["a"].shape == shape


@given(st.sampled_from(sorted(INTEGERS)), st.data())
def test_whole_numbers_lie_from_low_up_to_but_not_including_high(datatype: str, data: st.DataObject) -> None:
    """Token ids of a vocabulary never reach its size."""
    most = 2 ** INTEGERS[datatype]
    low = data.draw(st.integers(0 if datatype.startswith("U") else -most, most - 1))
    high = data.draw(st.integers(low + 1, most))
    a = {"datatype": datatype, "shape": [64], "low": low, "high": high}
    values = requests(make_workload({"a": a}, distinct=1))[0]["a"].astype(np.int64)
    assert values.min() >= low
    assert values.max() < high


def test_whole_numbers_below_nothing_are_rounded_down_too() -> None:
    """Of [-3, 0) there are -3, -2 and -1: rounding towards 0 would reach 0 and never -3."""
    a = {"datatype": "INT8", "shape": [1000], "low": -3.0, "high": 0.0}
    assert set(requests(make_workload({"a": a}, distinct=1))[0]["a"].tolist()) == {-3, -2, -1}


@pytest.mark.parametrize("datatype", ["FP32", "FP64"])
def test_floats_spread_over_the_stated_range(datatype: str) -> None:
    """40,000 uniform values in [-2, 2): none outside, both ends approached, the mean within 5 standard errors of 0."""
    a = {"datatype": datatype, "shape": [40_000], "low": -2.0, "high": 2.0}
    values = requests(make_workload({"a": a}, distinct=1))[0]["a"]
    assert -2 <= values.min() < -1.99
    assert 1.99 < values.max() < 2
    assert abs(values.mean(dtype=np.float64)) < 5 * (4 / 12**0.5) / 200


@given(st.integers(0, 2**32), st.integers(0, 2**32))
def test_the_same_seed_sends_the_same_bytes_and_another_does_not(seed: int, other: int) -> None:
    """Two machines that run one workload send equal requests; another seed gives other ones."""
    first, second = (requests(make_workload({"a": floats()}, seed=s, distinct=1))[0]["a"].tobytes() for s in (seed, other))
    assert (first == second) == (seed == other)


def test_no_two_tensors_are_alike() -> None:
    """Requests are distinct, and so are two inputs of one request: a server that caches or swaps them is found out."""
    made = requests(make_workload({"a": floats(), "b": floats()}, distinct=20))
    assert len({array.tobytes() for request in made for array in request.values()}) == 40


def test_the_first_requests_do_not_depend_on_how_many_follow() -> None:
    """A longer pool begins with the shorter one."""
    short, long = (requests(make_workload({"a": floats()}, distinct=n)) for n in (2, 5))
    assert [request["a"].tobytes() for request in short] == [request["a"].tobytes() for request in long[:2]]


def test_requests_are_the_same_under_every_numpy() -> None:
    """The values of 2026, taken by hand from the upper 24 of PCG64's raw bits: over [0, 2**24) they are whole numbers."""
    a = floats((4,), low=0.0, high=2.0**24)
    assert requests(make_workload({"a": a}, distinct=1))[0]["a"].tolist() == [1646823, 10821776, 6182205, 3468011]


def test_the_requests_of_resnet50_are_those_that_they_always_were() -> None:
    """All 19 MB of them: stored runs can be made again, and compared."""
    made = requests(resources.load_workload("resnet50"))
    assert hashlib.sha256(b"".join(r["input"].tobytes() for r in made)).hexdigest().startswith("b0906835930d5847")


@given(st.integers(0, 2**40), st.integers(1, 6))
def test_a_dimension_with_a_name_is_as_long_as_drawn_in_all_inputs_of_a_request(seed: int, distinct: int) -> None:
    """Ids and their mask are equally long; the requests are not."""
    inputs = {"ids": {"datatype": "INT64", "shape": [1, "n"], "high": 9}, "mask": floats(("n", 2)), "other": floats(("m",))}
    drawn = {"n": {"distribution": "uniform", "low": 2, "high": 90}, "m": 3}
    made = requests(make_workload(inputs, lengths=drawn, seed=seed, distinct=distinct))
    for request in made:
        n = request["ids"].shape[1]
        assert (request["ids"].shape, request["mask"].shape, request["other"].shape) == ((1, n), (n, 2), (3,))
        assert 2 <= n <= 90
    wide = requests(make_workload(inputs, lengths=drawn, seed=seed, distinct=8))
    assert len({request["ids"].shape for request in wide}) > 1


@given(st.integers(0, 2**40), st.integers(0, 9), st.integers(1, 9))
def test_texts_have_the_stated_number_of_characters(seed: int, low: int, more: int) -> None:
    """From low up to, but not including, high; letters and spaces, so that tokenizers have words."""
    text = {"datatype": "BYTES", "shape": [3, 4], "low": low, "high": low + 1 + more}
    (request,) = requests(make_workload({"text": text}, seed=seed, distinct=1))
    assert request["text"].shape == (3, 4)
    for t in request["text"].ravel().tolist():
        assert low <= len(t) <= low + more
        assert set(t) <= set(b"abcdefghijklmnopqrstuvwxyz ")


@pytest.mark.parametrize(
    ("datatype", "values", "kind"),
    [("BYTES", ["a", "ä"], np.object_), ("INT8", [3, -4], np.int8), ("FP32", [0.5, 2], np.float32), ("BOOL", [True], np.bool_)],
)
def test_values_are_drawn_from_those_that_are_stated(datatype: str, values: list[Any], kind: type) -> None:
    """All of them, nothing else."""
    a = {"datatype": datatype, "shape": [64], "values": values}
    (request,) = requests(make_workload({"a": a}, distinct=1))
    assert request["a"].dtype == kind
    wanted = {v.encode() for v in values} if datatype == "BYTES" else set(values)
    assert set(request["a"].tolist()) == wanted


def test_requests_in_files_go_with_those_that_are_made(tmp_path: Path) -> None:
    """A length that a file's input has is the file's in the others too, so that a mask is as long as its ids."""
    (tmp_path / "ids.json").write_text("[[1, 2, 3], [4], [5, 6]]")
    ids = {"datatype": "INT64", "shape": ["n"], "file": str(tmp_path / "ids.json")}
    made = requests(make_workload({"mask": {"datatype": "INT8", "shape": ["n"], "values": [1]}, "ids": ids}, distinct=2))
    assert [request["ids"].tolist() for request in made] == [[1, 2, 3], [4]]
    assert [request["mask"].tolist() for request in made] == [[1, 1, 1], [1]]
    assert list(made[0]) == ["mask", "ids"]


def test_files_whose_requests_differ_in_a_length_are_refused(tmp_path: Path) -> None:
    """The request and both inputs are named."""
    inputs = {}
    for name, content in (("ids", "[[1, 2], [3]]"), ("mask", "[[1, 1], [1, 1]]")):
        (tmp_path / name).with_suffix(".json").write_text(content)
        inputs[name] = {"datatype": "INT64", "shape": ["n"], "file": str(tmp_path / f"{name}.json")}
    with pytest.raises(UsageError, match=r"payload\.inputs\.mask: .*: in request 1, 'n' is 2, and 1 in input ids"):
        payloads.make(make_workload(inputs, distinct=2))


@given(st.integers(0, 2**40), st.integers(2, 200_000))
def test_prompts_are_ids_of_the_vocabulary(seed: int, vocabulary: int) -> None:
    """As many as drawn, and the number of tokens to answer with beside them."""
    w = generating(seed=seed, vocabulary=vocabulary, ignore_eos=False)
    made = prompts(w)
    assert [prompt.tokens for prompt in made] == [len(prompt.ids) for prompt in made] == payloads.prompt_lengths(w)
    assert all(3 <= prompt.tokens <= 20 for prompt in made)
    assert all(prompt.ids.min() >= 0 and prompt.ids.max() < vocabulary for prompt in made)
    assert {(prompt.text, prompt.max_tokens, prompt.ignore_eos) for prompt in made} == {("", 5, False)}


def test_prompts_are_the_same_everywhere() -> None:
    """The values of 2026."""
    made = prompts(generating(prompt_tokens=4, vocabulary=151_936, distinct=2))
    assert [prompt.ids.tolist() for prompt in made] == [[22782, 8497, 107299, 12002], [56513, 11441, 126430, 93876]]


def test_prompts_of_a_group_begin_alike() -> None:
    """As with a system prompt; those of another group begin differently, and what follows differs in all."""
    made = prompts(generating(prompt_tokens=12, prefix={"tokens": 8, "groups": 2}, distinct=6))
    beginnings = [prompt.ids[:8].tolist() for prompt in made]
    assert beginnings[0] == beginnings[2] == beginnings[4] != beginnings[1] == beginnings[3] == beginnings[5]
    assert len({tuple(prompt.ids[8:].tolist()) for prompt in made}) == 6


def test_prompts_can_be_words() -> None:
    """As many words as tokens were asked for, and no ids."""
    for prompt in prompts(generating(form="text")):
        assert len(prompt.text.split(" ")) == prompt.tokens
        assert set(prompt.text.split(" ")) <= set(payloads.WORDS)
        assert prompt.ids.size == 0


def test_items_are_counted_by_the_first_dimension() -> None:
    """A request of 8 images has 8 items."""
    assert payloads.items(make_workload({"a": floats((8, 3)), "b": floats((1, 2))})) == 8


@pytest.mark.parametrize("first", [{"shape": []}, {"shape": ["n"]}])
def test_a_request_without_a_batch_is_one_item(first: dict[str, Any]) -> None:
    """A single value, or a length that is drawn; a prompt too."""
    used = {"n": 5} if first["shape"] else {}
    assert payloads.items(make_workload({"a": {"datatype": "FP32"} | first}, lengths=used)) == 1
    assert payloads.items(generating()) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 2},
        {"distinct": 3},
        {"inputs": {"b": floats()}},
        {"inputs": {"a": floats((2, 9))}},
        {"inputs": {"a": floats(high=3.0)}},
        {"inputs": {"a": floats(low=-1.0)}},
        {"inputs": {"a": floats(datatype="FP64")}},
    ],
    ids=["seed", "distinct", "name", "shape", "high", "low", "type"],
)
def test_the_digest_changes_with_whatever_changes_the_requests(changes: dict[str, Any]) -> None:
    """Reference answers stored under a digest never meet other requests than theirs."""
    usual: dict[str, Any] = {"inputs": {"a": floats()}, "distinct": 2, "seed": 1}
    assert payloads.digest(make_workload(**usual)) != payloads.digest(make_workload(**usual | changes))


@pytest.mark.parametrize(
    "changes",
    [{"seed": 2}, {"distinct": 3}, {"output_tokens": 6}, {"prompt_tokens": 6}, {"vocabulary": 9}, {"form": "text"},
     {"prefix": {"tokens": 2}}, {"ignore_eos": False}],
    ids=lambda changes: next(iter(changes)),
)  # fmt: skip
def test_the_digest_of_prompts_changes_with_whatever_changes_them(changes: dict[str, Any]) -> None:
    """The lengths of answers too."""
    assert payloads.digest(generating()) != payloads.digest(generating(**changes))


def test_the_digest_names_what_a_file_holds_and_not_where_it_lies() -> None:
    """The same file on another machine has the same answers."""
    a, b, c = (floats(file=file, sha256=sha256) for file, sha256 in (("/a.npy", "1"), ("/b.npy", "1"), ("/a.npy", "2")))
    digests = [payloads.digest(make_workload({"x": i})) for i in (a, b, c)]
    assert digests[0] == digests[1] != digests[2]


def test_the_digest_does_not_change_with_the_load() -> None:
    """The same requests sent faster, longer and under another name have the same answers."""
    usual = make_workload({"a": floats()})
    other = workload.override(usual, name="other", duration_ns=5, requests=7)
    assert payloads.digest(usual) == payloads.digest(other)
