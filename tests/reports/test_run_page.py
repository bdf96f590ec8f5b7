"""What the report of one run says."""

from collections.abc import Callable

import pytest

from bench.analysis.estimate import Resource
from bench.analysis.summary import summarize
from bench.record import Run
from bench.reports.run_page import NO_GPU, leading_resources, resource_label, resource_table, run_page
from bench.reports.tables import Table
from bench.slo import Nanoseconds, Slo
from bench.testing import Stream, make_run, make_stream_run, make_workload


def cpu(device: str) -> Resource:
    return Resource(device, "cpu_utilization", 50.0, 90.0, "%", 10)


GPU = Resource("gpu0", "utilization", 40.0, 95.0, "%", 10)


def table(run: Run, title: str) -> Table:
    return next(t for t in run_page(summarize(run), run).tables if t.title == title)


@pytest.mark.parametrize(
    ("resources", "leading"),
    [
        ([GPU, cpu("server"), cpu("host")], ["gpu0"]),
        ([cpu("host"), cpu("server"), cpu("load")], ["server"]),
        ([cpu("host"), cpu("load")], ["host"]),
        ([cpu("load")], []),
        ([], []),
    ],
)
def test_utilization_is_of_the_gpu_else_of_the_server_else_of_the_machine(
    resources: list[Resource], leading: list[str]
) -> None:
    """Never of the load generator, and never of a GPU that is not there."""
    assert [r.device for r in leading_resources(tuple(resources))] == leading


def test_a_missing_gpu_is_said_beside_the_numbers() -> None:
    """The note goes with the table, wherever that is shown."""
    assert resource_table((cpu("host"),)).note == NO_GPU
    assert resource_table((GPU, cpu("host"))).note == ""
    assert [row[0].text for row in resource_table((cpu("host"), GPU)).rows] == ["GPU 0 utilization", "host CPU"]


@pytest.mark.parametrize(
    ("device", "metric", "label"),
    [
        ("gpu1", "power_w", "GPU 1 power"),
        ("server", "memory_bytes", "server memory"),
        ("load", "cpu_utilization", "load generator CPU"),
        ("tape", "spin_rate", "tape spin rate"),
    ],
)
def test_a_resource_has_a_name_that_people_say(device: str, metric: str, label: str) -> None:
    """Also one that nobody thought of."""
    assert resource_label(Resource(device, metric, 1.0, 1.0, "", 1)) == label


@pytest.mark.parametrize(
    ("count", "limit_ms", "said"),
    [(600, 50, "met"), (600, 1, "missed"), (100, 50, "not known (needs 459 requests)")],
)
def test_a_promise_is_met_missed_or_not_known(count: int, limit_ms: int, said: str) -> None:
    """Too few requests are no proof of a P99, either way."""
    run = make_run([2.0] * count, workload=make_workload(slo=Slo(latency_ns=Nanoseconds(limit_ms * 1_000_000))))
    promise = table(run, "Service level").rows[0]
    assert [c.text for c in promise][:2] == [
        "P99 latency",
        f"at most {limit_ms:.1f} ms" if limit_ms >= 10 else "at most 1.00 ms",
    ]
    assert promise[3].text == said


def test_failures_come_with_their_first_message(made_run: Callable[..., Run]) -> None:
    """What a server said the first time is where looking for the cause begins."""
    run = made_run(errors={3: "status", 4: "timeout"}, load={"messages": {"status": "HTTP 503"}})
    rows = [tuple(c.text for c in row) for row in table(run, "Failed requests").rows]
    assert rows == [("status", "1", "HTTP 503"), ("timeout", "1", "")]


def test_tables_without_rows_are_left_out() -> None:
    """A run without failures has no empty table of them."""
    run = make_run([2.0] * 100, target={})
    titles = [t.title for t in run_page(summarize(run), run).tables]
    assert "Failed requests" not in titles
    assert "Resources" not in titles


def test_a_run_that_was_cut_short_says_so() -> None:
    """Beside the count of its requests."""
    run = make_run([2.0] * 100, status="partial")
    assert "partial" in run_page(summarize(run), run).verdicts[0].summary


@pytest.mark.parametrize(("limit_ms", "broken"), [(5, ["promise broken: P99 latency 10.0 ms, at most 5.00 ms"]), (20, [])])
def test_a_broken_promise_stands_beside_the_verdict(limit_ms: int, broken: list[str]) -> None:
    """A valid run that missed its latency must not look like a success."""
    workload = make_workload(slo=Slo(latency_ns=Nanoseconds(limit_ms * 1_000_000)))
    run = make_run([10.0] * 1000, workload=workload)
    (verdict,) = run_page(summarize(run), run).verdicts
    assert (verdict.word, list(verdict.reasons)) == ("VALID", broken)


def test_a_run_of_streams_leads_with_its_tokens(made_stream_run: Callable[..., Run]) -> None:
    """What is waited for first, then how it goes on, then the whole."""
    run = made_stream_run()
    page = run_page(summarize(run), run)
    assert [row[0].text for row in page.tables[0].rows] == [
        "mean TTFT", "median (P50) TTFT", "P99 TTFT", "median (P50) ITL", "P99 ITL", "longest gap", "mean TPOT", "mean latency",
        "median (P50) latency", "P99 latency", "output tokens", "throughput", "goodput", "server CPU, mean / peak",
        "failed requests",
    ]  # fmt: skip
    assert "goodput: requests within latency 20s, TTFT 2s, longest gap 600ms" in page.tables[0].note
    assert [t.title for t in page.tables[1:3]] == ["Times of tokens", "Tokens"]


def test_quantiles_that_no_time_of_tokens_may_claim_are_named_below(made_stream_run: Callable[..., Run]) -> None:
    """A row of four times "n/a" says less."""
    tokens = table(made_stream_run(count=60), "Times of tokens")
    assert [row[0].text for row in tokens.rows] == ["mean", "median (P50)", "P90", "smallest", "largest"]
    assert tokens.note == "60 requests; P95 takes 90, P99 takes 459, P99.9 takes 4,603"


def test_pieces_of_several_tokens_are_told() -> None:
    """2 and 4 tokens in two pieces."""
    shown = table(make_stream_run([Stream(0, [10, 20], [2, 4])]), "Tokens")
    assert shown.rows[-1][1].text == "3.00 on average, at most 4"
    assert table(make_stream_run([Stream(0, [10, 20])]), "Tokens").rows[-1][1].text == "1"


def test_executed_batch_sizes_come_with_the_share_of_requests() -> None:
    """12 batches of one and 3 of four are 24 requests, half of them in each; on average 1.6."""
    batches = table(make_run([1.0], load={"batches": {"1": 12, "4": 3}}), "Executed batch sizes")
    assert [[cell.text for cell in row] for row in batches.rows] == [["1", "12 (50%)"], ["4", "3 (50%)"], ["mean size", "1.60"]]


def test_where_the_server_tells_of_no_batches_there_is_no_table_of_them(made_run: Callable[..., Run]) -> None:
    """Unknown is not none."""
    run = made_run()
    assert "Executed batch sizes" not in [t.title for t in run_page(summarize(run), run).tables]
