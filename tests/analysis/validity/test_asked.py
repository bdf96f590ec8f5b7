"""Whether everything was asked, and answered well, by one server."""

from typing import Any

import pytest

from bench.analysis.validity import validity
from bench.record import NOT_COMPARED, Event, Run
from bench.slo import Share, Slo
from bench.testing import Stream, make_run, make_stream_run, make_workload
from bench.workload import Check


def reasons(run: Run) -> list[str]:
    return [r.code for r in validity(run)[0]]


def warnings(run: Run) -> list[str]:
    return [w.code for w in validity(run)[1]]


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


def test_wrong_answers_are_counted_among_those_that_were_compared() -> None:
    """A shape is looked at in every reply; an answer is compared in some."""
    for kind, among in (("answer", "replies that were compared"), ("shape", "1,000 replies")):
        run = make_run([10.0] * 1000, errors={500: kind})
        assert f"{among} were wrong" in validity(run)[0][0].message


def test_a_server_that_ended_before_the_run_makes_it_invalid() -> None:
    """One that bench had started: somebody killed it, or it died."""
    run = make_run([10.0] * 1000, events=[Event(0, "server-exited", {"status": -9})])
    assert reasons(run) == ["server_exited"]
    assert "exit status -9" in validity(run)[0][0].message


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


def test_timeouts_are_warned_of_although_they_are_few() -> None:
    """A request without a reply has no latency, so that leaving it out makes the latencies look better."""
    run = make_run([10.0] * 200, errors={7: "timeout"})
    assert (reasons(run), warnings(run)) == ([], ["timeouts"])
    assert "1 of 200" in validity(run)[1][0].message


def test_a_stream_without_a_first_piece_in_time_is_a_timeout_that_says_so() -> None:
    """It is not a reply that is missing but the beginning of one."""
    (warning,) = validity(stream_run(Stream(0, [], error="timeout", end_ms=10)))[1]
    assert warning.code == "timeouts"
    assert "had not a first piece of a reply after 10s" in warning.message


def test_answers_that_were_not_compared_are_warned_of() -> None:
    """The warning says whether the workload wanted it so."""
    assert warnings(make_run([10.0] * 100, compared=0)) == ["unchecked"]
    unwanted = make_run([10.0] * 100, compared=0, workload=make_workload(check=Check(reference=False)))
    assert "reference = false" in validity(unwanted)[1][0].message
    assert warnings(make_run([10.0] * 100, compared=1)) == []


def test_a_run_too_short_for_a_check_is_not_said_to_have_no_reference():
    """There is one where bench built the model; none of the one in ten had come up."""
    run = make_run([10.0] * 5, compared=0, workload=make_workload(check=Check(every=10)), target={"model": {"name": "m"}})
    (message,) = [w.message for w in validity(run)[1] if w.code == "unchecked"]
    assert "one in 10 is, and none of those had come" in message


def stream_run(*more: Stream, **fields: Any) -> Run:
    """100 good streams of two tokens, and some more."""
    return make_stream_run([*[Stream(0, [10, 20])] * 100, *more], **fields)


def test_a_server_that_answers_with_text_is_said_to_be_unchecked_because_of_it() -> None:
    """Its replies came, and there is a reference: words cannot be held to token ids."""
    run = stream_run(target={"reference_model": {"name": "m"}})
    run.records["check"] = NOT_COMPARED
    (message,) = [w.message for w in validity(run)[1] if w.code == "unchecked"]
    assert "answers with text" in message


def test_too_few_requests_for_any_high_quantile_are_warned_of() -> None:
    """43 requests show no P90; 44 may."""
    assert warnings(make_run([10.0] * 43)) == ["few_requests"]
    assert warnings(make_run([10.0] * 44)) == []


def test_a_worker_that_was_lost_is_named() -> None:
    """What it had not delivered is missing from every number."""
    run = make_run([10.0] * 100, load={"workers_lost": ["worker 2 on box-b ended after 3 s"]})
    (reason,) = validity(run)[0]
    assert reason.code == "worker_lost"
    assert "1 of the load's workers ended before the run did (worker 2 on box-b ended after 3 s)" in reason.message
    assert reasons(make_run([10.0] * 100, load={"workers_lost": []})) == []


def test_a_server_of_another_version_at_the_end_makes_a_run_invalid() -> None:
    """Both sayings are in the reason; what was asked only once tells nothing."""
    start = {"server": "triton", "version": "2.46.0"}
    changed = make_run([10.0] * 100, load={"server_at_start": start, "server_at_end": start | {"version": "2.48.0"}})
    (reason,) = validity(changed)[0]
    assert (reason.code, reason.spoils) == ("server_changed", "everything")
    assert "(version: 2.46.0 at the start, 2.48.0 at the end)" in reason.message
    assert reasons(make_run([10.0] * 100, load={"server_at_start": start, "server_at_end": dict(start)})) == []
    assert reasons(make_run([10.0] * 100, load={"server_at_start": start})) == []


def test_a_server_that_could_not_be_asked_again_is_warned_of() -> None:
    """It may have died with the last reply, or hang; the requests say what became of them."""
    run = make_run([10.0] * 100, load={"server_at_start": {"server": "triton"}, "server_at_end_problem": "refused"})
    assert (reasons(run), warnings(run)) == ([], ["server_silent"])


def test_a_part_of_the_load_that_other_machines_keep_is_named() -> None:
    """What is here is less than what the server had to do."""
    (warning,) = validity(make_run([10.0] * 200, load={"elsewhere": ["node2: /home/me/results/one"]}))[1]
    assert (warning.code, warning.spoils) == ("elsewhere", "throughput")
    assert "(node2: /home/me/results/one)" in warning.message
