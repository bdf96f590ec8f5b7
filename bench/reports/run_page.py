"""What the report of one run says: verdict, latency, throughput and errors, resources, promises, settings."""

from bench.analysis.summary import Distribution, Reason, Resource, SloResult, Summary
from bench.record import Run
from bench.reports import facts, tables
from bench.reports.tables import Cell, Page, Table, Verdict, cell

_DEVICES = {"load": "load generator"}
_METRICS = {
    "cpu_utilization": "CPU",
    "memory_bytes": "memory",
    "memory_utilization": "memory utilization",
    "power_w": "power",
    "sm_clock_mhz": "SM clock",
    "temperature_c": "temperature",
    "energy_j": "energy",
}
NOT_SAMPLED = "no utilization: none was sampled"
NO_GPU = "no GPU: CPU utilization shown (100% is every core of the machine)"


def run_page(summary: Summary, run: Run) -> Page:
    """The page of one run."""
    return Page(
        title=f"{tables.plain(summary.workload)} on {facts.target_name(run)}",
        verdicts=(verdict(summary, ""),),
        lead="",
        tables=tuple(t for t in _tables(summary, run) if t.rows),
        warnings=tuple(reason(w) for w in summary.warnings),
    )


def verdict(summary: Summary, name: str) -> Verdict:
    """VALID, or INVALID and why."""
    sent = tables.counted(summary.requests, "request")
    said = f"{tables.plain(summary.load)}, {sent} in {tables.number(summary.window_s)} s"
    if summary.status != "complete":
        said += f", {tables.plain(summary.status)}"
    return Verdict(name, summary.valid, said, (*(reason(r) for r in summary.reasons), *broken_promises(summary)))


def broken_promises(summary: Summary) -> list[str]:
    """What was promised of a latency and not kept, a line each. (Too many errors make a run INVALID, which says so.)"""
    return [
        f"promise broken: {tables.plain(s.name)} {tables.number(s.actual)} {s.unit}, at most {tables.number(s.limit)} {s.unit}"
        for s in summary.slo
        if s.met is False and s.actual is not None and s.unit == "ms"
    ]


def reason(r: Reason) -> str:
    """A reason as one line: its message, which says what was seen, why it matters and what to do."""
    return tables.plain(r.message)


def has_gpu(resources: tuple[Resource, ...]) -> bool:
    """Whether a GPU's utilization was sampled."""
    return any(r.device.startswith("gpu") and r.metric == "utilization" for r in resources)


def utilization_note(resources: tuple[Resource, ...]) -> str:
    """What stands beside a utilization: nothing where it is a GPU's."""
    if has_gpu(resources):
        return ""
    return NO_GPU if leading_resources(resources) else NOT_SAMPLED


def resource_label(r: Resource) -> str:
    """ "GPU 0 utilization", "server CPU", "load generator memory"."""
    metric = _METRICS.get(r.metric) or tables.plain(r.metric).replace("_", " ")
    if r.device.startswith("gpu"):
        return f"GPU {tables.plain(r.device[3:])} {metric}".replace("  ", " ")
    return f"{_DEVICES.get(r.device) or tables.plain(r.device)} {metric}"


def resource_table(resources: tuple[Resource, ...]) -> Table:
    """Mean and peak of what was sampled, GPUs first; says so where there is no GPU."""
    order = sorted(
        resources,
        key=lambda r: (not r.device.startswith("gpu"), r.metric not in ("utilization", "cpu_utilization"), r.device, r.metric),
    )
    rows = tuple(
        (Cell(resource_label(r)), Cell(tables.amount(r.mean, r.unit)), Cell(tables.amount(r.peak, r.unit))) for r in order
    )
    note = utilization_note(resources)
    return Table("Resources", ("", "mean", "peak"), rows, note)


def _tables(summary: Summary, run: Run) -> list[Table]:
    return [
        _headline(summary),
        _latencies(summary),
        _promises(summary.slo),
        resource_table(summary.resources),
        _failures(summary, run),
        facts_table("Target", facts.settings(run)),
        facts_table("Load", facts.load_settings(run, summary.load)),
    ]


