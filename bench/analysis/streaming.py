"""Streamed replies as columns of numbers, and what they say of tokens: TTFT, gaps, TPOT, tokens and good requests a second.

docs/metrics.md has the definitions. A token arrives when its piece does, so tokens of one piece have gaps of 0 between them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench import payloads
from bench.analysis import distribution, stats
from bench.analysis.distribution import Times
from bench.analysis.estimate import Estimate, Streaming
from bench.analysis.measured import Measured
from bench.analysis.quantiles import QUANTILES
from bench.analysis.stats import Groups
from bench.record import OK, Run
from bench.slo import Slo


@dataclass(frozen=True, slots=True)
class Streams:
    """The tokens of some requests, one of each a request; the gaps of request n are at starts[n]:starts[n + 1]."""

    sent_ns: np.ndarray  # int64 [n]: the intended send
    end_ns: np.ndarray  # int64 [n]: when the reply was complete
    first_ns: np.ndarray  # int64 [n]: when the first token came; the intended send where none did
    tokens: np.ndarray  # int64 [n]
    pieces: np.ndarray  # int64 [n]: those with tokens
    largest_piece: int  # tokens in the largest of all
    gaps_ns: np.ndarray  # int64 [gaps]
    starts: np.ndarray  # int64 [n + 1]
    prompts: np.ndarray  # int64 [n]: tokens of the prompt

    def ttft_ns(self) -> np.ndarray:
        """Until the first token, of the requests that brought one."""
        some = self.tokens > 0
        return np.asarray(self.first_ns[some] - self.sent_ns[some])

    def tpot_ns(self) -> np.ndarray:
        """The mean gap of each request of two tokens or more: last token - first over tokens - 1; float64."""
        starts, counts = self.several()
        sums = np.add.reduceat(self.gaps_ns, starts) if len(starts) else np.empty(0, np.int64)
        return np.asarray(sums / counts)

    def longest_ns(self) -> np.ndarray:
        """The longest gap of each request of two tokens or more."""
        starts, _ = self.several()
        return np.maximum.reduceat(self.gaps_ns, starts) if len(starts) else np.empty(0, np.int64)

    def several(self) -> tuple[np.ndarray, np.ndarray]:
        """(where its gaps begin, how many it has) of each request of two tokens or more."""
        counts = np.diff(self.starts)
        return self.starts[:-1][counts > 0], counts[counts > 0]


def streams(m: Measured) -> Streams | None:
    """Of the measured requests that succeeded, in the order of completion; None where the replies were not streamed."""
    if m.run.chunks is None or not m.run.workload.generates:
        return None
    return of_records(m.run, np.flatnonzero(m.good) if m.good.dtype == bool else m.good)


def of_records(run: Run, rows: np.ndarray) -> Streams:
    """The streams of the records at `rows`, in that order."""
    assert run.chunks is not None
    chunks, records, count = run.chunks, run.records[rows], len(rows)
    sizes = chunks.starts[rows + 1] - chunks.starts[rows]
    request = np.repeat(np.arange(count), sizes)
    at = np.arange(len(request)) + np.repeat(chunks.starts[rows] - (np.cumsum(sizes) - sizes), sizes)
    at, request = at[chunks.tokens[at] > 0], request[chunks.tokens[at] > 0]
    held = chunks.tokens[at].astype(np.int64)
    times, owner = np.repeat(chunks.t_ns[at], held), np.repeat(request, held)
    inner = owner[1:] == owner[:-1]
    tokens = np.bincount(owner, minlength=count)
    first = records["intended_ns"].copy()
    opening = np.searchsorted(owner, np.flatnonzero(tokens))
    first[tokens > 0] = times[opening]
    return Streams(
        sent_ns=records["intended_ns"],
        end_ns=records["end_ns"],
        first_ns=first,
        tokens=tokens,
        pieces=np.bincount(request, minlength=count),
        largest_piece=int(held.max(initial=0)),
        gaps_ns=np.diff(times)[inner],
        starts=np.concatenate(([0], np.cumsum(np.maximum(tokens - 1, 0)))),
        prompts=np.array(payloads.prompt_lengths(run.workload), np.int64)[records["payload"]],
    )


def token_times_ns(run: Run) -> np.ndarray:
    """When the tokens of replies that succeeded came, those that came within the window: int64 ascending."""
    assert run.chunks is not None
    start, end = run.window_ns
    good = np.repeat(run.records["error"] == OK, np.diff(run.chunks.starts))
    inside = good & (run.chunks.t_ns > start) & (run.chunks.t_ns <= end)
    return np.sort(np.repeat(run.chunks.t_ns[inside], run.chunks.tokens[inside]))


def good_ns(run: Run) -> np.ndarray | None:
    """When replies came that kept every bound of the workload, within the window, ascending; None where it states none."""
    if run.chunks is None or not bounds(run.workload.slo):
        return None
    start, end = run.window_ns
    ends = run.records["end_ns"]
    rows = np.flatnonzero((ends > start) & (ends <= end) & (run.records["error"] == OK))
    return np.sort(ends[rows][_kept(of_records(run, rows), run.workload.slo)])


def bounds(slo: Slo) -> dict[str, int]:
    """What is promised of each request, by name, in ns."""
    stated = {"latency": slo.latency_ns, "TTFT": slo.ttft_ns, "TPOT": slo.tpot_ns, "longest gap": slo.itl_ns}
    return {name: int(limit) for name, limit in stated.items() if limit is not None}


def _kept(s: Streams, slo: Slo) -> np.ndarray:
    """Which requests kept every bound; one of a single token has no gaps that could break one, one of none has no TTFT."""
    kept = np.ones(len(s.tokens), bool)
    several = s.tokens > 1
    if slo.latency_ns is not None:
        kept &= s.end_ns - s.sent_ns <= slo.latency_ns
    if slo.ttft_ns is not None:
        kept &= (s.tokens > 0) & (s.first_ns - s.sent_ns <= slo.ttft_ns)
    if slo.tpot_ns is not None:
        kept[several] &= s.tpot_ns() <= slo.tpot_ns
    if slo.itl_ns is not None:
        kept[several] &= s.longest_ns() <= slo.itl_ns
    return kept


# ---------------------------------------------------------------- what may be claimed


def gaps(rounds: Sequence[Streams]) -> Times:
    """All gaps of all rounds, for as many requests as have any.

    The gaps of a request depend on each other: in the worst case all of them say no more than one would. So a quantile of gaps
    takes as many requests as one of requests does, and the scatter is taken between rounds, or blocks of whole requests, never
    between gaps. (Tried and left: no interval narrower than the scatter between requests allows; it was wider and no truer.)
    """
    values = np.concatenate([r.gaps_ns for r in rounds]) if rounds else np.empty(0, np.int64)
    groups: Groups | None = [r.gaps_ns for r in rounds] if len(rounds) >= stats.MIN_ROUNDS else None
    if len(rounds) == 1:
        groups = _blocks(rounds[0])
    return Times(np.sort(values), groups, sum(len(r.several()[0]) for r in rounds))


def _blocks(s: Streams) -> Groups | None:
    """The gaps of one round in blocks of requests, each longer than the requests depend on each other."""
    counts = [len(found) if (found := stats.blocks(of)) else 0 for of in (s.tpot_ns(), s.longest_ns())]
    if not min(counts):
        return None
    starts, _ = s.several()
    cuts = [int(starts[part[0]]) for part in np.array_split(np.arange(len(starts)), min(counts))[1:]]
    return np.split(s.gaps_ns, cuts)


def describe(m: Measured, s: Streams, quantiles: Sequence[float] = QUANTILES) -> Streaming:
    """What the streams of one run say."""
    slices = len(stats.blocks(m.latency_ns()) or ())
    good = good_ns(m.run)
    return Streaming(
        ttft=distribution.describe([s.ttft_ns()], quantiles),
        tpot=distribution.describe([s.tpot_ns()], quantiles),
        itl=distribution.describe_times(gaps([s]), quantiles),
        longest=distribution.describe([s.longest_ns()], quantiles),
        tokens=distribution.rate(token_times_ns(m.run), m.run.window_ns, slices, "tok/s"),
        goodput=None if good is None else distribution.rate(good, m.run.window_ns, slices, "req/s"),
        output_tokens=int(s.tokens.sum()),
        prompt_tokens=int(s.prompts.sum()),
        pieces=int(s.pieces.sum()),
        largest_piece=s.largest_piece,
    )


def worst(rounds: Sequence[Streams]) -> Estimate | None:
    """The longest gap that was seen, which promises nothing of the next."""
    seen = [int(r.gaps_ns.max()) for r in rounds if len(r.gaps_ns)]
    return distribution.estimate(max(seen), None, "ms", distribution.MS) if seen else None
