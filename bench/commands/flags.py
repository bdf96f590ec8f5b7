"""The flags that override a workload file, and where results go."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from bench import arrivals, slo, units
from bench import workload as workloads
from bench.arrivals import Closed, Constant, Poisson
from bench.errors import UsageError
from bench.slo import Nanoseconds
from bench.workload import Workload


def _reads(function: Callable[[str], Any]) -> Callable[[str], Any]:
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


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise ValueError(f"expected a whole number from 0 up, got {text!r}")
    return int(text)


def _duration(text: str) -> Nanoseconds:
    duration = Nanoseconds(units.duration_ns(text))
    if duration > workloads.LONGEST_NS:
        raise ValueError(f"expected at most {units.format_exact_duration(workloads.LONGEST_NS)}, got {text!r}")
    return duration


def _some_time(text: str) -> Nanoseconds:
    if not (duration := _duration(text)):
        raise ValueError(f"expected a duration above 0, got {text!r}")
    return duration


count = _reads(_count)  # a whole number above 0, as a flag's type


def add_load(parser: argparse.ArgumentParser) -> None:
    """The flags that override what a workload file says."""
    group = parser.add_argument_group("instead of what the workload file says")
    group.add_argument("--users", type=count, metavar="N", help="users of a closed loop; connections that carry a rate")
    group.add_argument("--rate", type=_reads(arrivals.parse_rate), metavar="R", help='scheduled sends, such as "20/s"')
    group.add_argument(
        "--arrivals", choices=("closed", "constant", "poisson"), help="with --rate: poisson unless said otherwise"
    )
    group.add_argument("--duration", type=_reads(_some_time), metavar="D", help='measured time, such as "20s"')
    group.add_argument("--requests", type=count, metavar="N", help="measure until N replies have come, instead of a duration")
    group.add_argument("--warmup", type=_reads(_duration), metavar="D", help="sent before, not measured")
    group.add_argument("--timeout", type=_reads(_some_time), metavar="D", help="a reply that takes longer is an error")
    group.add_argument("--seed", type=_reads(_seed), metavar="N", help="of payloads and schedules")
    group.add_argument("--slo", type=_reads(slo.parse_slo), metavar="SLO",
                       help='such as "p99<250ms,errors<1%%"; of streams also ttft, tpot and itl')  # fmt: skip


def add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--output", type=Path, default=Path("results"), metavar="DIR", help="where results go (default: results)"
    )


def add_repository(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model-repository", type=Path, metavar="DIR", help="a Triton that bench starts serves your models in DIR, not its own"
    )


def override(workload: Workload, args: argparse.Namespace) -> Workload:
    """The workload as the flags want it; UsageError where they contradict each other."""
    if args.duration and args.requests:
        raise UsageError("--duration and --requests contradict each other: a window ends after a time or after a count")
    if args.duration:  # a duration given here ends a window that the file ends by a count
        workload = msgspec.structs.replace(workload, requests=None)
    if args.slo and (problem := args.slo.problem(workload.payload.generate is not None)):
        raise UsageError(f"--slo: {problem}")
    return workloads.override(
        workload,
        load=_load(workload, args),
        duration_ns=args.duration,
        requests=args.requests,
        warmup_ns=args.warmup,
        timeout_ns=args.timeout,
        seed=args.seed,
        slo=args.slo,
    )


def _load(workload: Workload, args: argparse.Namespace) -> arrivals.Load | None:
    if args.rate is None and args.users is None and args.arrivals is None:
        return None
    load = workload.load
    now = "closed" if isinstance(load, Closed) else "constant" if isinstance(load, Constant) else "poisson"
    kind = args.arrivals or ("poisson" if args.rate and now == "closed" else now)
    if kind == "closed":
        if args.rate:
            raise UsageError("--rate and --arrivals closed contradict each other: a closed loop has users, not a rate")
        return Closed(args.users or (load.users if isinstance(load, Closed) else 1))
    rate = args.rate or (None if isinstance(load, Closed) else load.rate_hz)
    if rate is None:
        raise UsageError(f"--arrivals {kind} needs --rate, such as --rate 20/s")
    users = args.users or (64 if isinstance(load, Closed) else load.users)
    return (Constant if kind == "constant" else Poisson)(rate_hz=rate, users=users)
