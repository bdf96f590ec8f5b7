"""Many records through the recorder, and the run that they make."""

from pathlib import Path

import pytest

from bench import store
from bench.analysis.measured import measure
from bench.errors import RunError
from bench.evidence import long_run, recording
from bench.evidence.long_run import MIB, Step, held, report, spread_mib
from bench.evidence.recording import Memory
from bench.record import SAME

QUICK = [Step("the streams become Parquet", 60, 60, 9000), Step("`bench report`", 9.9, 9, 1500)]


def memory(*mib: float) -> list[Memory]:
    """At each millionth record, the process's own share."""
    return [Memory(n * 10**6, 2 * round(m * MIB), round(m * MIB)) for n, m in enumerate(mib, 1)]


def test_what_is_recorded_becomes_a_whole_run(tmp_path: Path) -> None:
    """By real threads in a process of its own: every record once, in the order of completion, one in ten compared."""
    found = long_run.record(tmp_path, 15_000, 1e6, lambda text: None)
    assert found[-1].records == 15_000
    assert all(0 < m.pss <= m.rss for m in found)
    step = long_run.carry_out("the streams become Parquet", tmp_path)
    assert step.seconds > 0
    assert step.peak_mib > 20
    assert not list(tmp_path.glob("*.arrows"))
    run = store.load_run(tmp_path)
    assert run.records["id"].tolist() == list(range(15_000))
    assert (run.records["end_ns"][1:] >= run.records["end_ns"][:-1]).all()
    compared = run.records["check"] == SAME
    assert set(run.records["id"][compared]) == {*range(16), *range(0, 15_000, 10)}  # the first 16 are kept, and so looked at
    assert measure(run).successes > 1000


def test_a_step_that_fails_is_told(tmp_path: Path) -> None:
    """By its name."""
    with pytest.raises(RunError, match="`bench report` ended with 2"):
        long_run.carry_out("`bench report`", tmp_path / "missing")


def test_memory_is_to_be_flat_from_the_first_tenth_on() -> None:
    """What it grows before that is the process coming up."""
    assert spread_mib(memory(100, 149, 101, 140, 120, 150, 110, 100, 100, 100)) == 50
    assert spread_mib(memory(10, 149, *[149] * 18)) == 0
    assert held(memory(100, 150), QUICK)
    assert not held(memory(100, 151), QUICK)


@pytest.mark.parametrize("slow", [Step("`bench report`", 10.1, 9, 10), Step("`bench report --format html`", 1, 1, 1537)])
def test_a_report_is_to_be_quick_and_small(slow: Step) -> None:
    """Nothing is asked of the other steps."""
    assert not held(memory(100, 100), [*QUICK, slow])


def test_the_page_shows_memory_in_ten_lines_and_each_step() -> None:
    """However often it was looked at."""
    many = [Memory(n * 1000, 2 * MIB, MIB) for n in range(1, 1001)]
    lines = list(report(many, QUICK))
    shown = [line for line in lines if line.endswith("| 2 | 1 |")]
    assert 10 <= len(shown) <= 12
    assert shown[-1] == "| 1,000,000 | 2 | 1 |"
    assert lines[-2:] == [
        "| the streams become Parquet | 60.0 | 60.0 | 9,000 |  |",
        "| `bench report` | 9.9 | 9.0 | 1,500 | yes |",
    ]


def test_the_load_is_as_long_as_its_records_take() -> None:
    """10 M of them at 0.1 ms each, less the warm-up."""
    assert recording.workload(10_000_000).duration_ns == 999 * 10**9
