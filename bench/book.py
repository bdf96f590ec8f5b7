"""A run's run.json and events, kept while it is made."""

import contextlib
from pathlib import Path
from typing import Any

from bench import store
from bench import workload as workloads
from bench.clock import Clock
from bench.endpoint import Endpoint
from bench.errors import BenchError, RunError
from bench.load import Outcome
from bench.record import Event
from bench.targets.base import Facts
from bench.workload import Workload


class Book:
    """A run's run.json and events, kept as it goes along."""

    def __init__(
        self,
        folder: Path,
        workload: Workload,
        endpoint: Endpoint,
        environment: dict[str, Any],
        clock: Clock,
        load: dict[str, Any] | None = None,  # what is known of the load beforehand
    ) -> None:
        self._folder, self._clock = folder, clock
        self._begun = False
        self._document: dict[str, Any] = {
            "schema_version": store.SCHEMA_VERSION,
            "id": folder.name,
            "status": "running",
            "created": clock.wall().isoformat(timespec="seconds"),
            "clock": {"monotonic_ns": clock.now_ns(), "wall": clock.wall().isoformat()},
            "workload": workloads.to_builtins(workload),
            "target": endpoint.describe(),
            "environment": environment,
            "window_ns": [0, 0],
            "load": load or {},
        }
        self._write()

    def prepared(self, facts: Facts) -> None:
        """The target answered, and said who it is."""
        # a server that bench started has told more, and better named, in its own facts
        details = {} if self._document["target"]["server"] else facts.details
        self._document["target"]["answered_as"] = details | {"name": facts.name, "version": facts.version}
        self._write()

    def started(self, start_ns: int, window_ns: int) -> None:
        self._begun = True
        self._document["window_ns"] = [window_ns, 0]
        self._write()
        self.event("started", {"start_ns": start_ns, "window_ns": window_ns})

    def sampled(self, recording: Any) -> None:
        for warning in getattr(recording, "warnings", []):
            self.event("warning", {"source": "sampler", "message": warning})
        if recording is not None:
            self._document["sampler"] = {key: getattr(recording, key) for key in ("sources", "ticks", "skipped", "cpu_s")}

    def finished(self, outcome: Outcome, server_exit: int | None) -> None:
        if server_exit is not None:
            self.event("server-exited", {"status": server_exit})
        status = "partial" if outcome.interrupted else "complete"
        self._document |= {"status": status, "window_ns": list(outcome.window_ns), "load": outcome.details}
        self.event("finished", {"interrupted": outcome.interrupted})
        self._write()

    def failed(self, error: BaseException) -> BaseException:
        """Keep what was measured, or leave nothing where nothing was; the error to raise says so."""
        if not self._begun:
            for path in self._folder.iterdir():
                if path.name != "server.log" or not path.stat().st_size:
                    path.unlink()
            with contextlib.suppress(OSError):
                self._folder.rmdir()
            return error
        self._document["status"] = "partial"
        if isinstance(error, BenchError):
            self.event("failed", {"message": str(error)})
        self._write()
        with contextlib.suppress(RunError):  # the streams then stand for themselves
            store.finish(self._folder)
        return (
            RunError(f"{error}\nwhat was measured before is kept in {self._folder}") if isinstance(error, RunError) else error
        )

    def event(self, name: str, detail: dict[str, Any]) -> None:
        """Something happened now."""
        store.append_event(self._folder, Event(self._clock.now_ns(), name, detail))

    def _write(self) -> None:
        store.write_json(self._folder / "run.json", self._document)
