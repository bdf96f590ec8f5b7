"""What a class of users names, made ready before the clock starts: workload, target, requests."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench import endpoint as endpoints
from bench import environment, mix, payloads, recorded, resources, serving, words
from bench.columns import RecordWriter
from bench.endpoint import Endpoint
from bench.errors import UsageError
from bench.headers import Header
from bench.load.answers import Reference
from bench.load.pool import Member, Pool
from bench.record import RECORD
from bench.targets import open_target
from bench.targets.base import Facts
from bench.words import Word
from bench.workload import Workload


class Named(NamedTuple):
    """A workload and a target by their names, as a class of users has them: what makes its run another than others'."""

    workload: str
    target: str
    headers: tuple[Header, ...] = ()  # shown nowhere

    def __str__(self) -> str:
        return f"{self.workload} on {self.target}"

    def __repr__(self) -> str:
        return str(self)


@dataclass(frozen=True, slots=True)
class Prepared:
    """Everything that is needed to send, and to say in a run's record what was sent where."""

    workload: Workload
    endpoint: Endpoint
    facts: tuple[Facts, ...]  # of each part of the workload
    pool: Pool
    environment: dict[str, Any]

    @property
    def told(self) -> Facts:
        """Who the target said it is; its details by the parts of a mix."""
        return replace(self.facts[0], details=self.pool.by_part([facts.details for facts in self.facts]))


def check(named: Named) -> tuple[Workload, Word]:
    """The workload and the target's word; UsageError where a Locust file can have no such users."""
    workload, word = resources.load_workload(named.workload), replace(words.parse(named.target), headers=named.headers)
    endpoints.check(word)
    if not serving.runs_already(word):
        raise _not_here(word)
    endpoints.check(word, workload)
    return workload, word


def prepare(named: Named, sends: bool, say: Callable[[str], None]) -> Prepared:
    """Ask the target who it is and, in a process that `sends`, serialize the requests; UsageError, RunError."""
    workload, word = check(named)
    with endpoints.live(word, workload, Path(os.devnull), say) as endpoint:
        pass  # it is good after this too: a server that runs already is not stopped
    endpoint = endpoint.held_to(recorded.find_each(named.workload, workload))
    members = list(_members(endpoint, workload))
    facts = tuple(member.target.probe() for member in members)
    if not hasattr(members[0].target, "requests"):
        raise _not_here(word)
    pool = Pool(members, mix.turns(workload))
    if sends:
        pool.wire()
    return Prepared(workload, endpoint, facts, pool, environment.fingerprint())


def warm_up() -> None:
    """What a process that sends does slowly the first time, and would hold up its users: pyarrow loads pandas to write."""
    RecordWriter(Path(os.devnull)).write(np.empty(0, RECORD))


def _members(endpoint: Endpoint, workload: Workload) -> Iterator[Member]:
    for part, model in zip(workload.parts, endpoint.models, strict=True):
        target = open_target(endpoint.word, part)
        yield Member(part, target, payloads.make(part), Reference.load(part.check, model.reference))


def _not_here(word: Word) -> UsageError:
    return UsageError(
        f"target {word}: users of a Locust file send over a connection of their own to a server that runs already: "
        "triton-http://, triton-grpc://, flask:// or openai://, without client=tritonclient; `bench serve` keeps a server "
        "running, `bench run` drives the other targets"
    )
