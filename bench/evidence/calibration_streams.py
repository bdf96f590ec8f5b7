"""How often the intervals of streamed replies hold the truth, on a simulated server that generates for several at once."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np

from bench.analysis import distribution, stats, streaming
from bench.analysis.distribution import Times
from bench.analysis.quantiles import order_statistic
from bench.analysis.streaming import Streams
from bench.evidence.coverage import Tally, percent, table

QUANTILES = (0.5, 0.9, 0.99)
ROUNDS = ((3, 8), (6, 16), (10, 60))  # (rounds, replies that end each)
RUNS = (200, 1_000)  # replies
NAMES = ("mean TTFT", "P50 TTFT", "mean ITL", "P50 ITL", "P90 ITL", "P99 ITL", "mean TPOT", "tokens/s")
USERS = 8
_WARM_UP_S = 2.0
TRUTH = 30_000  # replies
# of a 1.5 G model in int4 on two cores: a decode step of n rows takes _STEP_S + n x _ROW_S, a token of a prompt _PROMPT_S
_STEP_S, _ROW_S, _PROMPT_S = 0.038, 0.0104, 0.009
_LENGTHS = (16, 64)  # of prompts and answers, each length as often as any other


class Round(NamedTuple):
    """What was measured of a simulated round."""

    streams: Streams
    tokens_ns: np.ndarray  # when tokens came within the window, ascending
    window_ns: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Scenario:
    """A server of `slots` for USERS users in a closed loop; rounds differ by the factor exp(`mood` x a normal number)."""

    name: str
    slots: int
    chunk: int = 0  # tokens of a prompt that are read between two decode steps; 0: all
    mood: float = 0.0


SCENARIOS = (
    Scenario("one at a time", 1),
    Scenario("continuous, whole prompts", USERS),
    Scenario("continuous, chunks of 16", USERS, 16),
    Scenario("continuous, rounds differ by 3 %", USERS, 16, 0.03),
)


class _Server:
    """One server in the middle of its work; times in s."""

    def __init__(self, scenario: Scenario, rng: np.random.Generator) -> None:
        self._scenario, self._rng = scenario, rng
        self._speed = math.exp(scenario.mood * rng.standard_normal())
        self.now = 0.0
        self.sent = [0.0] * USERS
        self.prompts: list[int] = []
        self.wanted: list[int] = []
        self.times: list[list[float]] = [[] for _ in range(USERS)]
        self._draw(USERS)
        self._waiting = list(range(USERS))
        self._reading: list[list[int]] = []  # [request, tokens of its prompt still to be read]
        self._active: list[int] = []

    def step(self) -> list[int]:
        """Read some of a prompt, or decode a token for each active request; the requests that are done."""
        while self._waiting and len(self._reading) + len(self._active) < self._scenario.slots:
            request = self._waiting.pop(0)
            self._reading.append([request, self.prompts[request]])
        if self._reading:
            self._read(self._reading[0])
        done = [r for r in self._active if len(self.times[r]) >= self.wanted[r]]
        if self._active and not done:
            self.now += (_STEP_S + _ROW_S * len(self._active)) * self._noise()
            for request in self._active:
                self.times[request].append(self.now)
            done = [r for r in self._active if len(self.times[r]) >= self.wanted[r]]
        self._active = [r for r in self._active if r not in done]
        for _ in done:
            self._send()
        return done

    def _read(self, reading: list[int]) -> None:
        request, left = reading
        read = min(left, self._scenario.chunk or left)
        self.now += _PROMPT_S * read * self._noise()
        reading[1] -= read
        if not reading[1]:
            self._reading.pop(0)
            self._active.append(request)
            self.times[request].append(self.now)

    def _send(self) -> None:
        self._waiting.append(len(self.sent))
        self.sent.append(self.now)
        self.times.append([])
        self._draw(1)

    def _draw(self, count: int) -> None:
        low, high = _LENGTHS
        for lengths in (self.prompts, self.wanted):
            lengths += self._rng.integers(low, high + 1, count).tolist()

    def _noise(self) -> float:
        return self._speed * math.exp(0.05 * self._rng.standard_normal())


def simulate(scenario: Scenario, rng: np.random.Generator, replies: int) -> Round:
    """A round as bench makes one: the window begins after the warm-up, a reply ends it, and what is under way is finished."""
    server = _Server(scenario, rng)
    end, ends, seen = math.inf, {}, 0
    while end == math.inf or any(r not in ends for r, at in enumerate(server.sent) if _WARM_UP_S <= at < end):
        for request in server.step():
            ends[request] = server.now
            seen += server.sent[request] >= _WARM_UP_S
            if seen == replies and end == math.inf:
                end = server.now
    measured = [r for r in sorted(ends, key=lambda r: ends[r]) if _WARM_UP_S <= server.sent[r] < end]
    every = np.sort(np.concatenate([server.times[r] for r in ends]))
    inside = every[(every > _WARM_UP_S) & (every <= end)]
    return Round(_streams(server, measured), _ns(inside), (round(_WARM_UP_S * 1e9), round(end * 1e9)))


def _streams(server: _Server, requests: list[int]) -> Streams:
    times = [_ns(np.array(server.times[r])) for r in requests]
    gaps = [np.diff(t) for t in times]
    tokens = np.array([len(t) for t in times])
    return Streams(
        sent_ns=_ns(np.array([server.sent[r] for r in requests])),
        end_ns=np.array([t[-1] for t in times]),
        first_ns=np.array([t[0] for t in times]),
        tokens=tokens,
        pieces=tokens,
        largest_piece=1,
        gaps_ns=np.concatenate(gaps),
        starts=np.concatenate(([0], np.cumsum([len(g) for g in gaps]))),
        prompts=np.array([server.prompts[r] for r in requests]),
    )


def _ns(seconds: np.ndarray) -> np.ndarray:
    return np.asarray(np.rint(seconds * 1e9).astype(np.int64))


# ---------------------------------------------------------------- coverage


@cache
def truth_of(scenario: Scenario, replies: int) -> dict[str, float]:
    """What the estimates are of, by name, from many rounds of the same kind: ns, and tokens a second."""
    rng = np.random.default_rng(0)
    rounds = [simulate(scenario, rng, replies) for _ in range(max(20, TRUTH // replies))]
    found: dict[str, float] = {}
    for name, each in _times(rounds).items():
        found |= {f"mean {name}": float(each.ordered.mean())}
        found |= {f"P{100 * q:.0f} {name}": float(order_statistic(each.ordered, q)) for q in QUANTILES}
    seconds = sum(r.window_ns[1] - r.window_ns[0] for r in rounds) / 1e9
    return found | {"tokens/s": sum(len(r.tokens_ns) for r in rounds) / seconds}


def _times(rounds: list[Round]) -> dict[str, Times]:
    streams = [r.streams for r in rounds]
    return {
        "TTFT": distribution.times([s.ttft_ns() for s in streams]),
        "TPOT": distribution.times([s.tpot_ns() for s in streams]),
        "ITL": streaming.gaps(streams),
    }


def over_rounds(scenario: Scenario, rounds: int, replies: int, replications: int, seed: int = 1) -> Tally:
    """Intervals over `rounds` rounds, each ended by so many replies."""
    rng, tally, truth = np.random.default_rng(seed), Tally(), truth_of(scenario, replies)
    for _ in range(replications):
        made = [simulate(scenario, rng, replies) for _ in range(rounds)]
        _add(tally, made, truth)
        seconds = np.array([(r.window_ns[1] - r.window_ns[0]) / 1e9 for r in made])
        interval = stats.ratio_interval(np.array([float(len(r.tokens_ns)) for r in made]), seconds)
        assert interval is not None
        tally.add("tokens/s", interval.low, interval.high, truth["tokens/s"])
    return tally


def within_run(scenario: Scenario, replies: int, replications: int, seed: int = 1) -> Tally:
    """Intervals from the blocks of one run."""
    rng, tally, truth = np.random.default_rng(seed), Tally(), truth_of(scenario, replies)
    for _ in range(replications):
        made = simulate(scenario, rng, replies)
        _add(tally, [made], truth)
        slices = len(stats.blocks(made.streams.end_ns - made.streams.sent_ns) or ())
        rate = distribution.rate(made.tokens_ns, made.window_ns, slices, "tok/s")
        tally.add("tokens/s", rate.low, rate.high, truth["tokens/s"])
    return tally


def _add(tally: Tally, rounds: list[Round], truth: dict[str, float]) -> None:
    for name, times in _times(rounds).items():
        mean = distribution.mean(times)
        claims = {f"P{100 * q:.0f} {name}": distribution.claim(times, q).estimate for q in QUANTILES}
        for of, e in {f"mean {name}": mean, **claims}.items():
            low, high = (None, None) if e is None or e.low is None or e.high is None else (e.low, e.high)
            scale = distribution.MS
            tally.add(of, low and low / scale, high and high / scale, truth[of])


# ---------------------------------------------------------------- the tables


def report(replications: int) -> Iterator[str]:
    """The lines of the Markdown tables."""
    yield from ("", f"Streams of {USERS} users in a closed loop on a simulated server, {replications:,} replications a row.")
    first = ("server", "rounds x replies")
    yield from table("Tokens, over rounds", (*first, *NAMES), _rounds_rows(replications))
    extra = ("no interval of TTFT", "of ITL")
    yield from table("Tokens, within one run", ("server", "replies", *NAMES, *extra), _run_rows(max(1, replications // 5)))


def _rounds_rows(replications: int) -> Iterator[list[str]]:
    for scenario in SCENARIOS:
        for rounds, replies in ROUNDS:
            tally = over_rounds(scenario, rounds, replies, replications)
            yield [scenario.name, f"{rounds} x {replies}", *(percent(tally.coverage(name)) for name in NAMES)]


def _run_rows(replications: int) -> Iterator[list[str]]:
    for scenario in SCENARIOS:
        for replies in RUNS:
            tally = within_run(scenario, replies, replications)
            rest = (percent(1 - tally.share_given(name)) for name in ("mean TTFT", "mean ITL"))
            yield [scenario.name, f"{replies:,}", *(percent(tally.coverage(name)) for name in NAMES), *rest]
