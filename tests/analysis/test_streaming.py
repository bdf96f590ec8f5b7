"""Streamed replies in numbers, checked by hand."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import payloads
from bench.analysis import streaming
from bench.analysis.estimate import SloResult, Streaming
from bench.analysis.measured import measure
from bench.analysis.summary import summarize
from bench.record import Run
from bench.slo import Nanoseconds, Quantile, Share, Slo
from bench.testing import Stream, make_run, make_stream_run, make_stream_workload

MS = 1_000_000
# sent at 0, 5, 7, 9 and 1 ms; the third brings nothing, the last breaks
FIVE = (
    Stream(0, [10, 20, 50], [1, 3, 0]),
    Stream(5, [0, 30, 40], [0, 2, 3]),
    Stream(7, [2], [0]),
    Stream(9, [100], [1]),
    Stream(1, [3, 4], error="broken"),
)


def of(run: Run) -> Streaming:
    """What is said of a run's streams."""
    found = summarize(run).streaming
    assert found is not None
    return found


def promising(quantile: float = 0.9, **bounds_ms: float) -> Any:
    """A workload that promises these times, and lets half of the requests fail."""
    bounds = {f"{name}_ns": Nanoseconds(ms * MS) for name, ms in bounds_ms.items()}
    return make_stream_workload(slo=Slo(quantile=Quantile(quantile), error_rate=Share(0.5), **bounds))


def test_ttft_runs_from_the_intended_send_to_the_first_piece_with_tokens() -> None:
    """10 and 100 ms, and 30 where an empty piece came first; one without a token has none, a broken one none that counts."""
    found = of(make_stream_run(FIVE)).ttft
    assert (found.count, found.minimum, found.maximum) == (3, 10.0, 100.0)
    assert found.mean is not None
    assert found.mean.value == pytest.approx(140 / 3)


def test_a_late_send_is_in_the_ttft() -> None:
    """Meant for 0, sent 4 ms late, first token at 10 ms: 10, not 6."""
    assert of(make_stream_run([Stream(0, [10.0], lag_ms=4.0)])).ttft.maximum == 10.0


