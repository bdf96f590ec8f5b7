"""The distinct requests of all parts of a workload in a row, and for each the target that it is sent to and held to."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from bench import payloads
from bench.load.answers import Reference
from bench.mix import Turns
from bench.payloads import Prompt, Request
from bench.record import PROTOCOL
from bench.targets.base import CallReply, Streamed, Verdict
from bench.tensors import Tensors
from bench.wire.http1 import joined
from bench.wire.line import Reply, WireRequest
from bench.wire.upload import framed
from bench.workload import Workload


class Member(NamedTuple):
    """One part of a workload, ready to be sent."""

    workload: Workload
    target: Any  # a WireTarget or a CallTarget
    requests: Sequence[Request]
    reference: Reference


def _compact(request: WireRequest) -> WireRequest:
    return framed(request) if request.block else joined(request)


def _judge(target: Any) -> Callable[[Reply, bytes], Verdict]:
    """What judges a reply, whatever a server sent: the run goes on."""

    def judge(reply: Reply, id_: bytes) -> Verdict:
        try:
            verdict: Verdict = target.judge(reply, id_)
        except Exception as problem:
            return Verdict(PROTOCOL, f"a reply cannot be read: {type(problem).__name__}: {str(problem)[:200]}")
        return verdict

    return judge


class Pool:
    """Request n of the pool is request `local[n]` of part `part[n]`, as `bench.mix.starts` has them in a row.

    `turns` says which one the number of a send stands for; one after another where none are given.
    """

    def __init__(self, members: Sequence[Member], turns: Turns | None = None) -> None:
        self.members = members
        self.part = [p for p, member in enumerate(members) for _ in member.requests]
        self.local = [n for member in members for n in range(len(member.requests))]
        self.turns: Turns = range(len(self.part)) if turns is None else turns
        self.items = [payloads.items(members[p].workload) for p in self.part]
        self.every = [members[p].workload.check.every for p in self.part]
        self.serialized: list[WireRequest] | None = None  # the requests as they are sent; may be those of an earlier pool
        self._wired: tuple[list[WireRequest], list[Callable[[Reply, bytes], Verdict]]] | None = None
        self.streams = hasattr(members[0].target, "streamed")  # a mix streams in all of its parts, or in none

    def __len__(self) -> int:
        return len(self.part)

    @property
    def target(self) -> Any:
        """The first part's target: where all of them are, and how they are talked to."""
        return self.members[0].target

    def by_part(self, told: Sequence[Any]) -> Any:
        """What is told of each part: of several by their names, of one as it is."""
        return {member.workload.name: one for member, one in zip(self.members, told, strict=True)} if len(told) > 1 else told[0]

    def counted(self) -> dict[str, int]:
        """In which way tokens were counted, in how many replies."""
        return dict(sum((Counter(getattr(member.target, "counted", {})) for member in self.members), Counter[str]()))

    def wire(self) -> tuple[list[WireRequest], list[Callable[[Reply, bytes], Verdict]]]:
        """The serialized requests, and what judges the reply to each: made once."""
        if self._wired is None:
            if self.serialized is None:
                self.serialized = [_compact(r) for member in self.members for r in member.target.requests(member.requests)]
            self._wired = self.serialized, [_judge(self.members[p].target) for p in self.part]
        return self._wired

    def caller(self) -> Callable[[int, int], CallReply]:
        """A function (request, number) -> reply for one thread."""
        calls: list[Callable[[int, int], CallReply]] = [member.target.caller(member.requests) for member in self.members]
        if len(calls) == 1:
            return calls[0]
        part, local = self.part, self.local
        return lambda n, number: calls[part[n]](local[n], number)

    def outputs(self, n: int, answer: Any) -> Tensors:
        """The tensors in an answer to request `n` that was judged fine."""
        outputs: Tensors = self.members[self.part[n]].target.outputs(answer)
        return outputs

    def streamed(self, n: int, answer: Any) -> Streamed:
        """A streamed answer to request `n`, taken apart."""
        prompt = self.members[self.part[n]].requests[self.local[n]]
        assert isinstance(prompt, Prompt)
        streamed: Streamed = self.members[self.part[n]].target.streamed(answer, prompt)
        return streamed

    def compare(self, n: int, outputs: Tensors) -> tuple[int, str]:
        """SAME, DIFFERENT or NOT_COMPARED of the outputs to request `n`, and what differed."""
        member = self.members[self.part[n]]
        check, message = member.reference.compare(self.local[n], outputs)
        return check, f"{member.workload.name}: {message}" if message and len(self.members) > 1 else message
