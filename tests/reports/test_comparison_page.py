"""What the report of two sides says."""

from collections.abc import Callable

import pytest

from bench.analysis.compare import SideComparison
from bench.reports.comparison_page import Sides, claimable_everywhere, comparison_page, side_by_side
from bench.reports.tables import Page, Table

Made = Callable[..., tuple[SideComparison, Sides]]
FAILED = {"errors": dict.fromkeys(range(20), "status")}


def column(table: Table, index: int) -> list[str]:
    return [row[index].text for row in table.rows]


def test_the_table_that_leads_has_both_sides_and_the_change(made_sides: Made) -> None:
    """Mean latency, P50, P99, throughput, mean and peak utilization, error rate, in this order."""
    table = comparison_page(*made_sides()).tables[0]
    assert table.columns == ("", "Flask", "Triton 24.07", "change")
    assert column(table, 0) == [
        "mean latency", "P50 latency", "P99 latency", "throughput", "mean server CPU", "peak server CPU", "error rate",
    ]  # fmt: skip
    assert column(table, 3)[0].startswith("3.0x lower [")
    assert table.rows[0][3].tone == "better"


def test_nothing_is_concluded_from_an_invalid_side(made_sides: Made) -> None:
    """The reason stands at the side, with its rounds; no change is stated, in the table or in words."""
    page: Page = comparison_page(*made_sides(new=FAILED))
    assert [v.valid for v in page.verdicts] == [True, False]
    assert page.verdicts[1].reasons[0].startswith("round 1: 20 of 100 requests failed")
    assert page.verdicts[1].reasons[0].endswith("(the like in 5 more rounds)")
    assert page.lead.startswith("No conclusion: Triton 24.07 is INVALID.")
    assert set(column(page.tables[0], 3)) == {"not compared"}


def test_two_invalid_sides_are_both_named(made_sides: Made) -> None:
    """As people would say it."""
    assert "Flask and Triton 24.07 are INVALID" in comparison_page(*made_sides(**FAILED)).lead


def test_settings_stand_side_by_side(made_sides: Made) -> None:
    """What only one side has is a dash at the other; what varies between rounds is listed."""
    rows = {name: (base, new) for name, base, new in side_by_side(made_sides()[1])}
    assert rows["workers"] == ("1", "–")
    assert rows["instances"] == ("–", "1")
    assert rows["threads"] == ("2", "2")
    assert rows["load"] == ("1 user, closed loop", "1 user, closed loop")


def test_differences_are_marked(made_sides: Made) -> None:
    """The eye goes to where the two were not set up alike."""
    table = comparison_page(*made_sides()).tables[2]
    marks = dict(zip(column(table, 0), column(table, 3), strict=True))
    assert (marks["threads"], marks["workers"], marks["load"]) == ("", "differs", "")


@pytest.mark.parametrize(("count", "quantile"), [(30, None), (60, 0.9), (100, 0.95), (500, 0.99)])
def test_rounds_show_the_highest_quantile_that_each_may_claim(made_sides: Made, count: int, quantile: float | None) -> None:
    """A P99 of a round too short for one is not shown, however many rounds there are."""
    comparison, sides = made_sides(count=count, rounds=3)
    assert claimable_everywhere(sides) == quantile
    titles = comparison_page(comparison, sides).tables[1].columns
    assert any("P9" in title for title in titles) == (quantile is not None)


def test_sides_may_have_different_numbers_of_rounds(made_sides: Made) -> None:
    """An interrupted comparison shows what there is."""
    _, (base, _) = made_sides(rounds=4)
    comparison, (_, new) = made_sides(rounds=3)
    table = comparison_page(comparison, (base, new)).tables[1]
    assert column(table, 0) == ["1", "2", "3", "4"]
    assert column(table, 2)[3] == "n/a"


def test_warnings_name_their_side_and_come_once(made_sides: Made) -> None:
    """Six rounds with the same warning are one line."""
    warnings = comparison_page(*made_sides(compared=0)).warnings
    assert len(warnings) == 2
    assert warnings[0].startswith("Flask: round 1: no answer was compared")
    assert warnings[0].endswith("(the like in 5 more rounds)")
