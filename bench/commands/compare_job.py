"""One comparison to be made: what its sides are, checked before anything starts, and the rounds that are measured for it."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from bench import endpoint as endpoints
from bench import environment, recorded, resources, servers, store
from bench.analysis.rule import Rule
from bench.analysis.stats import MIN_ROUNDS
from bench.arrivals import Ramp, Steps, Trace
from bench.clock import SystemClock
from bench.commands import compare_flags, crew_flags, live_sides, target_flags
from bench.commands.flags import override
from bench.commands.run import drivers
from bench.errors import BenchError, UsageError
from bench.experiments import compare, folder, rounds
from bench.experiments.compare import Rounds
from bench.experiments.folder import Experiment
from bench.experiments.rounds import Turn
from bench.load import Crew
from bench.record import Run
from bench.reports import verdicts
from bench.slo import Nanoseconds
from bench.terminal import Terminal
from bench.words import Word
from bench.workload import Workload

WORKLOAD = "resnet50"
ROUND_NS = Nanoseconds(10 * 10**9)
ROUND_REQUESTS = 8  # of a workload that generates, whose requests take seconds on a CPU
COOLDOWN_NS = Nanoseconds(5 * 10**8)

Side = Word | Path

# the flags that mean nothing where all sides are stored, and what they are where nobody gave them
LIVE_ONLY: dict[str, Any] = dict.fromkeys(
    ("users", "rate", "arrivals", "burstiness", "steps", "ramp", "trace", "speed", "duration", "requests", "warmup", "timeout",
     "seed", "slo", "rounds", "workers", "bind", "client")
) | {"exclusive": False, "cooldown": COOLDOWN_NS, "model_repository": [], "header": [], "remote_workers": 0}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Job:
    """A comparison that can be made: nothing that can be told beforehand speaks against it."""

    sides: Sequence[Side]  # a target word to be measured, or a folder of stored runs
    stored: dict[int, Rounds]  # of those sides that are stored
    workload: Workload
    rule: Rule
    live: live_sides.Setup | None  # None where all are stored
    force: bool = False  # compare what is not alike, too

    @property
    def measured(self) -> list[int]:
        """Which of the sides are live."""
        return [n for n, side in enumerate(self.sides) if isinstance(side, Word)]


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured, or read, for a comparison."""

    folder: Path
    experiment: Experiment
    rounds: list[Rounds]
    whole: bool = True  # False when the user stopped it
    failure: BenchError | None = None  # why it could not go on


def sides_of(args: argparse.Namespace) -> list[Side]:
    """The sides that the user named; UsageError where one is none."""
    if len(args.sides) < 2:
        raise UsageError(f"bench compare: expected two sides or more, got {len(args.sides)}")
    found = [path_of(text) for text in args.sides]
    asked = [text for text, path in zip(args.sides, found, strict=True) if path is None]
    parsed = iter(target_flags.parse_all(asked, args) if asked else ())
    return [path or next(parsed) for path in found]


def path_of(text: str) -> Path | None:
    """The folder that a side names; None where it is a target word. A word has no slash but in a URL or in its options."""
    head = text.partition("?")[0]
    is_path = "://" not in head and ("/" in head or (Path(text).is_dir() and head.partition("@")[0] not in servers.SERVERS))
    return Path(text) if is_path else None


def prepared(args: argparse.Namespace, name: str | None, found: Sequence[Side]) -> Job:
    """The comparison of these sides on the workload called, or lying at, `name`; UsageError where it could not be made."""
    stored = {n: compare.stored(side) for n, side in enumerate(found) if isinstance(side, Path)}
    if not args.force:
        compare.check_alike(list(stored.values()))
    if len(stored) == len(found):
        return _offline(args, name, found, stored)
    for n, one in stored.items():
        if len(one.runs) < MIN_ROUNDS:
            raise UsageError(
                f"{found[n]}: {len(one.runs)} stored run{'s' if len(one.runs) > 1 else ''}, each of which is a round: beside a "
                f"live side a verdict needs {MIN_ROUNDS} at least"
            )
    workload = _workload(args, name, stored)
    if stored and not args.force:
        compare.check_workload(next(iter(stored.values())), workload)
    asked = [side for side in found if isinstance(side, Word)]
    repositories = _repositories(args.model_repository, asked)
    for word, repository in zip(asked, repositories, strict=True):
        endpoints.check(word, workload, repository)
    setup = live_sides.Setup(
        words=asked,
        workload=workload,
        repositories=repositories,
        references=recorded.find_each(name, workload) if name else (),
        crew=crew_flags.crew(args, workload, *asked),
        exclusive=args.exclusive,
        cooldown_ns=args.cooldown,
    )
    return Job(found, stored, workload, compare_flags.rule(args, workload.generates, live=True), setup, args.force)


