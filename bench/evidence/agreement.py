"""Whether bench's own client and NVIDIA's tritonclient see the same latencies on a real Triton; printed as Markdown.

python -m bench.evidence.agreement [--pairs 6] [--seconds 20] [--output FILE]
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench import resources, runner, servers, serving, words
from bench import workload as workloads
from bench.analysis import distribution, effect, stats
from bench.analysis.effect import Effect
from bench.analysis.estimate import Estimate
from bench.analysis.measured import Measured, measure
from bench.arrivals import Poisson, Rate
from bench.clock import SystemClock
from bench.endpoint import Endpoint
from bench.errors import RunError
from bench.evidence import page
from bench.load.process import LocustLoad
from bench.reports import tables
from bench.slo import Nanoseconds
from bench.targets import CLIENTS, LEAN, OFFICIAL
from bench.workload import Check, Workload

WORKLOAD = "resnet50"
RATE_HZ, USERS = 5.0, 32
QUANTILES = (0.5, 0.99)
QUANTITIES = ("latency", "service")
PAIRED = True  # both rounds of a pair have the same schedule
_NAMES = ("mean", "P50", "P99")
_COLUMNS = (
    "protocol", "", "", "bench's own", "tritonclient", "difference", "ratio, of pairs", "intervals overlap",
)  # fmt: skip

Rounds = dict[str, dict[str, list[Measured]]]  # by protocol and client


class Row(NamedTuple):
    """One quantity by both clients, and how they compare."""

    protocol: str
    quantity: str
    name: str
    lean: Estimate
    official: Estimate
    ratio: Effect | None  # official / lean, of pairs of rounds with the same schedule

    def overlap(self) -> bool:
        """Whether both intervals have something in common."""
        ends = self.lean.low, self.lean.high, self.official.low, self.official.high
        if any(end is None for end in ends):
            return False
        low, high, other_low, other_high = map(float, ends)  # type: ignore[arg-type]
        return low <= other_high and other_low <= high


def run(pairs: int, seconds: float, say: Callable[[str], None]) -> tuple[str, Rounds]:
    """(Triton's version, the rounds): both clients in turn, each pair of rounds with a schedule of its own."""
    made = workload(seconds)
    word, clock = words.parse("triton"), SystemClock()
    model = serving.built(word, made.model, say)
    found: Rounds = {protocol: {client: [] for client in CLIENTS} for protocol in ("http", "grpc")}
    with (
        tempfile.TemporaryDirectory(prefix="bench-agreement-") as folder,
        servers.start(word, model, Path(folder, "server.log"), say) as server,
    ):
        for number in range(pairs):
            scheduled = workloads.override(made, seed=number + 1)
            for protocol, rounds in found.items():
                for client in CLIENTS[:: 1 if number % 2 else -1]:
                    say(f"pair {number + 1} of {pairs}: {protocol}, {client} ...")
                    there = words.parse(f"{server.words[protocol]}?client={client}")
                    into = Path(folder, f"{number}-{protocol}-{client}")
                    into.mkdir()
                    endpoint = Endpoint(there, there, client, pid=server.pid, exited=server.exited)
                    done = runner.execute(scheduled, endpoint, into, load=LocustLoad(), clock=clock, environment={})
                    rounds[client].append(_good(measure(done)))
        return server.facts.version, found


def workload(seconds: float) -> Workload:
    """ResNet-50 at a rate that both clients can hold."""
    return workloads.override(
        resources.load_workload(WORKLOAD),
        load=Poisson(rate_hz=Rate(RATE_HZ), users=USERS),
        warmup_ns=Nanoseconds(2 * 10**9),
        duration_ns=Nanoseconds(round(seconds * 1e9)),
        check=Check(reference=False),
    )


def _good(m: Measured) -> Measured:
    if m.errors:
        raise RunError(f"requests failed: {m.errors}: {m.run.load.get('messages')}")
    return m


def rows(found: Rounds) -> Iterator[Row]:
    """Mean and quantiles of latency and service over both protocols."""
    for protocol, rounds in found.items():
        for quantity in QUANTITIES:
            yield from _compared(protocol, quantity, {client: _times(rounds[client], quantity) for client in CLIENTS})


def _times(rounds: Sequence[Measured], quantity: str) -> list[np.ndarray]:
    return [m.latency_ns() if quantity == "latency" else m.service_ns() for m in rounds]


def _compared(protocol: str, quantity: str, of: Mapping[str, list[np.ndarray]]) -> Iterator[Row]:
    lean, official = (distribution.describe(of[client], QUANTILES) for client in (LEAN, OFFICIAL))
    assert lean.mean is not None
    assert official.mean is not None
    mine, its = (distribution.sums(of[client]) for client in (LEAN, OFFICIAL))
    yield Row(protocol, quantity, "mean", lean.mean, official.mean, effect.ratio_of_sums(mine, its, PAIRED, stats.ALPHA))
    for n, quantile in enumerate(QUANTILES):
        ours, theirs = lean.quantiles[n].estimate, official.quantiles[n].estimate
        if ours is not None and theirs is not None:
            between = effect.ratio_of_quantiles(of[LEAN], of[OFFICIAL], quantile, PAIRED, stats.ALPHA)
            yield Row(protocol, quantity, _NAMES[1 + n], ours, theirs, between)


# ---------------------------------------------------------------- the page


def report(version: str, found: Rounds, pairs: int, seconds: float) -> Iterator[str]:
    """The lines of the page behind its heading."""
    yield from page.prose(
        f"Triton {version} with {WORKLOAD}, {RATE_HZ:g} requests/s, Poisson, over {USERS} connections or threads: bench's own "
        f"client and NVIDIA's Python client (client=tritonclient) in turn, {pairs} rounds of {seconds:g} s each over either "
        "protocol. Both rounds of a pair send at the same times; every pair has a schedule of its own. Service runs from the "
        "send to the reply, latency from when it was meant to be sent. Intervals are taken between rounds; those of a ratio "
        "between pairs."
    )
    yield from page.prose(
        "Held: the intervals of both clients overlap. The ratio of pairs is much sharper, because both rounds of a pair meet "
        "the same queue: it shows what the Python client adds of its own, which copies and parses within the time that is "
        "measured, on threads that take turns."
    )
    yield from page.table(_COLUMNS, map(_row, rows(found)))


def _row(row: Row) -> list[str]:
    official = row.official.value
    ratio = f"{official / row.lean.value:.3f}"
    if row.ratio is not None:
        ratio += f" [{row.ratio.low:.3f}, {row.ratio.high:.3f}]"
    difference = f"{official - row.lean.value:+.3f} ms"
    shown = tables.estimate(row.lean, row.lean.value), tables.estimate(row.official, row.lean.value)
    return [page.PROTOCOLS[row.protocol], row.quantity, row.name, *shown, difference, ratio, page.verdict(row.overlap())]


def _make(options: argparse.Namespace, say: Callable[[str], None]) -> tuple[list[str], bool]:
    version, found = run(options.pairs, options.seconds, say)
    heading = page.heading("Whether two clients see the same", "make verify-agreement")
    lines = [*heading, *report(version, found, options.pairs, options.seconds)]
    return lines, all(row.overlap() for row in rows(found))


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the page; 1 where something was not held."""
    parser = argparse.ArgumentParser(prog="python -m bench.evidence.agreement", description=__doc__)
    parser.add_argument("--pairs", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each round")
    return page.main(parser, _make, arguments)


if __name__ == "__main__":
    sys.exit(main())
