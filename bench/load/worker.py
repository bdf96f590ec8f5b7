"""The load process: reads a plan from stdin, tells its progress on stdout, ends when stdin closes."""

import gc
import json
import resource
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from bench import headers, payloads, words
from bench import workload as workloads
from bench.columns import RecordWriter
from bench.errors import BenchError, RunError
from bench.load import Plan, ceiling
from bench.load.answers import Reference
from bench.load.batches import Batches
from bench.load.engine import Engine
from bench.load.identity import asked_again
from bench.load.phases import Phases
from bench.load.pool import Member, Pool
from bench.load.recorder import Recorder
from bench.load.threads import CallEngine
from bench.record import ERRORS, RECORD, Chunks
from bench.targets import open_target

START_S = 10.0  # what the users may take to start, beside the timeout of their connections
LEAD_NS = 50_000_000  # from the word "go" to the first send
SWITCH_S = 0.0002  # how long Locust's side may hold the interpreter while the engine waits for it


def plan_to_json(plan: Plan) -> str:
    """A plan as one line."""
    document = {
        "workload": workloads.to_builtins(plan.workload),
        "target": str(plan.target),
        "headers": plan.target.headers,
        "folder": str(plan.folder),
        "onnx": str(plan.onnx or ""),
        "reference": str(plan.reference or ""),
        "ceilings": plan.ceilings,
    }
    return json.dumps(document)


def plan_from_json(line: str) -> Plan:
    """The plan in a line of `plan_to_json`."""
    document = json.loads(line)
    return Plan(
        workload=workloads.from_builtins(document["workload"], "the load's plan"),
        target=replace(words.parse(document["target"]), headers=tuple(map(tuple, document["headers"]))),
        folder=Path(document["folder"]),
        onnx=Path(document["onnx"]) if document["onnx"] else None,
        reference=Path(document["reference"]) if document["reference"] else None,
        ceilings=tuple(document["ceilings"]),
    )


def main() -> int:
    """Carry out one plan; a BenchError is told to the command, which raises it again."""
    for end in (signal.SIGINT, signal.SIGTERM):
        signal.signal(end, signal.SIG_IGN)  # what is sent to the whole group is for the command, which tells us
    sys.setswitchinterval(SWITCH_S)
    plan = plan_from_json(sys.stdin.readline())
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        Worker(plan).run()
    except BenchError as error:
        return _fail(error, plan)
    except OSError as error:
        return _fail(RunError(f"the load process could not go on: {error}"), plan)
    return 0


def _fail(error: BenchError, plan: Plan) -> int:
    _tell(error={"message": headers.hide(str(error), plan.target.headers), "exit_code": error.exit_code})
    return error.exit_code


