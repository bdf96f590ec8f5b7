"""What reports say of the parts of a mix, in every form."""

import csv
import io
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
from msgspec.structs import replace
from rich.cells import cell_len

from bench import mix
from bench.analysis.compare import SideComparison, compare_sides
from bench.analysis.summary import summarize
from bench.record import Run
from bench.reports import data, facts, html, markdown, parts, run_page, run_plots
from bench.reports.comparison_page import comparison_page
from bench.reports.sides import Sides, side
from bench.reports.tables import Table
from bench.reports.text import comparison_text, run_text
from bench.testing import Stream, make_mix, make_run, make_stream_run, make_stream_workload

GOLDEN = Path(__file__).parents[1] / "golden" / "reports"
HOSTILE = "<script>alert(1)</script> | `x` \x1b[31m"

Made = Callable[..., Run]


def by_part(run: Run) -> dict[str, list[str]]:
    """The rows of the table, by their names."""
    return {row[0].text: [cell.text for cell in row[1:]] for row in parts.table(summarize(run).parts).rows}


def test_the_report_of_a_mix_reads_exactly_so(made_mix_run: Made) -> None:
    """What a user sees of a run, to the letter."""
    run = made_mix_run(
        errors={3: "status"}, load={"messages": {"status": "HTTP 503"}, "tolerance": {"images": 0.01, "texts": 0.2}}
    )
    assert run_text(summarize(run), run) == (GOLDEN / "mix-run.txt").read_text(encoding="utf-8")


def test_each_part_has_its_counts_its_times_and_its_own_promises(made_mix_run: Made) -> None:
    """The share beside the one that its weight asks for; what cannot be claimed says what it takes."""
    rows = by_part(made_mix_run(count=600, errors={1: "status"}))
    assert rows["requests"] == ["449", "151"]
    assert rows["share / asked for"] == ["75% / 75%", "25% / 25%"]
    assert rows["failed"] == ["0.22% (1 of 449)", "0% (0 of 151)"]
    assert rows["P99 latency"] == ["n/a (needs 459 requests, has 448)", "n/a (needs 459 requests, has 151)"]
    assert rows["own promises"] == ["met", "missed"]
    assert rows["compared replies"] == ["448", "151"]
    assert all(re.fullmatch(r"\d[\d.]* \[[\d.]+, [\d.]+\] ms", text) for text in rows["mean latency"])


def test_a_run_of_one_model_has_no_parts(made_run: Made) -> None:
    """And no table of them; it leads with one table."""
    page = run_page.run_page(summarize(run := made_run()), run)
    assert parts.TITLE not in [table.title for table in page.tables]
    assert page.leading == 1


def test_the_parts_lead_beside_the_whole(made_mix_run: Made) -> None:
    """Whoever asks for a mix asks for its parts."""
    page = run_page.run_page(summarize(run := made_mix_run()), run)
    assert [table.title for table in page.tables[: page.leading]] == ["In short", parts.TITLE]


def test_a_promise_of_a_part_that_was_missed_is_told_with_its_name(made_mix_run: Made) -> None:
    """Above the numbers, and among the promises."""
    run = made_mix_run()
    summary = summarize(run)
    assert all(promise.met for promise in summary.slo)
    (broken,) = run_page.broken_promises(summary)
    assert re.fullmatch(r"promise broken: texts: P90 latency [\d.]+ ms, at most 20.0 ms", broken)
    (table,) = [t for t in run_page.run_page(summary, run).tables if t.title == "Service level"]
    assert [(row[0].text, row[3].text) for row in table.rows] == [
        ("error rate", "met"),
        ("images: error rate", "met"),
        ("texts: P90 latency", "missed"),
        ("texts: error rate", "met"),
    ]


def test_executed_batches_are_those_of_each_part_s_model(made_mix_run: Made) -> None:
    """A size that one of them never had is 0 there; a part that nothing is known of has none."""
    table = batches(made_mix_run())
    assert table.columns == ("size", "images", "texts")
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["1", "5 (100%)", "5 (20%)"],
        ["2", "0", "10 (80%)"],
        ["mean size", "1.00", "1.67"],
    ]
    table = batches(made_mix_run(load={"batches": {"texts": {"4": 2}}}))
    assert [[cell.text for cell in row] for row in table.rows] == [["4", "n/a", "2 (100%)"], ["mean size", "n/a", "4.00"]]


