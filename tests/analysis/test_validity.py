"""Reasons for INVALID, and warnings."""

from typing import Any

import numpy as np
import pytest

from bench.analysis.validity import TOLD, validity
from bench.arrivals import Constant, Rate
from bench.record import NOT_COMPARED, Run
from bench.slo import Share, Slo
from bench.targets import streams
from bench.testing import Stream, make_run, make_stream_run, make_stream_workload, make_workload
from bench.workload import Check


def reasons(run: Run) -> list[str]:
    return [r.code for r in validity(run)[0]]


def warnings(run: Run) -> list[str]:
    return [w.code for w in validity(run)[1]]


def open_run(lag_ms: Any = 0.0, latency_ms: float = 20.0, count: int = 200, **fields: Any) -> Run:
    """200 requests, one every 10 ms, each answered after 20 ms; the window is as long as the schedule."""
    return make_run([latency_ms] * count, every_ms=10, lag_ms=lag_ms, window_ms=(0, 10 * count), **fields)


def late(*, of: int, sends: int, by_ms: float) -> np.ndarray:
    """The lag of `sends` sends of which `of` are late."""
    return np.where(np.arange(sends) < of, by_ms, 0.0)


def test_a_run_that_did_what_was_asked_is_valid_and_has_no_warnings() -> None:
    """Nothing is said of an undisturbed run, closed or open."""
    assert validity(make_run([10.0] * 100)) == ((), ())
    assert validity(open_run(load={"unsent": 0, "late_without_connection": 0, "engine_cpu_s": 0.1})) == ((), ())


@pytest.mark.parametrize(("failed", "expected"), [(1, []), (2, ["errors"])])
def test_more_errors_than_the_promise_allows_make_a_run_invalid(failed: int, expected: list[str]) -> None:
    """1 of 100 is the default's bound and stands; 2 do not."""
    run = make_run([10.0] * 100, errors=dict.fromkeys(range(failed), "closed"), load={"messages": {"closed": "broken pipe"}})
    assert reasons(run) == expected
    if expected:
        assert validity(run)[0][0].message.endswith("the first said: broken pipe")


def test_the_bound_on_errors_is_the_workloads() -> None:
    """An SLO that allows 10 % accepts 10 of 100 and not 11."""
    workload = make_workload(slo=Slo(error_rate=Share(0.1)))
    for failed, expected in ((10, []), (11, ["errors"])):
        run = make_run([10.0] * 100, errors=dict.fromkeys(range(failed), "status"), workload=workload)
        assert reasons(run) == expected


@pytest.mark.parametrize("kind", ["answer", "version", "shape"])
def test_one_wrong_answer_makes_a_run_invalid(kind: str) -> None:
    """A single wrong answer of 1,000, well within the bound on errors, is enough."""
    run = make_run([10.0] * 1000, errors={500: kind}, load={"messages": {kind: "it differs"}})
    assert reasons(run) == ["wrong_answers"]
    assert "it differs" in validity(run)[0][0].message


def test_a_run_without_requests_is_invalid() -> None:
    """Nothing was measured: that is the reason, and nothing divides by zero."""
    assert reasons(make_run([])) == ["no_requests"]
    assert reasons(make_run([10.0] * 5, window_ms=(1000, 2000))) == ["no_requests"]
    assert reasons(make_run([], every_ms=10, load={"unsent": 3})) == ["no_requests", "rate_not_reached"]


def test_a_run_of_nothing_but_failures_is_invalid_for_its_errors() -> None:
    """There are no latencies to look at, and the errors are named."""
    assert reasons(make_run([5.0] * 20, every_ms=10, errors=dict.fromkeys(range(20), "connect"))) == ["errors"]


@pytest.mark.parametrize(("status", "code"), [("partial", "interrupted"), ("running", "unfinished")])
def test_a_run_that_did_not_end_as_planned_is_invalid(status: str, code: str) -> None:
    """An interrupted run and one whose command died say so, whatever was measured."""
    assert reasons(make_run([10.0] * 100, status=status)) == [code]


@pytest.mark.parametrize(("unsent", "expected"), [(2, []), (3, ["rate_not_reached"])])
def test_a_schedule_of_which_more_than_one_in_a_hundred_was_not_sent_is_not_reached(unsent: int, expected: list[str]) -> None:
    """198 of 200 sends are 99 %; 198 of 201 are less."""
    assert reasons(open_run(count=198, load={"unsent": unsent})) == expected


def test_a_send_after_the_end_of_the_window_was_not_made_in_it() -> None:
    """The last three of 200 sends left when the window was over: 98.5 %, though none was left out."""
    lag = np.where(np.arange(200) >= 197, 100.0, 0.0)
    run = open_run(latency_ms=200.0, lag_ms=lag, load={"late_without_connection": 3})
    assert reasons(run) == ["rate_not_reached"]


