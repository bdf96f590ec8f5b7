"""One test in one Locust process: the parts of runs that it records, and the runs that it keeps."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from bench.errors import BenchError, RunError
from bench.users import place
from bench.users.keeper import Keeper
from bench.users.part import Part
from bench.users.prepared import Named, Prepared
from bench.users.process import Process, log

MESSAGE = "bench"  # of a worker to its master: what became of its part of the load
PLACES = "bench_places"  # among the options that a master sends to its workers with every order to start users: by class


class LoadTest:
    """From the first user to the last record; `failed` hears why it cannot go on."""

    def __init__(self, process: Process, failed: Callable[[BenchError], None]) -> None:
        self._process, self._failed = process, failed
        self._parts: dict[Named, Part] = {}
        self._keepers: dict[Named, Keeper] = {}
        for kind in process.kinds():
            kind._part = None  # of the test before

    def open(self, named: Named, prepared: Prepared) -> None:
        """A run for this workload and target, or a part of the one that the master keeps; RunError."""
        process = self._process
        names, places = process.names(named), getattr(process.options, PLACES, {})
        told = next((places[name] for name in names if name in places), None) if process.worker else None
        where = place.heard(told)
        if where is None:
            keeper = self._keepers[named] = Keeper(prepared, process.driver, process.pids)
            where = keeper.place
            log.info(f"{named}: recorded in {keeper.folder}")
            if process.worker:
                self._go_alone(named, keeper, told)
        if process.master:
            setattr(process.options, PLACES, places | dict.fromkeys(names, where.told()))
            return
        part = self._parts[named] = Part(prepared, where, process.index, self._wrong(prepared), self._unwritable)
        for kind in process.kinds():
            if process.named(kind) == named:
                kind._part = part

    def users(self) -> None:
        """As many users run as Locust was asked for last."""
        for named, keeper in self._keepers.items():
            keeper.users(self._process.users(named))

    def stopping(self) -> None:
        """The windows end, before the users do."""
        for named, keeper in self._keepers.items():
            keeper.stop(self._process.users(named))
        for part in self._parts.values():
            part.stop()

    def close(self, interrupted: bool) -> None:
        """End this process's parts."""
        for part in self._parts.values():
            with self._told():
                part.close(interrupted)

    def finish(self, interrupted: bool, quitting: bool) -> None:
        """Make the runs whole, once all parts have ended."""
        for keeper in self._keepers.values():
            with self._told():
                sent = keeper.finish(interrupted, quitting, self._process.environment.stop_timeout)
                log.info(f"{sent:,} requests are recorded: `bench report {keeper.folder}` shows them")

    def lost(self, error: BenchError) -> None:
        """This worker has no part in the test: its master is to know."""
        process = self._process
        for named in {process.named(kind) for kind in process.kinds() if process.target(kind)}:
            self._tell("lost", named, process.hide(str(error)))

    def hear(self, what: str, names: list[str], text: str) -> None:
        """What became of a worker's part: that of the users of these classes."""
        for keeper in (keeper for named, keeper in self._keepers.items() if set(names) & set(self._process.names(named))):
            (keeper.elsewhere if what == "elsewhere" else keeper.lost).append(text)

    def _tell(self, what: str, named: Named, text: str) -> None:
        process = self._process
        told = {"what": what, "names": process.names(named), "text": f"{process.runner.client_id}: {text}"}
        process.runner.send_message(MESSAGE, told)

    def _go_alone(self, named: Named, keeper: Keeper, told: dict[str, Any] | None) -> None:
        """A worker that cannot write to its master's run has one of its own, and both say so."""
        keeper.elsewhere.append(f"the master's {os.path.basename(told['folder'])}" if told else "the master's")
        log.warning(f"{named}: the master's run is not on this machine: this worker's requests are a run of their own")
        self._tell("elsewhere", named, keeper.place.folder)

    def _wrong(self, prepared: Prepared) -> Callable[[str], None]:
        """What tells Locust of an answer that turns out to be wrong; its request was told of as good before."""
        kind, name = prepared.endpoint.word.kind, prepared.workload.name
        return lambda message: self._process.environment.stats.log_error(kind, name, f"answer: {message}")

    def _unwritable(self, why: str) -> None:
        self._failed(RunError(why))

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What cannot be written at the end is told, and hides nothing else."""
        try:
            yield
        except BenchError as error:
            self._process.tell(error)
        except OSError as error:
            self._process.tell(RunError(f"the run cannot be made whole: {error}"))