def _offline(args: argparse.Namespace, name: str | None, found: Sequence[Side], stored: dict[int, Rounds]) -> Job:
    if name is not None:
        raise UsageError(f"--workload {name}: stored runs have their workload with them")
    if given := [flag for flag, usual in LIVE_ONLY.items() if getattr(args, flag) != usual]:
        flag = given[0].replace("_", "-")
        raise UsageError(f"--{flag}: says how live sides are measured, and all of these are stored")
    workload = stored[0].runs[0].workload
    return Job(found, stored, workload, compare_flags.rule(args, workload.generates, live=False), None, args.force)


def _workload(args: argparse.Namespace, name: str | None, stored: dict[int, Rounds]) -> Workload:
    """That of the stored runs unless one is named; of live sides alone in short rounds unless their length is said."""
    if name is None and stored:
        first = next(iter(stored.values())).runs[0].workload
        return override(msgspec.structs.replace(first, round=0), args)
    workload = override(resources.load_workload(name or WORKLOAD), args)
    if args.requests or args.duration or stored or isinstance(workload.load, Steps | Ramp | Trace):
        return workload
    if workload.generates:
        return msgspec.structs.replace(workload, requests=ROUND_REQUESTS)
    return msgspec.structs.replace(workload, requests=None, duration_ns=ROUND_NS)


def _repositories(given: Sequence[Path], asked: Sequence[Word]) -> list[Path | None]:
    """The model repository of each live side: of the Tritons that bench starts, one for all or each its own."""
    managed = [word for word in asked if word.kind == "triton" and not word.endpoint]
    if given and len(given) not in (1, len(managed)):
        raise UsageError(
            f"--model-repository: given {len(given)} times, and bench starts {len(managed)} Tritons: expected one folder for "
            "all of them, or one for each"
        )
    each = iter(list(given) * len(managed) if len(given) == 1 else given)
    return [next(each, None) if word in managed else None for word in asked]


def measured(job: Job, root: Path, say: Terminal) -> Measured:
    """Measure the live sides in turn, until all is decided or as many rounds are made as are planned."""
    asked = [side for side in job.sides if isinstance(side, Word)]
    clock = drivers(asked[0], Crew(), say)[1] if asked else SystemClock()
    path = store.create(root, store.slug(f"compare-{job.workload.name}"), clock)
    experiment = folder.begin(path, "compare", job.workload.name, [_named(side) for side in job.sides], job.rule)
    made = Measured(path, experiment, [job.stored.get(n, Rounds([], [])) for n in range(len(job.sides))])
    if job.live is None:
        return made
    try:
        with live_sides.start(job.live, path, environment.fingerprint(), say) as stage:
            return replace(made, whole=_rounds(job, made, stage, say))
    except (BenchError, KeyboardInterrupt) as error:
        if not any(made.rounds[n].runs for n in job.measured):
            folder.forget(path)
            raise
        if isinstance(error, BenchError):
            return replace(made, failure=error)
        return replace(made, whole=False)  # stopped between two rounds: within one it is the run that is not whole


def _rounds(job: Job, made: Measured, stage: live_sides.LiveSides, say: Terminal) -> bool:
    """Measure and look in turn; False when the user stopped it."""
    looks = job.rule.looks.rounds
    most = "" if len(looks) == 1 else "up to "
    say(f"{job.workload.name}: {most}{looks[-1]} round{'s' if looks[-1] > 1 else ''} of each side, in turn")

    def one(turn: Turn) -> Run:
        n = job.measured[turn.side]
        side = made.experiment.sides[n]
        where = folder.round_folder(made.folder, side, turn.number)
        done = stage.measure(turn.side, turn.number, where, f"round {turn.number} of {side.name}")
        made.rounds[n].runs.append(done)
        made.rounds[n].folders.append(where)
        say(f"round {turn.number}, {side.name}: {verdicts.in_short(done)}")
        if not job.force:
            compare.check_alike(made.rounds)
        return done

    def decided(count: int) -> bool:
        comparison = compare.judge(made.experiment, made.rounds)[0]
        say(f"after {count} rounds: {verdicts.look(comparison)}")
        return not any(judgement.waits for judgement in comparison.judgements())

    return rounds.measure(rounds.course(len(job.measured), looks, job.workload.seed), one, decided)


def _named(side: Side) -> tuple[str, Path | None]:
    return (str(side), None) if isinstance(side, Word) else (str(side), side)
