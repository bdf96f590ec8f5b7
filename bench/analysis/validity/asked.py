"""Was everything asked, and answered well, by the same server from start to end?"""

from collections.abc import Iterator

from bench.analysis.estimate import Reason
from bench.analysis.measured import Measured
from bench.analysis.quantiles import requests_needed
from bench.units import format_exact_duration

WRONG = ("answer", "version", "shape")


def status(m: Measured) -> Iterator[Reason]:
    """A run that did not end as planned, or that has nothing in it."""
    broke = next((event.detail.get("message") for event in m.run.events if event.name == "failed"), None)
    if broke:
        yield Reason("broken_off", f"the run broke off: {str(broke).splitlines()[0]}; what was measured before it is shown")
    elif m.run.status == "partial":
        yield Reason("interrupted", "the run was interrupted: it is shorter than what was asked for; run it again to the end")
    elif m.run.status == "running":
        yield Reason(
            "unfinished", "the run never ended: its command died, and what came last may be missing; see its logs, run it again"
        )
    if not m.requests:
        yield Reason(
            "no_requests",
            "no request was measured, so nothing can be said; see the server's log, or measure longer (--duration)",
        )


def failures(m: Measured) -> Iterator[Reason]:
    """More errors than may be, of all requests or else of a part's, and any wrong answer."""
    for one in [m] if _too_many(m) else filter(_too_many, m.parts):
        plain = {kind: count for kind, count in one.errors.items() if kind not in WRONG}
        first = f"; {first_message(m, plain)}" if plain else ""
        yield Reason(
            "errors",
            f"{sum(one.errors.values()):,} of {one.requests:,} requests{_of(one)} failed ({one.error_rate:.2%}: "
            f"{counts(one.errors)}) and {one.workload.slo.error_rate:.2%} may: the latencies are only of those that "
            f"succeeded{first}",
        )
    wrong = {kind: m.errors[kind] for kind in WRONG if kind in m.errors}
    if wrong:
        yield Reason(
            "wrong_answers",
            f"{sum(wrong.values()):,} of {_looked_at(m, wrong)} were wrong ({counts(wrong)}): this server does not do the "
            f"work that is measured; {first_message(m, wrong)}",
        )


def _looked_at(m: Measured, wrong: dict[str, int]) -> str:
    """Among how many replies wrong ones were found: version and shape are looked at in all of them."""
    return f"the {m.compared:,} replies that were compared" if wrong.keys() == {"answer"} else f"{m.requests:,} replies"


def _too_many(m: Measured) -> bool:
    return m.error_rate > m.workload.slo.error_rate


def _of(m: Measured) -> str:
    """Which requests are meant: those of a part, or all."""
    return "" if m.of is None else f" of {m.workload.name}"


def counts(errors: dict[str, int]) -> str:
    """ "3 timeout, 1 status"."""
    return ", ".join(f"{count:,} {kind}" for kind, count in errors.items())


def first_message(m: Measured, errors: dict[str, int]) -> str:
    """What the first error of the most frequent of these kinds said."""
    messages = m.run.load.get("messages") or {}
    worst = max(errors, key=lambda kind: errors[kind])
    return f"the first said: {messages[worst]}" if worst in messages else "see the server's log"


def workers_lost(m: Measured) -> Iterator[Reason]:
    """Load processes that ended before the run did."""
    lost = m.run.load.get("workers_lost")
    if isinstance(lost, list) and lost:
        yield Reason(
            "worker_lost",
            f"{len(lost)} of the load's workers ended before the run did ({'; '.join(map(str, lost))}): the load was less than "
            "what was asked for from then on, and what such a worker had not delivered is missing; see its log, run it again",
        )


def server_exited(m: Measured) -> Iterator[Reason]:
    """A server that bench had started, and that ended before it was told to."""
    for event in m.run.events:
        if event.name == "server-exited":
            yield Reason(
                "server_exited",
                f"the server that bench had started ended before the run did (exit status {event.detail.get('status')}): what "
                "is measured from then on is a server that is down; server.log in the run's folder has its last words",
            )


def elsewhere(m: Measured) -> Iterator[Reason]:
    """A load of which other machines made a part, with runs of their own."""
    others = m.run.load.get("elsewhere")
    if isinstance(others, list) and others:
        yield Reason(
            "elsewhere",
            f"other machines made a part of this load, and kept it as runs of their own ({'; '.join(map(str, others))}): the "
            "throughput is of this machine's part alone",
            "throughput",
        )


def server_changed(m: Measured) -> Iterator[Reason]:
    """A server that says of itself at the end what it did not say at the start."""
    start, end = _sayings(m)
    changed = sorted(key for key in start.keys() | end.keys() if start.get(key) != end.get(key)) if end else []
    if changed:
        what = "; ".join(
            f"{key}: {start.get(key, 'nothing')} at the start, {end.get(key, 'nothing')} at the end" for key in changed
        )
        yield Reason(
            "server_changed",
            f"the server was another at the end than at the start ({what}): the numbers mix both; keep it as it is while it is "
            "measured, and run it again",
        )


def server_silent(m: Measured) -> Iterator[Reason]:
    """A server that could not be asked again."""
    problem = m.run.load.get("server_at_end_problem")
    if problem:
        yield Reason(
            "server_silent",
            f"the server did not say who it is when the run was over ({problem}): whether it was the same to the end is not "
            "known; see its log",
        )


def _sayings(m: Measured) -> tuple[dict[str, str], dict[str, str]]:
    """What the server said of itself at the start and at the end, flat; ({}, {}) where it was not asked twice."""
    asked = [m.run.load.get(key) for key in ("server_at_start", "server_at_end")]
    start, end = ({str(k): str(v) for k, v in said.items()} if isinstance(said, dict) else {} for said in asked)
    return (start, end) if start and end else ({}, {})


def timeouts(m: Measured) -> Iterator[Reason]:
    """Requests without a reply in time, however few."""
    if count := m.errors.get("timeout", 0):
        after = format_exact_duration(m.run.workload.timeout_ns)
        nothing = "no reply" if m.run.chunks is None else "not a first piece of a reply"
        yield Reason(
            "timeouts",
            f"{count:,} of {m.requests:,} requests had {nothing} after {after}: they have no latency, and the latencies look "
            "better than they were; a longer timeout (--timeout) would measure them",
            "latency",
        )


def unchecked(m: Measured) -> Iterator[Reason]:
    """Answers of which none was compared, of a mix those of each part."""
    for one in m.parts or (m,):
        if one.successes and not one.compared:
            yield Reason(
                "unchecked",
                f"no answer{_of(one)} was compared with a reference ({_why_unchecked(one)}): a server that answers nonsense "
                "would look the same; models that bench builds come with one",
            )


def _why_unchecked(m: Measured) -> str:
    target = m.run.target if m.of is None else (m.run.target.get("parts") or {}).get(m.workload.name, {})
    every = m.workload.check.every
    if not m.workload.check.reference:
        return "the workload says reference = false"
    if not (target.get("model") or target.get("reference_model")):
        return "there was no reference"
    if m.workload.generates and m.successes >= every:
        return "this server answers with text, which tells no token ids"
    return f"one in {every} is, and none of those had come"


def few(m: Measured) -> Iterator[Reason]:
    """Too few requests for any quantile but the median."""
    needs = requests_needed(0.9)
    if 0 < m.successes < needs:
        yield Reason(
            "few_requests",
            f"only {m.successes:,} requests succeeded: too few for any quantile above the median; measure longer, a P90 needs "
            f"{needs:,}",
            "latency",
        )
