"""How true and how cheap bench's own numbers are on this machine, against a server that knows the truth."""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

from bench import errors
from bench.errors import RunError
from bench.evidence import page, selfcheck
from bench.terminal import Terminal

_QUICK_S, _THOROUGH_S = 10.0, 40.0
_LAG_S = {False: (4.0, 2), True: (20.0, 5)}  # seconds of each side, and in how many turns


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--thorough", action="store_true", help="four times as long, both protocols everywhere, and the peers: "
                        "stock Locust, and perf_analyzer where $PERF_ANALYZER or the PATH has it")  # fmt: skip
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the Markdown there, too")


def run(args: argparse.Namespace, out: Callable[[str], None], say: Terminal) -> int:
    page.check_output(args.output)
    everything, protocols = args.thorough, tuple(selfcheck.PROTOCOLS)
    rows: list[selfcheck.Row] = []
    lags: list[selfcheck.Lag] = []
    scenarios = [(selfcheck.queue(_THOROUGH_S if everything else _QUICK_S), protocols)]
    scenarios.append((selfcheck.stall(), protocols if everything else protocols[:1]))
    for scenario, over in scenarios:
        for protocol in over:
            say(f"{scenario.name} over {protocol}, {scenario.seconds:g} s ...")
            rows.append(selfcheck.accuracy(scenario, protocol))
    for protocol in protocols if everything else protocols[:1]:
        seconds, turns = _LAG_S[everything]
        say(f"send lag at {selfcheck.LAG_RATE:,}/s over {protocol}, {2 * seconds:g} s ...")
        lags.append(selfcheck.lag(protocol, seconds, turns))
    command = "bench selfcheck" + (" --thorough" if everything else "")
    lines = [*page.heading("How true the latencies are", command), *_report(rows, lags)]
    if everything:
        from bench.evidence import peers

        stalled = next(row for row in rows if row.scenario.script.stall_ns)
        lines += peers.report(stalled, say)
    text = "\n".join(lines)
    out(text)
    if args.output:
        try:
            args.output.write_text(text + "\n", encoding="utf-8")
        except OSError as error:
            raise RunError(f"--output {args.output}: cannot be written: {error.strerror}") from None
    held = all(row.held() for row in rows) and all(one.held() for one in lags)
    say("all of it held" if held else "not all of it held: see the column `held`")
    return errors.OK if held else errors.FAILED


def _report(rows: list[selfcheck.Row], lags: list[selfcheck.Lag]) -> Iterator[str]:
    yield from page.prose(
        "A server of bench's own, in a process of its own, answers requests one at a time in the order of their arrival, each "
        "after a scripted service time, and writes down when each had arrived and when its reply was given to the system. The "
        "truth is that time less the time at which the request was meant to be sent; reported is what the run recorded of the "
        "same requests. What is between the two is the way of the reply to the load process, and whatever that adds."
    )
    yield from page.prose(
        "Queue: 5 ms of service, Poisson arrivals at 80 % of what the server can serve; held where P50 and P99 are within "
        f"{selfcheck.SHARE:.0%} or {selfcheck.FLOOR_NS / 1e3:.0f} µs of the truth. Stall: 1 ms of service, Poisson 200/s, the "
        f"server stands still for 1 s of 20 s; held where the P99 is within {selfcheck.STALL_SHARE:.0%}."
    )
    yield from (*selfcheck.accuracy_table(rows), "", "## How punctual sends are", "")
    yield from page.prose(
        f"Sends at a constant {selfcheck.LAG_RATE:,}/s, in turn with a bare loop that does nothing but wait for the same times "
        f"by the same kind of timer. Held where the median is at most {selfcheck.LAG_NS / 1e3:.0f} µs and the P99 at most "
        f"{selfcheck.LAG_RATIO:g} times that of the bare loop. (bench's thread asks the kernel for short turns, which from "
        "Linux 6.12 on lets it in sooner on a busy machine; the bare loop does not.)"
    )
    yield from (*selfcheck.lag_table(lags), "")
