"""The flags that say what arrives when, and how flags' values are read."""

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from bench import arrivals, named_files, units
from bench.arrivals import Closed, Constant, Load, Poisson
from bench.errors import UsageError
from bench.slo import Nanoseconds
from bench.workload import Workload


def reads(function: Callable[[str], Any]) -> Callable[[str], Any]:
    """argparse shows a type's message only when it is an ArgumentTypeError."""

    def read(text: str) -> Any:
        try:
            return function(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return read


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"expected a whole number above 0, got {text!r}")
    return int(text)


count = reads(_count)  # a whole number above 0, as a flag's type


def add(group: Any) -> None:
    """Add them to a group of a parser."""
    group.add_argument("--users", type=count, metavar="N", help="users of a closed loop; connections that carry a rate")
    group.add_argument("--rate", type=reads(arrivals.parse_rate), metavar="R", help='scheduled sends, such as "20/s"')
    group.add_argument(
        "--arrivals",
        choices=("closed", "constant", "poisson", "gamma"),
        help="with --rate: poisson unless said otherwise",
    )
    group.add_argument("--burstiness", type=reads(_factor), metavar="B", help="of gamma: below 1 in bursts, above 1 evenly")
    group.add_argument("--steps", type=reads(_steps), metavar="S", help='users step by step, such as "4:10s,8:10s"')
    group.add_argument("--ramp", type=reads(_ramp), metavar="R", help='a rate that changes, such as "10/s,50/s:30s"')
    group.add_argument("--trace", type=Path, metavar="FILE", help="times of requests: a CSV, JSON lines, an access log")
    group.add_argument("--speed", type=reads(_factor), metavar="X", help="of the trace: 2 is twice as fast")


def load(workload: Workload, args: argparse.Namespace) -> Load | None:
    """The load that the flags ask for; None where they leave it as the file has it."""
    given = [flag for flag in ("steps", "ramp", "trace") if getattr(args, flag)]
    if len(given) > 1 or (given and (args.rate or args.arrivals or (args.users and given == ["steps"]))):
        others = [flag for flag in (*given, "rate", "arrivals", "users") if getattr(args, flag)]
        raise UsageError(f"{' and '.join(f'--{flag}' for flag in others)} contradict each other: each says what arrives when")
    for flag, needed in (("burstiness", "--arrivals gamma"), ("speed", "--trace")):
        if getattr(args, flag) and not (args.arrivals == "gamma" if flag == "burstiness" else args.trace):
            raise UsageError(f"--{flag} goes with {needed}")
    users = {} if args.users is None else {"users": args.users}
    if args.steps:
        steps: arrivals.Steps = args.steps
        return steps
    if args.ramp:
        ramp: arrivals.Ramp = msgspec.structs.replace(args.ramp, **users)
        return ramp
    if args.trace:
        made = arrivals.Trace(str(args.trace), args.speed or 1.0, **users)
        return named_files.trace(made, Path(), workload.warmup_ns if args.warmup is None else args.warmup)
    if args.rate is None and args.users is None and args.arrivals is None:
        return None
    return _drawn(workload.load, args)


def _drawn(load: Load, args: argparse.Namespace) -> Load:
    """The load as --arrivals, --rate and --users change it."""
    now = str(type(load).__struct_config__.tag)
    if args.arrivals is None and args.rate is None:  # only the users
        if isinstance(load, arrivals.Steps):
            raise UsageError("--users and load.steps contradict each other: --steps 4:10s,8:10s would change them")
        return msgspec.structs.replace(load, users=args.users)
    kind = args.arrivals or (now if now in _STEADY else "poisson")
    if kind == "closed":
        if args.rate:
            raise UsageError("--rate and --arrivals closed contradict each other: a closed loop has users, not a rate")
        return Closed(args.users or (load.users if isinstance(load, Closed) else 1))
    rate = args.rate or getattr(load, "rate_hz", None)
    if rate is None:
        raise UsageError(f"--arrivals {kind} needs --rate, such as --rate 20/s")
    users = args.users or (64 if isinstance(load, arrivals.ClosedLoop) else load.users)
    if kind == "gamma":
        return arrivals.Gamma(rate, users, args.burstiness or getattr(load, "burstiness", 1.0))
    made: Load = _STEADY[kind](rate, users)
    return made


_STEADY: dict[str, Any] = {"constant": Constant, "poisson": Poisson, "gamma": arrivals.Gamma}


def _steps(text: str) -> arrivals.Steps:
    """ "4:10s,8:10s"; ValueError."""
    made = []
    for part in text.split(","):
        users, colon, duration = part.partition(":")
        if not colon:
            raise ValueError(f"expected users and how long for each step, such as 4:10s,8:10s, got {text!r}")
        made.append(arrivals.Step(_count(users), _some(duration)))
    return arrivals.Steps(tuple(made))


def _ramp(text: str) -> arrivals.Ramp:
    """ "10/s,50/s:30s,50/s:1min": the first rate, then where it goes and how long that takes; ValueError."""
    first, *rest = text.split(",")
    stages = []
    for part in rest:
        rate, colon, duration = part.partition(":")
        if not colon:
            break
        stages.append(arrivals.Stage(arrivals.parse_rate(rate), _some(duration)))
    if len(stages) < len(rest) or not stages:
        raise ValueError(f"expected a rate, then rates with how long it takes to go there, such as 10/s,50/s:30s, got {text!r}")
    return arrivals.Ramp(arrivals.parse_rate(first), tuple(stages))


def _factor(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < math.inf:
        raise ValueError(f"expected a number above 0, got {text!r}")
    return value


def _some(text: str) -> Nanoseconds:
    if not (duration := Nanoseconds(units.duration_ns(text))):
        raise ValueError(f"expected a duration above 0, got {text!r}")
    return duration
