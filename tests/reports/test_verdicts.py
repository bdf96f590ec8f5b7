"""What a comparison's report says of its verdicts."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bench.analysis.compare import Agreement, Difference, SideComparison, compare_sides
from bench.analysis.estimate import Estimate
from bench.analysis.rule import Judgement, Rule
from bench.analysis.verdicts import Looks
from bench.record import Run
from bench.reports import html, tables, verdicts
from bench.reports.comparison_page import comparison_page
from bench.reports.markdown import comparison_markdown
from bench.reports.sides import Sides, side
from bench.reports.text import comparison_text
from bench.testing import make_workload

GOLDEN = Path(__file__).parents[1] / "golden" / "reports"
RULE = Rule({"mean": 0.05, "p99": 0.10, "errors": 0.01}, Looks())
Made = tuple[SideComparison, Sides]


@pytest.fixture(scope="module")
def made(made_run: Callable[..., Run]) -> Made:
    """Two versions of a Triton, six pairs of rounds: a tenth slower, with few requests, and one answer that is another."""

    def rounds(version: str, mean_ms: float) -> list[Run]:
        target = {"word": "triton-http://127.0.0.1:8000", "asked": f"triton@{version}", "name": f"Triton {version}", "server": {
            "kind": "triton", "version": version, "source": f"a wheel of {version}", "backend": "python, onnxruntime 1.32.0",
            "options": {"instances": 1, "threads": 2}, "ready_s": 3.0}}  # fmt: skip
        return [
            made_run(n + 10 * round(mean_ms), 60, mean_ms, target=target, workload=make_workload(round=n)) for n in range(1, 7)
        ]

    runs = rounds("2.46.0", 20.0), rounds("2.48.0", 22.0)
    agreement = [Agreement(15, 16, (Difference("made", 0.031, 0.01),))]
    comparison = compare_sides(*runs, agreement=agreement, rule=RULE)
    return comparison, tuple(side(f"Triton {v}", of) for v, of in zip(("2.46.0", "2.48.0"), runs, strict=True))


@pytest.mark.parametrize(("name", "render"), [("compare.txt", comparison_text), ("compare.md", comparison_markdown)])
def test_the_report_of_verdicts_reads_exactly_so(name: str, render: Callable[..., str], made: Made) -> None:
    """Worse as a whole; the errors of 360 requests are not enough to be the same."""
    assert render(*made) == (GOLDEN / name).read_text(encoding="utf-8")


def test_no_line_is_longer_than_a_terminal(made: Made) -> None:
    """At 80 columns; names, words and numbers stay whole."""
    text = comparison_text(*made)
    assert max(map(len, text.splitlines())) <= 80
    assert " WORSE  Triton 2.48.0: " in text


def test_the_page_shows_intervals_and_what_does_not_matter(made: Made) -> None:
    """As a plot of its own, before the others."""
    page = html.comparison_html(*made)
    assert page.index("What the verdicts come from") < page.index("How long requests take")
    assert 'class="verdict invalid"' in page


def test_a_comparison_without_a_rule_has_no_verdicts(made_sides: Callable[..., Made]) -> None:
    """As the demo has none."""
    comparison, sides = made_sides()
    assert [verdict.word for verdict in comparison_page(comparison, sides).verdicts] == ["VALID", "VALID"]
    assert "What the verdicts come from" not in html.comparison_html(comparison, sides)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (None, "–"),
        (Estimate(1.052, 1.031, 1.074, "x"), "+5.2% [+3.1, +7.4]"),
        (Estimate(0.9, None, None, "x"), "−10.0%"),
        (Estimate(1.0, 0.999, 1.001, "x"), "0.00% [−0.10, +0.10]"),
        (Estimate(3.14, 2.9, 3.31, "x"), "3.14x [2.9, 3.31]"),
        (Estimate(0.25, None, None, "x"), "0.25x"),
        (Estimate(0.02, -0.005, 0.045, "share"), "+2.0 pp [−0.5, +4.5]"),
        (Estimate(0.0, -0.004, 0.004, "share"), "0.00 pp [−0.40, +0.40]"),
        (Estimate(float("nan"), None, None, "x"), "–"),
    ],
)
def test_a_difference_is_told_in_percent_times_or_points(change: Estimate | None, text: str) -> None:
    """As small or as large as it is; of errors in percentage points of all requests."""
    assert tables.difference(change) == text


@pytest.mark.parametrize(
    ("judgement", "text"),
    [
        (
            Judgement("UNKNOWN", 0.05, 40),
            "its interval is neither within ±5% nor on one side of no change; some 40 rounds of each side, in all, would "
            "decide at this noise",
        ),
        (
            Judgement("UNKNOWN", 0.1),
            "its interval is neither within ±10% nor on one side of no change, and no number of rounds in sight would decide",
        ),
        (
            Judgement("UNKNOWN", 0.1, 5, "needs 459 requests"),
            "needs 459 requests: some 5 rounds of each side, in all, would decide",
        ),
        (Judgement("UNKNOWN", 0.1, None, "INVALID: errors"), "INVALID: errors"),
    ],
)
def test_an_unknown_says_what_it_lacks(judgement: Judgement, text: str) -> None:
    """Rounds, requests, or a run that can be believed."""
    assert verdicts.lacks("mean latency", judgement) == text


@pytest.mark.parametrize(
    ("greatest", "allowed", "text"), [(0.031, 0.01, "3.1% apart"), (0.0, 0.01, "0% apart"), (float("inf"), 0.01, "no numbers")]
)
def test_answers_say_how_far_they_are_apart(greatest: float, allowed: float, text: str, made_run: Callable[..., Run]) -> None:
    """The greatest difference of all models."""
    runs = [[made_run(n) for n in range(3)] for _ in range(2)]
    agreement = [Agreement(16, 16, (Difference("a", 0.0, 1.0), Difference("b", greatest, allowed)))]
    comparison = compare_sides(*runs, agreement=agreement, rule=RULE)
    rows = verdicts.table(comparison, ("A", "B"), 1, ("first", "second")).rows
    assert [cell.text for cell in rows[-1]] == ["answers", "–", "16 of 16 same", text, "SAME"]


def test_rounds_that_are_left_out_and_what_is_not_alike_are_warned_of(made_run: Callable[..., Run]) -> None:
    """Before whatever else there is to warn of."""
    from bench.analysis.estimate import Reason

    runs = [[made_run(n, environment={"cpu": cpu}) for n in range(3)] for cpu in ("old", "new")]
    left_out = [(), (Reason("left_out", "round 4 is left out: why"),)]
    comparison = compare_sides(*runs, rule=RULE, left_out=left_out)
    page = comparison_page(comparison, (side("A", runs[0]), side("B", runs[1])))
    assert page.warnings[0] == "not alike: CPU: old / new"
    assert "B: round 4 is left out: why" in page.warnings


def test_a_look_is_told_in_one_line(made: Made) -> None:
    """While the next rounds are measured."""
    assert verdicts.look(made[0]) == "mean latency WORSE, P99 latency UNKNOWN, error rate UNKNOWN, answers WORSE"


def test_a_round_is_told_in_a_few_words(made: Made, made_run: Callable[..., Run]) -> None:
    """And why, where it is INVALID."""
    assert verdicts.in_short(made[1][0].runs[0]).startswith("60 requests, ")
    bad = made_run(1, errors=dict.fromkeys(range(9), "status"))
    assert verdicts.in_short(bad).endswith(", INVALID: errors")


def test_the_lead_says_how_rounds_belong_together(made: Made, made_run: Callable[..., Run]) -> None:
    """Pairs, or rounds by themselves, as many or not."""
    assert "6 pairs of rounds" in comparison_page(*made).lead
    three, four = [made_run(n) for n in range(3)], [made_run(n) for n in range(4)]
    for sides, said in (
        ((three, three), "3 rounds of each side, each by itself"),
        ((three, four), "3 and 4 rounds, each by itself"),
    ):
        assert said in verdicts.lead(compare_sides(*sides, rule=RULE), sides)


def test_latencies_in_pairs_are_drawn_however_few_there_are(made: Made) -> None:
    """A comparison whose metrics have no interval has no such plot."""
    sides = made[1]
    two = compare_sides(*(one.runs[:2] for one in sides), rule=RULE)
    assert np.all([row.changes[0] is None or row.changes[0].low is None for row in two.rows if row.judged])
    page = html.comparison_html(two, tuple(side(one.name, one.runs[:2]) for one in sides))
    assert "What the verdicts come from" not in page
