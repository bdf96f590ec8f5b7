"""What a plot shows, reduced to a few thousand points whatever the run held: pure arithmetic on a run's records and samples."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from bench import payloads
from bench.analysis import streaming
from bench.analysis.measured import Measured, measure
from bench.record import OK, Run

DOTS = 1500
POINTS = 400
BINS = 120


class Curve(NamedTuple):
    """y over x."""

    x: np.ndarray
    y: np.ndarray


class Stream(NamedTuple):
    """One streamed reply over time, in s since the window began."""

    sent: float
    end: float
    t: np.ndarray  # when each piece with tokens came
    tokens: np.ndarray  # in each
    prompt: int  # tokens


class Levels(NamedTuple):
    """The utilization of one device over time."""

    label: str
    curve: Curve


EMPTY = Curve(np.empty(0), np.empty(0))


def latencies(run: Run, part: Measured | None = None) -> Curve:
    """(intended send in s since the window began, latency in ms) of each request that succeeded, warm-up included, in order.

    Of all requests, or of those of a part of a mix.
    """
    good = run.records["error"] == OK
    if part is not None and part.of is not None:
        good &= part.of
    intended = run.records["intended_ns"][good]
    return in_time(seconds(intended, run), (run.records["end_ns"][good] - intended) / 1e6)


def in_time(t: np.ndarray, y: np.ndarray) -> Curve:
    """The same points in the order of time."""
    if np.all(t[1:] >= t[:-1]):  # sorting 10 M again takes a second
        return Curve(t, y)
    order = np.argsort(t, kind="stable")
    return Curve(t[order], y[order])


def failures(run: Run, limit: int) -> np.ndarray:
    """When requests should have been sent that failed, in s since the window began, warm-up included; `limit` of them or so."""
    t = seconds(run.records["intended_ns"][run.records["error"] != OK], run)
    return t[:: max(1, len(t) // limit)]


def measured_ms(run: Run) -> np.ndarray:
    """The latencies that the summary is made of, in ms."""
    return measure(run).latency_ns() / 1e6


def ttft_ms(run: Run) -> np.ndarray:
    """The times to first token that the summary is made of, in ms; none where replies are not streamed."""
    found = streaming.streams(measure(run))
    return np.empty(0) if found is None else found.ttft_ns() / 1e6


def gaps_ms(run: Run) -> np.ndarray:
    """All gaps between tokens of measured requests, in ms."""
    found = streaming.streams(measure(run))
    return np.empty(0) if found is None else found.gaps_ns / 1e6


def ttft_of_prompts(run: Run, limit: int = DOTS) -> Curve:
    """(tokens of the prompt, TTFT in ms) of measured requests, at most `limit` of them, chosen evenly."""
    found = streaming.streams(measure(run))
    if found is None:
        return EMPTY
    return dots(found.prompts[found.tokens > 0], found.ttft_ns() / 1e6, limit)


def tokens_s(run: Run) -> np.ndarray:
    """When tokens came, in s since the window began, ascending."""
    return np.empty(0) if run.chunks is None else seconds(streaming.token_times_ns(run), run)


def first_streams(run: Run, count: int) -> list[Stream]:
    """The first `count` measured requests that succeeded, in the order of their sends."""
    rows = _measured_rows(run)
    return [_stream(run, row) for row in rows[:count]]


def streams_around_longest_gap(run: Run, count: int) -> list[Stream]:
    """`count` measured requests sent one after another, in the middle of them the one with the longest gap of all."""
    rows = _measured_rows(run)
    longest = np.zeros(len(rows))
    if rows:
        found = streaming.of_records(run, np.array(rows))
        longest[found.tokens > 1] = found.longest_ns()
    middle = int(np.argmax(longest)) if rows else 0
    first = max(0, min(middle - count // 2, len(rows) - count))
    return [_stream(run, row) for row in rows[first : first + count]]


def _measured_rows(run: Run) -> list[int]:
    """Measured records that succeeded, in the order of their sends."""
    good = measure(run).good
    rows = np.flatnonzero(good) if good.dtype == bool else good
    order = np.argsort(run.records["intended_ns"][rows], kind="stable")
    return [] if run.chunks is None else [int(row) for row in rows[order]]


def _stream(run: Run, row: int) -> Stream:
    assert run.chunks is not None
    t_ns, tokens = run.chunks.of_record(row)
    record, some = run.records[row], tokens > 0
    sent, end = seconds(np.array([record["intended_ns"], record["end_ns"]]), run).tolist()
    return Stream(sent, end, seconds(t_ns[some], run), tokens[some], payloads.prompt_lengths(run.workload)[record["payload"]])


def cdf(values: np.ndarray, points: int = POINTS) -> Curve:
    """(value, q): quantiles on a grid that is even in "nines", -log10(1 - q), so that the tail keeps its detail."""
    if not len(values):
        return EMPTY
    nines = np.linspace(0, math.log10(max(len(values), 2)), min(points, max(len(values), 2)))
    q = 1 - 10.0**-nines
    at = np.maximum(np.ceil(len(values) * q - 1), 0).astype(np.int64)
    return Curve(np.sort(values)[at], q)


def dots(t: np.ndarray, y: np.ndarray, limit: int = DOTS) -> Curve:
    """At most `limit` of the points, chosen evenly, in the order of time."""
    ordered = in_time(t, y)
    if len(t) <= limit:
        return ordered
    some = np.linspace(0, len(t) - 1, limit).astype(np.int64)
    return Curve(ordered.x[some], ordered.y[some])


def slowest(t: np.ndarray, y: np.ndarray, limit: int = DOTS) -> Curve:
    """The largest of each stretch of time, which `dots` may have left out; nothing where it left out none."""
    if len(t) <= limit:
        return EMPTY
    t, y = in_time(t, y)
    starts = np.linspace(0, len(t), limit // 8 + 1).astype(np.int64)
    peaks = [start + int(np.argmax(y[start:stop])) for start, stop in pairwise(starts)]
    return Curve(t[peaks], y[peaks])


def running_quantile(t: np.ndarray, y: np.ndarray, q: float, edges: np.ndarray, least: int = 5) -> Curve:
    """The quantile of `y` between every two edges of time, at their middle; NaN where fewer than `least` stand behind it."""
    t, y = in_time(t, y)
    parts = np.split(y, np.searchsorted(t, edges))[1:-1]
    values = np.array([np.quantile(part, q) if len(part) >= least else np.nan for part in parts])
    return Curve((edges[:-1] + edges[1:]) / 2, values)


def throughput(t: np.ndarray, edges: np.ndarray) -> Curve:
    """Events a second between every two edges of time, as steps: y[i] holds from x[i] on."""
    counts, _ = np.histogram(t, edges)
    rate = counts / np.diff(edges)
    return Curve(edges, np.append(rate, rate[-1:]))


def edges(start: float, end: float, events: int, per_bin: int = 12) -> np.ndarray:
    """Round edges of time that leave about `per_bin` events, or more, between every two."""
    wanted = max(1, min(BINS, events // per_bin))
    span = max(end - start, 1e-9)
    width = _round_up(span / wanted)
    return start + width * np.arange(max(1, math.floor(span / width + 1e-9)) + 1)


def thinned(curve: Curve, points: int = POINTS) -> Curve:
    """Means of neighbours, so that at most `points` are left."""
    if len(curve.x) <= points:
        return curve
    size = math.ceil(len(curve.x) / points)
    starts = np.arange(0, len(curve.x), size)
    sizes = np.diff(np.append(starts, len(curve.x)))
    return Curve(np.add.reduceat(curve.x, starts) / sizes, np.add.reduceat(curve.y, starts) / sizes)


def utilization(run: Run) -> list[Levels]:
    """Of each GPU; where none was sampled, of the CPU: the server's and the load generator's processes and the machine."""
    gpus = [d for d in run.samples.devices("utilization") if d.startswith("gpu")]
    if gpus:
        return [Levels(f"GPU {d[3:]}", _level(run, d, "utilization")) for d in gpus]
    names = (("server", "server"), ("load", "load generator"), ("host", "whole machine"))
    levels = [Levels(label, _level(run, device, "cpu_utilization")) for device, label in names]
    return [level for level in levels if len(level.curve.x)]


def leading_level(run: Run, gpu: bool) -> Curve:
    """The one level that stands for the target: the mean of its GPUs; without `gpu` the server's CPU, else the machine's."""
    levels = utilization(run)
    gpus = [level.curve for level in levels if level.label.startswith("GPU")]
    if not gpu:
        cpus = (level.curve for level in levels if level.label in ("server", "whole machine"))
        return next(cpus, EMPTY)
    if not gpus:
        return EMPTY
    shortest = min(len(curve.x) for curve in gpus)
    return Curve(gpus[0].x[:shortest], np.mean([curve.y[:shortest] for curve in gpus], axis=0))


def within(curve: Curve, run: Run) -> Curve:
    """What of a curve over time lies in the run's window."""
    inside = (curve.x >= 0) & (curve.x < length_s(run))
    return Curve(curve.x[inside], curve.y[inside])


