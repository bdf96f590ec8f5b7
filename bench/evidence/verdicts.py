"""How often `bench compare` calls a difference, on simulated sides that differ or do not; printed as Markdown.

python -m bench.evidence.verdicts [--replications 1000] [--output FILE]
"""

import argparse
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np

from bench.evidence import estimators, page
from bench.evidence.coverage import percent
from bench.evidence.simulated_comparisons import (
    GATED,
    LOOKS,
    MOST,
    MOST_NEEDED,
    Judged,
    Queue,
    comparisons,
    false_alarms,
    of_queue,
    share,
)
from bench.evidence.simulated_sides import SERVERS, Pairs, scattered

Say = Callable[[str], None]
FALSE_ALARMS = 0.05  # of a comparison at most
_AT = " / ".join(map(str, LOOKS.rounds))
REQUESTS = 500  # of a round of the servers
SHAPES = ((10, 60), (10, 1000))  # of the comparison of estimators
LONGER = (1.0, 1.05, 1.10, 1.20)
_COMPARED = ("M/M/1, load 0.5", "lognormal service, load 0.8", "4 users, 0.5 % pauses", *(s.name for s in SERVERS[-2:]))


# ---------------------------------------------------------------- what must be so


class Line(NamedTuple):
    """One thing asked for: at most or at least that share of comparisons."""

    what: str
    seen: float
    limit: float
    kind: Literal["at most", "at least"]

    @property
    def held(self) -> bool:
        return self.seen <= self.limit if self.kind == "at most" else self.seen >= self.limit

    @property
    def row(self) -> list[str]:
        return [self.what, f"{self.kind} {percent(self.limit)}", f"{self.seen:.1%}", page.verdict(self.held)]


def of_scattered_rounds(replications: int) -> Iterator[Line]:
    """Rounds whose means and P50s scatter by 2.6 % and whose P99s by 7 %."""
    metrics = ("mean", "P50", "P99", "errors")
    same, tenth, fifth = (comparisons(scattered(0.026, 0.07), 200, f, replications, metrics) for f in (1.0, 1.1, 1.2))
    gated = [{metric: j[metric] for metric in GATED} for j in same]
    yield Line("no change: any of mean, P99 and errors called at any look", false_alarms(gated), FALSE_ALARMS, "at most")
    yield Line("P99 20 % longer: WORSE by 10 rounds", share(fifth, "P99", 10, "WORSE"), 0.95, "at least")
    yield Line("P99 10 % longer: WORSE by 20 rounds", share(tenth, "P99", 20, "WORSE"), 0.85, "at least")
    yield Line("mean 10 % longer: WORSE by 10 rounds", share(tenth, "mean", 10, "WORSE"), 0.95, "at least")
    yield Line("P50 10 % longer: WORSE by 10 rounds", share(tenth, "P50", 10, "WORSE"), 0.95, "at least")


# ---------------------------------------------------------------- the page


def _estimator_rows(replications: int, say: Say) -> Iterator[list[str]]:
    for pairs in (s for s in SERVERS if s.name in _COMPARED):
        for rounds, requests in SHAPES:
            say(f"estimators: {pairs.name}, {rounds} x {requests}")
            alike, longer = (_excluding(pairs, rounds, requests, f, replications) for f in (1.0, 1.15))
            cells = (f"{percent(sum(alike[name]))} / {percent(longer[name][0])}" for name in estimators.NAMES)
            yield [pairs.name, f"{rounds} x {requests:,}", *cells]


def _excluding(pairs: Pairs, rounds: int, requests: int, factor: float, replications: int) -> dict[str, tuple[float, float]]:
    """The shares of intervals that lie above and below no change, of each estimator."""
    rng, counts = np.random.default_rng(4), {name: np.zeros(2) for name in estimators.NAMES}
    for _ in range(replications):
        sides = pairs.simulate(rng, rounds, requests, factor)
        for name, interval in estimators.intervals(*sides, rng).items():
            counts[name] += interval.low > 0, interval.high < 0
    return {name: (float(of[0]) / replications, float(of[1]) / replications) for name, of in counts.items()}


def _server_rows(replications: int, say: Say) -> Iterator[tuple[list[str], float | None]]:
    """Rows, and the false alarms of those without a change."""
    for pairs in SERVERS:
        for factor in LONGER:
            say(f"servers: {pairs.name}, services {factor - 1:.0%} longer")
            made = comparisons(pairs.simulate, REQUESTS, factor, replications)
            false = false_alarms(made) if factor == 1.0 else None
            cells = (cell for metric in ("mean", "P99") for cell in _cells(made, metric))
            yield [pairs.name, f"{factor - 1:.0%}", *cells, "" if false is None else f"{false:.1%}"], false


def _cells(made: list[Judged], metric: str) -> Iterator[str]:
    change = math.exp(sum(math.log(j[metric].change) for j in made) / len(made))
    yield f"{change - 1:+.0%}"
    yield " / ".join(percent(share(made, metric, rounds, "WORSE")) for rounds in LOOKS.rounds)
    yield percent(share(made, metric, MOST, "SAME"))


def _queue_row(q: Queue) -> list[str]:
    needed = f"{q.needed}" if q.needed else f"more than {MOST_NEEDED}"
    found = " / ".join(percent(w) for w in q.worse)
    return [f"{q.load}", "shared" if q.shared else "independent", f"{q.scatter:.1%}", found, needed, f"{q.false:.1%}"]


