"""Times of requests out of files."""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import traces
from bench.arrivals import Constant, Rate, Trace
from bench.errors import UsageError
from bench.testing import make_workload

S = 10**9


def times(tmp_path: Path, text: str, name: str = "t") -> list[float]:
    """The times in a file with this text, in s."""
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return [t / S for t in traces.read(str(path), traces.sha256(str(path))).tolist()]


@pytest.mark.parametrize(
    "text",
    [
        "10\n10.5\n12.25\n",
        "offset\n0\n.5\n2.25\n",
        "prompt,Timestamp,tokens\na,10,3\nb,10.5,4\n\nc,12.25,5\n",
        "TIMESTAMP,x\n2023-11-16 18:15:46.6805900,1\n2023-11-16 18:15:47.1805900,2\n2023-11-16 18:15:48.9305900,3\n",
        "2026-11-24T10:00:00Z\n2026-11-24T11:00:00.5+01:00\n2026-11-24 10:00:02.25\n",
        '{"timestamp": 5, "x": 1}\n{"timestamp": 5.5}\n{"timestamp": 7.25}\n',
        "# a comment\n3\n1\n1.5\n",
    ],
)
def test_times_count_from_the_first_one_whatever_the_form(tmp_path: Path, text: str) -> None:
    """Seconds, dates and times, in a CSV with or without names, in JSON lines; out of order too."""
    if text.startswith("#"):
        assert times(tmp_path, text) == [0, 0.5, 2]
    else:
        assert times(tmp_path, text) == [0, 0.5, 2.25]


LOG = '10.0.0.1 - - [24/Nov/2026:10:00:0{} +0100] "POST /predict HTTP/1.1" 200 512 "-" "curl/8"\n'


def test_the_requests_of_one_second_of_an_access_log_are_spread_over_it(tmp_path: Path) -> None:
    """A log tells whole seconds: four in second 1, one in 2, two in 4."""
    text = "".join(LOG.format(second) for second in (1, 1, 1, 1, 2, 4, 4))
    assert times(tmp_path, text) == [0, 0.25, 0.5, 0.75, 1, 3, 3.5]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("offset\n1\nlater\n", "line 3: expected seconds or a time such as 2026-11-24 10:00:00.125, got 'later'"),
        ("1\nnan\n", "line 2: expected seconds"),
        ("1,2\n,3\n", "line 2: expected seconds"),
        ('{"timestamp": 1}\n{"when": 2}\n', "line 2: expected an object with one of offset, offset_s"),
        (LOG.format(1) + "GET / 200\n", "line 2: expected a time such as"),
        (LOG.format(1).replace("Nov", "Abc"), "line 1: expected a time such as"),
        ("", "expected 1 to 10,000,000 requests, got 0"),
        ("offset\n", "no request in it"),
        ("hello\n", "line 1: expected seconds"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, text: str, message: str) -> None:
    """With the file, the line, and what was expected there."""
    with pytest.raises(UsageError) as refused:
        times(tmp_path, text)
    assert message in str(refused.value)
    assert str(tmp_path / "t") in str(refused.value)


def test_a_file_that_has_changed_is_refused(tmp_path: Path) -> None:
    """The run's record holds what the schedule was made of."""
    path = tmp_path / "t.csv"
    path.write_text("1\n2\n")
    known = traces.sha256(str(path))
    path.write_text("1\n3\n")
    with pytest.raises(UsageError, match="its sha256 is another"):
        traces.read(str(path), known)


def test_a_schedule_of_a_trace_ends_and_goes_as_fast_as_asked(tmp_path: Path) -> None:
    """Twice as fast: half the times."""
    (tmp_path / "t").write_text("0\n1\n4\n")
    load = Trace(str(tmp_path / "t"), speed=2.0)
    assert list(traces.offsets_ns(make_workload(load=load))) == [0, S // 2, 2 * S]


def test_a_drawn_schedule_is_that_of_arrivals() -> None:
    """Nothing else changes by asking here."""
    assert list(islice(traces.offsets_ns(make_workload(load=Constant(Rate(20)))), 3)) == [0, S // 20, S // 10]


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=50))
def test_every_request_of_a_file_has_its_time(tmp_path_factory: pytest.TempPathFactory, offsets_us: list[int]) -> None:
    """None is lost, none goes back."""
    path = tmp_path_factory.mktemp("trace") / "t.csv"
    path.write_text("".join(f"{t / 1e6:.6f}\n" for t in offsets_us))
    expected = np.sort(offsets_us) - min(offsets_us)
    assert np.array_equal(traces.read(str(path), traces.sha256(str(path))), expected * 1000)
