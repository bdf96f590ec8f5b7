"""How true the times of streams are: a scripted server's own book against what a run records, printed as Markdown.

python -m bench.evidence.stream_accuracy [--requests 240] [--users 4] [--output FILE]
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench import runner, words
from bench import workload as workloads
from bench.analysis.streaming import of_records
from bench.clock import SystemClock
from bench.endpoint import Endpoint
from bench.errors import RunError
from bench.evidence import page
from bench.evidence.script import FIRST_MS, GAP_MS, LARGEST, MODEL, Book
from bench.load.process import LocustLoad
from bench.record import OK, Run
from bench.workload import Workload

SHARE, FLOOR_NS = 0.01, 200_000  # a value may be wrong by 1 %, or by 0.2 ms where that is more
KINDS = {
    "openai": "OpenAI-style, server-sent events",
    "triton-http": "Triton's generate_stream, server-sent events",
    "flask": "the Flask baseline, lines",
    "triton-grpc": "Triton's gRPC stream",
}
TOKENS = 24  # in an answer
_WORDS = {"openai": "openai://{}?usage=each"}
_STOP_S = 10.0
_COLUMNS = (
    "stream", "", "values", "book, median ms", "record, median ms", "difference of medians, µs",
    "difference of single values, median µs", "worst µs", "held",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Row:
    """One quantity by the server's book and by our record, in the same order; float64 ns."""

    kind: str
    name: str
    book_ns: np.ndarray
    ours_ns: np.ndarray

    def where(self, which: np.ndarray) -> "Row":
        """The row of some of its values."""
        return Row(self.kind, self.name, self.book_ns[which], self.ours_ns[which])

    def held(self) -> bool:
        """Whether single values are as close as they should be, at the median."""
        return bool(np.median(np.abs(self.ours_ns - self.book_ns)) <= max(SHARE * np.median(self.book_ns), FLOOR_NS))


def measure(kind: str, requests: int, users: int) -> list[Row]:
    """TTFT, ITL and TPOT of a run against the scripted server; RunError where a request failed or brought other tokens."""
    made = workload(requests, users)
    with tempfile.TemporaryDirectory(prefix="bench-streams-") as folder, scripted(kind) as (place, finish):
        word = words.parse(_WORDS.get(kind, kind + "://{}").format(place))
        run = runner.execute(
            made, Endpoint(word, word, kind), Path(folder), load=LocustLoad(), clock=SystemClock(), environment={}, sampler=None
        )
        return compare(kind, run, finish())


def compare(kind: str, run: Run, book: Book) -> list[Row]:
    """The rows of a run whose server kept `book`."""
    rows = np.flatnonzero((run.records["error"] == OK) & np.isin(run.records["id"], list(book)))
    if len(rows) < len(run.records) or run.chunks is None:
        raise RunError(f"{kind}: {len(run.records) - len(rows)} of {len(run.records)} requests failed: {run.load}")
    ours, ttft, gaps, tpot = of_records(run, rows), [], [], []
    for row in rows:
        arrived_ns, pieces = book[int(run.records["id"][row])]
        times = np.repeat(*np.array(pieces).T)
        if int(run.chunks.of_record(int(row))[1].sum()) != len(times):
            raise RunError(f"{kind}: request {run.records['id'][row]}: other tokens were recorded than were sent")
        ttft.append(times[0] - arrived_ns)
        gaps.append(np.diff(times))
        tpot.append((times[-1] - times[0]) / (len(times) - 1))
    between = np.concatenate(gaps)
    return [
        Row(kind, "TTFT", np.array(ttft, np.float64), _float(ours.ttft_ns())),
        Row(kind, "ITL", _float(between), _float(ours.gaps_ns)).where(between > 0),
        Row(kind, "TPOT", np.array(tpot), _float(ours.tpot_ns())),
    ]


def workload(requests: int, users: int) -> Workload:
    """Closed loop, answers of several tokens."""
    document = {
        "name": "scripted",
        "model": {"name": MODEL},
        "payload": {"distinct": 8, "generate": {"prompt_tokens": 8, "output_tokens": TOKENS}},
        "load": {"arrivals": "closed", "users": users},
        "warmup": "500ms",
        "requests": requests,
        "check": {"reference": False},
    }
    return workloads.from_builtins(document, "the scripted workload")


@contextmanager
def scripted(kind: str) -> Iterator[tuple[str, "Finish"]]:
    """The server in a process of its own: its address, and what ends it and gives its book."""
    command = [sys.executable, "-P", "-m", "bench.evidence.scripted_server", kind]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"127.0.0.1:{int(process.stdout.readline())}", Finish(process)
        finally:
            process.kill()


@dataclass(frozen=True, slots=True)
class Finish:
    """Ends a scripted server."""

    process: "subprocess.Popen[str]"

    def __call__(self) -> Book:
        """Its book."""
        said, _ = self.process.communicate(timeout=_STOP_S)
        return {int(number): (arrived, [(t, n) for t, n in pieces]) for number, (arrived, pieces) in json.loads(said).items()}


def _float(values: np.ndarray) -> np.ndarray:
    return np.asarray(values, np.float64)


# ---------------------------------------------------------------- the table


def report(rows: Sequence[Row], requests: int, users: int) -> Iterator[str]:
    """The lines of the Markdown table."""
    yield (
        f"At least {requests} requests of {users} users each; {TOKENS} tokens in an answer, up to {LARGEST} in a piece, the "
        f"first piece empty; {FIRST_MS[0]:g} to {FIRST_MS[1]:g} ms until it and {GAP_MS[0]:g} to {GAP_MS[1]:g} ms between "
        "pieces. The server's book has the time just before each piece was given to the operating system (over gRPC: to the "
        "gRPC library), and TTFT from the time when the request had arrived; the record has TTFT from the intended send. "
        f"Held: half of the values or more differ by at most {SHARE:.0%} of their median, or by {FLOOR_NS / 1e6:g} ms. ITL: "
        "the gaps between tokens that the server sent in different pieces; all others are 0 by definition. Over gRPC the "
        "requests and pieces pass through Python's gRPC library on both sides; that time is shown, and nothing is asked of it."
    )
    yield ""
    yield f"| {' | '.join(_COLUMNS)} |"
    yield f"|{' --- |' * len(_COLUMNS)}"
    for row in rows:
        book, ours = float(np.median(row.book_ns)), float(np.median(row.ours_ns))
        single = np.abs(row.ours_ns - row.book_ns) / 1e3
        apart = f"{(ours - book) / 1e3:+.0f}", f"{np.median(single):.0f}", f"{single.max():,.0f}"
        medians = f"{book / 1e6:.3f}", f"{ours / 1e6:.3f}"
        cells = KINDS[row.kind], row.name, f"{len(single):,}", *medians, *apart, "yes" if row.held() else "**no**"
        yield f"| {' | '.join(cells)} |"


def _make(options: argparse.Namespace, say: Callable[[str], None]) -> tuple[list[str], bool]:
    rows = [row for kind in KINDS for row in measure(kind, options.requests, options.users)]
    heading = page.heading("How true the times of streams are", "make verify-streams")
    held = all(row.held() for row in rows if row.kind != "triton-grpc")
    return [*heading, *report(rows, options.requests, options.users)], held


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 1 where something was not held, but by the gRPC library, whose own time is not ours to shorten."""
    parser = argparse.ArgumentParser(prog="python -m bench.evidence.stream_accuracy", description=__doc__)
    parser.add_argument("--requests", type=int, default=240)
    parser.add_argument("--users", type=int, default=4)
    return page.main(parser, _make, arguments)


if __name__ == "__main__":
    sys.exit(main())
