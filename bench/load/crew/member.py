"""A worker of a load that is spread over processes: `python -m bench.load.crew.member HOST PORT [INDEX]`.

One that the master started on its own machine has an INDEX; one without has come from elsewhere, and its records, answers and
files go over the wire. Either ends when its stdin does.
"""

import os
import socket
import sys
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import bench
from bench.errors import BenchError, RunError
from bench.load import Files, Plan, pipes
from bench.load import plan as plans
from bench.load.crew import parcels
from bench.load.worker import Worker

TICK_S = 0.1


class Membership:
    """One worker's part in a master's load."""

    def __init__(self, host: str, port: int, index: int | None, folder: Path) -> None:
        """`folder` is where a worker from elsewhere keeps its files."""
        from bench.load.locust.member import Member

        self._index, self._folder = index, folder
        self._orders = pipes.Orders()
        self._said: dict[str, dict[str, Any]] = {}
        self._worker: Worker | None = None
        self._master = Member(host, port, self._heard, self._orders.stop.is_set)

    def run(self) -> None:
        """Do as the master says, to the end."""
        about = {"version": bench.__version__, "host": socket.gethostname(), "pid": os.getpid(), "index": self._index}
        self._master.send("hello", **about)
        try:
            if self._told("plan"):
                self._carry_out(self._plan())
        except BenchError as error:
            self._fail(error)
        except OSError as error:
            self._fail(RunError(f"it could not go on: {error}"))
        self._linger()

    def _carry_out(self, plan: Plan) -> None:
        worker, workers = plan.share
        pipes.tell(say={"line": f"{plan.workload.name} on {plan.target}, as worker {worker} of {workers}"})
        post = parcels.Post(lambda parcel: self._master.send("records", **parcel)) if self._index is None else None
        part = self._master.aside(lambda: Worker(plan, post))
        self._master.send("prepared", facts=asdict(part.facts), streams=part.streams)
        if not self._told("calibrate"):
            return
        self._master.aside(part.calibrate)
        engine = part.stand_by()
        self._master.seat(engine)
        self._worker = part
        self._master.send("calibrated")
        while not (self._master.spawned and engine.ready()) and engine.failure is None and not self._ended():
            self._master.pause(0.02)
        if engine.failure is not None:
            raise engine.failure
        self._master.send("seated")
        if self._told("begin") or self._ended():
            self._send(part, plan, post)

    def _send(self, worker: Worker, plan: Plan, post: parcels.Post | None) -> None:
        """From the first send to the last reply."""
        while not worker.engine.finished:
            if self._ended() or "stop" in self._said:
                worker.stop()
            if progress := worker.look():
                self._master.send("progress", **progress)
            if post is not None:
                post.deliver()
            if plan.workload.requests:
                self._master.send("counted", replies=worker.counted())
            self._master.pause(TICK_S)
        self._master.over()
        finished = self._master.aside(worker.finish)
        while post is not None and not post.deliver() and not self._ended():
            self._master.pause(TICK_S)
        answers = plan.answers.read_bytes() if self._index is None else b""
        self._master.send("finished", answers=answers, records=worker.recorded, **finished)
        pipes.tell(say={"line": f"done: {worker.recorded:,} requests"})

    def _plan(self) -> Plan:
        """The plan as it holds on this host."""
        told = self._said["plan"]
        document = told["plan"]
        if self._index is None:
            parcels.lay_out(document, told["files"], self._folder)
        plan = plans.from_document(document)
        if self._index is not None:
            return plan
        files = tuple(Files(reference=self._kept(n, content)) for n, content in enumerate(told["references"]))
        return replace(plan, folder=self._folder, files=files)

    def _kept(self, part: int, reference: bytes) -> Path | None:
        """The reference answers of a part, where there are any."""
        if not reference:
            return None
        path = self._folder / f"reference-{part}.arrow"
        path.write_bytes(reference)
        return path

    def _heard(self, kind: str, what: dict[str, Any]) -> None:
        self._said[kind] = what
        if kind == "ping":
            self._master.send("pong", sent=what["sent"], t_ns=time.perf_counter_ns())
        elif kind == "begin" and self._worker is not None:
            self._worker.begin(what["start_ns"])
        elif kind == "end" and self._worker is not None:
            self._worker.end()

    def _told(self, kind: str) -> bool:
        """Wait to be told something; False where nothing more is to be expected."""
        while kind not in self._said:
            if self._ended() or "stop" in self._said:
                return False
            self._master.pause(0.01)
        return True

    def _ended(self) -> bool:
        return self._orders.stop.is_set() or self._master.dismissed

    def _fail(self, error: BenchError) -> None:
        """Tell the master, and once that has heard it whoever started this worker."""
        self._master.send("problem", message=str(error), exit_code=error.exit_code)
        self._linger()
        raise error

    def _linger(self) -> None:
        """Until the master has heard everything, and measured the clocks once more, and says so; or is gone."""
        while not self._ended():
            self._master.pause(TICK_S)


def main() -> int:
    """Join the master that the arguments name."""
    pipes.settle()
    host, port = sys.argv[1], int(sys.argv[2])
    index = int(sys.argv[3]) if len(sys.argv) > 3 else None
    with tempfile.TemporaryDirectory(prefix="bench-worker-") as folder:
        return pipes.carry_out(lambda: Membership(host, port, index, Path(folder)).run())


if __name__ == "__main__":
    sys.exit(main())