def test_gaps_are_all_those_between_tokens_and_0_within_a_piece() -> None:
    """Tokens at 10, 20, 20, 20 and at 30, 30, 40, 40, 40 ms: gaps 10, 0, 0 and 0, 10, 0, 0."""
    streams = streaming.streams(measure(make_stream_run(FIVE)))
    assert streams is not None
    assert sorted((streams.gaps_ns // MS).tolist()) == [0, 0, 0, 0, 0, 10, 10]
    found = of(make_stream_run(FIVE)).itl
    assert (found.count, found.maximum) == (7, 10.0)
    assert found.mean is not None
    assert found.mean.value == pytest.approx(20 / 7)


def test_tpot_is_from_the_first_token_to_the_last_over_the_tokens_after_the_first() -> None:
    """10 ms over 3 and 10 ms over 4; a reply of one token has none."""
    found = of(make_stream_run(FIVE)).tpot
    assert (found.count, found.minimum, found.maximum) == (2, pytest.approx(2.5), pytest.approx(10 / 3))


def test_the_longest_gap_of_each_request_and_of_all() -> None:
    """Gaps of 10 and 30, and of 20 and 5 ms: 30 and 20."""
    found = of(make_stream_run([Stream(0, [1, 11, 41]), Stream(0, [5, 25, 30])])).longest
    assert (found.minimum, found.maximum) == (20.0, 30.0)


def test_tokens_count_within_the_window_whenever_their_request_was_sent() -> None:
    """Tokens at 10, 20, ..., 100 ms: one at the very end of a window belongs to it, one at its very beginning does not."""
    streams = [Stream(0, np.arange(10, 101, 10).tolist())]
    for window_ms, tokens in (((45, 100), 6), ((50, 95), 4)):
        found = of(make_stream_run(streams, window_ms=window_ms)).tokens
        assert found.value == pytest.approx(tokens / (window_ms[1] - window_ms[0]) * 1000)
        assert found.unit == "tok/s"


def test_tokens_of_a_reply_that_failed_are_not_counted() -> None:
    """10 tokens of good replies within 109 ms, 2 of a broken one."""
    found = of(make_stream_run(FIVE))
    assert found.tokens.value == pytest.approx(10 / 0.109)
    assert (found.output_tokens, found.pieces, found.largest_piece) == (10, 5, 3)
    assert found.tokens_per_piece == 2.0


def test_prompts_are_those_of_the_payloads_that_were_sent() -> None:
    """Request n goes to the distinct prompt n; a prompt of a broken stream is not counted."""
    run = make_stream_run(FIVE)
    lengths = payloads.prompt_lengths(run.workload)
    assert of(run).prompt_tokens == sum(lengths[:4])


@pytest.mark.parametrize(
    ("bounds", "kept"),
    [
        ({"latency": 50}, 3),  # 50, 40 and 2 ms; not 100
        ({"ttft": 30}, 2),  # 10 and 30; not 100, and not the reply that never brought a token
        ({"tpot": 3}, 3),  # 2.5, and the two without gaps; not 3.33
        ({"itl": 10}, 4),
        ({"itl": 9}, 2),
        ({"latency": 50, "ttft": 10, "itl": 10}, 1),
    ],
)
def test_goodput_counts_the_requests_that_kept_every_bound(bounds: dict[str, float], kept: int) -> None:
    """A request of one token has no gap that could break a bound; a broken stream keeps none."""
    found = of(make_stream_run(FIVE, workload=promising(**bounds))).goodput
    assert found is not None
    assert found.value == pytest.approx(kept / 0.109)


def test_goodput_counts_replies_of_the_window_whenever_they_were_sent() -> None:
    """Sent at 0, answered at 40 ms, in a window from 20 on: it counts, as it does for the throughput."""
    run = make_stream_run([Stream(0, [10, 40]), Stream(25, [10, 30])], window_ms=(20, 60), workload=promising(ttft=20))
    s = summarize(run)
    assert s.throughput.value == pytest.approx(2 / 0.04)
    assert s.streaming is not None
    assert s.streaming.goodput == replace(s.throughput)


def test_without_a_bound_there_is_no_goodput() -> None:
    """Requests that keep no promise, because there is none, are no merit."""
    assert of(make_stream_run(FIVE)).goodput is None


def test_a_run_without_streams_says_nothing_of_tokens() -> None:
    """Images have none."""
    assert summarize(make_run([10.0] * 10)).streaming is None


def test_a_quantile_of_gaps_takes_as_many_requests_as_one_of_requests() -> None:
    """43 requests have 4,300 gaps, which may all say the same: no P90 of them, which takes 44 requests."""
    stream = np.arange(1.0, 102.0).tolist()
    few, enough = (of(make_stream_run([Stream(0, stream)] * n)).itl for n in (43, 44))
    assert (few.count, few.at(0.9).estimate, few.at(0.9).needs, few.at(0.9).has) == (4300, None, 44, 43)
    assert enough.at(0.9).estimate is not None
    assert enough.at(0.9).estimate.value == 1.0


def test_blocks_of_gaps_hold_whole_requests() -> None:
    """Every request has one speed: taken as independent, 20,000 gaps would leave an interval of almost nothing."""
    rng = np.random.default_rng(1)
    speeds = np.exp(0.3 * rng.standard_normal(400))
    made = [Stream(60.0 * n, (speed * np.arange(1.0, 52.0)).tolist()) for n, speed in enumerate(speeds)]
    mean = of(make_stream_run(made)).itl.mean
    assert mean is not None
    assert mean.low is not None
    assert mean.high is not None
    assert 0.02 < mean.high / mean.low - 1 < 0.2


def test_a_block_of_gaps_begins_and_ends_with_a_request() -> None:
    """Blocks of 200 requests of 2 to 8 tokens, none of them cut."""
    rng = np.random.default_rng(2)
    made = [Stream(60.0 * n, np.cumsum(rng.gamma(9.0, 1.0, int(rng.integers(2, 9)))).tolist()) for n in range(200)]
    s = streaming.streams(measure(make_stream_run(made)))
    assert s is not None
    groups = streaming.gaps([s]).groups
    assert groups is not None
    assert 8 <= len(groups) <= 20
    assert set(np.cumsum([len(g) for g in groups]).tolist()) <= set(s.starts.tolist())


@given(st.lists(st.lists(st.tuples(st.integers(1, 500), st.integers(0, 4)), max_size=6), min_size=1, max_size=8))
def test_gaps_add_up_to_the_time_between_the_first_token_and_the_last(pieces: list[list[tuple[int, int]]]) -> None:
    """Whatever the pieces: tokens - 1 gaps a request, their sum the time from the first token to the last, TPOT their mean."""
    made = [Stream(0, np.cumsum([t for t, _ in of]).tolist(), [n for _, n in of], end_ms=4000) for of in pieces]
    s = streaming.streams(measure(make_stream_run(made, window_ms=(-1, 5000))))
    assert s is not None
    tokens = [sum(n for _, n in of) for of in pieces]
    assert sorted(s.tokens.tolist()) == sorted(tokens)
    assert len(s.gaps_ns) == sum(max(n - 1, 0) for n in tokens)
    for stream in made:
        came = [t for t, n in zip(stream.times_ms, stream.tokens, strict=True) for _ in range(n)]
        if len(came) > 1:
            assert np.isclose(s.tpot_ns(), (came[-1] - came[0]) / (len(came) - 1) * MS).any()
            assert np.isclose(s.longest_ns(), max(np.diff(came)) * MS).any()
    assert len(s.ttft_ns()) == sum(n > 0 for n in tokens)


@given(st.permutations(range(5)))
def test_the_order_of_records_does_not_matter(order: list[int]) -> None:
    """Two load processes' files one after the other say the same as merged."""
    run = make_stream_run(FIVE)
    assert run.chunks is not None
    streams = [tuple(map(list, run.chunks.of_record(n))) for n in order]
    mixed = replace(run, records=run.records[order], chunks=type(run.chunks).of(streams))
    assert of(mixed) == of(run)


# ---------------------------------------------------------------- promises


def test_each_stated_bound_is_a_promise_at_the_same_quantile() -> None:
    """100 streams of 5 tokens, the first after 20 ms and then one every 10: all bounds are kept by the P90."""
    run = make_stream_run([Stream(0, [20, 30, 40, 50, 60])] * 100, workload=promising(latency=60, ttft=20, tpot=10, itl=10))
    assert summarize(run).slo[:4] == (
        SloResult("P90 latency", 60.0, 60.0, "ms", True),
        SloResult("P90 TTFT", 20.0, 20.0, "ms", True),
        SloResult("P90 TPOT", 10.0, 10.0, "ms", True),
        SloResult("P90 longest gap", 10.0, 10.0, "ms", True),
    )


def test_a_promise_of_the_longest_gap_is_broken_by_one_gap_a_request() -> None:
    """One gap of 50 ms among 99 of 1 ms: 1 % of the gaps, but of every request."""
    stream = [*np.arange(1.0, 51.0).tolist(), *np.arange(100.0, 150.0).tolist()]
    run = make_stream_run([Stream(0, stream)] * 100, workload=promising(itl=40))
    assert summarize(run).slo[0] == SloResult("P90 longest gap", 40.0, 50.0, "ms", False)


@pytest.mark.parametrize(
    ("kind", "missed"),
    [("timeout", ["P90 latency", "P90 TTFT"]), ("stalled", ["P90 latency", "P90 longest gap"]), ("broken", [])],
)
def test_requests_that_fell_silent_are_over_the_bounds_of_what_they_kept_back(kind: str, missed: list[str]) -> None:
    """20 of 100 said nothing for longer than any bound: before the first token, or after it; a broken one is only an error."""
    streams = [Stream(0, [20, 30])] * 80 + [Stream(0, [20], error=kind)] * 20
    run = make_stream_run(streams, workload=promising(latency=60, ttft=40, tpot=20, itl=20))
    assert [s.name for s in summarize(run).slo if s.met is False] == missed


def test_replies_that_brought_no_token_have_not_kept_a_promise_of_the_first() -> None:
    """As the goodput counts them: 20 of 100 never had a first token."""
    streams = [Stream(0, [20, 30])] * 80 + [Stream(0, [20], tokens=[0])] * 20
    run = make_stream_run(streams, workload=promising(ttft=40))
    assert summarize(run).slo[0].met is False


def test_too_few_requests_leave_a_promise_open() -> None:
    """458 show no P99 of anything."""
    run = make_stream_run([Stream(0, [500, 600])] * 458, workload=promising(0.99, ttft=1))
    assert summarize(run).slo[0] == SloResult("P99 TTFT", 1.0, None, "ms", None, 459)
