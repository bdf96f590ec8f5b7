"""Reports for programs."""

import csv
import json
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.analysis.compare import Agreement, SideComparison, compare_sides
from bench.analysis.rule import Rule
from bench.analysis.summary import summarize
from bench.analysis.verdicts import Looks
from bench.record import Run
from bench.reports import data
from bench.reports.sides import Sides, side
from bench.testing import make_run, make_workload


def test_a_run_is_one_document_with_all_that_was_computed(made_run: Callable[..., Run]) -> None:
    """What a script asks for has a fixed place: validity, quantiles with their claims, throughput, errors, resources."""
    run = made_run(errors={3: "status"}, id="r1")
    document = data.run_json(run, summarize(run))
    assert document["schema"] == "bench/run/1"
    assert document["run"] == "r1"
    assert document["validity"] == {"valid": True, "reasons": []}
    assert document["requests"] == 100
    assert document["errors"] == {"status": 1}
    assert document["error_rate"] == 0.01
    assert document["latency"]["quantiles"]["p99"] == {
        "value_ms": None, "low_ms": None, "high_ms": None, "claimable": False, "needs": 459, "has": 99,
    }  # fmt: skip
    p50 = document["latency"]["quantiles"]["p50"]
    assert p50["claimable"] is True
    assert p50["low_ms"] < p50["value_ms"] < p50["high_ms"]
    assert document["throughput"]["unit"] == "req/s"
    assert document["target"]["server"]["options"]["threads"] == 2
    assert document["workload"]["load"] == {"arrivals": "closed", "users": 1}
    assert {"device": "host", "metric": "cpu_utilization", "mean": 70.0, "peak": 70.0, "unit": "%", "samples": 20} in document[
        "resources"
    ]


def test_reasons_of_an_invalid_run_have_codes(made_run: Callable[..., Run]) -> None:
    """A script branches on the code, a person reads the message."""
    run = made_run(errors=dict.fromkeys(range(50), "status"))
    validity = data.run_json(run, summarize(run))["validity"]
    assert validity["valid"] is False
    assert validity["reasons"][0]["code"] == "errors"
    assert "50 of 100" in validity["reasons"][0]["message"]


def leaves(value: Any) -> Iterator[Any]:
    for inner in value.values() if isinstance(value, dict) else value:
        yield from leaves(inner) if isinstance(inner, dict | list) else [inner]


JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from([np.float32(1.5), np.int64(3), object()]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=3), JUNK, max_size=4))
def test_any_fingerprint_becomes_strict_json(environment: dict[str, Any]) -> None:
    """NaN is no JSON, and neither are numpy's numbers; whatever a machine says, the document can be read back."""
    run = make_run([1.0, 2.0], environment=environment, load={"x": float("nan")})
    document = data.run_json(run, summarize(run))
    assert json.loads(data.to_text(document)) == document
    assert not any(isinstance(leaf, float) and not math.isfinite(leaf) for leaf in leaves(document))


def test_a_run_without_requests_has_no_numbers_but_a_document() -> None:
    """null where there is no value, never 0."""
    run = make_run([])
    latency = data.run_json(run, summarize(run))["latency"]
    assert latency["mean"] == {"value_ms": None, "low_ms": None, "high_ms": None}
    assert latency["max_ms"] is None


def test_runs_become_one_flat_row_each(made_run: Callable[..., Run]) -> None:
    """Runs with and without a GPU stand in one table; a cell is empty where a run has no such number."""
    runs = [made_run(id="a"), made_run(id='b,"c"', gpu=True)]
    text = data.runs_csv((run, summarize(run)) for run in runs)
    rows = list(csv.DictReader(text.splitlines()))
    assert [row["run"] for row in rows] == ["a", 'b,"c"']
    assert [row["gpu0_utilization_mean"] for row in rows] == ["", "40.5"]
    assert [row["latency_p99_ms"] for row in rows] == ["", ""]
    assert float(rows[0]["latency_p50_ms"]) == pytest.approx(20, rel=0.1)
    assert rows[0]["valid"] == "True"


def test_a_comparison_is_one_document(made_sides: Callable[..., tuple[SideComparison, Sides]]) -> None:
    """Metrics with their change, both sides with every round in full."""
    document = data.comparison_json(*made_sides())
    assert json.loads(data.to_text(document)) == document
    assert (document["base"], document["new"], document["valid"]) == ("Flask", "Triton 24.07", True)
    mean = document["metrics"][0]
    assert mean["metric"] == "mean latency"
    assert mean["change"]["value"] == pytest.approx(mean["new"]["value"] / mean["base"]["value"], rel=1e-3)
    assert document["metrics"][2]["base"]["claimable"] is True
    assert [len(side["rounds"]) for side in document["sides"]] == [6, 6]
    assert document["sides"][0]["rounds"][2]["run"] == "flask-2"


