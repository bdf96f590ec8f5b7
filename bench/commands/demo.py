"""Flask against Triton on ResNet-50: both started here, measured in turn, compared. The five-minute tour of bench."""

import argparse
import contextlib
from collections.abc import Callable
from pathlib import Path

from bench import endpoint as endpoints
from bench import environment, errors, resources, store, words
from bench import workload as workloads
from bench.analysis.summary import Summary, summarize
from bench.commands.flags import add_load, add_output, count, override
from bench.commands.run import drivers, measure, slug
from bench.endpoint import Endpoint
from bench.errors import BenchError, RunError
from bench.experiments import demo
from bench.record import Run
from bench.reports import html, markdown, text
from bench.terminal import Terminal

ROUNDS, REQUESTS = 6, 120


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "sides", nargs="*", default=["flask", "triton"], metavar="TARGET", help="two targets (default: flask triton)"
    )
    parser.add_argument("--workload", default="resnet50", metavar="W", help="a name or a .toml file (default: resnet50)")
    parser.add_argument("--rounds", type=count, default=ROUNDS, metavar="N", help=f"rounds of each side (default: {ROUNDS})")
    add_load(parser)
    add_output(parser)


def run(args: argparse.Namespace, out: Callable[[str], None], say: Terminal) -> int:
    if len(args.sides) != 2:
        raise errors.UsageError(f"bench demo: expected two targets, got {len(args.sides)}")
    workload = override(resources.load_workload(args.workload), args)
    if not args.requests and not args.duration:
        workload = workloads.override(workload, requests=REQUESTS)
    asked = [words.parse(side) for side in args.sides]
    for word in asked:
        endpoints.check(word)
    clock, facts = drivers(asked[0])[1], environment.fingerprint()
    folder = store.create(args.output, slug(f"demo-{workload.name}"), clock)
    with contextlib.ExitStack() as stack:
        live = [
            stack.enter_context(endpoints.live(word, workload, folder / f"server-{n}.log", say))
            for n, word in enumerate(asked, 1)
        ]
        names = _names(live)
        folders = demo.begin(folder, workload.name, names)

        def one(which: int, number: int, path: Path) -> Run:
            load, clock, sampler = drivers(live[which].word)
            label = f"round {number} of {args.rounds}, {names[which]}"
            done = measure(workload, live[which], path, load, clock, sampler, facts, say, label)
            say(f"{label}: {_in_short(summarize(done))}")
            return done

        say(f"{workload.name}: {args.rounds} rounds a side, in turn, on {names[0]} and {names[1]}")
        try:
            whole = demo.measure(folders, args.rounds, workload.seed, one)
        except BenchError as error:
            raise RunError(f"{error}\nthe finished rounds are kept: bench report {folder}") from None
    return _show(folder, whole, out)


def _in_short(summary: Summary) -> str:
    mean = f", mean {summary.latency.mean.value:.0f} ms" if summary.latency.mean else ""
    return f"{summary.requests} requests, {summary.throughput.value:.1f}/s{mean}" + ("" if summary.valid else ", INVALID")


def _names(live: list[Endpoint]) -> list[str]:
    """Two names that tell the sides apart: those of one name get the options in which they differ, or else numbers."""
    names = [side.name for side in live]
    if names[0] == names[1]:
        asked = [side.asked.options for side in live]
        differing = [mine.items() - other.items() for mine, other in (asked, asked[::-1])]
        names = [" ".join([name, *(f"{k}={v}" for k, v in sorted(of))]) for name, of in zip(names, differing, strict=True)]
    if names[0] == names[1]:
        names = [f"{name} ({n})" for n, name in enumerate(names, 1)]
    return names


def _show(folder: Path, whole: bool, out: Callable[[str], None]) -> int:
    comparison, sides = demo.load(folder)
    (folder / "report.html").write_text(html.comparison_html(comparison, sides), encoding="utf-8")
    (folder / "report.md").write_text(markdown.comparison_markdown(comparison, sides), encoding="utf-8")
    out(text.comparison_text(comparison, sides))
    out(f"report: {folder / 'report.html'}")
    if not whole:
        return errors.INTERRUPTED
    return errors.OK if comparison.valid else errors.UNDECIDED
