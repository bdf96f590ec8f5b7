"""Was the server in one state throughout, or did its warm-up leak into the window?"""

from collections.abc import Iterator

import numpy as np
from scipy.special import stdtr

from bench.analysis.estimate import Reason
from bench.analysis.measured import Measured
from bench.arrivals import Closed, Constant, Gamma, Poisson
from bench.record import Run

STEADY = (Closed, Constant, Poisson, Gamma)
TREND, TREND_P, TREND_PARTS = 0.1, 0.01, 12
# A fall that makes a run INVALID. Steady queues show one in less than 0.1 % of simulated runs; with 200 requests at a load of
# 0.8 in 1.2 %, so that a run must have more.
WARMING, WARMING_P, WARMING_REQUESTS = 0.2, 0.001, 500


def meant_to_change(run: Run) -> bool:
    """Whether a run's load was not the same from start to end, so that nobody expects the latencies to be."""
    if run.driver:
        return not run.load.get("steady")
    return not isinstance(run.workload.load, STEADY)


def found(m: Measured) -> tuple[list[Reason], list[Reason]]:
    """(reasons, warnings) of a run whose load was the same throughout."""
    seen = [] if meant_to_change(m.run) else list(trend(m.latency_ns()))
    return [r for r in seen if r.code == "warm_up"], [r for r in seen if r.code != "warm_up"]


def trend(latency: np.ndarray) -> Iterator[Reason]:
    """Is the first third of the latencies, in twelfths of the run, unlike the last? (Welch's t test.)

    "warm_up" is a reason for INVALID, "trend" a warning.
    """
    if len(latency) < 4 * TREND_PARTS:
        return
    parts = np.array([part.mean() for part in np.array_split(latency, TREND_PARTS)])
    third = TREND_PARTS // 3
    first, last = parts[:third], parts[-third:]
    change, p = float(last.mean() / first.mean() - 1), _welch(first, last)
    if change < -WARMING and p < WARMING_P and len(latency) >= WARMING_REQUESTS:
        yield Reason(
            "warm_up",
            f"latencies fell by {-change:.0%} from the first third of the window to the last: the server was still warming up, "
            "or something else let it go, so that the whole describes no lasting state; warm up longer (--warmup)",
        )
    elif abs(change) > TREND and p < TREND_P:
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
