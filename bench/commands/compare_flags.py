"""The flags that say how sides are judged: which metrics have a verdict, what difference matters, how many rounds there are."""

import argparse
from collections.abc import Sequence

from bench import units
from bench.analysis.rule import DEFAULT, GATES, OF_STREAMS, STREAMED, Rule
from bench.analysis.verdicts import Looks
from bench.commands.arrival_flags import count, reads
from bench.errors import UsageError

LOOKS = Looks().rounds
MOST = 1000  # rounds


def add(parser: argparse.ArgumentParser) -> None:
    """Add them to a parser."""
    names = ", ".join(GATES)
    group = parser.add_argument_group("the verdict")
    group.add_argument("--gate", type=reads(_gates), metavar="LIST", help=f"metrics that have a verdict, of: {names} "
                       f"(default: {','.join(DEFAULT)}; of streams: {','.join(OF_STREAMS)})")  # fmt: skip
    group.add_argument("--delta", type=reads(_deltas), default={}, metavar="LIST", help="the smallest differences that "
                       'matter, such as "mean=2%%,p99=5%%" (default: 5%%, p99 10%%, errors 1%% of requests)')  # fmt: skip
    group.add_argument("--looks", type=reads(_looks), metavar="LIST", help="rounds of each side after which it is looked "
                       f"whether all is decided (default: {','.join(map(str, LOOKS))})")  # fmt: skip
    group.add_argument("--rounds", type=count, metavar="N", help="exactly so many rounds: one look, at the end")
    group.add_argument("--unknown", choices=("ok",), help="a verdict of UNKNOWN leaves exit code 0")
    group.add_argument("--force", action="store_true", help="compare what was not measured under like conditions")


def rule(args: argparse.Namespace, streamed: bool, live: bool) -> Rule:
    """The rule that the flags make; UsageError where they contradict each other, or the workload.

    The error is shared by the metrics of all sides but the first.
    """
    gates = args.gate or (OF_STREAMS if streamed else DEFAULT)
    if not streamed and (wrong := [name for name in gates if name in STREAMED]):
        raise UsageError(f"--gate {wrong[0]}: the workload streams no tokens")
    if unknown := [name for name in args.delta if name not in gates]:
        raise UsageError(f"--delta {unknown[0]}: has no verdict; those that have one are: {', '.join(gates)} (--gate)")
    if args.rounds and args.looks:
        raise UsageError("--rounds and --looks contradict each other: --looks says after how many rounds it ends at the latest")
    if not live and args.looks:
        raise UsageError("--looks: stored runs are looked at once")
    looks = (args.rounds,) if args.rounds else args.looks or LOOKS
    deltas = {name: args.delta.get(name, GATES[name].delta) for name in gates}
    return Rule(deltas, Looks(looks if live else looks[-1:], gated=len(gates) * (len(args.sides) - 1)))


def _gates(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",")))
    for name in names:
        _known(name)
    return names


def _deltas(text: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for part in text.split(","):
        name, sign, value = (piece.strip() for piece in part.partition("="))
        if not sign:
            raise ValueError(f'expected NAME=SHARE, such as "p99=5%", got {part!r}')
        found[_known(name)] = share = units.share(value)
        if share <= 0:
            raise ValueError(f"{name}: expected a share above 0, such as 5%, got {value!r}")
    return found


def _known(name: str) -> str:
    if name not in GATES:
        raise ValueError(f"unknown metric {name!r}; there are: {', '.join(GATES)}")
    return name


def _looks(text: str) -> tuple[int, ...]:
    expected = f'expected rising numbers of rounds, 3 to {MOST}, such as "5,10,20"'
    parts: Sequence[str] = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise ValueError(f"{expected}, got {text!r}")
    looks = tuple(map(int, parts))
    if list(looks) != sorted(set(looks)) or looks[0] < 3 or looks[-1] > MOST:
        raise ValueError(f"{expected}, got {text!r}")
    return looks