def test_a_comparison_by_a_rule_has_its_verdicts() -> None:
    """Each with what decided it, or would; those on answers come last, and without a rule there are none."""
    sides = [[make_run([10.0 * n, 12.0], workload=make_workload(round=n)) for n in (1, 2, 3)] for _ in "ab"]
    rule, answers = Rule({"mean": 0.05, "p99": 0.1}, Looks((3, 5), gated=2)), Agreement(15, 16)
    named = tuple(side(name, runs) for name, runs in zip("ab", sides, strict=True))
    document = data.comparison_json(compare_sides(*sides, agreement=[answers], rule=rule), named)
    assert json.loads(data.to_text(document)) == document
    assert document["rule"] == {"looks": [3, 5], "error": 0.05, "gated": 2, "deltas": {"mean": 0.05, "p99": 0.1}}
    mean, p99, last = document["verdicts"]
    assert (mean["side"], mean["metric"], mean["verdict"], mean["delta"]) == ("b", "mean latency", "SAME", 0.05)
    assert mean["change"]["low"] == mean["change"]["high"] == pytest.approx(1.0)
    assert (p99["verdict"], p99["change"]) == ("UNKNOWN", None)
    assert "requests of each side" in p99["why"]
    assert p99["needs_rounds"] > 3
    assert (last["metric"], last["verdict"]) == ("answers", "WORSE")
    assert data.comparison_json(compare_sides(*sides, agreement=[answers]), named)["verdicts"] == []


def test_a_run_of_streams_has_its_token_metrics(made_stream_run: Callable[..., Run]) -> None:
    """Each in ms, as distributions; a claim on gaps counts requests; what is not streamed has null."""
    run = made_stream_run(count=50)
    document = data.run_json(run, summarize(run))
    assert json.loads(data.to_text(document)) == document
    tokens = document["streaming"]
    assert set(tokens) == {
        "ttft", "itl", "tpot", "longest_gap", "output_tokens_per_s", "goodput", "output_tokens", "prompt_tokens", "pieces",
        "tokens_per_piece", "largest_piece",
    }  # fmt: skip
    assert tokens["itl"]["count"] == tokens["output_tokens"] - 50
    assert tokens["itl"]["quantiles"]["p99"]["has"] == 50
    assert tokens["output_tokens_per_s"]["unit"] == "tok/s"
    assert document["batches"] == {"1": 12, "4": 3, "8": 40}
    plain = make_run([1.0])
    assert data.run_json(plain, summarize(plain))["streaming"] is None


def test_runs_of_streams_stand_in_one_table_with_others(
    made_stream_run: Callable[..., Run], made_run: Callable[..., Run]
) -> None:
    """The columns of tokens are empty for images."""
    runs = [made_run(), made_stream_run()]
    rows = list(csv.DictReader(data.runs_csv((run, summarize(run)) for run in runs).splitlines()))
    for name in (
        "ttft_mean_ms",
        "ttft_p50_low_ms",
        "itl_p50_ms",
        "tpot_mean_ms",
        "longest_gap_max_ms",
        "output_tokens_per_s",
        "goodput",
    ):
        assert name in rows[1]
        assert rows[0][name] == ""
    assert float(rows[1]["itl_max_ms"]) == pytest.approx(summarize(runs[1]).streaming.itl.maximum)  # type: ignore[union-attr]


def test_a_comparison_of_many_sides_has_lists_of_values(made_modes: Callable[..., tuple[SideComparison, Sides]]) -> None:
    """A value a side, a change for each but the first; base, new and change are words for two."""
    document = data.comparison_json(*made_modes())
    assert json.loads(data.to_text(document)) == document
    mean = document["metrics"][0]
    assert (mean["metric"], len(mean["values"]), len(mean["changes"])) == ("mean TTFT", 4, 3)
    assert mean["changes"][2]["value"] == pytest.approx(mean["values"][3]["value"] / mean["values"][0]["value"], rel=2e-3)
    assert not {"base", "new", "change"} & {*document, *mean}
    assert [side["same"] for side in document["agreement"]] == [16, 15, 16]
    assert len(document["sides"]) == 4