def seconds(t_ns: np.ndarray, run: Run) -> np.ndarray:
    """Time since the window began, in s; negative while warming up."""
    return np.asarray((t_ns - run.window_ns[0]) / 1e9)


def length_s(run: Run) -> float:
    """The length of the window in s."""
    return max(run.window_ns[1] - run.window_ns[0], 0) / 1e9


def in_rounds(curves: Sequence[Curve], runs: Sequence[Run], side: int, sides: int = 2) -> Curve:
    """Curves over time, one a round, on an axis of rounds: round n fills n - 0.5 to n + 0.5, each side its part in turn.

    Windows of different length are drawn equally long; a NaN parts every two rounds.
    """
    if not any(len(curve.x) for curve in curves):
        return EMPTY
    gap = np.array([np.nan])
    x = []
    for n, (curve, run) in enumerate(zip(curves, runs, strict=True)):
        left = n + 0.53 + side / sides
        x.append(np.concatenate([left + (1 / sides - 0.06) * curve.x / max(length_s(run), 1e-9), gap]))
    return Curve(np.concatenate(x), np.concatenate([np.concatenate([c.y, gap]) for c in curves]))


def _level(run: Run, device: str, metric: str) -> Curve:
    t_ns, value = run.samples.get(device, metric)
    return thinned(Curve(seconds(t_ns, run), value))


def _round_up(width: float) -> float:
    """The next of 1, 2, 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(width))
    return next(power * step for step in (1, 2, 5, 10) if power * step >= width * (1 - 1e-9))
