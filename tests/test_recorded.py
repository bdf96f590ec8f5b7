"""Answers recorded beside a workload file."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from bench import answers, recorded, resources
from bench.arrivals import Closed
from bench.errors import RunError, UsageError
from bench.workload import Check, Part, Workload

ANSWERS = {n: {"y": np.full(2, n, np.float32)} for n in range(4)}


@pytest.fixture
def mine(four_floats: Path, tmp_path: Path) -> tuple[str, Workload]:
    path = tmp_path / "mine.toml"
    path.write_text(four_floats.read_text())
    return str(path), resources.load_workload(str(path))


def test_what_was_recorded_is_found_again(mine: tuple[str, Workload], tmp_path: Path) -> None:
    """Beside the workload, with the target and the time."""
    name, workload = mine
    assert recorded.find(name, workload) is None
    path = recorded.write(name, workload, ANSWERS, "Triton 2.48.0")
    assert path == recorded.find(name, workload) == tmp_path / "mine.reference.arrow"
    kept, about = answers.read(path)
    assert kept.keys() == ANSWERS.keys()
    assert about["target"] == "Triton 2.48.0"
    assert about["time"].endswith("+00:00")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mine.reference.arrow", "mine.toml"]


def test_answers_to_other_requests_are_refused(mine: tuple[str, Workload]) -> None:
    """With the way out; the same requests sent otherwise have the same answers."""
    name, workload = mine
    path = recorded.write(name, workload, ANSWERS, "Triton 2.48.0")
    assert recorded.find(name, msgspec.structs.replace(workload, name="other", load=Closed(9))) == path
    other = msgspec.structs.replace(workload, seed=2)
    with pytest.raises(UsageError, match=r"mine\.reference\.arrow: recorded for other requests .* --record-reference"):
        recorded.find(name, other)


def test_where_nothing_is_compared_nothing_is_looked_for(mine: tuple[str, Workload]) -> None:
    """check.reference = false; not even a file of other requests is an error then."""
    name, workload = mine
    recorded.write(name, msgspec.structs.replace(workload, seed=2), ANSWERS, "Triton")
    assert recorded.find(name, msgspec.structs.replace(workload, check=Check(reference=False))) is None


def test_nothing_is_written_beside_what_comes_with_bench(mine: tuple[str, Workload]) -> None:
    """The message says how to get a copy."""
    recorded.check_writable(mine[0])
    with pytest.raises(UsageError, match=r"'resnet50' comes with bench .* `bench workloads show resnet50 > mine\.toml`"):
        recorded.check_writable("resnet50")


def test_a_folder_that_cannot_be_written_is_told(mine: tuple[str, Workload], tmp_path: Path) -> None:
    """And what was recorded before stays whole."""
    name, workload = mine
    path = recorded.write(name, workload, ANSWERS, "Triton")
    before = path.read_bytes()
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / "mine.toml").write_text((tmp_path / "mine.toml").read_text())
    (tmp_path / "deeper" / "mine.reference.arrow").mkdir()
    with pytest.raises(RunError, match=r"mine\.reference\.arrow: cannot keep the recorded answers: "):
        recorded.write(str(tmp_path / "deeper" / "mine.toml"), workload, ANSWERS, "Triton")
    assert not list((tmp_path / "deeper").glob("*.new"))
    assert path.read_bytes() == before


def test_the_parts_of_a_mix_are_compared_with_what_was_recorded_for_the_workloads_they_name(
    mine: tuple[str, Workload], tmp_path: Path
) -> None:
    """Beside those; a part that states itself has none, and a workload of one model its own."""
    name, workload = mine
    path = recorded.write(name, workload, ANSWERS, "Triton")
    mixed = msgspec.structs.replace(
        workload,
        mix=(
            Part("a", workload.model, workload.payload, name, check=workload.check),
            Part("b", workload.model, workload.payload),
        ),
    )
    assert recorded.find_each(str(tmp_path / "mixture.toml"), mixed) == (path, None)
    assert recorded.find_each(name, workload) == (path,)
    with pytest.raises(UsageError, match="recorded for other requests than workload a sends"):
        recorded.find_each(name, msgspec.structs.replace(mixed, seed=2))
