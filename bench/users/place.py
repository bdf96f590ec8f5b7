"""Where a test's requests go, as the process that keeps its run tells the others."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.load.phases import NEVER, Phases

_BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Place:
    """The run's folder, the machine whose clock it goes by, and when the test began and its window did, in ns of that clock."""

    folder: str
    machine: str
    start_ns: int
    window_ns: int

    def told(self) -> dict[str, Any]:
        """As plain values, which travel in a message of Locust's."""
        return asdict(self)

    def phases(self) -> Phases:
        """The phases of the test, whose end nobody knows yet."""
        return Phases(self.start_ns, self.window_ns, NEVER, None)


def machine() -> str:
    """Names this machine since it was started: what has the same name has the same monotonic clock."""
    return _BOOT.read_text().strip()


def heard(told: Mapping[str, Any] | None) -> Place | None:
    """The place that another process told of; None where it is none that this process can write to, by the same clock."""
    if not told:
        return None
    place = Place(**told)
    return place if place.machine == machine() and Path(place.folder, "run.json").exists() else None
