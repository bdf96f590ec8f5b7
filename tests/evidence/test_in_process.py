"""A model in process beside a bare loop: how the two are compared."""

from pathlib import Path

import numpy as np
import pytest

from bench import resources
from bench import workload as workloads
from bench.errors import RunError
from bench.evidence import bare_onnx, in_process
from bench.evidence.in_process import Pair, held, interval, measure, report
from bench.recipes.build import build
from bench.workload import Model, Workload

MS = 1_000_000


@pytest.fixture(scope="module")
def tiny() -> Workload:
    """ResNet-50's operators in 0.5 MB."""
    return workloads.override(resources.load_workload("resnet50"), model=Model("resnet50", preset="tiny"))


def every(ms: float, count: int = 101) -> np.ndarray:
    """Ends so far from each other."""
    return np.arange(count, dtype=np.int64) * round(ms * MS)


def pairs(*ratios: float) -> list[Pair]:
    """Pairs in which bench has so much of a bare loop's throughput."""
    return [Pair(every(10), every(10 / ratio)) for ratio in ratios]


def test_throughput_is_counted_from_the_first_end_to_the_last() -> None:
    """101 ends 10 ms apart are 100 runs in a second."""
    (pair,) = pairs(0.5)
    assert pair.rates_hz() == (100.0, 50.0)
    assert pair.ratio == 0.5


@pytest.mark.parametrize(
    ("ratios", "expected"),
    [
        ((0.99, 0.985, 0.98), True),  # the median is near enough to 1
        ((0.95, 0.951, 0.949, 0.95), False),  # and here it is not, nor does the interval reach 1
        ((0.7, 1.2, 0.9, 0.97), True),  # the interval contains 1
        ((0.97, 0.97), False),  # two pairs have no interval
    ],
)
def test_it_is_held_by_the_median_or_by_the_interval(ratios: tuple[float, ...], expected: bool) -> None:
    """Where the pairs do not tell that bench is slower, or it is by next to nothing."""
    assert held(pairs(*ratios)) is expected


def test_the_interval_is_between_pairs() -> None:
    """What slows both sides of a pair alike does not widen it."""
    slowed = [Pair(every(10 * n), every(10 * n / 0.9)) for n in (1, 2, 3, 5)]
    between = interval(slowed)
    assert between is not None
    assert between.low == pytest.approx(0.9, abs=1e-6)
    assert between.high == pytest.approx(0.9, abs=1e-6)
    assert interval(slowed[:2]) is None


def test_the_page_has_a_row_a_pair_and_the_verdict() -> None:
    """With the interval behind the median."""
    lines = list(report(pairs(0.9, 0.9, 0.9), 6.0))
    assert any("median of 3 pairs: **0.900** [0.900, 0.900]; held: **no**." in line for line in lines)
    assert lines[-1] == "| 3 | 100.00 | 90.00 | 0.900 |"


def test_the_bare_loop_runs_the_model_until_its_time_is_over(tiny: Workload) -> None:
    """Every end is after the warm-up, one after the other."""
    ends = bare_onnx.loop(build("resnet50", preset="tiny").onnx, tiny, 0.05, 0.1)
    assert len(ends) > 1
    assert np.all(np.diff(ends) > 0)


def test_both_sides_run_in_processes_of_their_own(tiny: Workload, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A pair of real ones on the tiny model; nothing is left behind."""
    monkeypatch.setattr(in_process, "WARMUP_S", 0.1)
    monkeypatch.chdir(tmp_path)
    (pair,) = measure(tiny, 1, 0.3, lambda text: None)
    assert min(pair.rates_hz()) > 0
    assert list(tmp_path.iterdir()) == []


def test_a_bare_loop_that_fails_is_told_with_what_it_said(tiny: Workload, tmp_path: Path) -> None:
    """Such as a model that is not there."""
    with pytest.raises(RunError, match=r"(?s)the bare loop ended with 1: .*missing\.onnx"):
        bare_onnx.in_its_own_process(tmp_path / "missing.onnx", tiny, 0.0, 0.1)
