"""Payloads: the requests of a workload, the same bytes everywhere."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import payloads, workload
from bench.tensors import NUMPY_TYPES
from bench.workload import Workload

INTEGERS = {"INT8": 7, "INT16": 15, "INT32": 31, "INT64": 40, "UINT8": 8, "UINT16": 16, "UINT32": 32, "UINT64": 40}

shapes = st.lists(st.integers(1, 5), min_size=1, max_size=4).map(tuple)


def make_workload(inputs: dict[str, dict[str, Any]], **payload: Any) -> Workload:
    """A workload of these inputs; `seed` apart, the other keywords are the payload's."""
    seed = payload.pop("seed", 1)
    document = {"name": "w", "seed": seed, "model": {"name": "m"}, "payload": {"inputs": inputs} | payload}
    return workload.from_builtins(document | {"load": {"arrivals": "closed"}}, "w.toml")


def floats(shape: tuple[int, ...] = (2, 8), **more: Any) -> dict[str, Any]:
    """A float32 input."""
    return {"datatype": "FP32", "shape": list(shape)} | more


@given(st.sampled_from(sorted(NUMPY_TYPES)), shapes, st.integers(1, 4))
def test_every_request_has_the_stated_inputs(datatype: str, shape: tuple[int, ...], distinct: int) -> None:
    """As many requests as asked for, each with all inputs, of the stated type and shape."""
    made = payloads.make(make_workload({"a": {"datatype": datatype, "shape": list(shape)}, "b": floats()}, distinct=distinct))
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
    values = payloads.make(make_workload({"a": a}, distinct=1))[0]["a"].astype(np.int64)
    assert values.min() >= low
    assert values.max() < high


def test_whole_numbers_below_nothing_are_rounded_down_too() -> None:
    """Of [-3, 0) there are -3, -2 and -1: rounding towards 0 would reach 0 and never -3."""
    a = {"datatype": "INT8", "shape": [1000], "low": -3.0, "high": 0.0}
    assert set(payloads.make(make_workload({"a": a}, distinct=1))[0]["a"].tolist()) == {-3, -2, -1}


@pytest.mark.parametrize("datatype", ["FP32", "FP64"])
def test_floats_spread_over_the_stated_range(datatype: str) -> None:
    """40,000 uniform values in [-2, 2): none outside, both ends approached, the mean within 5 standard errors of 0."""
    a = {"datatype": datatype, "shape": [40_000], "low": -2.0, "high": 2.0}
    values = payloads.make(make_workload({"a": a}, distinct=1))[0]["a"]
    assert -2 <= values.min() < -1.99
    assert 1.99 < values.max() < 2
    assert abs(values.mean(dtype=np.float64)) < 5 * (4 / 12**0.5) / 200


@given(st.integers(0, 2**32), st.integers(0, 2**32))
def test_the_same_seed_sends_the_same_bytes_and_another_does_not(seed: int, other: int) -> None:
    """Two machines that run one workload send equal requests; another seed gives other ones."""
    first, second = (payloads.make(make_workload({"a": floats()}, seed=s, distinct=1))[0]["a"].tobytes() for s in (seed, other))
    assert (first == second) == (seed == other)


def test_no_two_tensors_are_alike() -> None:
    """Requests are distinct, and so are two inputs of one request: a server that caches or swaps them is found out."""
    made = payloads.make(make_workload({"a": floats(), "b": floats()}, distinct=20))
    assert len({array.tobytes() for request in made for array in request.values()}) == 40


def test_the_first_requests_do_not_depend_on_how_many_follow() -> None:
    """A longer pool begins with the shorter one."""
    short, long = (payloads.make(make_workload({"a": floats()}, distinct=n)) for n in (2, 5))
    assert [request["a"].tobytes() for request in short] == [request["a"].tobytes() for request in long[:2]]


def test_requests_are_the_same_under_every_numpy() -> None:
    """The values of 2026, taken by hand from the upper 24 of PCG64's raw bits: over [0, 2**24) they are whole numbers."""
    a = floats((4,), low=0.0, high=2.0**24)
    assert payloads.make(make_workload({"a": a}, distinct=1))[0]["a"].tolist() == [1646823, 10821776, 6182205, 3468011]


def test_items_are_counted_by_the_first_dimension() -> None:
    """A request of 8 images has 8 items."""
    assert payloads.items(make_workload({"a": floats((8, 3)), "b": floats((1, 2))})) == 8


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


def test_the_digest_does_not_change_with_the_load() -> None:
    """The same requests sent faster, longer and under another name have the same answers."""
    usual = make_workload({"a": floats()})
    other = workload.override(usual, name="other", duration_ns=5, requests=7)
    assert payloads.digest(usual) == payloads.digest(other)
