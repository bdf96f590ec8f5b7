"""What a comparison is to decide."""

import pytest

from bench.analysis.rule import DEFAULT, GATES, OF_STREAMS, Judgement, Rule, worst
from bench.analysis.verdicts import Looks, Verdict


def test_a_row_has_the_delta_of_its_gate() -> None:
    """Others have none."""
    rule = Rule({"mean": 0.02, "p99": 0.1}, Looks(gated=2))
    assert [rule.delta_of(metric) for metric in ("mean latency", "P99 latency", "P50 latency")] == [0.02, 0.1, None]


def test_the_defaults_are_metrics_that_there_are() -> None:
    """Every name stands for a row of its own."""
    assert {*DEFAULT, *OF_STREAMS} <= GATES.keys()
    Rule(dict.fromkeys(DEFAULT, 0.05), Looks()).check()
    assert len({gate.metric for gate in GATES.values()}) == len(GATES)


@pytest.mark.parametrize(
    ("deltas", "looks"),
    [
        ({"avg": 0.05}, Looks()),
        ({}, Looks()),
        ({"mean": 0.0}, Looks()),
        ({"mean": -2.0}, Looks()),
        ({"mean": 0.05}, Looks(())),
        ({"mean": 0.05}, Looks((-1,))),
        ({"mean": 0.05}, Looks((10, 5))),
        ({"mean": 0.05}, Looks(error=-0.05)),
        ({"mean": 0.05}, Looks(error=5.0)),
        ({"mean": 0.05}, Looks(gated=0)),
    ],
)
def test_what_is_no_rule_is_refused(deltas: dict[str, float], looks: Looks) -> None:
    """Somebody has edited it: nothing is judged by it."""
    with pytest.raises(ValueError, match=r"^rule: "):
        Rule(deltas, looks).check()
    Rule({"mean": 0.05}, Looks()).check()


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (["SAME", "WORSE", "UNKNOWN"], "WORSE"),
        (["SAME", "UNKNOWN", "BETTER"], "UNKNOWN"),
        (["SAME", "BETTER"], "BETTER"),
        (["SAME"], "SAME"),
        ([], "UNKNOWN"),
    ],
)
def test_several_verdicts_come_to_the_worst_of_them(found: list[Verdict], expected: Verdict) -> None:
    """One that is worse is enough; nothing is known where one is unknown."""
    assert worst([Judgement(verdict, 0.05) for verdict in found]) == expected