def _headline(summary: Summary) -> Table:
    failed = sum(summary.errors.values())
    rows = [
        (Cell("mean latency"), Cell(tables.estimate(summary.latency.mean))),
        *((Cell(f"{tables.quantile(c.quantile)} latency"), Cell(tables.claim(c))) for c in _leading(summary.latency)),
        (Cell("throughput"), Cell(tables.estimate(summary.throughput))),
        *((Cell(f"{resource_label(r)}, mean / peak"), Cell(_mean_and_peak(r))) for r in leading_resources(summary.resources)),
        (
            Cell("failed requests"),
            Cell(f"{tables.share(summary.error_rate)} ({failed:,} of {summary.requests:,})", _bad(failed)),
        ),
    ]
    note = utilization_note(summary.resources)
    return Table("In short", ("", "measured"), tuple(rows), note)


def leading_resources(resources: tuple[Resource, ...]) -> list[Resource]:
    """Utilization of the GPUs; where there is none, the CPU's, of the server's processes, else of the host."""
    for device, metric in (("gpu", "utilization"), ("server", "cpu_utilization"), ("host", "cpu_utilization")):
        if found := [r for r in resources if r.device.startswith(device) and r.metric == metric]:
            return found
    return []


def _mean_and_peak(r: Resource) -> str:
    return f"{tables.amount(r.mean, r.unit)} / {tables.amount(r.peak, r.unit)}"


def _leading(latency: Distribution) -> list:  # type: ignore[type-arg]
    return [c for c in latency.quantiles if c.quantile in (0.5, 0.99)]


def _bad(failed: int) -> tables.Tone:
    return "bad" if failed else ""


def _latencies(summary: Summary) -> Table:
    # intervals for the latency alone: service and lag explain it, nobody promises them
    others = (summary.service, summary.lag)
    rows = [(Cell("mean"), Cell(tables.estimate(summary.latency.mean)), *(Cell(tables.point(d.mean)) for d in others))]
    for index, c in enumerate(summary.latency.quantiles):
        explained = (Cell(tables.point(d.quantiles[index])) if index < len(d.quantiles) else Cell(tables.NONE) for d in others)
        rows.append((Cell(tables.quantile(c.quantile)), Cell(tables.claim(c)), *explained))
    for label, ends in (
        ("smallest", [d.minimum for d in (summary.latency, *others)]),
        ("largest", [d.maximum for d in (summary.latency, *others)]),
    ):
        rows.append((Cell(label), *(Cell(tables.amount(end, "ms")) for end in ends)))
    return Table("Latency", ("", "latency", "service", "send lag"), tuple(rows))


def _promises(slo: tuple[SloResult, ...]) -> Table:
    return Table("Service level", ("", "promised", "measured", ""), tuple(_promise(s) for s in slo))


def _promise(s: SloResult) -> tuple[Cell, ...]:
    needs = f"not known (needs {s.needs:,} requests)" if s.needs else "not known"
    said = {True: Cell("met", "better"), False: Cell("missed", "worse"), None: Cell(needs, "muted")}[s.met]
    as_text = tables.share if s.unit == "share" else lambda value: tables.amount(value, s.unit)
    return cell(s.name), Cell(f"at most {as_text(s.limit)}"), Cell(as_text(s.actual)), said


def _failures(summary: Summary, run: Run) -> Table:
    messages = facts.messages(run)
    rows = tuple(
        (cell(kind), Cell(tables.count(n), "bad"), cell(messages.get(kind, ""))) for kind, n in sorted(summary.errors.items())
    )
    return Table("Failed requests", ("kind", "count", "first message"), rows)


def facts_table(title: str, known: facts.Facts) -> Table:
    """Facts as rows."""
    return Table(title, ("", ""), tuple((Cell(key), cell(value)) for key, value in known.items()))
