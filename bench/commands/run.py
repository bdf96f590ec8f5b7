"""One measured run of a workload against a target; writes results/<id>/ and prints what may be claimed."""

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

from bench import endpoint as endpoints
from bench import environment, errors, recorded, resources, runner, samplers, store, words
from bench.analysis.summary import Summary, summarize
from bench.arrivals import ClosedLoop
from bench.clock import Clock, SystemClock
from bench.commands import crew_flags, flags, target_flags
from bench.endpoint import Endpoint
from bench.errors import UsageError
from bench.load import Crew, Load, Progress, once
from bench.record import Run
from bench.reports import data, html, text
from bench.reports.run_page import broken_promises
from bench.terminal import Terminal
from bench.units import format_exact_duration
from bench.workload import Workload


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("workload", help="a name (see `bench workloads list`) or a path to a .toml file")
    parser.add_argument("--target", required=True, metavar="T", help="triton[@24.07][?option=value,...], flask, or a URL: "
                        "triton-http://HOST:PORT, triton-grpc://HOST:PORT, flask://HOST:PORT, openai://HOST:PORT, onnx://cpu, "
                        "echo://")  # fmt: skip
    target_flags.add_headers(parser)
    target_flags.add_client(parser)
    flags.add_load(parser)
    crew_flags.add(parser)
    flags.add_repository(parser)
    parser.add_argument("--record-reference", action="store_true", help="ask the target each distinct request once, keep the "
                        "answers beside the workload file, and compare replies with them from then on")  # fmt: skip
    flags.add_output(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of text")


def run(args: argparse.Namespace, out: Callable[[str], None], say: Terminal) -> int:
    workload = flags.override(resources.load_workload(args.workload), args)
    word = target_flags.parse(args.target, args)
    endpoints.check(word, workload, args.model_repository)
    references = _recorded(args, word, workload)
    load, clock, sampler = drivers(word, crew_flags.crew(args, workload, word), say)
    facts = environment.fingerprint() if sampler else {}
    folder = store.create(args.output, store.slug(f"{workload.name}-{word.kind}-{word.version}"), clock)
    try:
        with endpoints.live(word, workload, folder / "server.log", say, args.model_repository) as endpoint:
            if args.record_reference:
                references = (record_reference(args.workload, workload, endpoint, say),)
            done = measure(workload, endpoint.held_to(references), folder, load, clock, sampler, facts, say)
    finally:
        discard_if_empty(folder)
    summary = summarize(done)
    (folder / "report.html").write_text(html.run_html(done, summary), encoding="utf-8")
    out(data.to_text(data.run_json(done, summary)) if args.json else text.run_text(summary, done))
    say(f"report: {folder / 'report.html'}")
    for broken in broken_promises(summary):
        say(broken)
    return exit_code(done, summary)


Drivers = tuple[Load, Clock, runner.Sampler | None]


def drivers(word: words.Word, crew: Crew, say: Callable[[str], None]) -> Drivers:
    """Load, clock and sampler for one run: echo:// is answered in virtual time, by nobody."""
    if word.kind == "echo":
        from bench.load.inline import InlineLoad
        from bench.testing import FakeClock

        clock = FakeClock()
        return InlineLoad(clock), clock, None
    from bench.load.process import LocustLoad

    return LocustLoad(crew, say), SystemClock(), samplers.record


@contextmanager
def kept_drivers(targets: Sequence[words.Word], crew: Crew, say: Callable[[str], None]) -> Iterator[list[Drivers]]:
    """Those of each target for many runs, one at a time: each its load process, and all one that samples."""
    with ExitStack() as stack:
        sampler = stack.enter_context(samplers.Sampler())
        made: list[Drivers] = []
        for word in targets:
            load, clock, record = drivers(word, crew, say)
            if isinstance(load, AbstractContextManager):
                stack.enter_context(load)
            made.append((load, clock, record and sampler.record))
        yield made


def measure(
    workload: Workload,
    endpoint: Endpoint,
    folder: Path,
    load: Load,
    clock: Clock,
    sampler: runner.Sampler | None,
    facts: dict[str, Any],
    say: Terminal,
    label: str = "",
) -> Run:
    """One run, with its progress shown."""
    with say.progress(label or f"{workload.name} on {endpoint.name}") as show:
        return runner.execute(
            workload,
            endpoint,
            folder,
            load=load,
            clock=clock,
            environment=facts,
            sampler=sampler,
            progress=lambda p: show(*_progress(workload, p)),
        )


def record_reference(name: str, workload: Workload, endpoint: Endpoint, say: Terminal) -> Path:
    """Ask the endpoint every distinct request, and keep the answers for the workload called, or lying at, `name`."""
    onnx = next((one.model.onnx for one in endpoint.models if one.model), None)
    with say.progress(f"recording the answers of {endpoint.name}") as show:
        answers = once.ask_all(endpoint.word, workload, onnx, show)
    path = recorded.write(name, workload, answers, endpoint.name)
    say(f"recorded {len(answers)} answers in {path}")
    return path


def _recorded(args: argparse.Namespace, word: words.Word, workload: Workload) -> tuple[Path | None, ...]:
    """The answers that were recorded before, for each part; UsageError where they do not fit, or none can be recorded now."""
    if not args.record_reference:
        return recorded.find_each(args.workload, workload)
    if word.kind == "echo":
        raise UsageError("--record-reference: echo:// answers with what it is sent, which bench knows without asking")
    if not workload.check.reference:
        raise UsageError(f"--record-reference: workload {workload.name} compares nothing (check.reference = false)")
    if workload.mix:
        raise UsageError(
            f"--record-reference: workload {workload.name} is a mix, whose parts are compared with what was recorded for the "
            "workloads that they name: `bench run WORKLOAD --record-reference` records one of those"
        )
    recorded.check_writable(args.workload)
    return ()


def discard_if_empty(folder: Path) -> None:
    """Remove a folder in which nothing was left."""
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def exit_code(done: Run, summary: Summary) -> int:
    """0 VALID, 1 an SLO was missed, 4 INVALID, 130 interrupted."""
    if done.status == "partial":
        return errors.INTERRUPTED
    if not summary.valid:
        return errors.UNDECIDED
    promises = (*summary.slo, *(result for part in summary.parts for result in part.slo))
    return errors.FAILED if any(result.met is False for result in promises) else errors.OK


def _progress(workload: Workload, p: Progress) -> tuple[float, str]:
    if workload.requests is not None and isinstance(workload.load, ClosedLoop):
        share = p.done / (workload.requests + 1)
    else:
        share = p.elapsed_ns / max(workload.warmup_ns + workload.duration_ns, 1)
    failed = f", {p.errors} failed" if p.errors else ""
    return share, f"{format_exact_duration(p.elapsed_ns // 10**9 * 10**9)}: {p.done} done{failed}"
