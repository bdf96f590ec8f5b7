"""A load in virtual time: the scripted endpoint echo:// driven by arithmetic alone, exact and at once."""

import heapq
from collections.abc import Callable, Iterator
from typing import Any

from bench import mix, payloads, traces
from bench.arrivals import Closed, ClosedLoop
from bench.clock import Clock
from bench.columns import RecordWriter
from bench.load import Outcome, Plan, Progress
from bench.load.answers import Reference
from bench.load.phases import NEVER, Phases
from bench.load.pool import Member, Pool
from bench.load.recorder import Recorder
from bench.record import AT_ONCE, ERRORS, QUEUED
from bench.targets import open_target
from bench.targets.base import Facts
from bench.targets.echo import Echo
from bench.workload import Workload


class InlineLoad:
    """Users, a first-come queue of `slots` servers and a clock that is told what time it is."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    @property
    def pid(self) -> int | None:
        return None

    def prepare(self, plan: Plan) -> Facts:
        self._plan, self._members = plan, [_member(plan, part) for part in plan.workload.parts]
        target = self._members[0].target
        assert isinstance(target, Echo)
        self._target = target
        return target.probe()

    def run(self, started: Callable[[int, int], None], progress: Callable[[Progress], None]) -> Outcome:
        workload = self._plan.workload
        pool = Pool(self._members, mix.turns(workload))
        recorder = Recorder(pool)
        call = pool.caller()
        phases = Phases.of(workload, self._clock.now_ns())
        started(phases.start_ns, phases.window_ns)
        sent = 0
        for number, (intended, start, end) in enumerate(self._exchanges(phases)):
            payload = pool.turns[number % len(pool.turns)]
            status, verdict, answer = call(payload, number)
            recorder.add(
                number, payload, (intended, start, end), status, verdict, answer, QUEUED if start > intended else AT_ONCE
            )
            self._clock.sleep_until(end)
            sent += 1
        recorder.hand_over()
        writer = RecordWriter(self._plan.stream)
        recorder.drain(writer)
        writer.close()
        recorder.keep(self._plan.answers)
        progress(Progress(phases.end_ns - phases.start_ns, sent, recorder.done, recorder.errors))
        messages = {ERRORS[code]: text for code, text in recorder.messages.items()}
        details = {"sent": sent, "unsent": 0, "late_without_connection": self._late, "reconnects": 0, "messages": messages}
        return Outcome((phases.window_ns, phases.end_ns), False, details)

    def close(self) -> None:
        pass

    def _exchanges(self, phases: Phases) -> Iterator[tuple[int, int, int]]:
        """(intended, start, end) of one request after another: `users` carry them, `slots` servers take `service` for each."""
        workload, service = self._plan.workload, self._target.service_ns
        users = [(phases.start_ns, user) for user in range(workload.load.connections)]  # when each is free to send
        slots = [phases.start_ns] * self._target.slots  # when each server is free
        self._late = 0
        for intended in self._intended(phases, users):
            free, user = heapq.heappop(users)
            start = max(intended, free)
            self._late += free > intended >= phases.window_ns
            begun = max(start, heapq.heappop(slots))
            end = begun + service
            heapq.heappush(slots, end)
            heapq.heappush(users, (end, user))
            yield intended, start, end
            phases.replied(intended, end)

    def _intended(self, phases: Phases, users: list[tuple[int, int]]) -> Iterator[int]:
        load = self._plan.workload.load
        if not isinstance(load, ClosedLoop):
            for offset in traces.offsets_ns(self._plan.workload):
                if phases.start_ns + offset >= phases.end_ns:
                    return
                yield phases.start_ns + offset
            return
        while (first := users[0])[0] < phases.end_ns:
            seated = _seated(load, first[1], first[0] - phases.window_ns) + phases.window_ns
            if seated > first[0]:
                heapq.heapreplace(users, (seated, first[1]))
            else:
                yield first[0]


def _seated(load: ClosedLoop, user: int, offset_ns: int) -> int:
    """When, from `offset_ns` after the window's beginning on, user number `user` has a seat; NEVER where no step has one."""
    if isinstance(load, Closed):
        return offset_ns
    begin = min(offset_ns, 0)  # the first step is there from the start
    for step in load.steps:
        end = max(begin, 0) + step.duration_ns
        if offset_ns < end and user < step.users:
            return max(offset_ns, begin)
        begin = end
    return NEVER


def _member(plan: Plan, part: Workload) -> Member:
    """A part of the workload, which echo:// answers with what it is sent."""
    requests: Any = payloads.make(part)
    answers = dict(enumerate(requests)) if part.check.reference else {}
    return Member(part, open_target(plan.target, part), requests, Reference(part.check, answers))
