"""The flags that override a workload file, and where results go."""

import argparse
from pathlib import Path

import msgspec

from bench import slo, units
from bench import workload as workloads
from bench.arrivals import Ramp, Steps
from bench.commands import arrival_flags
from bench.commands.arrival_flags import count, reads
from bench.errors import UsageError
from bench.slo import Nanoseconds
from bench.workload import Workload


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


pause = reads(_duration)  # a duration, which may be 0, as a flag's type


def add_load(parser: argparse.ArgumentParser) -> None:
    """The flags that override what a workload file says."""
    group = parser.add_argument_group("instead of what the workload file says")
    arrival_flags.add(group)
    group.add_argument("--duration", type=reads(_some_time), metavar="D", help='measured time, such as "20s"')
    group.add_argument("--requests", type=count, metavar="N", help="measure until N replies have come, instead of a duration")
    group.add_argument("--warmup", type=reads(_duration), metavar="D", help="sent before, not measured")
    group.add_argument("--timeout", type=reads(_some_time), metavar="D", help="a reply that takes longer is an error")
    group.add_argument("--seed", type=reads(_seed), metavar="N", help="of payloads and schedules")
    group.add_argument("--slo", type=reads(slo.parse_slo), metavar="SLO",
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
    if args.slo and (problem := args.slo.problem(workload.generates)):
        raise UsageError(f"--slo: {problem}")
    load = arrival_flags.load(workload, args)
    if isinstance(lasting := load or workload.load, Steps | Ramp):
        if args.duration or args.requests:
            raise UsageError("--duration, --requests: steps and ramps last as long as their parts do")
        workload = msgspec.structs.replace(workload, requests=None, duration_ns=Nanoseconds(lasting.duration_ns))
    return workloads.override(
        workload,
        load=load,
        duration_ns=args.duration,
        requests=args.requests,
        warmup_ns=args.warmup,
        timeout_ns=args.timeout,
        seed=args.seed,
        slo=args.slo,
    )
