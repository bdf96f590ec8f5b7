"""What is said of a run on the whole."""

import re
from pathlib import Path
from typing import Any

from bench.analysis.validity import validity
from bench.record import Run
from bench.testing import make_run

ROOT = Path(__file__).parents[3]


def reasons(run: Run) -> list[str]:
    return [r.code for r in validity(run)[0]]


def warnings(run: Run) -> list[str]:
    return [w.code for w in validity(run)[1]]


def open_run(lag_ms: Any = 0.0, latency_ms: float = 20.0, count: int = 200, **fields: Any) -> Run:
    """200 requests, one every 10 ms, each answered after 20 ms; the window is as long as the schedule."""
    return make_run([latency_ms] * count, every_ms=10, lag_ms=lag_ms, window_ms=(0, 10 * count), **fields)


def test_a_run_that_did_what_was_asked_is_valid_and_has_no_warnings() -> None:
    """Nothing is said of an undisturbed run, closed or open."""
    assert validity(make_run([10.0] * 100)) == ((), ())
    assert validity(open_run(load={"unsent": 0, "late_without_connection": 0, "engine_cpu_s": 0.1})) == ((), ())


def test_every_reason_and_warning_is_explained_in_the_manual() -> None:
    """By its code, in docs/validity.md; the manual has no other."""
    sources = [path.read_text() for path in (ROOT / "bench" / "analysis" / "validity").glob("*.py")]
    given = {code for source in sources for code in re.findall(r'Reason\(\s*f?"(\w+(?:\{metric\})?)"', source)}
    given |= {f"gpu_{slowed}" for slowed in ("slowed_by_heat", "slowed_by_hardware")}
    rows = [line.split("|")[1] for line in (ROOT / "docs" / "validity.md").read_text().splitlines() if line.startswith("| `")]
    assert {code for row in rows for code in re.findall(r"`(\w+)`", row)} == given - {"gpu_{metric}"}
