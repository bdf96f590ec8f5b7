"""Where a test's requests go, told by one process to another."""

from dataclasses import replace
from pathlib import Path

from bench.load.phases import NEVER
from bench.users.place import Place, heard, machine


def test_a_place_on_this_machine_is_taken_as_it_was_told(tmp_path: Path) -> None:
    """A folder with a run in it, by the clock that this process has too."""
    (tmp_path / "run.json").write_text("{}")
    place = Place(str(tmp_path), machine(), 5, 7)
    assert heard(place.told()) == place
    phases = place.phases()
    assert (phases.start_ns, phases.window_ns, phases.end_ns) == (5, 7, NEVER)


def test_a_place_that_this_process_cannot_write_to_by_the_same_clock_is_none(tmp_path: Path) -> None:
    """On another machine, which a shared disk does not make the same; without a run; or not told at all."""
    place = Place(str(tmp_path), machine(), 5, 7)
    assert heard(place.told()) is None
    (tmp_path / "run.json").write_text("{}")
    assert heard(replace(place, machine="another").told()) is None
    assert heard(None) is None
