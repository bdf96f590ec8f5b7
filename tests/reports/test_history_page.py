"""The report of a run against its history."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.analysis.history import History, Point, judge
from bench.analysis.summary import summarize
from bench.reports import data, history_page
from bench.reports.history_page import history_html, history_json
from bench.reports.markdown import page_markdown
from bench.reports.text import page_text
from bench.testing import make_run

GOLDEN = Path(__file__).parents[1] / "golden" / "reports"
HOSTILE = "<script>alert(1)</script> | `x` \x1b[31m"
WOBBLE = [0.0, 0.6, -0.5, 0.3, -0.4, 0.5, -0.3, 0.2, -0.6, 0.4]  # in percent
DELTAS = {"mean": 0.05, "p99": 0.1, "errors": 0.01}
BEFORE, AFTER = ("2.46.0", "550.54"), ("2.48.0", "560.28")  # server and driver
NONE: Counter[str] = Counter()


def point(n: int, mean_ms: float, versions: tuple[str, str], **fields: Any) -> Point:
    """Run n of 600 requests of a Triton, on the n-th of January."""
    server, driver = versions
    made = make_run(
        mean_ms * (1 + WOBBLE[n % 10] / 100) * np.linspace(0.98, 1.02, 600),
        id=f"202601{n:02d}-120000-made-triton",
        created=f"2026-01-{n:02d}T12:00:00+00:00",
        target={"asked": "triton", "word": "triton-http://127.0.0.1:1", "server": {"kind": "triton", "version": server}},
        environment={"driver": driver, "cpu": "a processor"},
        **fields,
    )
    return Point(made, summarize(made))


def history(levels: Sequence[tuple[float, tuple[str, str]]], **fields: Any) -> History:
    """Runs of these means and versions, the last of which is judged."""
    *earlier, judged = (point(n, mean, versions) for n, (mean, versions) in enumerate(levels, 1))
    if fields:
        judged = point(len(levels), *levels[-1], **fields)
    return judge(earlier, judged, DELTAS)


@pytest.fixture(scope="module")
def upgraded() -> History:
    """Twelve runs, and one after an upgrade, which is slower by 12 %."""
    return history([(20.0, BEFORE)] * 12 + [(22.4, AFTER)])


@pytest.fixture(scope="module")
def unnoticed() -> History:
    """The upgrade was ten runs ago."""
    return history([(20.0, BEFORE)] * 8 + [(22.4, AFTER)] * 10)


def test_the_report_reads_exactly_so(upgraded: History) -> None:
    """What a user sees of a run that is slower since an upgrade, to the letter."""
    page = history_page.history_page(upgraded, Counter({"INVALID": 2, "broken off": 1}))
    assert page_text(page) == (GOLDEN / "history.txt").read_text(encoding="utf-8")


def test_a_change_in_the_middle_is_pointed_at_in_words(unnoticed: History) -> None:
    """From which run on, by how much, and what came with it."""
    lead = history_page.history_page(unnoticed, NONE).lead
    assert "mean latency +12" in lead
    assert "from 20260109-120000-made-triton on" in lead
    assert "server version 2.46.0 -> 2.48.0" in lead
    assert "driver 550.54 -> 560.28" in lead


def test_without_a_change_it_says_so() -> None:
    """A quiet history."""
    page = history_page.history_page(history([(20.0, BEFORE)] * 8), NONE)
    assert "No change of level" in page.lead
    assert [table.title for table in page.tables] == ["In short"]


def test_a_change_without_a_difference_says_that_nothing_differs() -> None:
    """Somebody changed what is not recorded."""
    page = history_page.history_page(history([(20.0, BEFORE)] * 8 + [(25.0, BEFORE)] * 8), NONE)
    assert "do not differ" in page.tables[1].note


@pytest.mark.parametrize("count", [1, 2])
def test_a_short_history_says_what_it_takes(count: int) -> None:
    """None, and one."""
    page = history_page.history_page(history([(20.0, BEFORE)] * count), NONE)
    assert page.verdicts[0].word == "UNKNOWN"
    assert f"needs 5 earlier runs that have it, has {count - 1}" in page.verdicts[0].reasons[0]


def test_an_invalid_run_says_why() -> None:
    """Its reasons stand below its own verdict."""
    page = history_page.history_page(history([(20.0, BEFORE)] * 8, errors=dict.fromkeys(range(300), "status")), NONE)
    assert (page.verdicts[0].word, page.verdicts[1].word) == ("WORSE", "INVALID")
    assert page.verdicts[1].reasons


def test_markdown_has_the_same_tables(upgraded: History) -> None:
    """For a pull request."""
    said = page_markdown(history_page.history_page(upgraded, NONE))
    assert said.startswith("# triton against its history: made\n\n- **WORSE** this run:")
    assert "| server version | 2.46.0 | 2.48.0 |" in said


def test_json_has_the_numbers_unrounded(unnoticed: History) -> None:
    """Every run's value, the interval, and each change with what differs."""
    document = json.loads(data.to_text(history_json(unnoticed, Counter({"INVALID": 2}))))
    mean = document["metrics"][0]
    assert len(mean["values"]) == len(document["runs"]) == 18
    assert mean["mean"]["value"] == pytest.approx(np.exp(np.log(mean["values"][:-1]).mean()))
    assert mean["change"]["value"] == pytest.approx(mean["values"][-1] / mean["mean"]["value"])
    change = document["changes"][0]
    assert (change["after"], change["from"]) == ("20260108-120000-made-triton", "20260109-120000-made-triton")
    assert {"name": "driver", "before": "550.54", "after": "560.28"} in change["differences"]
    assert document["passed_over"] == {"INVALID": 2}


def test_the_page_has_a_plot_of_each_metric(upgraded: History, unnoticed: History) -> None:
    """The change is a dashed line in that of latency, and no other plot has one."""
    for made in (upgraded, unnoticed):
        figures = history_html(made, NONE).split("<figure")[1:]
        assert [figure.split("<b>")[1].split("</b>")[0] for figure in figures] == [
            "mean latency, ms",
            "P99 latency, ms",
            "error rate, %",
        ]
        assert [figure.count("stroke-dasharray") for figure in figures] == [1, 1, 0]


def test_names_are_escaped() -> None:
    """A record that somebody else made may say anything."""
    levels = [(20.0, BEFORE)] * 8 + [(25.0, (HOSTILE, HOSTILE))]
    page = history_html(history(levels), NONE)
    assert "<script" not in page
    assert "\x1b" not in page
    assert "\x1b" not in page_text(history_page.history_page(history(levels), NONE))


def test_a_history_without_any_number_has_no_plots_of_it() -> None:
    """Every request of the one run failed."""
    made = history([(20.0, BEFORE)], errors=dict.fromkeys(range(600), "status"))
    assert history_html(made, NONE).count("<figure") == 1
