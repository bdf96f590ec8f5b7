"""What `bench compare` says of real servers: how its words are counted."""

import json
import math
from pathlib import Path

import pytest

from bench import cli
from bench.errors import RunError
from bench.evidence import compare_live
from bench.evidence.compare_live import ERRORS, MEAN, P99, Outcome, asked, report


def made(mean: str = "SAME", p99: str = "UNKNOWN", failures: str = "SAME", wall_s: float = 50.0) -> Outcome:
    """A comparison with these verdicts."""
    return Outcome({MEAN: mean, P99: p99, ERRORS: failures}, 5.1, 1.01, 0.03, 20, wall_s)


@pytest.mark.parametrize(
    ("alike", "planted", "held"),
    [
        ([made()] * 20, [made("WORSE")] * 10, [True, True, True, True]),
        ([made()] * 17 + [made(p99="BETTER")] * 3, [made("WORSE")] * 10, [True, True, True, True]),
        ([made()] * 16 + [made(p99="BETTER")] * 2 + [made(failures="WORSE")] * 2, [made("WORSE")], [False, True, True, True]),
        ([made()] * 11 + [made("UNKNOWN")] * 9, [made("WORSE")], [True, False, True, True]),
        ([made()] * 12 + [made("UNKNOWN")] * 8, [made("WORSE")] * 9 + [made("UNKNOWN")], [True, True, True, True]),
        ([made()] * 20, [made("WORSE")] * 8 + [made(p99="WORSE")] * 2, [True, True, False, True]),
        ([made()] * 20, [made("WORSE")] * 9 + [made("WORSE", wall_s=60.1)], [True, True, True, False]),
    ],
)
def test_what_is_asked_is_counted(alike: list[Outcome], planted: list[Outcome], held: list[bool]) -> None:
    """A comparison with several false verdicts counts once; a planted difference has to show in the mean."""
    assert [one.held for one in asked(alike, planted)] == held


def test_of_fewer_comparisons_as_much_is_asked_in_proportion() -> None:
    """Three of two alike may have no false verdict, and two of them have to be the same."""
    whats = [one.what for one in asked([made()] * 3, [made("WORSE")] * 2)]
    assert whats[0].endswith("at most 0 of 3")
    assert whats[1].endswith("at least 2 of 3")
    assert whats[2].endswith("at least 2 of 2")


def test_the_page_counts_the_verdicts_of_each_metric() -> None:
    """With what the comparisons took."""
    text = "\n".join(report(500, [made()] * 3 + [made("WORSE")], [made("WORSE", "WORSE", wall_s=20.0)]))
    assert "| alike: any WORSE or BETTER in at most 0 of 4 | 1 | **no** |" in text
    assert "| mean latency | 3 | 0 | 1 | 0 |" in text
    assert "| P99 latency | 0 | 0 | 1 | 0 |" in text
    assert "500 a request in two of them, in the third 600, a fifth more." in " ".join(text.split())
    assert "20 rounds a side (median), 50.0 s each (median; the longest 50.0 s)" in text
    assert "+1.0% (median), its interval 3.0% either way (median)" in " ".join(text.split())


def test_verdicts_are_read_from_what_compare_prints(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A side that takes 20 % longer, in virtual time."""
    words = ["echo://?service=5ms", "echo://?service=6ms", "--duration", "2s", "--output", str(tmp_path), "--format", "json"]
    assert cli.main(["compare", *words]) == 1
    found = compare_live.outcome(json.loads(capsys.readouterr().out), 1.0)
    assert found.verdicts == {MEAN: "WORSE", P99: "WORSE", ERRORS: "SAME", "answers": "SAME"}
    assert (found.mean_ms, found.change) == (pytest.approx(20.0), pytest.approx(1.2))
    assert found.half_width is not None
    assert math.isclose(found.half_width, 0.0, abs_tol=1e-9)
    assert found.rounds == 5


def test_a_comparison_that_could_not_be_made_is_told_with_what_it_said(tmp_path: Path) -> None:
    """Such as one without its workload."""
    with pytest.raises(RunError, match=r"(?s)bench compare echo:// .*exit code 2: .*busy\.toml"):
        compare_live.compare("echo://", "echo://?service=6ms", tmp_path, "x", lambda text: None)