class Worker:
    """One plan being carried out."""

    def __init__(self, plan: Plan) -> None:
        self._plan, self._workload = plan, plan.workload
        self._members = list(_members(plan))
        self._facts = [member.target.probe() for member in self._members]
        self._pool = Pool(self._members)
        self._recorder = Recorder(self._pool)
        self._writer = RecordWriter(plan.folder / "requests-0.arrows", streamed=self._pool.streams)
        # pyarrow's first write takes a quarter of a second of CPU
        self._writer.write(np.empty(0, RECORD), Chunks.of([]) if self._pool.streams else None)
        self._batches = Batches(self._pool.target)
        self._orders = Orders()
        self._cpu: list[tuple[int, float]] = []
        self._interrupted = False
        self._ticks = 0

    def run(self) -> None:
        """Prepare, wait for the word, send, and write what came."""
        self._ceiling = ceiling.find(self._pool, self._workload, self._plan.ceilings)
        self._engine = self._make_engine()
        from bench.load.locust.local import drive

        gc.collect()
        gc.freeze()
        gc.disable()
        users, limit_s = self._workload.load.connections, self._workload.timeout_ns / 1e9 + START_S
        began = drive(self._engine, users, limit_s, self._orders.stop.is_set, self._ready, self._tick)
        if not began:
            self._engine.stop()
        self._engine.join()
        self._drain()
        self._writer.close()
        if self._engine.failure is not None:
            raise self._engine.failure
        if not began and not self._orders.stop.is_set():
            raise RunError(f"target {self._plan.target}: not all of {users} connections stood within {limit_s:g} s")
        self._recorder.keep(self._plan.folder)
        self._executed = self._batches.executed()
        asked = began and not self._interrupted and self._plan.target.kind != "onnx"
        self._identity = asked_again(self._pool.target, self._facts[0]) if asked else {}
        for member in self._members:
            member.target.close()
        self._report()

    def _make_engine(self) -> Engine | CallEngine:
        wired = hasattr(self._pool.target, "requests")
        return (Engine if wired else CallEngine)(self._pool, self._workload, self._recorder)

    def _ready(self) -> None:
        _tell(ready=asdict(self._facts[0]))
        if not self._orders.wait_for_go():
            self._engine.stop()
            return
        phases = Phases.of(self._workload, time.perf_counter_ns() + LEAD_NS)
        self._engine.begin(phases)
        _tell(started={"start_ns": phases.start_ns, "window_ns": phases.window_ns})

    def _tick(self) -> None:
        if self._orders.stop.is_set() and not self._interrupted:
            self._interrupted = True
            self._engine.stop()
        phases, now = self._engine.phases, time.perf_counter_ns()
        if phases is not None and phases.window_ns <= now and (not self._cpu or now < phases.end_ns):
            self._cpu = [*self._cpu[:1], (now, time.process_time())]
        self._batches.look(now, phases)
        self._ticks += 1
        if self._ticks % 3 == 0:
            self._drain()
            elapsed = 0 if phases is None else max(0, now - phases.start_ns)
            _tell(
                progress={
                    "elapsed_ns": elapsed,
                    "sent": self._engine.sent,
                    "done": self._recorder.done,
                    "errors": self._recorder.errors,
                }
            )

    def _drain(self) -> None:
        self._recorder.drain(self._writer)

    def _report(self) -> None:
        phases, engine = self._engine.phases, self._engine
        window = (phases.window_ns, max(phases.window_ns, phases.end_ns)) if phases is not None else (0, 0)
        length_s = (window[1] - window[0]) / 1e9
        _tell(
            finished={
                "window_ns": window,
                "interrupted": self._interrupted,
                "details": {
                    "sent": engine.sent,
                    "unsent": engine.unsent,
                    "late_without_connection": engine.late,
                    "reconnects": engine.reconnects,
                    "cpu_s": self._cpu_share() * length_s,
                    "engine_cpu_s": self._generator_cpu_share() * length_s,
                    "tolerance": self._members[0].reference.tolerance,
                    "messages": {ERRORS[code]: self._shown(message) for code, message in self._recorder.messages.items()},
                }
                | self._told(),
            }
        )

    def _shown(self, message: str) -> str:
        return headers.hide(message, self._plan.target.headers)

    def _told(self) -> dict[str, Any]:
        """What was found out: executed batch sizes, how tokens were counted, what the generator can do, who answered."""
        counted = getattr(self._pool.target, "counted", {})
        told = {"batches": self._executed, "tokens_counted": counted, "ceiling": self._ceiling}
        return {key: value for key, value in told.items() if value} | self._identity

    def _generator_cpu_share(self) -> float:
        """Of one core: the engine thread's, or all threads' where there are many; unknown beside a model in process."""
        if isinstance(self._engine, Engine):
            return self._engine.cpu.share
        return 0.0 if self._plan.target.kind == "onnx" else self._cpu_share()

    def _cpu_share(self) -> float:
        if len(self._cpu) < 2:
            return 0.0
        (t0, cpu0), (t1, cpu1) = self._cpu
        return (cpu1 - cpu0) / max((t1 - t0) / 1e9, 1e-9)


def _members(plan: Plan) -> Iterator[Member]:
    """Each part of the workload with its target, its requests and its reference answers."""
    for part in plan.workload.parts:
        target = open_target(plan.target, part, plan.onnx)
        yield Member(part, target, payloads.make(part), Reference.load(part.check, plan.reference))


class Orders:
    """What the command says on stdin: "go", then "stop"; its end means stop too."""

    def __init__(self) -> None:
        self.go, self.stop = threading.Event(), threading.Event()
        threading.Thread(target=self._listen, daemon=True).start()

    def wait_for_go(self) -> bool:
        """Whether to go; False when told to stop instead."""
        while not self.go.wait(0.05):
            if self.stop.is_set():
                return False
        return True

    def _listen(self) -> None:
        for line in sys.stdin:
            if line.strip() == "go":
                self.go.set()
            else:
                break
        self.stop.set()


def _tell(**news: Any) -> None:
    try:
        print(json.dumps(news), flush=True)
    except BrokenPipeError:  # the command is gone; what is measured is written all the same
        sys.stdout = open("/dev/null", "w")  # noqa: SIM115


if __name__ == "__main__":
    sys.exit(main())
