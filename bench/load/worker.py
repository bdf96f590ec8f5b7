"""One worker's part of a load: prepared, begun, looked after while its engine sends, and brought to its end."""

import gc
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from bench import mix, payloads
from bench.arrivals import Load, Steps
from bench.columns import RecordWriter
from bench.load import Files, Plan, ceiling
from bench.load.answers import Reference
from bench.load.batches import Batches
from bench.load.engine import Engine
from bench.load.identity import asked_again
from bench.load.phases import Phases
from bench.load.pool import Member, Pool
from bench.load.recorder import Recorder, Writer
from bench.load.threads import CallEngine
from bench.payloads import Request
from bench.record import ERRORS, RECORD, Chunks
from bench.targets import open_target
from bench.targets.base import Facts
from bench.wire.line import WireRequest
from bench.workload import Workload

DRAIN_TICKS = 3  # looks from one writing of records to the next
TICK_S = 0.1
END_TICK_S = 0.01  # once the window is over, and the last replies may be there at any time


class Known(NamedTuple):
    """What a worker that is done leaves to the next: no target, for that may have a model in memory."""

    plan: Plan
    facts: list[Facts]
    parts: list[tuple[Workload, Sequence[Request], Reference]]
    serialized: list[WireRequest] | None


class Worker:
    """A plan's share of the load, carried out by the engine of this process. BenchError where it cannot be."""

    def __init__(self, plan: Plan, writer: Writer | None = None, known: Known | None = None) -> None:
        """Ask the target who it is, and serialize the requests. Records go to the plan's folder, or to `writer`.

        What has not changed since an earlier plan is taken from what is `known` of it.
        """
        self._new = known is None
        if not self._new:
            gc.unfreeze()  # what an earlier worker has left: its model is out of memory before there is another
            gc.collect()
        self._plan, self._workload, self._share = plan, plan.workload, plan.share
        self._members = list(_members(plan, known))
        self._facts = [member.target.probe() for member in self._members]
        self._pool = Pool(self._members, mix.turns(plan.workload))
        if known is not None and self._asks_as(known):
            self._pool.serialized = known.serialized
        self._recorder = Recorder(self._pool, self._share.worker)
        self._writer = writer or RecordWriter(plan.stream, streamed=self._pool.streams)
        # pyarrow's first write takes a quarter of a second of CPU
        self._writer.write(np.empty(0, RECORD), Chunks.of([]) if self._pool.streams else None)
        # the server counts for all workers, so one of them asks
        self._batches = Batches([member.target for member in self._members]) if self._first else None
        self._ceiling: dict[str, Any] = {}
        self._cpu: list[tuple[int, float]] = []
        self._interrupted = False
        self._looks = 0

    @property
    def _first(self) -> bool:
        return self._share.worker == 0

    def _asks_as(self, known: Known) -> bool:
        """Whether the same requests go to what answers as the same server."""
        ours = self._plan.target, [_asked(member.workload) for member in self._members], self._facts
        return ours == (known.plan.target, [_asked(part) for part, _, _ in known.parts], known.facts)

    def known(self) -> Known:
        """What the next worker may take over from this one, which is done."""
        parts = [(member.workload, member.requests, member.reference) for member in self._members]
        return Known(self._plan, self._facts, parts, self._pool.serialized)

    @property
    def facts(self) -> Facts:
        """Who the target said it is; its details by the parts of a mix."""
        first: Facts = self._facts[0]
        return replace(first, details=self._pool.by_part([facts.details for facts in self._facts]))

    @property
    def streams(self) -> bool:
        """Whether replies are streamed."""
        return self._pool.streams

    def calibrate(self) -> None:
        """Find out what the generator can do here, where the plan does not bring it."""
        self._ceiling = ceiling.find(self._pool, self._workload, self._plan.ceilings, self._share.workers)

    def stand_by(self) -> Engine | CallEngine:
        """The engine, whose seats may be taken; from now on nothing is collected that would hold it up."""
        wired = hasattr(self._pool.target, "requests")
        self.engine = (Engine if wired else CallEngine)(self._pool, self._workload, self._recorder, self._share)
        if self._new:
            gc.collect()
        gc.freeze()
        gc.disable()
        return self.engine

    def begin(self, start_ns: int) -> Phases:
        """Send from `start_ns` on."""
        phases = Phases.of(self._workload, start_ns)
        if self._share.workers > 1:
            phases.requests = None  # they are counted over all workers
        self.engine.begin(phases)
        return phases

    def users(self) -> int:
        """How many users of the whole load there are to be now."""
        phases = self.engine.phases
        return users_at(self._workload.load, 0 if phases is None else time.perf_counter_ns() - phases.window_ns)

    def look(self) -> dict[str, int] | None:
        """At every tick: note the CPU, and now and then write what came and say how far the load has come."""
        phases, now = self.engine.phases, time.perf_counter_ns()
        if phases is not None and phases.window_ns <= now and (not self._cpu or now < phases.end_ns):
            self._cpu = [*self._cpu[:1], (now, time.process_time())]
        if self._batches is not None:
            self._batches.look(now, phases)
        self._looks += 1
        if self._looks % DRAIN_TICKS:
            return None
        self._recorder.drain(self._writer)
        return {
            "elapsed_ns": 0 if phases is None else max(0, now - phases.start_ns),
            "sent": self.engine.sent,
            "done": self._recorder.done,
            "errors": self._recorder.errors,
        }

    def pause_s(self) -> float:
        """How long it is to the next look: ten a second, one at the end of the window, and more until all is over."""
        phases = self.engine.phases
        left_s = TICK_S if phases is None else (phases.end_ns - time.perf_counter_ns()) / 1e9
        return min(TICK_S, max(END_TICK_S, left_s))

    @property
    def recorded(self) -> int:
        """Records so far."""
        return self._recorder.done

    def counted(self) -> int:
        """Replies so far to requests that were meant for the window."""
        return 0 if self.engine.phases is None else self.engine.phases.replies

    def end(self) -> None:
        """The window of the whole load ends now."""
        if self.engine.phases is not None:
            self.engine.phases.end_ns = min(self.engine.phases.end_ns, time.perf_counter_ns())

    def stop(self) -> None:
        """The user wants to stop: send nothing more."""
        if not self._interrupted:
            self._interrupted = True
            self.engine.stop()

    def finish(self) -> dict[str, Any]:
        """Write what is left, and say how it went. The engine's own error is raised again."""
        self.engine.join()
        self._recorder.drain(self._writer)
        self._writer.close()
        if self.engine.failure is not None:
            raise self.engine.failure
        self._recorder.keep(self._plan.answers)
        executed = self._batches.executed() if self._batches is not None else []
        asked = self._first and self.engine.phases is not None and not self._interrupted and self._plan.target.kind != "onnx"
        identity = asked_again(self._pool.target, self._facts[0]) if asked else {}
        for member in self._members:
            member.target.close()
        return self._outcome(executed, identity)

    def _outcome(self, executed: Sequence[dict[str, int]], identity: dict[str, Any]) -> dict[str, Any]:
        phases, engine = self.engine.phases, self.engine
        window = (phases.window_ns, max(phases.window_ns, phases.end_ns)) if phases is not None else (0, 0)
        length_s = (window[1] - window[0]) / 1e9
        batches = self._pool.by_part(executed) if any(executed) else {}
        told = {"batches": batches, "tokens_counted": self._pool.counted(), "ceiling": self._ceiling}
        details = {
            "sent": engine.sent,
            "unsent": engine.unsent,
            "late_without_connection": engine.late,
            "reconnects": engine.reconnects,
            "cpu_s": self._cpu_share() * length_s,
            "engine_cpu_s": self._generator_cpu_share() * length_s,
            "tolerance": self._pool.by_part([member.reference.tolerance for member in self._members]),
            "messages": {ERRORS[code]: message for code, message in self._recorder.messages.items()},
        }
        details |= {key: value for key, value in told.items() if value} | identity
        return {"window_ns": window, "interrupted": self._interrupted, "details": details}

    def _generator_cpu_share(self) -> float:
        """Of one core: the engine thread's, or all threads' where there are many; unknown beside a model in process."""
        if isinstance(self.engine, Engine):
            return self.engine.cpu.share
        return 0.0 if self._plan.target.kind == "onnx" else self._cpu_share()

    def _cpu_share(self) -> float:
        if len(self._cpu) < 2:
            return 0.0
        (t0, cpu0), (t1, cpu1) = self._cpu
        return (cpu1 - cpu0) / max((t1 - t0) / 1e9, 1e-9)


def users_at(load: Load, offset_ns: int) -> int:
    """How many users a load has so long after its window began: those of a step, or as many as it ever has."""
    return load.users_at(offset_ns) if isinstance(load, Steps) else load.connections


def _members(plan: Plan, known: Known | None) -> Iterator[Member]:
    """Each part of the workload with its target, its requests and its reference answers."""
    there = [] if known is None else list(zip(known.parts, _files(known.plan), strict=True))
    for part, files in zip(plan.workload.parts, _files(plan), strict=True):
        target = open_target(plan.target, part, files.onnx)
        for (other, requests, reference), of in there:
            if of == files and _asked(other) == _asked(part):
                yield Member(part, target, requests, reference)
                break
        else:
            yield Member(part, target, payloads.make(part), Reference.load(part.check, files.reference))


def _asked(part: Workload) -> tuple[Any, ...]:
    """What a part's requests, and the answers to them, depend on."""
    return part.model, part.payload, part.check, part.seed


def _files(plan: Plan) -> Sequence[Files]:
    return plan.files or [Files()] * len(plan.workload.parts)
