"""Ten million requests: the memory of recording them, and what it takes to finish and to report the run; printed as Markdown.

python -m bench.evidence.long_run [--records 10000000] [--rate 50000] [--output FILE]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.errors import RunError
from bench.evidence import page
from bench.evidence.recording import Memory

MIB = 2**20
SETTLED = 10  # a tenth of the records: from then on memory is to be flat
FLAT_MIB, REPORT_S, REPORT_MIB = 50, 10.0, 1536
_LINES = 10  # of the table of memory
_FINISH = "import sys; from pathlib import Path; from bench import store; store.finish(Path(sys.argv[1]))"
_STEPS = {
    "the streams become Parquet": ["-c", _FINISH],
    "`bench report`": ["-m", "bench", "report"],
    "`bench report --format html`": ["-m", "bench", "report", "--format", "html"],
}


class Step(NamedTuple):
    """What a process took: its time, CPU time, and the most memory that it had, in MiB."""

    name: str
    seconds: float
    cpu_s: float
    peak_mib: float


def record(folder: Path, records: int, rate_hz: float, say: Callable[[str], None]) -> list[Memory]:
    """Record so many requests in a process of its own; its memory meanwhile."""
    command = [sys.executable, "-P", "-m", "bench.evidence.recording", str(folder), str(records), str(rate_hz)]
    found, told = [], 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            found.append(Memory(*json.loads(line)))
            if found[-1].records >= told:
                say(f"{found[-1].records:,} of {records:,} records ...")
                told += records // 10
    if process.returncode:
        raise RunError(f"recording ended with {process.returncode}")
    return found


def carry_out(name: str, folder: Path) -> Step:
    """One of the steps in a process of its own."""
    begin = time.perf_counter()
    command = [sys.executable, "-P", *_STEPS[name], str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RunError(f"{name} ended with {process.returncode}")
    took = time.perf_counter() - begin
    return Step(name, took, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def spread_mib(memory: Sequence[Memory]) -> float:
    """By how much memory differed, from the first tenth of the records on: the process's own share of it."""
    own = [m.pss for m in memory if m.records >= memory[-1].records / SETTLED]
    return (max(own) - min(own)) / MIB


def held(memory: Sequence[Memory], steps: Sequence[Step]) -> bool:
    """Whether memory was flat, and every report quick and small."""
    reports = [step for step in steps if "report" in step.name]
    quick = all(step.seconds <= REPORT_S and step.peak_mib <= REPORT_MIB for step in reports)
    return spread_mib(memory) <= FLAT_MIB and quick


# ---------------------------------------------------------------- the page


def report(memory: Sequence[Memory], steps: Sequence[Step]) -> Iterator[str]:
    """The lines of the page behind its heading."""
    records = memory[-1].records
    yield from page.prose(
        f"{records:,} good replies go through the recorder as in the load process: one thread adds them, another compares one "
        "in ten with the reference and writes, three times a second. Then the run that they make is finished and reported, "
        "each in a process of its own. Held: from the first tenth of the records on, the recording process's own memory (PSS) "
        f"stays within {FLAT_MIB} MiB; a report takes at most {REPORT_S:g} s and {REPORT_MIB / 1024:g} GiB."
    )
    yield from page.prose(
        f"Memory differed by {spread_mib(memory):.0f} MiB; held: {page.verdict(spread_mib(memory) <= FLAT_MIB)}."
    )
    yield from page.table(("records", "RSS, MiB", "PSS, MiB"), map(_memory, _thinned(memory)))
    yield ""
    yield from page.table(("step", "s", "CPU, s", "peak RSS, MiB", "held"), map(_step, steps))


def _thinned(memory: Sequence[Memory]) -> Iterator[Memory]:
    wanted = 0.0
    for m in memory:
        if m.records >= wanted or m is memory[-1]:
            yield m
            wanted = m.records + memory[-1].records / _LINES


def _memory(m: Memory) -> list[str]:
    return [f"{m.records:,}", f"{m.rss / MIB:.0f}", f"{m.pss / MIB:.0f}"]


def _step(step: Step) -> list[str]:
    within = page.verdict(step.seconds <= REPORT_S and step.peak_mib <= REPORT_MIB) if "report" in step.name else ""
    return [step.name, f"{step.seconds:.1f}", f"{step.cpu_s:.1f}", f"{step.peak_mib:,.0f}", within]


def _make(options: argparse.Namespace, say: Callable[[str], None]) -> tuple[list[str], bool]:
    with tempfile.TemporaryDirectory(prefix="bench-long-run-") as name:
        folder = Path(name)
        memory = record(folder, options.records, options.rate, say)
        steps = []
        for step in _STEPS:
            say(f"{step} ...")
            steps.append(carry_out(step, folder))
    lines = [*page.heading("What a long run takes", "make verify-long-run"), *report(memory, steps)]
    return lines, held(memory, steps)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the page; 1 where something was not held."""
    parser = argparse.ArgumentParser(prog="python -m bench.evidence.long_run", description=__doc__)
    parser.add_argument("--records", type=int, default=10_000_000)
    parser.add_argument("--rate", type=float, default=50_000.0, help="records a second, at most")
    return page.main(parser, _make, arguments)


if __name__ == "__main__":
    sys.exit(main())
