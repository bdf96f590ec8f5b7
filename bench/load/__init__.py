"""Making load: a plan goes in, records go to the run's folder, an outcome comes out."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from bench.load.share import WHOLE, Share
from bench.targets.base import Facts
from bench.words import Word
from bench.workload import Workload


@dataclass(frozen=True, slots=True)
class Crew:
    """The processes that share a load: `here` on this machine, and `elsewhere`, which join from other hosts."""

    here: int = 1
    elsewhere: int = 0
    host: str = ""  # where that is; "*" for every address of this machine
    port: int = 0

    @property
    def workers(self) -> int:
        return self.here + self.elsewhere

    @property
    def alone(self) -> bool:
        """Whether one process here makes the whole load."""
        return (self.here, self.elsewhere) == (1, 0)


@dataclass(frozen=True, slots=True)
class Files:
    """What one part of a workload has on the disk."""

    onnx: Path | None = None  # the model's file, for targets in process
    reference: Path | None = None  # the reference answers, a file of bench.answers


@dataclass(frozen=True, slots=True)
class Plan:
    """All that a load, or one worker of its crew, needs to know."""

    workload: Workload
    target: Word
    folder: Path
    files: tuple[Files, ...] = ()  # of each part of the workload, in its order; none where there are none at all
    ceilings: tuple[dict[str, Any], ...] = ()  # what the command's earlier runs found out about the generator; see load.ceiling
    crew: Crew = Crew()
    share: Share = WHOLE  # of one worker

    @property
    def stream(self) -> Path:
        """Where the worker's records lie while the run is made."""
        return self.folder / f"requests-{self.share.worker}.arrows"

    @property
    def answers(self) -> Path:
        """Where the worker keeps its answers: those of one that has the whole load are the run's."""
        return self.folder / ("answers.arrow" if self.share.workers == 1 else f"answers-{self.share.worker}.arrow")


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
