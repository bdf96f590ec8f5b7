"""The live sides of an experiment: their servers, started as they are needed, and what drives each of them."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from bench import endpoint as endpoints
from bench.commands.run import Drivers, kept_drivers, measure
from bench.endpoint import Endpoint
from bench.load import Crew
from bench.record import Run
from bench.terminal import Terminal
from bench.words import Word
from bench.workload import Workload


@dataclass(frozen=True, slots=True)
class Setup:
    """All that sides are started and driven with."""

    words: Sequence[Word]
    workload: Workload
    repositories: Sequence[Path | None]  # of each side
    references: tuple[Path | None, ...]  # of each part of the workload
    crew: Crew
    exclusive: bool = False
    cooldown_ns: int = 0


@dataclass(slots=True)
class LiveSides:
    """Sides that are measured in turn: all live, or with `exclusive` one at a time."""

    setup: Setup
    folder: Path  # of the experiment
    facts: dict[str, Any]  # of the machine
    say: Terminal
    drivers: list[Drivers]
    stack: ExitStack
    live: dict[int, Endpoint] = field(default_factory=dict)

    def endpoint(self, which: int) -> Endpoint:
        """Side `which`, live; where only one may be, the other is ended first."""
        if which not in self.live:
            if self.setup.exclusive:
                self.live.clear()
                self.stack.close()
            self.live[which] = self._start(which)
        return self.live[which]

    def _start(self, which: int) -> Endpoint:
        s, log = self.setup, self.folder / f"server-{which + 1}.log"
        live = endpoints.live(s.words[which], s.workload, log, self.say, s.repositories[which])
        return self.stack.enter_context(live).held_to(s.references)

    def measure(self, which: int, number: int, folder: Path, label: str) -> Run:
        """Round `number` of side `which`, after a pause."""
        endpoint = self.endpoint(which)
        load, clock, sampler = self.drivers[which]
        clock.sleep_until(clock.now_ns() + self.setup.cooldown_ns)
        workload = replace(self.setup.workload, round=number)
        facts = self.facts if sampler else {}  # in virtual time there is no machine
        return measure(workload, endpoint, folder, load, clock, sampler, facts, self.say, label)


@contextmanager
def start(setup: Setup, folder: Path, facts: dict[str, Any], say: Terminal) -> Iterator[LiveSides]:
    """The sides, of which as many are started as may be at once; all end with the context."""
    with ExitStack() as around:
        drivers = around.enter_context(kept_drivers(setup.words, setup.crew, say))
        servers = around.enter_context(ExitStack())
        made = LiveSides(setup, folder, facts, say, drivers, servers)
        if not setup.exclusive:
            for which in range(len(setup.words)):
                made.endpoint(which)
        yield made
