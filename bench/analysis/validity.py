"""Whether a run did what it was asked to do: the reasons for INVALID, and warnings that leave it valid."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr

from bench.analysis.estimate import Reason
from bench.analysis.measured import Measured, measure
from bench.analysis.quantiles import rank, requests_needed
from bench.analysis.streaming import Streams, streams
from bench.arrivals import Closed
from bench.record import Run
from bench.units import format_exact_duration

WRONG = ("answer", "version", "shape")
SENT = 0.99  # of the schedule's sends, made within the window
LATE = 0.01  # of the sends may be late
LAG_NS, LAG_SHARE = 1_000_000, 0.1  # a send is late after 1 ms, or a tenth of the median latency where that is longer
BUSY = 0.8  # of the engine thread's time
OTHERS = 15.0  # % of the machine that other processes may use
TREND, TREND_P, TREND_PARTS = 0.1, 0.01, 12
CUT_OFF = ("broken", "stalled", "tokens")
TOLD = "told piece by piece"  # by the server; what a target calls any other way of counting tokens is an assumption
TOGETHER = 0.05  # of the gaps may be 0 because their tokens came in one piece


def validity(run: Run) -> tuple[tuple[Reason, ...], tuple[Reason, ...]]:
    """(reasons, warnings) of a run; it is INVALID when there is a reason."""
    m = measure(run)
    return judge(m, streams(m))


def judge(m: Measured, s: Streams | None) -> tuple[tuple[Reason, ...], tuple[Reason, ...]]:
    """(reasons, warnings) of a run that was measured already."""
    sends = _lateness(m, s)
    reasons = (*_status(m), *_failures(m), *_sends(m, sends))
    seen = (
        _timeouts(m), _cut_off(m), _unchecked(m), _queueing(m, sends), _busy_users(m), _shared(m), trend(m.latency_ns()),
        _few(m), _together(s), _counted(m),
    )  # fmt: skip
    warnings = tuple(reason for reasons_of_one in seen for reason in reasons_of_one)
    return reasons, warnings


def _status(m: Measured) -> Iterator[Reason]:
    broke = next((event.detail.get("message") for event in m.run.events if event.name == "failed"), None)
    if broke:
        yield Reason("broken_off", f"the run broke off: {str(broke).splitlines()[0]}; what was measured before it is shown")
    elif m.run.status == "partial":
        yield Reason("interrupted", "the run was interrupted: it is shorter than what was asked for; run it again to the end")
    elif m.run.status == "running":
        yield Reason(
            "unfinished", "the run never ended: its command died, and what came last may be missing; see its logs, run it again"
        )
    if not m.requests:
        yield Reason(
            "no_requests",
            "no request was measured, so nothing can be said; see the server's log, or measure longer (--duration)",
        )


def _failures(m: Measured) -> Iterator[Reason]:
    allowed = m.run.workload.slo.error_rate
    if m.error_rate > allowed:
        plain = {kind: count for kind, count in m.errors.items() if kind not in WRONG}
        first = f"; {_first_message(m, plain)}" if plain else ""
        yield Reason(
            "errors",
            f"{sum(m.errors.values()):,} of {m.requests:,} requests failed ({m.error_rate:.2%}: {_counts(m.errors)}) and "
            f"{allowed:.2%} may: the latencies are only of those that succeeded{first}",
        )
    wrong = {kind: m.errors[kind] for kind in WRONG if kind in m.errors}
    if wrong:
        yield Reason(
            "wrong_answers",
            f"{sum(wrong.values()):,} of {m.requests:,} replies were wrong ({_counts(wrong)}): this server does not do the "
            f"work that is measured; {_first_message(m, wrong)}",
        )


def _counts(errors: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {kind}" for kind, count in errors.items())


def _first_message(m: Measured, errors: dict[str, int]) -> str:
    messages = m.run.load.get("messages") or {}
    worst = max(errors, key=lambda kind: errors[kind])
    return f"the first said: {messages[worst]}" if worst in messages else "see the server's log"


@dataclass(frozen=True, slots=True)
class _Lateness:
    """Late sends of an open loop, those of them that found no connection free, and after how many ns a send is late."""

    late: int
    queued: int
    limit_ns: float


def _sends(m: Measured, sends: _Lateness) -> Iterator[Reason]:
    """What an open loop owes to its schedule, and a closed one to its users."""
    unsent = int(m.run.load.get("unsent", 0))
    if isinstance(m.run.workload.load, Closed):
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
    by_generator = sends.late - sends.queued
    if by_generator > max(1, LATE * (m.successes - sends.queued)):
        yield Reason(
            "generator_saturated",
            f"{by_generator:,} of {m.successes:,} requests were sent more than {sends.limit_ns / 1e6:.3g} ms late, with "
            "connections free: the generator was too slow, and that is in the latencies; give it more CPU, or lower the rate",
        )
    elif _busy(m) > BUSY:
        yield Reason("generator_saturated", _busy_message(m) + "; give it more CPU, or lower the rate")


def _lateness(m: Measured, s: Streams | None) -> _Lateness:
    # of a stream it is the time to the first token that a late send spoils: a tenth of its whole latency would hide it
    answered = m.latency_ns() if s is None else s.ttft_ns()
    if not len(answered):
        return _Lateness(0, 0, LAG_NS)
    middle = rank(len(answered), 0.5) - 1
    limit_ns = max(LAG_NS, LAG_SHARE * float(np.partition(answered, middle)[middle]))
    late = int(np.count_nonzero(m.lag_ns() > limit_ns))
    return _Lateness(late, min(late, int(m.run.load.get("late_without_connection", 0))), limit_ns)


def _busy(m: Measured) -> float:
    return float(m.run.load.get("engine_cpu_s", 0.0)) / m.window_s if m.window_s else 0.0


def _busy_message(m: Measured) -> str:
    return (
        f"the generator's engine thread used {_busy(m):.0%} of a core: above {BUSY:.0%} it may be slower than the server, "
        "and what is measured is the generator"
    )


def _queueing(m: Measured, sends: _Lateness) -> Iterator[Reason]:
    if isinstance(m.run.workload.load, Closed):
        return
    if sends.queued > max(1, LATE * m.successes):
        yield Reason(
            "connections_busy",
            f"{sends.queued:,} of {m.successes:,} sends waited more than {sends.limit_ns / 1e6:.3g} ms for a free connection: "
            "that is in the latencies, as it is for callers with so many; more connections (--users) move it to the server",
        )


def _busy_users(m: Measured) -> Iterator[Reason]:
    if isinstance(m.run.workload.load, Closed) and _busy(m) > BUSY:
        yield Reason("generator_bound", _busy_message(m) + "; read the throughput as what this machine can send")


def _timeouts(m: Measured) -> Iterator[Reason]:
    if count := m.errors.get("timeout", 0):
        after = format_exact_duration(m.run.workload.timeout_ns)
        nothing = "no reply" if m.run.chunks is None else "not a first piece of a reply"
        yield Reason(
            "timeouts",
            f"{count:,} of {m.requests:,} requests had {nothing} after {after}: they have no latency, and the latencies look "
            "better than they were; a longer timeout (--timeout) would measure them",
        )


def _cut_off(m: Measured) -> Iterator[Reason]:
    found = {kind: m.errors[kind] for kind in CUT_OFF if kind in m.errors}
    if found:
        yield Reason(
            "cut_off",
            f"{sum(found.values()):,} of {m.requests:,} streams did not come as asked for ({_counts(found)}): what they did "
            f"bring is in no number, and the numbers look better than they were; {_first_message(m, found)}",
        )


def _together(s: Streams | None) -> Iterator[Reason]:
    """Tokens that come several in a piece, so that the gaps between them are 0."""
    tokens, pieces = (0, 0) if s is None else (int(s.tokens.sum()), int(s.pieces.sum()))
    if s is not None and tokens - pieces > TOGETHER * len(s.gaps_ns):
        yield Reason(
            "pieces",
            f"the tokens came {tokens / pieces:.3g} in a piece, up to {s.largest_piece}, so that "
            f"{(tokens - pieces) / len(s.gaps_ns):.0%} of the gaps between them are 0, and the median of the gaps says little; "
            "go by TPOT and the longest gap",
        )


def _counted(m: Measured) -> Iterator[Reason]:
    """Token counts that the server did not tell."""
    ways = m.run.load.get("tokens_counted")
    assumed = {str(way): int(count) for way, count in ways.items() if way != TOLD} if isinstance(ways, dict) else {}
    if assumed:
        yield Reason(
            "tokens_assumed",
            f"the server did not tell how many tokens a piece held; they were taken for {'; '.join(assumed)}: TTFT and "
            "latency are as measured, but gaps, TPOT and tokens a second are only as good as that; use ?usage=each where the "
            "server knows it",
        )


def _unchecked(m: Measured) -> Iterator[Reason]:
    if m.successes and not m.compared:
        if not m.run.workload.check.reference:
            why = "the workload says reference = false"
        elif m.run.target.get("model") or m.run.target.get("reference_model"):
            every, generates = m.run.workload.check.every, m.run.workload.payload.generate is not None
            if generates and m.successes >= every:
                why = "this server answers with text, which tells no token ids"
            else:
                why = f"one in {every} is, and none of those had come"
        else:
            why = "there was no reference"
        yield Reason(
            "unchecked",
            f"no answer was compared with a reference ({why}): a server that answers nonsense would look the same; "
            "models that bench builds come with one",
        )


def _shared(m: Measured) -> Iterator[Reason]:
    """What neither the server nor the load used of the machine, where bench knows the server's share."""
    start, end = m.run.window_ns
    shares = {}
    for device in ("host", "server", "load"):
        t_ns, values = m.run.samples.get(device, "cpu_utilization")
        inside = values[(t_ns >= start) & (t_ns < end)]
        if not len(inside):
            return
        shares[device] = float(inside.mean())
    others = shares["host"] - shares["server"] - shares["load"]
    if others > OTHERS:
        yield Reason(
            "shared_machine",
            f"other processes used {others:.0f}% of this machine's CPU within the window: server and load had to share with "
            "them, and that is in the numbers; run it again on a quiet machine",
        )


