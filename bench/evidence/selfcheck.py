"""How true bench's own numbers are on this machine: what it reports against what a server that knows the truth saw."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench import runner, words
from bench import workload as workloads
from bench.analysis.measured import measure
from bench.analysis.quantiles import order_statistic
from bench.clock import SystemClock
from bench.endpoint import Endpoint
from bench.errors import RunError
from bench.evidence import timer_loop
from bench.evidence.truth import MODEL, Script
from bench.evidence.truth_server import running
from bench.load.process import LocustLoad
from bench.record import OK, Run

MS = 10**6
QUANTILES = (0.5, 0.99, 0.999)
SHARE, FLOOR_NS = 0.01, 50_000  # a quantile may be off by 1 %, or by 50 µs where that is more
STALL_SHARE = 0.02
LAG_NS, LAG_RATIO = 100_000, 2.0  # the median send lag, and its P99 against that of a bare loop of timers
LAG_RATE = 1000
PROTOCOLS = {"http": "triton-http", "grpc": "triton-grpc"}


@dataclass(frozen=True, slots=True)
class Scenario:
    """A script, and the schedule that is sent to it."""

    name: str
    script: Script
    rate_hz: float
    seconds: float
    share: float  # that a quantile may be off by
    held: tuple[float, ...]  # the quantiles that this is asked of
    arrivals: str = "poisson"


def queue(seconds: float) -> Scenario:
    """5 ms of service, one at a time, at 80 % of what that can serve."""
    return Scenario("queue at 80 %", Script(5 * MS), 160, seconds, SHARE, (0.5, 0.99))


def stall(seconds: float = 20.0) -> Scenario:
    """A server that stands still for 1 s in 20 s."""
    return Scenario("stall of 1 s", Script(MS, stall_at_ns=9 * 10**9, stall_ns=10**9), 200, seconds, STALL_SHARE, (0.99,))


@dataclass(frozen=True, slots=True)
class Row:
    """One run: what was true and what was reported, each of the same requests, in ns."""

    scenario: Scenario
    protocol: str
    truth_ns: np.ndarray
    reported_ns: np.ndarray

    def quantiles(self, of: np.ndarray) -> list[int]:
        """The values at QUANTILES."""
        ordered = np.sort(of)
        return [int(order_statistic(ordered, q)) for q in QUANTILES]

    def held(self) -> bool:
        """Whether every quantile that is asked of the scenario is as near to the truth as it should be."""
        pairs = zip(QUANTILES, self.quantiles(self.truth_ns), self.quantiles(self.reported_ns), strict=True)
        return all(
            abs(reported - truth) <= max(self.scenario.share * truth, FLOOR_NS)
            for q, truth, reported in pairs
            if q in self.scenario.held
        )


@dataclass(frozen=True, slots=True)
class Lag:
    """How late sends were at 1,000/s, and how late a bare loop of timers was in the same minute, in ns."""

    protocol: str
    ours_ns: np.ndarray
    bare_ns: np.ndarray
    cpu_us: float  # of the load process, a request

    def held(self) -> bool:
        """Whether the engine adds little to what the machine does to anybody."""
        ours, bare = np.sort(self.ours_ns), np.sort(self.bare_ns)
        return bool(
            order_statistic(ours, 0.5) <= LAG_NS and order_statistic(ours, 0.99) <= LAG_RATIO * order_statistic(bare, 0.99)
        )


def accuracy(scenario: Scenario, protocol: str) -> Row:
    """Carry a scenario out; RunError where a request failed, or was not seen by the server."""
    run, book = _run(scenario, protocol)
    m = measure(run)
    good = run.records[m.good]
    times: list[list[int]] = [book.get(f"{number:016x}", []) for number in good["id"].tolist()]
    if m.successes < m.requests or not all(len(t) == 2 for t in times):
        raise RunError(f"{scenario.name}: {m.requests - m.successes} of {m.requests} requests failed: {m.errors}")
    replied = np.array([t[1] for t in times], np.int64)
    return Row(scenario, protocol, replied - good["intended_ns"], m.latency_ns())


def lag(protocol: str, seconds: float, rounds: int) -> Lag:
    """Send at 1,000/s, in turn with the bare loop."""
    scenario = Scenario("lag", Script(0), LAG_RATE, seconds / rounds, SHARE, (), "constant")
    ours, bare, cpu_s, sent = [], [], 0.0, 0
    for _ in range(rounds):
        bare.append(timer_loop.in_its_own_process(LAG_RATE, seconds / rounds))
        run, _ = _run(scenario, protocol)
        m = measure(run)
        ours.append(m.lag_ns())
        cpu_s, sent = cpu_s + float(run.load["cpu_s"]), sent + m.requests
    return Lag(protocol, np.concatenate(ours), np.concatenate(bare), cpu_s / sent * 1e6)


def _run(scenario: Scenario, protocol: str) -> tuple[Run, dict[str, list[int]]]:
    with tempfile.TemporaryDirectory(prefix="bench-selfcheck-") as folder, running(scenario.script) as server:
        place = server.http if protocol == "http" else server.grpc
        word = words.parse(f"{PROTOCOLS[protocol]}://{place}")
        run = runner.execute(
            workloads.from_builtins(workload(scenario), "the workload of the self-check"),
            Endpoint(word, word, "truth"),
            Path(folder),
            load=LocustLoad(),
            clock=SystemClock(),
            environment={},
            sampler=None,
        )
        failed = run.records[run.records["error"] != OK]
        if len(failed):
            raise RunError(f"{scenario.name}: {len(failed)} requests failed: {run.load.get('messages')}")
        return run, server.finish()


def workload(scenario: Scenario) -> dict[str, Any]:
    """What is sent: 16 floats a request."""
    return {
        "name": "selfcheck",
        "model": {"name": MODEL},
        "payload": {"distinct": 8, "inputs": {"x": {"datatype": "FP32", "shape": [16]}}},
        "load": {"arrivals": scenario.arrivals, "rate": f"{scenario.rate_hz:g}/s", "users": 256},
        "warmup": "1s",
        "duration": f"{scenario.seconds:g}s",
        "check": {"reference": False},
    }


# ---------------------------------------------------------------- the tables

_ACCURACY = (
    "scenario", "protocol", "requests", "", "P50 ms", "P99 ms", "P99.9 ms", "held",
)  # fmt: skip
_LAG = ("protocol", "sends", "", "P50 µs", "P99 µs", "P99.9 µs", "CPU a request, µs", "held")


def accuracy_table(rows: Sequence[Row]) -> Iterator[str]:
    """Markdown: the truth, what was reported, and the difference, of each run."""
    yield f"| {' | '.join(_ACCURACY)} |"
    yield f"|{' --- |' * len(_ACCURACY)}"
    for row in rows:
        true, ours = row.quantiles(row.truth_ns), row.quantiles(row.reported_ns)
        off = [f"{(o - t) / 1e3:+.0f} µs ({(o - t) / t:+.2%})" for o, t in zip(ours, true, strict=True)]
        name = row.scenario.name, row.protocol, f"{len(row.truth_ns):,}"
        verdict = "yes" if row.held() else "**no**"
        yield _line(*name, "true", *(f"{t / MS:.3f}" for t in true), "")
        yield _line("", "", "", "reported", *(f"{o / MS:.3f}" for o in ours), "")
        yield _line("", "", "", "difference", *off, verdict)


def lag_table(lags: Sequence[Lag]) -> Iterator[str]:
    """Markdown: send lag beside a bare loop of timers."""
    yield f"| {' | '.join(_LAG)} |"
    yield f"|{' --- |' * len(_LAG)}"
    for one in lags:
        ours, bare = (
            [f"{len(values):,}", who, *(f"{order_statistic(np.sort(values), q) / 1e3:,.0f}" for q in QUANTILES)]
            for who, values in (("bench", one.ours_ns), ("bare timers", one.bare_ns))
        )
        yield _line(one.protocol, *ours, f"{one.cpu_us:.0f}", "yes" if one.held() else "**no**")
        yield _line("", *bare, "", "")


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
