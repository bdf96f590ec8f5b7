"""Did the generator send what was asked, when it was asked, with time to spare?

A send is late for one of three reasons, which each record tells apart: no connection was free, a connection had to be made
first, or neither, and then the engine itself came too late.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bench.analysis.estimate import Reason
from bench.analysis.measured import Measured
from bench.analysis.quantiles import rank
from bench.analysis.streaming import Streams
from bench.analysis.validity.steady import meant_to_change
from bench.record import AT_ONCE, CONNECTING, QUEUED

SENT = 0.99  # of the schedule's sends, made within the window
LATE = 0.01  # of the sends may be late
LAG_NS, LAG_SHARE = 1_000_000, 0.1  # a send is late after 1 ms, or a tenth of the median latency where that is longer
BUSY = 0.8  # of the engine thread's time
NEAR = 0.7  # of the rate that the generator reached against a server that does nothing
SLICES = 12  # of a window whose rate is meant to change: the busiest counts


@dataclass(frozen=True, slots=True)
class Lateness:
    """Late sends of an open loop by what they waited for, and after how many ns a send is late."""

    by_generator: int  # nothing but the engine
    queued: int  # a connection to be free
    connecting: int  # a connection to stand
    limit_ns: float


def lateness(m: Measured, s: Streams | None) -> Lateness:
    """How many of a run's sends were late, and why."""
    # of a stream it is the time to the first token that a late send spoils: a tenth of its whole latency would hide it
    answered = m.latency_ns() if s is None else s.ttft_ns()
    if not len(answered):
        return Lateness(0, 0, 0, LAG_NS)
    middle = rank(len(answered), 0.5) - 1
    limit_ns = max(LAG_NS, LAG_SHARE * float(np.partition(answered, middle)[middle]))
    waited = np.bincount(m.waited()[m.lag_ns() > limit_ns], minlength=CONNECTING + 1)
    return Lateness(int(waited[AT_ONCE]), int(waited[QUEUED]), int(waited[CONNECTING]), limit_ns)


def reasons(m: Measured, sends: Lateness) -> Iterator[Reason]:
    """What an open loop owes to its schedule, and a closed one to its users."""
    unsent = int(m.run.load.get("unsent", 0))
    if not m.run.scheduled:
        if unsent and m.run.status == "complete":
            yield Reason(
                "given_up",
                f"{unsent:,} requests had not ended when the run gave them up: they are in no number, and those that are look "
                "better than the server was; a longer timeout (--timeout) would wait for them",
            )
        return
    asked = m.requests + unsent
    if m.started < SENT * asked:
        yield Reason(
            "rate_not_reached",
            f"{m.started:,} of {asked:,} scheduled requests ({m.started / asked:.1%}) were sent within the window: below "
            f"{SENT:.0%} the server did not get the load that was asked for; lower the rate, or add connections (--users)",
        )
    if sends.by_generator > max(1, LATE * (m.successes - sends.queued - sends.connecting)):
        yield Reason(
            "generator_saturated",
            f"{sends.by_generator:,} of {m.successes:,} requests were sent more than {sends.limit_ns / 1e6:.3g} ms late, and "
            "not for want of a connection: the generator was too slow, and that is in the latencies; give it more CPU, or a "
            "lower rate",
            "latency",
        )
    elif said := _spent(m, asked):
        yield Reason(
            "generator_saturated", f"{said}; give it more CPU, lower the rate, or share the load (--workers)", "latency"
        )


def warnings(m: Measured, sends: Lateness) -> Iterator[Reason]:
    """What callers with so many connections would see too, and closed loops that may have met their own limit."""
    if m.run.driver:
        yield from _hub_busy(m)
        return
    if not m.run.scheduled:
        if said := _spent(m, m.requests):
            yield Reason("generator_bound", f"{said}; read the throughput as what this machine can send", "throughput")
        return
    few = max(1, LATE * m.successes)
    if sends.queued > few:
        yield Reason(
            "connections_busy",
            f"{sends.queued:,} of {m.successes:,} sends waited more than {sends.limit_ns / 1e6:.3g} ms for a free connection: "
            "that is in the latencies, as it is for callers with so many; more connections (--users) move it to the server",
            "latency",
        )
    if sends.connecting > few:
        yield Reason(
            "connecting",
            f"{sends.connecting:,} of {m.successes:,} sends waited more than {sends.limit_ns / 1e6:.3g} ms to connect: "
            "that is in the latencies, as it is for callers who must connect first; a server that keeps connections open, or a "
            "longer --warmup, would spare them that",
            "latency",
        )


def _hub_busy(m: Measured) -> Iterator[Reason]:
    """Users on greenlets that had to wait for one another."""
    busy = _engine_share(m)
    if busy > BUSY:
        yield Reason(
            "generator_bound",
            f"the thread on which the users of {m.run.driver} take turns was busy for {busy:.0%} of the time: above "
            f"{BUSY:.0%} they wait for one another, and that is in the latencies; give them more processes (--processes)",
            "latency",
        )


def _engine_share(m: Measured) -> float:
    """Of one core, what the thread took that sends and hears, the busiest where there are several."""
    return float(m.run.load.get("engine_cpu_s", 0.0)) / m.window_s if m.window_s else 0.0


def _spent(m: Measured, requests: int) -> str:
    """What says that the generator had no time to spare; "" where it had."""
    busy = _engine_share(m)
    if busy > BUSY:
        return (
            f"the generator's engine thread used {busy:.0%} of a core: above {BUSY:.0%} it may be slower than the server, "
            "and what is measured is the generator"
        )
    ceiling = ceiling_hz(m)
    needed = _needed_hz(m, requests)
    if ceiling and needed > NEAR * ceiling:
        return (
            f"this load took {needed:,.0f} requests a second of a generator that reaches {ceiling:,.0f}/s here against a "
            f"server that does nothing ({needed / ceiling:.0%}): above {NEAR:.0%} it may be slower than the server, and what "
            "is measured is the generator"
        )
    return ""


def ceiling_hz(m: Measured) -> float:
    """The rate that the whole load's engines reached against a server that does nothing; 0.0 where that was not tried."""
    ceiling = m.run.load.get("ceiling")
    return float(ceiling.get("rate_hz") or 0.0) if isinstance(ceiling, dict) else 0.0


def _needed_hz(m: Measured, requests: int) -> float:
    if not m.window_s or not requests:
        return 0.0
    mean = requests / m.window_s
    if not meant_to_change(m.run):
        return mean
    at, _ = np.histogram(m.run.records["intended_ns"], SLICES, m.run.window_ns)
    return max(mean, float(at.max()) * SLICES / m.window_s)
