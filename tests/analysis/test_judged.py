"""Verdicts on the rows of a comparison: which rows have one, by what interval, and what each UNKNOWN lacks."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from bench.analysis.compare import Agreement, SideComparison, compare_sides
from bench.analysis.rule import Judgement, Rule
from bench.analysis.verdicts import Looks
from bench.record import Run
from bench.testing import Stream, make_run, make_stream_run, make_stream_workload, make_workload

DELTAS = {"mean": 0.05, "p99": 0.10, "errors": 0.01}
RULE = Rule(DELTAS, Looks((5, 10, 20)))


def rounds(count: int = 10, factor: float = 1.0, requests: int = 200, scatter: float = 0.0, **fields: Any) -> list[Run]:
    """Rounds of an experiment whose latencies are 30 ms x `factor`, give or take, the same in each side's round of a number."""
    made = []
    for n in range(1, count + 1):
        rng = np.random.default_rng(n)
        latencies = factor * rng.gamma(30.0, 1.0, requests)
        mood = np.exp(scatter * np.random.default_rng([n, round(1000 * factor)]).standard_normal())
        made.append(make_run(mood * latencies, workload=make_workload(round=n), **fields))
    return made


def judged(comparison: SideComparison) -> dict[str, Judgement]:
    return {row.metric: row.judged[0] for row in comparison.rows if row.judged}


def verdicts(comparison: SideComparison) -> list[str]:
    return [judgement.verdict for judgement in judged(comparison).values()]


def test_only_what_the_rule_names_has_a_verdict() -> None:
    """The others are shown with intervals of 95 %; without a rule nothing has one."""
    comparison = compare_sides(rounds(), rounds(), rule=RULE)
    assert list(judged(comparison)) == ["mean latency", "P99 latency", "error rate"]
    confidences = {row.metric: row.changes[0].confidence for row in comparison.rows if row.changes[0]}
    assert confidences["P50 latency"] == pytest.approx(0.95)
    assert confidences["mean latency"] == confidences["P99 latency"] == pytest.approx(1 - RULE.alpha(10))
    assert not judged(compare_sides(rounds(), rounds()))


@pytest.mark.parametrize(
    ("factor", "expected"),
    [(1.0, ["SAME", "SAME", "SAME"]), (1.3, ["WORSE", "WORSE", "SAME"]), (0.7, ["BETTER", "BETTER", "SAME"])],
)
def test_a_side_is_the_same_worse_or_better(factor: float, expected: list[str]) -> None:
    """As slow, a third slower, a third faster; 2,000 requests without an error show that there is not 1 % of them."""
    assert verdicts(compare_sides(rounds(), rounds(factor=factor), rule=RULE)) == expected


def test_a_verdict_uses_the_interval_of_its_look() -> None:
    """After ten rounds the second look's, whose error is a share of the whole."""
    row = compare_sides(rounds(), rounds(factor=1.02, scatter=0.01), rule=RULE).rows[0]
    assert row.changes[0] is not None
    assert row.changes[0].confidence == pytest.approx(1 - RULE.looks.alpha(10))
    early = compare_sides(rounds(5), rounds(5, factor=1.02, scatter=0.01), rule=RULE).rows[0]
    assert early.changes[0] is not None
    assert early.changes[0].confidence == pytest.approx(1 - RULE.looks.alpha(5))
    assert early.changes[0].confidence > row.changes[0].confidence


def test_the_side_with_fewer_rounds_says_which_look_it_is() -> None:
    """Five stored runs against twenty are as good as five."""
    few, many = ([make_run([10.0, 12.0] * 50, workload=make_workload()) for _ in range(n)] for n in (5, 20))
    change = compare_sides(few, many, rule=RULE).rows[0].changes[0]
    assert change is not None
    assert change.confidence == pytest.approx(1 - RULE.looks.alpha(5))


def test_an_unknown_says_how_many_rounds_would_decide() -> None:
    """Rounds that scatter by 20 % about no change."""
    mean = judged(compare_sides(rounds(5), rounds(5, factor=1.001, scatter=0.2), rule=RULE))["mean latency"]
    assert mean.verdict == "UNKNOWN"
    assert mean.needed is not None
    assert mean.needed > 20
    assert mean.waits


