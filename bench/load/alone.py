"""Loads carried out by one process, one after another, which talks to its command over pipes: `python -m bench.load.alone`."""

import sys
import time
from dataclasses import asdict

from bench.errors import RunError
from bench.load import Plan, pipes, plan
from bench.load.worker import Known, Worker

START_S = 10.0  # what the users may take to start, beside the timeout of their connections
LEAD_NS = 50_000_000  # from the word "go" to the first send


class Alone:
    """One plan being carried out."""

    def __init__(self, plan: Plan, orders: pipes.Orders, known: Known | None) -> None:
        self._plan, self._orders = plan, orders
        self._worker = Worker(plan, known=known)

    def run(self) -> Known:
        """Prepare, wait for the word, send, and say how it went; what the next plan may take over."""
        self._worker.calibrate()
        engine = self._worker.stand_by()
        from bench.load.locust.local import drive

        limit_s = self._plan.workload.timeout_ns / 1e9 + START_S
        began = drive(engine, self._worker.users, limit_s, self._orders.stop.is_set, self._ready, self._tick)
        if not began:
            engine.stop()
        finished = self._worker.finish()
        if not began and not self._orders.stop.is_set():
            users = self._plan.workload.load.connections
            raise RunError(f"target {self._plan.target}: not all of {users} connections stood within {limit_s:g} s")
        pipes.tell(finished=finished)
        return self._worker.known()

    def _ready(self) -> None:
        pipes.tell(ready=asdict(self._worker.facts))
        if not self._orders.wait_for_go():
            self._worker.engine.stop()
            return
        phases = self._worker.begin(time.perf_counter_ns() + LEAD_NS)
        pipes.tell(started={"start_ns": phases.start_ns, "window_ns": phases.window_ns})

    def _tick(self) -> float:
        if self._orders.stop.is_set():
            self._worker.stop()
        if progress := self._worker.look():
            pipes.tell(progress=progress)
        return self._worker.pause_s()


def carry_out_plans() -> None:
    """One plan after another, until stdin closes or one is interrupted."""
    orders, known = pipes.Orders(), None
    while (line := orders.next_plan()) is not None:
        made = plan.from_json(line)
        pipes.log_to(made.folder / "load.log")
        known = Alone(made, orders, known).run()


def main() -> int:
    """Carry out the plans on stdin; the first that fails is the last."""
    pipes.settle()
    return pipes.carry_out(carry_out_plans)


if __name__ == "__main__":
    sys.exit(main())