def batches(run: Run) -> Table:
    (table,) = [t for t in run_page.run_page(summarize(run), run).tables if t.title == run_page.BATCHES]
    return table


def test_more_parts_than_two_have_their_intervals_below_and_fit_the_terminal(made_mix_run: Made) -> None:
    """Also where their names are long: the columns go on in another table."""
    run = made_mix_run(parts={f"a part with quite a long name, {n}": (float(n), 3) for n in range(1, 6)})
    rows = by_part(run)
    assert len(rows["mean latency"]) == 5
    assert all(re.fullmatch(r"[\d.]+ ms(\n\[[\d.]+, [\d.]+\])?", text) for text in rows["mean latency"])
    assert rows["P99 latency"][0] == "n/a\n(needs 459)"
    for width in (40, 80, 120):
        assert max(cell_len(line) for line in run_text(summarize(run), run, width).splitlines()) <= width


def test_streams_of_a_mix_have_their_times_to_the_first_token_by_part() -> None:
    """200 ms of the one, 400 ms of the other."""
    mixed = make_mix({"chat": (1, 3), "summary": (1, 2)})
    payload = replace(make_stream_workload().payload, distinct=3)
    mixed = replace(mixed, mix=tuple(replace(part, payload=payload) for part in mixed.mix))
    turns = mix.turns(mixed)
    found = [Stream(50.0 * n, [200.0 if turns[n % len(turns)] < 3 else 400.0, 900.0]) for n in range(128)]
    run = make_stream_run(found, workload=mixed)
    rows = by_part(run)
    assert rows["requests"] == ["64", "64"]
    assert [text.split()[0] for text in rows["mean TTFT"]] == ["200", "400"]
    assert run_text(summarize(run), run)
    assert html.run_html(run, summarize(run))


def test_a_mix_in_markdown_has_its_parts(made_mix_run: Made) -> None:
    """As a table of a pull request."""
    run = made_mix_run()
    text = markdown.run_markdown(summarize(run), run)
    assert "## By part" in text
    assert "|  | images | texts |" in text
    assert "| own promises | met | missed |" in text


def test_a_mix_as_a_document_has_its_parts_unrounded(made_mix_run: Made) -> None:
    """With the same words as the whole; the whole's own promises stand apart from theirs."""
    run = made_mix_run()
    summary = summarize(run)
    document = data.run_json(run, summary)
    images, texts = document["parts"]
    assert (images["name"], images["share_asked"], images["requests"]) == ("images", 0.75, 600)
    assert images["latency"].keys() == document["latency"].keys()
    assert images["latency"]["quantiles"]["p99"]["claimable"] is True
    assert texts["latency"]["quantiles"]["p99"] | {"value_ms": 0} == {
        "value_ms": 0, "low_ms": None, "high_ms": None, "claimable": False, "needs": 459, "has": 200,
    }  # fmt: skip
    assert [promise["met"] for promise in texts["slo"]] == [False, True]
    assert [promise["name"] for promise in document["slo"]] == ["error rate"]
    assert texts["batches"] == {"1": 5, "2": 10}
    assert document["batches"] == {}
    assert images["throughput"]["value"] == summary.parts[0].throughput.value


def test_a_mix_as_a_row_has_columns_for_each_part(made_mix_run: Made, made_run: Made) -> None:
    """Which a run of one model beside it leaves empty."""
    runs = [made_mix_run(id="mixed"), made_run(id="alone")]
    mixed, alone = csv.DictReader(io.StringIO(data.runs_csv((run, summarize(run)) for run in runs)))
    assert (mixed["part_images_requests"], mixed["part_texts_requests"]) == ("600", "200")
    assert (mixed["part_images_slo_met"], mixed["part_texts_slo_met"]) == ("True", "False")
    assert float(mixed["part_texts_latency_mean_ms"]) > 1.5 * float(mixed["part_images_latency_mean_ms"])
    assert (mixed["part_texts_latency_p99_ms"], alone["part_texts_requests"]) == ("", "")