@pytest.mark.parametrize(
    ("latency_ms", "lag_ms", "late_sends", "expected"),
    [
        (20.0, 1.9, 200, []),  # a tenth of the median latency
        (20.0, 2.1, 2, []),  # one in a hundred
        (20.0, 2.1, 3, ["generator_saturated"]),
        (5.0, 0.9, 200, []),  # below a millisecond
        (5.0, 1.1, 3, ["generator_saturated"]),
    ],
)
def test_late_sends_with_connections_free_are_the_generators_fault(
    latency_ms: float, lag_ms: float, late_sends: int, expected: list[str]
) -> None:
    """Late is what lags by more than 1 ms and a tenth of the median latency, in more than 1 % of the sends."""
    run = open_run(lag_ms=late(of=late_sends, sends=200, by_ms=lag_ms), latency_ms=latency_ms)
    assert reasons(run) == expected


def test_sends_that_waited_for_a_connection_warn_and_leave_the_run_valid() -> None:
    """Lateness for want of a connection is what callers with so many connections would see."""
    run = open_run(lag_ms=late(of=50, sends=200, by_ms=5.0), load={"late_without_connection": 49})
    assert reasons(run) == []
    assert warnings(run) == ["connections_busy"]


def test_a_busy_engine_spoils_an_open_loop_and_bounds_a_closed_one() -> None:
    """1.7 s of CPU in a window of 2 s: what an open loop sends may be late, what a closed loop reaches may be its own limit."""
    busy = {"engine_cpu_s": 1.7}
    assert (reasons(open_run(load=busy)), warnings(open_run(load=busy))) == (["generator_saturated"], [])
    closed = make_run([10.0] * 200, load=busy)
    assert (reasons(closed), warnings(closed)) == ([], ["generator_bound"])
    assert reasons(open_run(load={"engine_cpu_s": 1.5})) == []


def test_a_closed_loop_owes_nothing_to_a_schedule() -> None:
    """Lag means nothing where the reply decides when the next request is sent."""
    assert validity(make_run([20.0] * 200, lag_ms=10.0)) == ((), ())


def test_requests_that_a_closed_loop_gave_up_are_not_passed_over() -> None:
    """They have no record, and what is left looks better than the server was; an interrupted run says what it is anyway."""
    assert reasons(make_run([20.0] * 200, load={"unsent": 1})) == ["given_up"]
    assert reasons(make_run([20.0] * 200, load={"unsent": 1}, status="partial")) == ["interrupted"]


def test_timeouts_are_warned_of_although_they_are_few() -> None:
    """A request without a reply has no latency, so that leaving it out makes the latencies look better."""
    run = make_run([10.0] * 200, errors={7: "timeout"})
    assert (reasons(run), warnings(run)) == ([], ["timeouts"])
    assert "1 of 200" in validity(run)[1][0].message


def test_answers_that_were_not_compared_are_warned_of() -> None:
    """The warning says whether the workload wanted it so."""
    assert warnings(make_run([10.0] * 100, compared=0)) == ["unchecked"]
    unwanted = make_run([10.0] * 100, compared=0, workload=make_workload(check=Check(reference=False)))
    assert "reference = false" in validity(unwanted)[1][0].message
    assert warnings(make_run([10.0] * 100, compared=1)) == []


def test_latencies_that_fall_through_the_window_are_warned_of() -> None:
    """A warm-up that leaked in: 40 ms falling to 10 ms; the last third is 22.5 ms below the first of 35."""
    run = make_run(np.linspace(40, 10, 300))
    assert warnings(run) == ["trend"]
    assert "fell by 57%" in validity(run)[1][0].message


def test_noise_and_a_small_change_are_no_trend() -> None:
    """Noise of 30 % around a steady state and a drift of 5 % are let be."""
    rng = np.random.default_rng(2)
    assert warnings(make_run(20 * rng.gamma(10, 0.1, 300))) == []
    assert warnings(make_run(np.linspace(20, 21, 300))) == []


def test_one_stall_is_no_trend() -> None:
    """Half a second once in the first third moves its mean, not the state of the server."""
    assert warnings(make_run([20.0] * 30 + [500.0] * 5 + [20.0] * 265)) == []


def test_too_few_requests_for_any_high_quantile_are_warned_of() -> None:
    """43 requests show no P90; 44 may."""
    assert warnings(make_run([10.0] * 43)) == ["few_requests"]
    assert warnings(make_run([10.0] * 44)) == []


