"""A model that works a fixed amount, and the workload that asks it."""

import ast
from pathlib import Path

import pytest

from bench import workload as workloads
from bench.arrivals import Closed
from bench.evidence import busy


def test_the_repository_says_how_many_products_a_request_takes(tmp_path: Path) -> None:
    """In the model's configuration; the model itself is the same."""
    for products in (500, 600):
        busy.repository(tmp_path / str(products), products)
    few, many = ((tmp_path / n / "busy/config.pbtxt").read_text() for n in ("500", "600"))
    assert 'parameters { key: "products" value { string_value: "500" } }' in few
    assert few.replace('"500"', '"600"') == many
    model = (tmp_path / "500/busy/1/model.py").read_text()
    assert "TritonPythonModel" in {node.name for node in ast.parse(model).body if isinstance(node, ast.ClassDef)}


@pytest.mark.parametrize("step", range(1, 8))
def test_a_fifth_more_is_exact(step: int) -> None:
    """Of every multiple of five."""
    assert busy.fifth_more(5 * step) * 5 == 5 * step * 6


@pytest.mark.parametrize(("taken_ns", "products"), [(4_000_000, 625), (5_010_000, 500), (10**10, 5)])
def test_as_many_products_are_taken_as_fill_the_time(taken_ns: int, products: int) -> None:
    """A multiple of five, and never none, where 500 of them take so long and 5 ms are wanted."""
    assert busy.as_many(5.0, taken_ns) == products


def test_the_workload_asks_the_model_one_request_at_a_time() -> None:
    """It can be read as a user's file."""
    made = workloads.parse(busy.WORKLOAD, "busy.toml", "busy")
    assert made.model.name == busy.MODEL
    assert made.load == Closed(1)
    assert not made.check.reference
