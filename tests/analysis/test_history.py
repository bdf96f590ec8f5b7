"""One run against those before it."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from bench.analysis.estimate import Reason
from bench.analysis.history import History, Point, against, comparable, judge
from bench.analysis.summary import summarize
from bench.record import Run
from bench.testing import make_run, make_workload

DELTAS = {"mean": 0.05, "p99": 0.1, "errors": 0.01}
WOBBLE = [0.0, 0.6, -0.5, 0.3, -0.4, 0.5, -0.3, 0.2, -0.6, 0.4]  # in percent
FACTS = {"bench": "1", "driver": "550", "cpu": "a processor", "packages": {"numpy": "2.3"}, "governor": "performance"}


def point(mean_ms: float, **fields: Any) -> Point:
    """A run of 600 requests that took `mean_ms`, evenly spread by ±2 %."""
    run = make_run(mean_ms * np.linspace(0.98, 1.02, 600), **({"environment": FACTS} | fields))
    return Point(run, summarize(run))


def series(levels: Sequence[float], **changes: Any) -> list[Point]:
    """Runs of these means in ms, each with a wobble of its own."""
    return [point(level * (1 + WOBBLE[n % 10] / 100), id=f"run-{n + 1}", **changes) for n, level in enumerate(levels)]


def verdicts(history: History) -> dict[str, str]:
    return {metric.name: metric.judgement.verdict for metric in history.metrics}


# ---------------------------------------------------------------- the verdict


@given(st.lists(st.floats(0.1, 100), min_size=3, max_size=30), st.floats(0.001, 0.2))
def test_the_interval_is_that_of_one_value_more(values: list[float], alpha: float) -> None:
    """SciPy's two-sample t-test with one value on the new side is significant at alpha just where the interval excludes 1."""
    logs = np.log(values)
    effect = against(np.array(values), alpha)
    assert effect.value == pytest.approx(math.exp(logs[-1] - logs[:-1].mean()))
    if logs[:-1].std() < 1e-6:
        return
    p = scipy_stats.ttest_ind(logs[-1:], logs[:-1]).pvalue
    if abs(p - alpha) > 1e-6:
        assert (effect.low > 1 or effect.high < 1) == (p < alpha)


def test_a_run_like_those_before_it_is_the_same() -> None:
    """Ten runs that scatter by half a percent, and one more."""
    made = judge(series([20.0] * 10), point(20.1), DELTAS)
    assert verdicts(made)["mean latency"] == verdicts(made)["P99 latency"] == "SAME"
    assert made.steps == ()


@pytest.mark.parametrize(("mean_ms", "verdict"), [(22.0, "WORSE"), (18.0, "BETTER")])
def test_a_run_at_another_level_is_called_so_and_pointed_at(mean_ms: float, verdict: str) -> None:
    """10 % up or down: the change is from the run before it to it."""
    made = judge(series([20.0] * 10), point(mean_ms), DELTAS)
    assert verdicts(made)["mean latency"] == verdict
    assert [step.at for step in made.steps] == [10]


def test_more_throughput_is_better() -> None:
    """A closed loop that answers faster."""
    assert verdicts(judge(series([20.0] * 10), point(18.0), {"throughput": 0.05})) == {"throughput": "BETTER"}


def test_a_scattered_history_leaves_it_open_and_says_so() -> None:
    """Levels of 20 and 24 in turn tell nothing of 22.5."""
    made = judge(series([20.0, 24.0] * 5), point(22.5), DELTAS)
    assert made.metrics[0].judgement.verdict == "UNKNOWN"
    assert "scatter by" in made.metrics[0].judgement.why


def test_a_level_that_changed_long_ago_leaves_it_open_and_says_by_which_runs_to_judge() -> None:
    """Eight runs at 20 ms, and now the eighth at 23 ms: the seven before it are like it, and all fifteen scatter."""
    points = series([20.0] * 8 + [23.0] * 8)
    why = judge(points[:-1], points[-1], {"mean": 0.05}).metrics[0].judgement.why
    assert "--last 7 judges it by those since" in why
    assert verdicts(judge(points[-8:-1], points[-1], {"mean": 0.05})) == {"mean latency": "SAME"}