@pytest.mark.parametrize(("count", "waits"), [(5, True), (2, False)])
def test_a_p99_that_cannot_be_claimed_says_what_it_needs(count: int, waits: bool) -> None:
    """5 x 40 requests are fewer than 459, and 20 x 40 are more; of 2 x 10 there will never be enough."""
    requests = 40 if waits else 10
    p99 = judged(compare_sides(rounds(count, requests=requests), rounds(count, requests=requests), rule=RULE))["P99 latency"]
    assert (p99.verdict, p99.waits) == ("UNKNOWN", waits)
    assert p99.why == f"needs 459 requests of each side, has {count * requests}"
    assert p99.needed == -(-459 // requests)


def test_a_p99_of_rounds_that_have_none_of_their_own_is_unknown() -> None:
    """20 x 30 requests claim one together, but it does not show how it differs from round to round."""
    p99 = judged(compare_sides(rounds(20, requests=30), rounds(20, requests=30), rule=RULE))["P99 latency"]
    assert (p99.verdict, p99.why, p99.waits) == ("UNKNOWN", "needs 33 requests in every round, one has 30", False)


def test_two_rounds_decide_nothing() -> None:
    """Named, with what it takes."""
    mean = judged(compare_sides(rounds(2), rounds(2), rule=RULE))["mean latency"]
    assert (mean.verdict, mean.why, mean.needed) == ("UNKNOWN", "needs 3 rounds of each side, has 2", None)


def test_what_an_invalid_side_spoils_has_no_verdict_but_its_failures_do() -> None:
    """5 % of failed requests make the latencies those of the others alone; that they failed is plain."""
    bad = rounds(requests=200, errors=dict.fromkeys(range(10), "status"))
    found = judged(compare_sides(rounds(), bad, rule=RULE))
    assert (found["mean latency"].verdict, found["mean latency"].why) == ("UNKNOWN", "INVALID: errors")
    assert not found["mean latency"].waits
    assert found["error rate"].verdict == "WORSE"
    turned = judged(compare_sides(bad, rounds(), rule=RULE))
    assert turned["error rate"].verdict == "BETTER"
    assert (turned["mean latency"].verdict, turned["mean latency"].why) == ("UNKNOWN", "INVALID: errors")


def test_a_side_without_rounds_is_unknown_in_all() -> None:
    """And no exception."""
    found = judged(compare_sides(rounds(), [], rule=RULE))
    assert {judgement.verdict for judgement in found.values()} == {"UNKNOWN"}
    assert {judgement.why for judgement in found.values()} == {"INVALID: no_rounds"}


def test_a_metric_that_a_side_has_not_got_is_unknown() -> None:
    """Streams against plain replies: there is no TTFT to compare."""
    rule = Rule({"ttft": 0.05}, Looks(gated=1))
    stream = make_stream_run([Stream(0.0, [100.0, 110.0])] * 50)
    (found,) = judged(compare_sides([stream] * 3, rounds(3), rule=rule)).values()
    assert (found.verdict, found.why) == ("UNKNOWN", "not measured on both sides")


@pytest.mark.parametrize(("same", "expected"), [(16, "SAME"), (15, "WORSE")])
def test_answers_have_a_verdict_of_their_own(same: int, expected: str) -> None:
    """One that is another is a regression, whatever the latencies are."""
    comparison = compare_sides(rounds(), rounds(), rule=RULE, agreement=[Agreement(same, 16)])
    assert [judgement.verdict for judgement in comparison.judgements()] == ["SAME", "SAME", "SAME", expected]
    for nothing in ([None], [Agreement(0, 0)], []):
        assert len(compare_sides(rounds(), rounds(), rule=RULE, agreement=nothing).judgements()) == 3


def test_every_side_is_judged_against_the_first() -> None:
    """The same, slower, faster."""
    comparison = compare_sides(rounds(), rounds(), rounds(factor=1.3), rounds(factor=0.7), rule=RULE)
    assert [comparison.judgements(n)[0].verdict for n in (1, 2, 3)] == ["SAME", "WORSE", "BETTER"]
    assert len(comparison.judgements()) == 9


def test_streams_are_judged_by_their_tokens() -> None:
    """The first token comes a fifth later, the others as before."""

    def side(factor: float) -> list[Run]:
        made = []
        for n in range(1, 7):
            rng = np.random.default_rng(n)
            streams = [_stream(rng, factor, 300.0 * k) for k in range(40)]
            made.append(make_stream_run(streams, workload=make_stream_workload(round=n)))
        return made

    rule = Rule({"ttft": 0.05, "tpot": 0.05, "errors": 0.01}, Looks(gated=3))
    found = judged(compare_sides(side(1.0), side(1.2), rule=rule))
    assert (found["mean TTFT"].verdict, found["mean TPOT"].verdict) == ("WORSE", "SAME")


def _stream(rng: np.random.Generator, factor: float, sent_ms: float) -> Stream:
    times: Sequence[float] = np.cumsum(np.concatenate([[factor * rng.gamma(30, 3.0)], rng.gamma(30, 0.3, 9)])).tolist()
    return Stream(sent_ms, times)


def test_one_short_round_spoils_only_its_own_pair() -> None:
    """Nine pairs of 1,000 requests and one of 40 find a fifth more in the tail."""
    counts = [1000] * 9 + [40]
    sides = [
        [
            make_run(factor * np.random.default_rng([n, round(10 * factor)]).gamma(30, 1, k), workload=make_workload(round=n))
            for n, k in enumerate(counts, 1)
        ]
        for factor in (1.0, 1.2)
    ]
    assert judged(compare_sides(*sides, rule=Rule({"p99": 0.05}, Looks(gated=1))))["P99 latency"].verdict == "WORSE"


@pytest.mark.parametrize(("starts", "pairs"), [((3, 4), 10), ((1, 1), 10), ((10, 10), 10)])
def test_how_long_servers_took_to_be_ready_is_told_of_each_start(starts: tuple[int, int], pairs: int) -> None:
    """Of a server at a time there are as many starts as it took, on one side one more than on the other."""
    sides = []
    for count in starts:
        targets = [{"word": "echo://", "server": {"ready_s": 2.0 + min(n, count) / 10}} for n in range(1, pairs + 1)]
        sides.append([make_run([10.0] * 50, workload=make_workload(round=n), target=t) for n, t in enumerate(targets, 1)])
    row = next(row for row in compare_sides(*sides, rule=RULE).rows if row.metric == "time to ready")
    assert row.changes[0] is not None
    assert (row.changes[0].low is not None) == (min(starts) >= 3)


def test_a_round_that_was_not_sampled_is_missing_from_its_pair_alone() -> None:
    """The sampler died in one round of one side: the others are still pairs."""
    levels = [30.0, 60.0, 90.0, 45.0, 75.0]
    sides = [
        [
            make_run(
                [10.0] * 50,
                workload=make_workload(round=n),
                samples={} if (n, factor) == (3, 1.1) else {("server", "cpu_utilization"): [(1, factor * level)]},
            )
            for n, level in enumerate(levels, 1)
        ]
        for factor in (1.0, 1.1)
    ]
    change = next(row for row in compare_sides(*sides).rows if row.metric.startswith("mean server")).changes[0]
    assert change is not None
    assert (change.low, change.high) == (pytest.approx(1.1), pytest.approx(1.1))


def test_errors_that_the_planned_rounds_cannot_decide_are_not_waited_for() -> None:
    """5 x 10 requests without a failure: 20 x 10 are too few for a point, and 20 x 60 are not."""
    for requests, waits in ((10, False), (60, True)):
        found = judged(compare_sides(rounds(5, requests=requests), rounds(5, requests=requests), rule=RULE))["error rate"]
        assert (found.verdict, found.waits) == ("UNKNOWN", waits)


def test_answers_that_could_not_be_compared_are_unknown() -> None:
    """And say why."""
    comparison = compare_sides(rounds(), rounds(), rule=RULE, agreement=[Agreement(0, 0, why="no answers")])
    assert comparison.judgements()[-1] == Judgement("UNKNOWN", 0.0, why="no answers")
