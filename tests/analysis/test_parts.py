"""The parts of a mix in numbers, and what is said of them."""

from dataclasses import replace as changed
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from bench import mix
from bench.analysis.measured import measure
from bench.analysis.summary import summarize
from bench.analysis.validity import validity
from bench.record import ERRORS, NOT_COMPARED, Run
from bench.slo import Nanoseconds, Quantile, Share, Slo
from bench.testing import Stream, make_mix, make_run, make_stream_run, make_stream_workload
from bench.workload import Check, Workload

MIXED = make_mix({"a": (3, 4), "b": (1, 2)})


def promising(a: Slo = Slo(), b: Slo = Slo(), **fields: Any) -> Workload:  # noqa: B008
    """The mix with what each part promises."""
    return replace(MIXED, mix=tuple(replace(part, slo=slo) for part, slo in zip(MIXED.mix, (a, b), strict=True)), **fields)


def owners(count: int) -> list[int]:
    """The part of each request of `make_run`."""
    turns = mix.turns(MIXED)
    return [int(turns[n % len(turns)] >= 4) for n in range(count)]


def run_of(count: int, ms: tuple[float, float] = (10.0, 40.0), **fields: Any) -> Run:
    """Requests of a that take 10 ms, and of b that take 40."""
    return make_run([ms[owner] for owner in owners(count)], **({"workload": MIXED} | fields))


def test_each_part_has_its_own_requests_latency_and_throughput() -> None:
    """Of 128 requests a quarter is b's; together they take 96 x 10 + 32 x 40 ms."""
    s = summarize(run_of(128))
    a, b = s.parts
    assert [(p.name, p.asked, p.share, p.requests, p.compared) for p in s.parts] == [
        ("a", 0.75, 0.75, 96, 96),
        ("b", 0.25, 0.25, 32, 32),
    ]
    assert a.latency.mean is not None
    assert b.latency.mean is not None
    assert (a.latency.mean.value, b.latency.mean.value) == (pytest.approx(10), pytest.approx(40))
    assert (a.throughput.value, b.throughput.value) == (pytest.approx(96 / 2.24), pytest.approx(32 / 2.24))
    assert (b.latency.at(0.9).needs, b.latency.at(0.9).has) == (44, 32)
    assert s.latency.count == 128


@given(st.integers(1, 300), st.sets(st.integers(0, 299)), st.integers(0, 2**32))
def test_the_parts_make_up_the_whole(count: int, failing: set[int], seed: int) -> None:
    """Whatever failed, and however the records lie: every request, error and latency is one part's and no other's."""
    run = run_of(count, errors={n: "status" for n in failing if n < count}, every_ms=7.0)
    order = np.random.default_rng(seed).permutation(count)
    m = measure(changed(run, records=run.records[order]))
    assert sum(p.requests for p in m.parts) == m.requests == count
    assert sum(p.started for p in m.parts) == m.started
    assert sum(p.compared for p in m.parts) == m.compared
    assert sum(p.errors.get("status", 0) for p in m.parts) == m.errors.get("status", 0)
    assert sorted(np.concatenate([p.latency_ns() for p in m.parts])) == sorted(m.latency_ns())
    assert sorted(np.concatenate([p.completed_ns() for p in m.parts])) == sorted(m.completed_ns())
    assert [set(p.latency_ns()) <= {ms * 10**6} for p, ms in zip(m.parts, (10, 40), strict=True)] == [True, True]


def test_a_workload_of_one_model_has_no_parts() -> None:
    """What is told of the whole is all there is."""
    assert measure(make_run([1.0] * 9)).parts == ()
    assert summarize(make_run([1.0] * 9)).parts == ()


def test_a_part_keeps_or_breaks_its_own_promise() -> None:
    """b is promised in 30 ms and takes 40; a keeps its own; the whole, which promises 50, too."""
    bound = {"quantile": Quantile(0.9), "error_rate": Share(0.01)}
    workload = promising(
        Slo(Nanoseconds(20 * 10**6), **bound), Slo(Nanoseconds(30 * 10**6), **bound), slo=Slo(Nanoseconds(50 * 10**6), **bound)
    )
    s = summarize(run_of(400, workload=workload))
    a, b = s.parts
    assert [promise.met for promise in s.slo] == [True, True]
    assert [(promise.name, promise.met) for promise in b.slo] == [("P90 latency", False), ("error rate", True)]
    assert (a.kept, b.kept) == (True, False)
    assert summarize(run_of(40, workload=workload)).parts[1].kept is None