def trend(latency: np.ndarray) -> Iterator[Reason]:
    """Is the first third of the latencies, in twelfths of the run, unlike the last? (Welch's t test.)"""
    if len(latency) < 4 * TREND_PARTS:
        return
    parts = np.array([part.mean() for part in np.array_split(latency, TREND_PARTS)])
    third = TREND_PARTS // 3
    first, last = parts[:third], parts[-third:]
    change = float(last.mean() / first.mean() - 1)
    if abs(change) > TREND and _welch(first, last) < TREND_P:
        yield Reason(
            "trend",
            f"latencies {'rose' if change > 0 else 'fell'} by {abs(change):.0%} from the first third of the window to the "
            "last: the whole describes no lasting state; warm up longer (--warmup), or look for what else ran",
        )


def _welch(a: np.ndarray, b: np.ndarray) -> float:
    """The two-sided p value of equal means."""
    va, vb = a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)
    if va + vb == 0:
        return 1.0 if a.mean() == b.mean() else 0.0
    freedom = (va + vb) ** 2 / (va**2 / (len(a) - 1) + vb**2 / (len(b) - 1))
    return float(2 * stdtr(freedom, -abs(a.mean() - b.mean()) / np.sqrt(va + vb)))


def _few(m: Measured) -> Iterator[Reason]:
    needs = requests_needed(0.9)
    if 0 < m.successes < needs:
        yield Reason(
            "few_requests",
            f"only {m.successes:,} requests succeeded: too few for any quantile above the median; measure longer, a P90 needs "
            f"{needs:,}",
        )
