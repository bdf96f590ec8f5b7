"""Making load: a plan goes in, records go to the run's folder, an outcome comes out."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from bench.targets.base import Facts
from bench.words import Word
from bench.workload import Workload


@dataclass(frozen=True, slots=True)
class Files:
    """What one part of a workload has on the disk."""

    onnx: Path | None = None  # the model's file, for targets in process
    reference: Path | None = None  # the reference answers, a file of bench.answers


@dataclass(frozen=True, slots=True)
class Plan:
    """All that a load needs to know."""

    workload: Workload
    target: Word
    folder: Path
    files: tuple[Files, ...] = ()  # of each part of the workload, in its order; none where there are none at all
    ceilings: tuple[dict[str, Any], ...] = ()  # what the command's earlier runs found out about the generator; see load.ceiling


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a load has come."""

    elapsed_ns: int
    sent: int
    done: int
    errors: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a load ended; `window_ns` is the measured window, `interrupted` says that the user ended it."""

    window_ns: tuple[int, int]
    interrupted: bool = False
    details: dict[str, Any] = field(default_factory=dict)


class Load(Protocol):
    """Something that carries out a plan. RunError when it cannot."""

    def prepare(self, plan: Plan) -> Facts:
        """Everything before the clock starts: probe the target, serialize the requests, connect."""
        ...

    @property
    def pid(self) -> int | None:
        """The load process, where there is one."""
        ...

    def run(self, started: Callable[[int, int], None], progress: Callable[[Progress], None]) -> Outcome:
        """Send; `started` hears the start and the beginning of the window, in ns."""
        ...

    def close(self) -> None:
        """Give back whatever `prepare` took, also after an error."""
        ...