def test_the_errors_of_a_part_over_its_bound_make_a_run_invalid_though_the_whole_is_within() -> None:
    """The reason names the part; where the whole is over, that is said once."""
    at = owners(384)
    failing = dict.fromkeys([n for n in range(384) if at[n]][:3], "status")
    workload = promising(slo=Slo(error_rate=Share(0.5)))
    (reason,) = validity(run_of(384, errors=failing, workload=workload))[0]
    assert reason.code == "errors"
    assert reason.message.startswith("3 of 96 requests of b failed (3.12%: 3 status) and 1.00% may: ")
    (reason,) = validity(run_of(384, errors=failing, workload=promising(slo=Slo(error_rate=Share(0.005)))))[0]
    assert reason.message.startswith("3 of 384 requests failed (0.78%: 3 status) and 0.50% may: ")
    allowed = promising(b=Slo(error_rate=Share(0.04)), slo=Slo(error_rate=Share(0.5)))
    assert validity(run_of(384, errors=failing, workload=allowed))[0] == ()


def test_a_part_of_which_no_answer_was_compared_is_warned_of() -> None:
    """With its own reason: the record says which parts have a reference."""
    run = run_of(400, target={"parts": {"a": {"model": {"name": "a"}}, "b": {"model": None}}})
    assert validity(run)[1] == ()
    run.records["check"][run.records["payload"] >= 4] = NOT_COMPARED
    (warning,) = validity(run)[1]
    assert warning.message.startswith("no answer of b was compared with a reference (there was no reference)")
    run.records["check"] = NOT_COMPARED
    unwanted = replace(MIXED, mix=(MIXED.mix[0], replace(MIXED.mix[1], check=Check(reference=False))))
    messages = [w.message for w in validity(changed(run, workload=unwanted))[1]]
    assert [text.partition(":")[0] for text in messages] == [
        "no answer of a was compared with a reference (one in 1 is, and none of those had come)",
        "no answer of b was compared with a reference (the workload says reference = false)",
    ]


def test_executed_batches_are_told_of_each_part() -> None:
    """Of the whole there are none: a size means another thing for each model."""
    s = summarize(run_of(100, load={"batches": {"a": {"1": 3, "2": 0}, "b": {"4": 1}}}))
    assert [p.batches for p in s.parts] == [{1: 3}, {4: 1}]
    assert s.batches == {}
    assert [p.batches for p in summarize(run_of(100)).parts] == [{}, {}]


def streamed(parts: int = 2) -> Workload:
    """A mix of prompts: b's are longer."""
    payload = replace(make_stream_workload().payload, distinct=2)
    assert payload.generate is not None
    long = replace(payload, generate=replace(payload.generate, prompt_tokens=500))
    pairs = zip(MIXED.mix, (payload, long), strict=True)
    return replace(MIXED, mix=tuple(replace(part, payload=of) for part, of in pairs))


def test_the_tokens_of_a_mix_are_those_of_its_parts_prompts() -> None:
    """A prompt's length is looked up in the row of all parts; each part has its own time to the first token."""
    workload = streamed()
    turns = mix.turns(workload)
    found = [Stream(10.0 * n, [100.0 if turns[n] < 2 else 300.0, 500.0]) for n in range(200)]
    slow = replace(workload.mix[1], slo=Slo(ttft_ns=Nanoseconds(200 * 10**6), quantile=Quantile(0.5)))
    s = summarize(make_stream_run(found, workload=replace(workload, mix=(workload.mix[0], slow))))
    a, b = s.parts
    assert s.streaming is not None
    assert a.ttft is not None
    assert a.ttft.mean is not None
    assert b.ttft is not None
    assert b.ttft.mean is not None
    assert (a.ttft.mean.value, b.ttft.mean.value) == (pytest.approx(100), pytest.approx(300))
    assert 500 * b.requests < s.streaming.prompt_tokens < 500 * b.requests + 64 * a.requests + 1
    assert [promise.met for promise in b.slo] == [False, True]


def test_a_wrong_answer_of_one_part_is_enough() -> None:
    """A server that does the work of one model and not of the other does not do what is measured."""
    run = run_of(400, load={"messages": {"answer": "b: output y of request 1: differs"}})
    first = int(np.flatnonzero(run.records["payload"] >= 4)[0])
    run.records["error"][first] = ERRORS.index("answer")
    (reason,) = validity(changed(run, workload=promising(b=Slo(error_rate=Share(0.5)))))[0]
    assert reason.code == "wrong_answers"
    assert reason.message.endswith("the first said: b: output y of request 1: differs")