@pytest.mark.parametrize(("server", "warned"), [(40.0, True), (80.0, False)])
def test_other_processes_on_the_machine_are_warned_of(server, warned):
    """Host CPU that is neither the server's nor the load's belongs to somebody else, and spoils the numbers."""
    cpu = {"host": 90.0, "server": server, "load": 5.0}
    samples = {(device, "cpu_utilization"): [(t, share) for t in range(0, 1000, 100)] for device, share in cpu.items()}
    _, warnings = validity(make_run([10.0] * 100, samples=samples))
    assert ("shared_machine" in [w.code for w in warnings]) is warned


def test_nothing_is_said_of_other_processes_where_the_server_s_share_is_unknown():
    """A server that bench did not start may be the other process."""
    samples = {(device, "cpu_utilization"): [(500, 90.0)] for device in ("host", "load")}
    _, warnings = validity(make_run([10.0] * 100, samples=samples))
    assert "shared_machine" not in [w.code for w in warnings]


def test_a_run_too_short_for_a_check_is_not_said_to_have_no_reference():
    """There is one where bench built the model; none of the one in ten had come up."""
    run = make_run([10.0] * 5, compared=0, workload=make_workload(check=Check(every=10)), target={"model": {"name": "m"}})
    (message,) = [w.message for w in validity(run)[1] if w.code == "unchecked"]
    assert "one in 10 is, and none of those had come" in message


def stream_run(*more: Stream, **fields: Any) -> Run:
    """100 good streams of two tokens, and some more."""
    return make_stream_run([*[Stream(0, [10, 20])] * 100, *more], **fields)


@pytest.mark.parametrize("kind", ["broken", "stalled", "tokens"])
def test_streams_that_did_not_come_as_asked_for_are_warned_of_where_so_many_may(kind: str) -> None:
    """One of 101 is below the bound of errors: the run stays valid, and says what is missing from its numbers."""
    run = stream_run(Stream(0, [10], error=kind), load={"messages": {kind: "it said no more"}})
    assert reasons(run) == []
    (warning,) = validity(run)[1]
    assert warning.code == "cut_off"
    assert f"1 of 101 streams did not come as asked for (1 {kind})" in warning.message
    assert warning.message.endswith("the first said: it said no more")


def test_broken_streams_above_the_bound_make_a_run_invalid() -> None:
    """They count to the error rate as any other error does."""
    assert reasons(stream_run(*[Stream(0, [10], error="broken")] * 2)) == ["errors"]


def test_a_stream_without_a_first_piece_in_time_is_a_timeout_that_says_so() -> None:
    """It is not a reply that is missing but the beginning of one."""
    (warning,) = validity(stream_run(Stream(0, [], error="timeout", end_ms=10)))[1]
    assert warning.code == "timeouts"
    assert "had not a first piece of a reply after 10s" in warning.message


@pytest.mark.parametrize(("pieces", "warned"), [([1, 2], True), ([1, 1], False)])
def test_tokens_that_come_together_are_warned_of(pieces: list[int], warned: bool) -> None:
    """A gap of 0 in two is none that anybody waited for; one token a piece leaves nothing to say."""
    run = make_stream_run([Stream(0, [10, 20], pieces)] * 100)
    assert warnings(run) == (["pieces"] if warned else [])


def test_now_and_then_two_tokens_in_a_piece_are_no_matter() -> None:
    """2 of 200 gaps are 0."""
    assert warnings(stream_run(Stream(0, [10, 20], [1, 3]))) == []


def test_token_counts_that_the_server_did_not_tell_are_warned_of() -> None:
    """They may be wrong, and with them all that is counted in tokens."""
    assert warnings(stream_run(load={"tokens_counted": {streams.TOLD: 100}})) == []
    (warning,) = validity(stream_run(load={"tokens_counted": {streams.TOLD: 50, streams.BY_PIECE: 50}}))[1]
    assert warning.code == "tokens_assumed"
    assert f"taken for {streams.BY_PIECE}:" in warning.message
    assert TOLD == streams.TOLD


def test_a_stream_is_sent_late_by_the_measure_of_its_first_token() -> None:
    """20 ms of lag are nothing to a reply of 2 s, but a fifth of a TTFT of 100 ms."""
    workload = make_stream_workload(load=Constant(rate_hz=Rate(100.0)))
    made = [Stream(10.0 * n, [100, 2000], lag_ms=20.0) for n in range(200)]
    assert reasons(make_stream_run(made, window_ms=(0, 2000), workload=workload)) == ["generator_saturated"]
    punctual = [s._replace(lag_ms=5.0) for s in made]
    assert reasons(make_stream_run(punctual, window_ms=(0, 2000), workload=workload)) == []


def test_a_server_that_answers_with_text_is_said_to_be_unchecked_because_of_it() -> None:
    """Its replies came, and there is a reference: words cannot be held to token ids."""
    run = stream_run(target={"reference_model": {"name": "m"}})
    run.records["check"] = NOT_COMPARED
    (message,) = [w.message for w in validity(run)[1] if w.code == "unchecked"]
    assert "answers with text" in message