@pytest.mark.parametrize("count", [0, 1, 4])
def test_too_short_a_history_is_unknown_and_says_what_it_takes(count: int) -> None:
    """How many there are, and how many are needed."""
    made = judge(series([20.0] * count), point(30.0), DELTAS)
    assert set(verdicts(made).values()) == {"UNKNOWN"}
    assert f"needs 5 earlier runs that have it, has {count}" in made.metrics[0].judgement.why


def test_a_p99_counts_where_a_run_may_claim_it() -> None:
    """Six runs of 600 requests and one of 100: neither is one without a P99 judged, nor does it judge."""
    short = make_run(np.linspace(19.0, 21.0, 100), environment=FACTS)
    few = Point(short, summarize(short))
    of_p99 = judge([few, *series([20.0] * 6)], point(20.0), {"p99": 0.1}).metrics[0]
    assert of_p99.values[0].estimate is None  # type: ignore[union-attr]
    assert of_p99.judgement.verdict == "SAME"
    assert "needs 459 requests" in judge(series([20.0] * 6), few, {"p99": 0.1}).metrics[0].judgement.why


def test_an_invalid_run_is_not_judged_but_by_its_failures() -> None:
    """Every second request failed: no word on latency, and the share of failures is WORSE."""
    failing = point(30.0, errors=dict.fromkeys(range(0, 600, 2), "status"))
    made = judge(series([20.0] * 8), failing, DELTAS)
    assert verdicts(made) == {"mean latency": "UNKNOWN", "P99 latency": "UNKNOWN", "error rate": "WORSE"}
    assert "INVALID: errors" in made.metrics[0].judgement.why
    assert made.verdict == "WORSE"


def test_no_failures_in_many_requests_is_the_same() -> None:
    """5,000 requests of each run bound the share well below 1 %."""
    runs = [make_run(np.full(5000, 1.0)) for _ in range(6)]
    points = [Point(run, summarize(run)) for run in runs]
    metric = judge(points[:-1], points[-1], {"errors": 0.01}).metrics[0]
    assert metric.judgement.verdict == "SAME"
    assert metric.change is not None
    assert metric.change.unit == "share"
    assert metric.change.value == 0


def spoiled(given: Point) -> Point:
    """The same run, INVALID for another reason than its failures."""
    return given._replace(summary=replace(given.summary, reasons=(Reason("late", "everything", "sends were late"),)))


def test_a_run_that_did_something_else_is_judged_by_nothing() -> None:
    """Not even by its failures."""
    made = judge(series([20.0] * 8), spoiled(point(20.0)), DELTAS)
    assert {metric.judgement.why for metric in made.metrics} == {"this run is INVALID: late"}


def test_an_invalid_run_begins_no_level() -> None:
    """One slow run is an outlier, and a second that is INVALID does not make a level of it."""
    earlier = series([20.0] * 10 + [30.0])
    assert judge(earlier, spoiled(point(30.0)), {"mean": 0.05}).steps == ()
    assert [step.at for step in judge(earlier, point(30.0), {"mean": 0.05}).steps] == [10]


def test_failures_that_come_in_bursts_tell_less() -> None:
    """As many failures, all in one of ten runs or as many in each: the interval is wider."""
    widths = []
    for counts in ([5] * 10, [0] * 9 + [50]):
        points = [point(20.0, errors=dict.fromkeys(range(count), "status")) for count in (*counts, 5)]
        change = judge(points[:-1], points[-1], {"errors": 0.01}).metrics[0].change
        assert change is not None
        assert change.high is not None
        assert change.low is not None
        widths.append(change.high - change.low)
    assert widths[1] > 1.5 * widths[0]


# ---------------------------------------------------------------- what changed


