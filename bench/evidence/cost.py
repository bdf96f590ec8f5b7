"""What a request costs the client, beside perf_analyzer and tritonclient on the same real Triton; printed as Markdown.

python -m bench.evidence.cost [--rounds 5] [--seconds 3] [--output FILE]
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import median

from bench.evidence import page, trivial
from bench.evidence.clients import Case, Costs, clients
from bench.evidence.peers import perf_analyzer

SMALL, LARGE = 16, 3 * 224 * 224  # floats in a request: 64 bytes, and an image of 602 kB
CASES = (
    *(Case(protocol, connections, SMALL) for protocol in ("http", "grpc") for connections in (8, 32)),
    *(Case(protocol, 8, LARGE) for protocol in ("http", "grpc")),
)
MOST = {SMALL: 0.45, LARGE: 0.4}  # of perf_analyzer's CPU
LEAST = 1.0  # of its throughput
OURS, PEER = "bench", "perf_analyzer"
_COLUMNS = ("request", "connections", "client", "CPU a request, µs", "of it the engine's thread", "requests/s")
_AGAINST = ("CPU against perf_analyzer", "requests/s against perf_analyzer", "held")

Measured = dict[Case, dict[str, list[Costs]]]  # each client's rounds


def measure(rounds: int, seconds: float, say: Callable[[str], None]) -> tuple[str, Measured]:
    """(Triton's version, what was measured): all clients in turn, in each case, in each round."""
    there = clients(perf_analyzer())
    found: Measured = {case: {name: [] for name in there} for case in CASES}
    with trivial.serving(say) as server:
        for number in range(rounds):
            for case in CASES:
                say(f"round {number + 1} of {rounds}: {title(case)} over {case.connections} connections ...")
                # whoever goes first this time goes last the next
                names = list(there)[number % len(there) :] + list(there)[: number % len(there)]
                for name in names:
                    found[case][name].append(there[name](case, server, seconds))
        return server.version, found


def title(case: Case) -> str:
    """ "HTTP, 64 B"."""
    size = case.floats * 4
    return f"{page.PROTOCOLS[case.protocol]}, {f'{size} B' if size < 1000 else f'{size / 1000:.0f} kB'}"


def against(rounds: Mapping[str, Sequence[Costs]], name: str) -> tuple[list[float], list[float]] | None:
    """(CPU, throughput) of a client against perf_analyzer's, round by round; None where there is none."""
    if PEER not in rounds or name == PEER:
        return None
    pairs = list(zip(rounds[name], rounds[PEER], strict=True))
    return [a.cost.client_us / b.cost.client_us for a, b in pairs], [a.cost.rate_hz / b.cost.rate_hz for a, b in pairs]


def held(case: Case, rounds: Mapping[str, Sequence[Costs]]) -> bool | None:
    """Whether bench costs as little as it should in a case; None where there is nothing to compare it with."""
    ratios = against(rounds, OURS)
    return None if ratios is None else median(ratios[0]) <= MOST[case.floats] and median(ratios[1]) >= LEAST


# ---------------------------------------------------------------- the table


def report(version: str, found: Measured, seconds: float) -> Iterator[str]:
    """The lines of the page behind its heading."""
    rounds = len(next(iter(next(iter(found.values())).values())))
    yield from _explained(version, rounds, seconds)
    compared = any(PEER in clients_ for clients_ in found.values())
    yield from page.table((*_COLUMNS, *(_AGAINST if compared else ())), _rows(found, compared))


def _explained(version: str, rounds: int, seconds: float) -> Iterator[str]:
    yield from page.prose(
        f"Triton {version} with a model of its Python backend that answers with the first 16 values of what it is sent; closed "
        f"loops; medians of {rounds} rounds in which the clients take turns, in brackets the lowest and the highest round. "
        "Clients and server share the machine."
    )
    yield from page.prose(
        "Every client is measured in the same way, from outside: the CPU time, user and system, that the kernel counts for its "
        f"processes between two moments {seconds:g} s apart, a second or more after its first answer, divided by the requests "
        "that Triton's own statistics count between the same two moments. So starting up, connecting and reporting are in no "
        "figure. Of bench the process is the whole load process: the engine's thread, Locust beside it, recording and writing; "
        "that thread alone, by its own clock over the run's window, stands beside it. perf_analyzer runs in one long "
        "measurement window and is ended by a signal, so that the work at the end of a window is not in its figure. None "
        "compares answers; bench looks at status, id, version and shapes in every reply. `tritonclient in bench` is the option "
        "client=tritonclient: NVIDIA's Python client on a thread for each user."
    )
    yield from page.prose(
        f"Held: bench takes at most {MOST[SMALL]:g} of perf_analyzer's CPU a request ({MOST[LARGE]:g} of it with 602 kB) at no "
        "less throughput, at the median of the rounds' ratios."
    )


def _rows(found: Measured, compared: bool) -> Iterator[list[str]]:
    for case, rounds in found.items():
        for n, (name, costs) in enumerate(rounds.items()):
            engine = [c.engine_us for c in costs if c.engine_us is not None]
            yield [
                *((title(case), str(case.connections)) if not n else ("", "")),
                name,
                _spread([c.cost.client_us for c in costs], ",.0f"),
                f"{median(engine):,.0f}" if engine else "",
                _spread([c.cost.rate_hz for c in costs], ",.0f"),
                *(_compared(case, rounds, name) if compared else ()),
            ]


def _compared(case: Case, rounds: Mapping[str, Sequence[Costs]], name: str) -> tuple[str, str, str]:
    ratios = against(rounds, name)
    if ratios is None:
        return "", "", ""
    ours = page.verdict(bool(held(case, rounds))) if name == OURS else ""
    return _spread(ratios[0], ".2f"), _spread(ratios[1], ".2f"), ours


def _spread(values: Sequence[float], form: str) -> str:
    return f"{median(values):{form}} [{min(values):{form}}, {max(values):{form}}]"


def _make(options: argparse.Namespace, say: Callable[[str], None]) -> tuple[list[str], bool]:
    version, found = measure(options.rounds, options.seconds, say)
    lines = [*page.heading("What a request costs the client", "make verify-cost"), *report(version, found, options.seconds)]
    return lines, all(held(case, rounds) is not False for case, rounds in found.items())


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the page; 1 where something was not held."""
    parser = argparse.ArgumentParser(prog="python -m bench.evidence.cost", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="that each client is watched for in each round")
    return page.main(parser, _make, arguments)


if __name__ == "__main__":
    sys.exit(main())
