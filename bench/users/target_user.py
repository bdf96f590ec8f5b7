"""The user that a Locust file's classes are made of, and a wait time that keeps its schedule."""

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import gevent
from locust import User
from locust.env import Environment
from locust.exception import StopUser

from bench.load.calls import Call, Caller, Ended
from bench.record import ERRORS, OK
from bench.tensors import Tensors
from bench.users.part import Part

LOOK_S = 0.02
PATIENCE_S = 60.0

log = logging.getLogger("bench.locustfile")


class Failed(Exception):
    """What Locust is told of a request that failed."""


class Answer:
    """What a request came to: `error` is its kind, "" where all was well, `message` what was seen; times are in ns."""

    __slots__ = ("_call", "_ended", "_part", "error", "latency_ns", "message")

    def __init__(self, part: Part, call: Call, ended: Ended) -> None:
        self._part, self._call, self._ended = part, call, ended
        self.error, self.message = ERRORS[ended.verdict.error], part.hide(ended.verdict.message)
        self.latency_ns = ended.end - call.intended

    @property
    def ok(self) -> bool:
        """Whether status, id, version and shape were as they should be; values are compared with the reference later."""
        return not self.error

    def outputs(self) -> Tensors:
        """The tensors of a good reply by name, of a stream {"tokens": ids} or {"text": one text}; Failed where it is none."""
        if not self.ok:
            raise Failed(f"{self.error}: {self.message}")
        pool = self._part.prepared.pool
        if pool.streams:
            return pool.streamed(self._call.payload, self._ended.answer).outputs
        return pool.outputs(self._call.payload, self._ended.answer)


class TargetUser(User):
    """A user who sends a workload's requests to a target; each is recorded as `bench run` records it.

    A class of its own names the workload (a name, or the path of a .toml file) and the target (a URL word such as
    triton-http://127.0.0.1:8000; Locust's --host where it names none), and the headers that a gateway wants ("Name: value").
    """

    abstract = True
    workload: str = ""
    target: str = ""
    headers: Sequence[str] = ()

    _part: ClassVar[Part | None] = None  # set for each test

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self._caller: Caller | None = None
        self._due_ns = 0  # when the next request is meant to be sent, where a wait time says so

    def request(self, *, intended_ns: int | None = None) -> Answer:
        """Send the next request of the pool and wait for its end; one that fails is recorded, and returned, as any other.

        It counts from `intended_ns` (of time.perf_counter_ns), and is not sent before; by default from now.
        """
        part = self._part or self._opened()
        if self._caller is None:
            self._caller = part.caller()
        caller, due, self._due_ns = self._caller, intended_ns or self._due_ns, 0
        if (early := max(due, caller.rest_until) - time.perf_counter_ns()) > 0:
            gevent.sleep(early / 1e9)
        call = part.begin(due or time.perf_counter_ns())
        try:
            ended = caller.carry(call)
        except BaseException:
            part.abandoned(call, lambda: self._end(part, call, caller.carry(call)))
            raise
        return self._end(part, call, ended)

    def _opened(self) -> Part:
        """What records, once it is open: a worker that joins a test has users before it is ready for them."""
        with gevent.Timeout(PATIENCE_S, False):
            while self._part is None:
                gevent.sleep(LOOK_S)
        if self._part is None:
            log.error(f"class {type(self).__name__}: nobody has told bench of this test; see `events` in docs/locust.md")
            raise StopUser
        return self._part

    def _end(self, part: Part, call: Call, ended: Ended) -> Answer:
        answer = Answer(part, call, ended)
        part.end(call, ended, told=not answer.ok)
        self.environment.events.request.fire(
            request_type=part.prepared.endpoint.word.kind,
            name=part.name(call),
            response_time=answer.latency_ns / 1e6,
            response_length=len(ended.answer.body) if ended.answer is not None else 0,
            exception=None if ended.verdict.error == OK else Failed(f"{answer.error}: {answer.message}"),
            context=self.context(),
        )
        return answer


def constant_rate(per_second: float) -> Callable[[Any], float]:
    """A wait time that starts a user's tasks at this rate, as Locust's constant_throughput, but never gives a task up.

    Where a task takes longer than its turn, the next ones follow at once until the schedule is caught up with; the first
    request of each counts from when its task was due. ValueError where the rate is not above 0.
    """
    if not per_second > 0:
        raise ValueError(f"constant_rate: expected a rate above 0, got {per_second!r}")
    period_ns = round(1e9 / per_second)

    def wait(of: Any) -> float:
        user = getattr(of, "user", of)  # of a TaskSet, whose it is
        now = time.perf_counter_ns()
        user._turn_ns = getattr(user, "_turn_ns", now) + period_ns
        user._due_ns = user._turn_ns
        return max(int(user._turn_ns) - now, 0) / 1e9

    return wait
