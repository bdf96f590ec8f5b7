"""What bench adds to a model in process: onnx://cpu against a bare ONNX Runtime loop, printed as Markdown.

python -m bench.evidence.in_process [--pairs 10] [--seconds 6] [--output FILE]
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench import endpoint, resources, runner, words
from bench import workload as workloads
from bench.analysis import effect, stats
from bench.analysis.effect import Effect
from bench.arrivals import Closed
from bench.clock import SystemClock
from bench.errors import RunError
from bench.evidence import bare_onnx, page
from bench.load.process import LocustLoad
from bench.record import OK, Run
from bench.slo import Nanoseconds
from bench.workload import Workload

WORKLOAD, TARGET = "resnet50", "onnx://cpu"
WARMUP_S = 1.0
LEAST = 0.98  # of the bare loop's throughput


@dataclass(frozen=True, slots=True)
class Pair:
    """When runs of the model ended on either side, in ns, in the order of time."""

    bare_ns: np.ndarray
    ours_ns: np.ndarray

    def rates_hz(self) -> tuple[float, float]:
        """(bare, ours) in runs a second, from the first end to the last."""
        return _rate_hz(self.bare_ns), _rate_hz(self.ours_ns)

    @property
    def ratio(self) -> float:
        """bench's throughput against the bare loop's."""
        bare, ours = self.rates_hz()
        return ours / bare


def _rate_hz(ends_ns: np.ndarray) -> float:
    return (len(ends_ns) - 1) / _length_s(ends_ns)


def _length_s(ends_ns: np.ndarray) -> float:
    return float(ends_ns[-1] - ends_ns[0]) / 1e9


def measure(workload: Workload, pairs: int, seconds: float, say: Callable[[str], None]) -> list[Pair]:
    """Both in turn, one user each; who begins alternates."""
    made = workloads.override(
        workload,
        load=Closed(1),
        warmup_ns=Nanoseconds(round(WARMUP_S * 1e9)),
        duration_ns=Nanoseconds(round(seconds * 1e9)),
    )
    word, found = words.parse(TARGET), []
    with endpoint.live(word, made, Path("unused"), say) as live:
        (part,) = live.models
        assert part.model is not None
        model = part.model.onnx

        def bare() -> np.ndarray:
            return bare_onnx.in_its_own_process(model, made, WARMUP_S, seconds)

        for number in range(pairs):
            say(f"pair {number + 1} of {pairs} ...")
            first = bare() if number % 2 else None
            ours = _ours(made, live)
            found.append(Pair(bare() if first is None else first, ours))
    return found


def _ours(workload: Workload, live: endpoint.Endpoint) -> np.ndarray:
    with tempfile.TemporaryDirectory(prefix="bench-in-process-") as folder:
        load, clock = LocustLoad(), SystemClock()
        return _ends(runner.execute(workload, live, Path(folder), load=load, clock=clock, environment={}, sampler=None))


def _ends(run: Run) -> np.ndarray:
    """When the replies within the window came. RunError where one was not good."""
    if failed := int(np.count_nonzero(run.records["error"] != OK)):
        raise RunError(f"{failed} of {len(run.records)} requests failed: {run.load.get('messages')}")
    start, end = run.window_ns
    ends = np.sort(run.records["end_ns"])
    return np.asarray(ends[(ends > start) & (ends <= end)])


def interval(pairs: Sequence[Pair]) -> Effect | None:
    """The ratio of the throughputs of pairs, at the mean, and its interval; None of fewer than three."""
    terms = [
        (np.array([len(ends) - 1.0 for ends in side]), np.array([_length_s(ends) for ends in side]))
        for side in ([p.bare_ns for p in pairs], [p.ours_ns for p in pairs])
    ]
    bare, ours = terms
    return effect.ratio_of_sums(bare, ours, paired=True, alpha=stats.ALPHA)


def held(pairs: Sequence[Pair]) -> bool:
    """Whether the median ratio is near enough to 1, or the pairs do not say that the two differ."""
    between = interval(pairs)
    return float(np.median([p.ratio for p in pairs])) >= LEAST or (between is not None and between.low <= 1 <= between.high)


# ---------------------------------------------------------------- the page


def report(pairs: Sequence[Pair], seconds: float) -> Iterator[str]:
    """The lines of the page behind its heading."""
    between = interval(pairs)
    said = "" if between is None else f" [{between.low:.3f}, {between.high:.3f}]"
    yield from page.prose(
        f"`{TARGET}` with workload {WORKLOAD} (batches of 1, one user, one reply in ten compared with the reference) against "
        "a process of its own that calls ONNX Runtime over and over with the same session options and the same requests and "
        f"does nothing else; in turn, {seconds:g} s each after {WARMUP_S:g} s of warm-up. Throughput is counted from the first "
        "end of a run to the last. The interval is of the mean ratio of pairs. "
        f"Held: the median ratio is at least {LEAST:g}, or the interval contains 1."
    )
    yield from page.prose(
        f"Throughput of bench against the bare loop, median of {len(pairs)} pairs: "
        f"**{np.median([p.ratio for p in pairs]):.3f}**{said}; held: {page.verdict(held(pairs))}."
    )
    yield from page.table(("pair", "bare loop, runs/s", "bench, runs/s", "ratio"), map(_row, enumerate(pairs, 1)))


def _row(numbered: tuple[int, Pair]) -> list[str]:
    number, pair = numbered
    bare, ours = pair.rates_hz()
    return [str(number), f"{bare:.2f}", f"{ours:.2f}", f"{pair.ratio:.3f}"]


def _make(options: argparse.Namespace, say: Callable[[str], None]) -> tuple[list[str], bool]:
    pairs = measure(resources.load_workload(WORKLOAD), options.pairs, options.seconds, say)
    heading = page.heading("What bench adds to a model in process", "make verify-in-process")
    return [*heading, *report(pairs, options.seconds)], held(pairs)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the page; 1 where it was not held."""
    parser = argparse.ArgumentParser(prog="python -m bench.evidence.in_process", description=__doc__)
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=6.0)
    return page.main(parser, _make, arguments)


if __name__ == "__main__":
    sys.exit(main())
