"""What `bench compare` says of real Tritons: of one and the same twice, and of one whose model has a fifth more to do.

python -m bench.evidence.compare_live [--comparisons 20] [--planted 10] [--output FILE]
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench import errors
from bench.errors import RunError, UsageError
from bench.evidence import busy, page

VERSION = "24.07"
SERVICE_MS = 5.0
ROUND, COOLDOWN = "800ms", "0s"  # 20 pairs of rounds within a minute
MEAN, P99, ERRORS = "mean latency", "P99 latency", "error rate"
VERDICTS = ("SAME", "UNKNOWN", "WORSE", "BETTER")
LONGEST_S = 60.0


class Outcome(NamedTuple):
    """What one comparison came to."""

    verdicts: dict[str, str]  # by metric
    mean_ms: float  # of the first side
    change: float  # of the mean
    half_width: float | None  # of the mean's interval, on the scale of logarithms
    rounds: int
    wall_s: float


class Asked(NamedTuple):
    """One thing that is asked, what was found, and whether that is enough."""

    what: str
    found: str
    held: bool


def run(same: int, planted: int, say: Callable[[str], None]) -> tuple[int, list[Outcome], list[Outcome]]:
    """(products a request, comparisons of two alike, comparisons with the planted one as the new side)."""
    products = busy.products_in(VERSION, SERVICE_MS, say)
    with tempfile.TemporaryDirectory(prefix="bench-compare-live-") as name, ExitStack() as stack:
        folder = Path(name)
        (folder / "busy.toml").write_text(busy.WORKLOAD, encoding="utf-8")
        a, b, slow = (
            stack.enter_context(busy.serving(VERSION, n, say)) for n in (products, products, busy.fifth_more(products))
        )
        alike = [compare(*_turned(n, a, b), folder, f"alike, {n + 1} of {same}", say) for n in range(same)]
        with_more = [
            compare(_turned(n, a, b)[0], slow, folder, f"a fifth more work, {n + 1} of {planted}", say) for n in range(planted)
        ]
        return products, alike, with_more


def _turned(number: int, a: str, b: str) -> tuple[str, str]:
    return (b, a) if number % 2 else (a, b)


def compare(base: str, new: str, folder: Path, label: str, say: Callable[[str], None]) -> Outcome:
    """One comparison as a user makes it, in a process of its own. RunError where it could not be made."""
    words = ["compare", base, new, "--workload", "busy.toml", "--duration", ROUND, "--cooldown", COOLDOWN, "--format", "json"]
    begin = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-P", "-m", "bench", *words], cwd=folder, capture_output=True, text=True, check=False
    )
    wall_s = time.monotonic() - begin
    if done.returncode not in (errors.OK, errors.FAILED, errors.UNDECIDED):
        raise RunError(f"bench {' '.join(words)}: exit code {done.returncode}: {done.stderr[-2000:].strip()}")
    found = outcome(json.loads(done.stdout), wall_s)
    spread = "no interval" if found.half_width is None else f"within {found.half_width:.1%}"
    said = ", ".join(f"{metric} {verdict}" for metric, verdict in found.verdicts.items())
    say(f"{label}: {said}; mean {found.change - 1:+.1%} {spread}, {found.rounds} rounds, {wall_s:.1f} s")
    return found


def outcome(document: dict[str, Any], wall_s: float) -> Outcome:
    """What the JSON of a comparison of two sides says."""
    mean = next(row for row in document["metrics"] if row["metric"] == MEAN)
    low, high = mean["change"]["low"], mean["change"]["high"]
    return Outcome(
        verdicts={one["metric"]: one["verdict"] for one in document["verdicts"]},
        mean_ms=mean["base"]["value"],
        change=mean["change"]["value"],
        half_width=None if low is None else math.log(high / low) / 2,
        rounds=len(document["sides"][0]["rounds"]),
        wall_s=wall_s,
    )


def asked(alike: Sequence[Outcome], planted: Sequence[Outcome]) -> list[Asked]:
    """What is asked of 20 comparisons of two alike and 10 with a planted difference; of fewer as many in proportion."""
    false = sum(any(v in ("WORSE", "BETTER") for v in _gated(one)) for one in alike)
    same, worse = _count(alike, MEAN, "SAME"), _count(planted, MEAN, "WORSE")
    few, many, most = len(alike) * 3 // 20, -(-len(alike) * 12 // 20), -(-len(planted) * 9 // 10)
    longest = max(one.wall_s for one in (*alike, *planted))
    return [
        Asked(f"alike: any WORSE or BETTER in at most {few} of {len(alike)}", str(false), false <= few),
        Asked(f"alike: SAME on the mean in at least {many} of {len(alike)}", str(same), same >= many),
        Asked(f"a fifth more work: WORSE on the mean in at least {most} of {len(planted)}", str(worse), worse >= most),
        Asked(f"every comparison within {LONGEST_S:g} s", f"{longest:.1f} s", longest <= LONGEST_S),
    ]


def _gated(one: Outcome) -> list[str]:
    return [one.verdicts[metric] for metric in (MEAN, P99, ERRORS)]


def _count(found: Sequence[Outcome], metric: str, verdict: str) -> int:
    return sum(one.verdicts[metric] == verdict for one in found)


# ---------------------------------------------------------------- the page


def report(products: int, alike: Sequence[Outcome], planted: Sequence[Outcome]) -> Iterator[str]:
    """The lines of the page behind its heading."""
    mean_ms = float(np.median([one.mean_ms for one in (*alike, *planted)]))
    yield from page.prose(
        f"Three Tritons {VERSION} side by side, each with a model in its Python backend that makes products of two small "
        f"matrices on one thread: {products} a request in two of them, in the third {busy.fifth_more(products)}, a fifth "
        "more. `bench compare` holds one to another over HTTP with its own looks, metrics and smallest differences that "
        f"matter; one user, rounds of {ROUND} after a warm-up of {busy.WARMUP}. A request took {mean_ms:.1f} ms in the mean "
        "(of the first side; median of the comparisons). Which of the two that are alike is the first side alternates."
    )
    yield from page.table(("asked", "found", "held"), ([a.what, a.found, page.verdict(a.held)] for a in asked(alike, planted)))
    for title, found in (("Two that are alike", alike), ("A fifth more work in the second", planted)):
        yield from ("", f"## {title}", "")
        yield from page.prose(_said(found))
        yield from page.table(("metric", *VERDICTS), (_counted(found, metric) for metric in (MEAN, P99, ERRORS)))


def _counted(found: Sequence[Outcome], metric: str) -> list[str]:
    return [metric, *(str(_count(found, metric, verdict)) for verdict in VERDICTS)]


def _said(found: Sequence[Outcome]) -> str:
    walls, widths = [one.wall_s for one in found], [one.half_width for one in found if one.half_width is not None]
    spread = f"{np.median(widths):.1%} either way" if widths else "none"
    return (
        f"{len(found)} comparisons of {np.median([one.rounds for one in found]):g} rounds a side (median), "
        f"{np.median(walls):.1f} s each (median; the longest {max(walls):.1f} s). The mean's change: "
        f"{np.median([one.change for one in found]) - 1:+.1%} (median), its interval {spread} (median)."
    )


def _make(options: argparse.Namespace, say: Callable[[str], None]) -> tuple[list[str], bool]:
    if min(options.comparisons, options.planted) < 1:
        raise UsageError(f"expected 1 comparison of each kind or more, got {options.comparisons} and {options.planted}")
    found = run(options.comparisons, options.planted, say)
    lines = [*page.heading("What bench compare says of real servers", "make verify-compare-live"), *report(*found)]
    return lines, all(one.held for one in asked(*found[1:]))


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the page; 1 where something was not held."""
    parser = argparse.ArgumentParser(prog="python -m bench.evidence.compare_live", description=__doc__)
    parser.add_argument("--comparisons", type=int, default=20, help="of two servers that are alike")
    parser.add_argument("--planted", type=int, default=10, help="comparisons with one that has a fifth more to do")
    return page.main(parser, _make, arguments)


if __name__ == "__main__":
    sys.exit(main())