def test_the_two_runs_beside_a_change_are_looked_at() -> None:
    """An earlier change of the driver, which changed nothing else, is not named."""
    drivers = ["540"] * 3 + ["550"] * 3 + ["560"] * 6
    levels = [20.0] * 6 + [23.0] * 6
    points = [
        point(level * (1 + WOBBLE[n % 10] / 100), environment=FACTS | {"driver": driver})
        for n, (level, driver) in enumerate(zip(levels, drivers, strict=True))
    ]
    made = judge(points[:-1], points[-1], {"mean": 0.05})
    assert [d.values for step in made.steps for d in step.differences] == [("550", "560")]


def test_a_change_is_pointed_at_with_what_differs_in_the_records() -> None:
    """The driver was another from the seventh of twelve runs on, which are slower."""
    points = series([20.0] * 6) + series([23.0] * 6, environment=FACTS | {"driver": "560"})
    made = judge(points[:-1], points[-1], {"mean": 0.05})
    assert [(step.at, [(d.name, d.values) for d in step.differences]) for step in made.steps] == [
        (6, [("driver", ("550", "560"))])
    ]
    shift = made.steps[0].shifts[0]
    assert (shift.before.value, shift.after.value) == (pytest.approx(20, rel=0.01), pytest.approx(23, rel=0.01))


def test_metrics_that_change_at_one_run_are_one_step() -> None:
    """Mean and P99 together."""
    points = series([20.0] * 6 + [23.0] * 6)
    made = judge(points[:-1], points[-1], DELTAS)
    assert [[shift.metric for shift in step.shifts] for step in made.steps] == [["mean latency", "P99 latency"]]


# ---------------------------------------------------------------- which runs belong together


def of(word: str = "triton@24.07", environment: dict[str, Any] = FACTS, **changes: Any) -> Run:
    """A run of a target word on a machine, and of a workload that was changed."""
    target = {"asked": word, "word": "triton-http://127.0.0.1:40123"}
    return make_run([1.0], target=target, environment=environment, workload=make_workload(**changes))


@pytest.mark.parametrize(
    "other",
    [
        of("triton@24.10"),
        of("triton"),
        of(name="another", description="name", round=3),
        of(environment=FACTS | {"driver": "560", "bench": "2", "packages": {"numpy": "2.4"}}),
        of(environment=FACTS | {"a_new_fact": 1}),
        of(environment={}),
    ],
    ids=["version", "no version", "name", "software", "more is recorded", "nothing is recorded"],
)
def test_a_history_goes_on_over_versions(other: Run) -> None:
    """It is there to find what an upgrade did; names tell nothing, and what one record lacks cannot differ."""
    assert comparable(of(), other)
    assert comparable(other, of())


@pytest.mark.parametrize(
    "other",
    [
        of("flask"),
        of("triton@24.07?batching=off"),
        of("triton-http://host:8000"),
        of(environment=FACTS | {"cpu": "another processor"}),
        of(environment=FACTS | {"governor": "powersave"}),
        of(seed=7),
        of(every_ms=10.0),
    ],
    ids=["kind", "option", "endpoint", "CPU", "governor", "seed", "load"],
)
def test_another_workload_target_or_machine_begins_another_history(other: Run) -> None:
    """What is measured is another thing."""
    assert not comparable(of(), other)
    assert not comparable(other, of())


@pytest.mark.parametrize(("model", "alike"), [({"digest": "b"}, True), ({"digest": "a", "repository": "mine"}, False)])
def test_a_model_may_be_built_anew_but_not_come_from_elsewhere(model: dict[str, str], alike: bool) -> None:
    """Its hash is named where a level changed; a repository of the user's own is another target."""
    run = make_run([1.0], target={"asked": "triton", "word": "triton", "model": {"digest": "a"}}, environment=FACTS)
    other = make_run([1.0], target=run.target | {"model": model}, environment=FACTS)
    assert comparable(run, other) is alike


def test_the_address_of_an_endpoint_that_the_user_named_is_part_of_the_target() -> None:
    """Two hosts are two targets; the port that a managed server happened to get is none of it."""
    assert not comparable(of("triton-http://a:8000"), of("triton-http://b:8000"))
    run = of()
    moved = make_run([1.0], target=run.target | {"word": "triton-http://127.0.0.1:5"}, environment=FACTS, workload=run.workload)
    assert comparable(run, moved)