def _make(options: argparse.Namespace, say: Say) -> tuple[Iterator[str], bool]:
    replications = options.replications
    say("rounds that scatter")
    lines = list(of_scattered_rounds(4 * replications))
    queues = []
    for load in (0.5, 0.8):
        for shared in (True, False):
            say(f"queue, load {load}, schedules {'shared' if shared else 'independent'}")
            queues.append(of_queue(load, shared, replications))
    for q in (q for q in queues if q.shared):
        what = f"queue, load {q.load}, schedules shared, services 5 % longer: P99 WORSE by 10 rounds at δ = 2 %"
        lines.append(Line(what, q.worse[1], 0.95, "at least"))
    servers = list(_server_rows(max(1, replications // 2), say))
    worst = max(false for _, false in servers if false is not None)
    lines.append(Line("simulated servers, no change: any call at any look, the worst of them", worst, FALSE_ALARMS, "at most"))
    rows = list(_estimator_rows(max(1, replications * 3 // 10), say))
    return _page(lines, queues, [row for row, _ in servers], rows, replications), all(line.held for line in lines)


def _page(
    lines: list[Line], queues: list[Queue], servers: list[list[str]], rows: list[list[str]], replications: int
) -> Iterator[str]:
    yield from page.heading("How often a verdict is right", "make verify-compare-calibration")
    yield from _asked(lines, 4 * replications)
    yield from _schedules(queues, replications)
    yield from _servers(servers, max(1, replications // 2))
    yield from _estimators(rows, max(1, replications * 3 // 10))


def _asked(lines: list[Line], replications: int) -> Iterator[str]:
    alphas = " / ".join(f"{LOOKS.alpha(rounds):.2%}" for rounds in LOOKS.rounds)
    yield from page.prose(
        f"Simulated comparisons, looked at after {_AT} rounds a side, as planned beforehand. The error of "
        f"{percent(LOOKS.error)} is split over the looks and over the metrics that decide (mean, P99, errors): the alpha of "
        f"one interval is {alphas} at the looks. The smallest changes that matter are 5 % of the mean and the P50, 10 % of the "
        "P99, 1 percentage point of errors. Called by so many rounds means at the first look that decides that metric; a "
        "comparison that goes on for the sake of another metric judges it anew at its later looks."
    )
    yield from ("## What must be so", "")
    yield from page.prose(
        f"{replications:,} comparisons of rounds whose means and P50s scatter by 2.6 % and whose P99s by 7 % (standard "
        "deviations, lognormal, sides independent; one request in 500 fails, and in one round in twenty 5 % more); the queues "
        "and servers are those below."
    )
    yield from page.table(("what", "wanted", "seen", "held"), (line.row for line in lines))


def _schedules(queues: list[Queue], replications: int) -> Iterator[str]:
    yield from ("", "## What one schedule for both rounds of a pair saves", "")
    yield from page.prose(
        f"{replications:,} comparisons of one FIFO server with itself, service CV 15 %, 2,000 requests a round, services 5 % "
        "longer on the new side, δ = 2 %. Scatter is that of the log ratio of a pair's P99s; the rounds needed are those with "
        "which one look, at the last look's alpha, calls WORSE in 95 %."
    )
    columns = ("load", "schedules", "scatter", f"P99 WORSE by {_AT}", "rounds needed", "no change: called")
    yield from page.table(columns, map(_queue_row, queues))


def _servers(rows: list[list[str]], replications: int) -> Iterator[str]:
    yield from ("", "## Servers whose latencies depend on each other", "")
    yield from page.prose(
        f"{replications:,} comparisons of each row, rounds of {REQUESTS} requests, sides independent where nothing else is "
        "said. Errors as above, the same on both sides. The change is the one found, on average."
    )
    found = [f"{m}: {what}" for m in ("mean", "P99") for what in ("change", f"WORSE by {_AT}", f"SAME by {MOST}")]
    yield from page.table(("server and load", "services longer", *found, "no change: any call"), rows)


def _estimators(rows: list[list[str]], replications: int) -> Iterator[str]:
    yield from ("", "## Estimators of the ratio of P99s", "")
    yield from page.prose(
        f"{replications:,} comparisons of each row, intervals at 95 %: how many exclude no change where there is none (5 % are "
        "due) / lie above it where services are 15 % longer. The first is what `bench compare` uses: the rounds' own P99s, "
        "median-unbiased, pair by pair. A bootstrap over few rounds does not see how far the pooled P99 is off, and calls "
        "differences that are none; Korn and Graubard's limits miss many that are there. They find more than the first only "
        "where a P99 lies between two kinds of requests (the pauses), in some rounds on one side of the gap and in some on the "
        "other. Harrell and Davis' quantile is about as good as the first, but one stalled request can move it, which is no "
        "P99."
    )
    yield from page.table(("server and load", "rounds x requests", *estimators.NAMES), rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the page."""
    parser = argparse.ArgumentParser(prog="python -m bench.evidence.verdicts", description=__doc__)
    parser.add_argument("--replications", type=int, default=1000)
    return page.main(parser, _make, arguments)


if __name__ == "__main__":
    sys.exit(main())
