"""What the report of several sides says."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from bench.analysis.compare import SideComparison, compare_sides
from bench.record import Run
from bench.reports.comparison_page import comparison_page
from bench.reports.side_tables import side_by_side
from bench.reports.sides import Sides, claimable_everywhere
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
    assert [v.word for v in page.verdicts] == ["VALID", "INVALID"]
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


# ---------------------------------------------------------------- more sides than two


def test_more_sides_than_two_have_a_column_each_and_their_changes_below(made_modes: Made) -> None:
    """Values first, with their intervals; then how each differs from the first."""
    page = comparison_page(*made_modes())
    values, changes = page.tables[: page.leading]
    names = ("Flask 3.1.3", "Triton 2.48.0 batching=off", "Triton 2.48.0 batching=dynamic", "Triton 2.48.0 batching=continuous")
    assert values.columns == ("", *names)
    assert values.sides == ("", "first", "second", "third", "fourth")
    assert (changes.title, changes.columns, changes.sides) == (
        "Against Flask 3.1.3",
        ("", *names[1:]),
        values.sides[:1] + values.sides[2:],
    )
    assert values.rows[0][0].text == "mean TTFT"
    value, interval = values.rows[0][1].text.split("\n")
    assert value.endswith(" s")
    assert interval.startswith("[")
    assert changes.rows[0][3].text.startswith("11x lower\n[")


def test_a_row_has_one_unit_for_all_its_sides(made_modes: Made) -> None:
    """13 s against 1.2 s, not against 1,160 ms."""
    table = comparison_page(*made_modes()).tables[0]
    p90 = next(row for row in table.rows if row[0].text == "P90 TTFT")
    assert all(cell.text.split("\n")[0].endswith(" s") for cell in p90[1:])


def test_of_the_quantiles_the_highest_that_all_sides_may_claim_is_shown_and_the_p99_explained(made_modes: Made) -> None:
    """48 requests a side show a P90 and no P99; 480 show a P99, and the P90 is left out."""
    few, enough = (comparison_page(*made_modes(count=count, sides=2)).tables[0] for count in (16, 160))
    assert [name for name in column(few, 0) if "TTFT" in name] == ["mean TTFT", "P50 TTFT", "P90 TTFT"]
    assert "no P99 of TTFT, ITL and latency: it takes 459 requests of each side" in few.note
    assert [name for name in column(enough, 0) if "TTFT" in name] == ["mean TTFT", "P50 TTFT", "P99 TTFT"]
    assert "no P99" not in enough.note


def test_too_few_requests_for_either_leave_the_p99_with_what_it_needs(made_modes: Made) -> None:
    """24 requests show a median alone."""
    table = comparison_page(*made_modes(count=8, sides=2)).tables[0]
    p99 = next(row for row in table.rows if row[0].text == "P99 TTFT")
    assert p99[1].text == "n/a (needs 459 requests, has 24)"
    assert "P90 TTFT" not in column(table, 0)


@pytest.mark.parametrize(("rounds", "said"), [(2, True), (3, False)])
def test_a_table_without_intervals_says_what_they_take(made_modes: Made, rounds: int, said: bool) -> None:
    """Two rounds tell nothing of the scatter between rounds."""
    for sides in (2, 4):
        note = comparison_page(*made_modes(rounds=rounds, sides=sides)).tables[0].note
        assert ("no intervals: they take 3 rounds of each side" in note) is said


def test_the_table_says_what_goodput_asks_of_a_request(made_modes: Made) -> None:
    """A number of good requests is nothing without it."""
    assert "goodput: requests within latency 20s, TTFT 2s, longest gap 600ms" in comparison_page(*made_modes()).tables[0].note


def test_answers_that_differ_between_sides_are_counted_and_set_off(made_modes: Made) -> None:
    """16 kept answers: all the same twice, 15 once."""
    for sides in (2, 4):
        row = comparison_page(*made_modes(sides=sides)).tables[0].rows[-1]
        assert [cell.text for cell in row[:5]] == [
            "same tokens",
            "–",
            "16 of 16",
            *(["15 of 16", "16 of 16"] if sides == 4 else ["–"]),
        ]
        assert [cell.tone for cell in row[2:4]] == ["", "worse" if sides == 4 else "muted"]


def test_answers_that_were_not_looked_at_have_no_row(made_sides: Made) -> None:
    """Nothing is said of what is not known."""
    assert not [name for name in column(comparison_page(*made_sides()).tables[0], 0) if name.startswith("same")]


def test_a_few_requests_a_round_are_no_fault_where_the_rounds_together_have_enough(made_modes: Made) -> None:
    """3 x 16 requests show a P90, each 16 do not."""
    assert comparison_page(*made_modes(count=16)).warnings == ()
    assert len(comparison_page(*made_modes(count=8)).warnings) == 4


def test_what_differs_between_many_sides_stands_apart_from_what_does_not(made_modes: Made) -> None:
    """Four columns of the same words would hide the one that matters."""
    differing, alike = comparison_page(*made_modes()).tables[-2:]
    assert "server" in column(differing, 0)
    assert "model precision" in column(differing, 0)
    assert "payload" in column(alike, 0)
    assert not set(column(differing, 0)) & set(column(alike, 0))


def test_executed_batches_are_those_of_all_rounds(made_modes: Made) -> None:
    """12 + 12 + 12 batches of one request, 3.5 % of all requests."""
    table = next(t for t in comparison_page(*made_modes()).tables if t.title == "Executed batch sizes")
    assert [cell.text for cell in table.rows[0]] == ["1", *["36 (3.5%)"] * 4]
    assert table.note.startswith("read from the server")


def test_nothing_is_concluded_where_one_of_many_is_invalid(made_modes: Made, made_stream_run: Callable[..., Run]) -> None:
    """No table of changes either."""
    _, sides = made_modes()
    broken = [replace(run, status="partial") for run in sides[2].runs]
    page = comparison_page(compare_sides(*(broken if n == 2 else one.runs for n, one in enumerate(sides))), sides)
    assert page.lead.startswith("No conclusion: Triton 2.48.0 batching=dynamic is INVALID.")
    assert "Against Flask 3.1.3" not in [table.title for table in page.tables]