def test_every_model_and_payload_of_a_mix_is_among_the_settings(made_mix_run: Made) -> None:
    """With its part's name before it."""
    run = made_mix_run(load={"tolerance": {"images": 0.01, "texts": 0.2}})
    settings = facts.settings(run)
    assert (settings["images model name"], settings["texts model name"]) == ("images", "texts")
    load = facts.load_settings(run, "a load")
    assert (load["images distinct requests"], load["texts distinct requests"]) == ("8", "4")
    assert (load["images compared replies"], load["texts compared replies"]) == (
        "1 in 1, within 0.01",
        "1 in 1, within 0.2",
    )
    assert "model name" not in settings
    assert "payload" not in load


def test_each_part_has_a_colour_in_the_plots(made_mix_run: Made) -> None:
    """In the distribution beside all of them, and over time instead."""
    run = made_mix_run()
    distribution, over_time, *_ = [svg for _, _, svg, _ in run_plots.figures(run, summarize(run))]
    assert all(f">{name}<" in distribution for name in ("images", "texts", "all parts"))
    assert all(f">{name}<" in over_time for name in ("images", "texts"))
    assert "one request" not in over_time


def test_a_long_run_of_a_mix_makes_small_plots() -> None:
    """100,000 requests of three parts in less than 400 kB; the choice is said to be one."""
    run = make_run(np.linspace(1.0, 2.0, 100_000), workload=make_mix({"a": (1, 2), "b": (1, 2), "c": (2, 3)}))
    found = run_plots.figures(run, summarize(run))
    assert sum(len(svg) for _, _, svg, _ in found) < 400_000
    assert found[1][1].startswith("1,500 of 100,000 requests")


def test_no_name_of_a_part_becomes_markup(made_mix_run: Made) -> None:
    """It comes from a file of somebody's."""
    run = made_mix_run(parts={HOSTILE: (1.0, 3), f"{HOSTILE}2": (1.0, 3)})
    page = html.run_html(run, summarize(run))
    assert "<script>" not in page
    assert "\x1b" not in run_text(summarize(run), run)


def test_the_parts_of_sides_are_compared_like_the_whole(made_mix_run: Made) -> None:
    """Each with its own change; a quantile that one side may not claim is left out, with what it takes."""
    comparison, sides = made_comparison(made_mix_run, count=600)
    tables = {t.title: t for t in comparison_page(comparison, sides).tables}
    images, texts = tables["Part images"], tables["Part texts"]
    assert [row[0].text for row in images.rows] == ["mean latency", "P50 latency", "P99 latency", "throughput"]
    assert [row[0].text for row in texts.rows] == ["mean latency", "P50 latency", "throughput"]
    assert (images.note, texts.note) == ("", "no P99 latency: it takes 459 requests of each side")
    assert max(cell_len(line) for line in comparison_text(comparison, sides).splitlines()) <= 80
    document = data.comparison_json(comparison, sides)
    assert [part["name"] for part in document["parts"]] == ["images", "texts"]
    assert [m["metric"] for m in document["parts"][0]["metrics"]] == [
        "mean latency",
        "P50 latency",
        "P99 latency",
        "throughput",
    ]
    assert all(0.4 < m["change"]["value"] < 0.6 for m in document["parts"][1]["metrics"][:2])


def test_the_parts_of_more_sides_than_two_have_a_column_each(made_mix_run: Made) -> None:
    """Without a change, as the whole."""
    comparison, sides = made_comparison(made_mix_run, sides=3)
    page = comparison_page(comparison, sides)
    (table,) = [t for t in page.tables if t.title == "Part images"]
    assert table.columns == ("", "side 0", "side 1", "side 2")
    assert max(cell_len(line) for line in comparison_text(comparison, sides).splitlines()) <= 80
    assert html.comparison_html(comparison, sides)


def test_nothing_is_compared_part_by_part_where_a_side_has_no_round(made_mix_run: Made) -> None:
    """As a demo that was stopped early leaves it."""
    assert compare_sides([made_mix_run()], []).parts == ()
    assert compare_sides([], []).parts == ()


def made_comparison(made_mix_run: Made, sides: int = 2, count: int = 800) -> tuple[SideComparison, Sides]:
    """Sides of three rounds, each twice as fast as the one before."""
    runs = [[made_mix_run(10 * n + round_, count, mean_ms=20.0 / 2**n) for round_ in range(3)] for n in range(sides)]
    return compare_sides(*runs), tuple(side(f"side {n}", of_side) for n, of_side in enumerate(runs))
