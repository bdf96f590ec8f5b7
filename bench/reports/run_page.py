"""What the report of one run says: verdict, latency, tokens, throughput and errors, resources, promises, settings."""

from collections.abc import Iterator, Mapping

from bench.analysis.quantiles import requests_needed
from bench.analysis.streaming import bounds
from bench.analysis.summary import Distribution, QuantileClaim, Reason, Resource, SloResult, Streaming, Summary
from bench.record import Run
from bench.reports import facts, parts, tables
from bench.reports.tables import Cell, Page, Table, Verdict, cell
from bench.units import format_exact_duration

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
BATCHES = "Executed batch sizes"
BATCHES_NOTE = "read from the server: how often it executed a batch of each size, and the share of requests in such batches"
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
        leading=2 if summary.parts else 1,
    )


def verdict(summary: Summary, name: str) -> Verdict:
    """VALID, or INVALID and why."""
    sent = tables.counted(summary.requests, "request")
    said = f"{tables.plain(summary.load)}, {sent} in {tables.number(summary.window_s)} s"
    if summary.status != "complete":
        said += f", {tables.plain(summary.status)}"
    return Verdict(
        name, "VALID" if summary.valid else "INVALID", said, (*(reason(r) for r in summary.reasons), *broken_promises(summary))
    )


def broken_promises(summary: Summary) -> list[str]:
    """What was promised of a latency and not kept, a line each. (Too many errors make a run INVALID, which says so.)"""
    return [
        f"promise broken: {name} {tables.number(s.actual)} {s.unit}, at most {tables.number(s.limit)} {s.unit}"
        for name, s in _promised(summary)
        if s.met is False and s.actual is not None and s.unit == "ms"
    ]


def _promised(summary: Summary) -> Iterator[tuple[str, SloResult]]:
    """Every promise with its name, those of the parts of a mix with theirs."""
    yield from ((tables.plain(s.name), s) for s in summary.slo)
    for part in summary.parts:
        yield from ((f"{tables.plain(part.name)}: {tables.plain(s.name)}", s) for s in part.slo)


def reason(r: Reason) -> str:
    """A reason as one line: the claim that it spoils, if not all of them, what was seen, why it matters and what to do."""
    return tables.plain(r.message if r.spoils == "everything" else f"{r.spoils}: {r.message}")


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
        _headline(summary, run),
        parts.table(summary.parts),
        *(_token_tables(summary.streaming) if summary.streaming else ()),
        _latencies(summary),
        Table("Service level", ("", "promised", "measured", ""), tuple(_promise(*one) for one in _promised(summary))),
        resource_table(summary.resources),
        _batches({p.name: p.batches for p in summary.parts} or {"executed": summary.batches}),
        _failures(summary, run),
        facts_table("Target", facts.settings(run)),
        facts_table("Load", facts.load_settings(run, summary.load)),
    ]


def _headline(summary: Summary, run: Run) -> Table:
    failed = sum(summary.errors.values())
    streaming = summary.streaming
    rows = [
        *(_stream_headline(streaming) if streaming else ()),
        (Cell("mean latency"), Cell(tables.estimate(summary.latency.mean))),
        *((Cell(f"{tables.quantile(c.quantile)} latency"), Cell(tables.claim(c))) for c in _leading(summary.latency)),
        *([(Cell("output tokens"), Cell(tables.estimate(streaming.tokens)))] if streaming else ()),
        (Cell("throughput"), Cell(tables.estimate(summary.throughput))),
        *([(Cell("goodput"), Cell(tables.estimate(streaming.goodput)))] if streaming and streaming.goodput else ()),
        *((Cell(f"{resource_label(r)}, mean / peak"), Cell(_mean_and_peak(r))) for r in leading_resources(summary.resources)),
        (
            Cell("failed requests"),
            Cell(f"{tables.share(summary.error_rate)} ({failed:,} of {summary.requests:,})", _bad(failed)),
        ),
    ]
    notes = (utilization_note(summary.resources), goodput_note(run) if streaming else "")
    return Table("In short", ("", "measured"), tuple(rows), "; ".join(filter(None, notes)))


def _stream_headline(s: Streaming) -> Iterator[tuple[Cell, Cell]]:
    yield Cell("mean TTFT"), Cell(tables.estimate(s.ttft.mean))
    for name, d in (("TTFT", s.ttft), ("ITL", s.itl)):
        yield from ((Cell(f"{tables.quantile(c.quantile)} {name}"), Cell(tables.claim(c))) for c in _leading(d))
    yield Cell("longest gap"), Cell(tables.amount(s.itl.maximum, "ms"))
    yield Cell("mean TPOT"), Cell(tables.estimate(s.tpot.mean))


def goodput_note(run: Run) -> str:
    """What the goodput asks of each request; nothing where nothing is."""
    stated = [f"{name} {format_exact_duration(limit)}" for name, limit in bounds(run.workload.slo).items()]
    return f"goodput: requests within {', '.join(stated)}" if stated else ""


def leading_resources(resources: tuple[Resource, ...]) -> list[Resource]:
    """Utilization of the GPUs; where there is none, the CPU's, of the server's processes, else of the host."""
    for device, metric in (("gpu", "utilization"), ("server", "cpu_utilization"), ("host", "cpu_utilization")):
        if found := [r for r in resources if r.device.startswith(device) and r.metric == metric]:
            return found
    return []


def _mean_and_peak(r: Resource) -> str:
    return f"{tables.amount(r.mean, r.unit)} / {tables.amount(r.peak, r.unit)}"


def _leading(d: Distribution) -> list[QuantileClaim]:
    return [c for c in d.quantiles if c.quantile in (0.5, 0.99)]


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


def _token_tables(s: Streaming) -> Iterator[Table]:
    of = (s.ttft, s.itl, s.tpot, s.longest)
    rows = [(Cell("mean"), *(Cell(tables.stacked(d.mean)) for d in of))]
    unclaimed: list[QuantileClaim] = []
    for index, c in enumerate(s.ttft.quantiles):
        claims = [d.quantiles[index] for d in of]
        if any(claim.estimate for claim in claims):
            rows.append((Cell(tables.quantile(c.quantile)), *(Cell(tables.stacked(claim)) for claim in claims)))
        else:
            unclaimed.append(c)
    for label, ends in (("smallest", [d.minimum for d in of]), ("largest", [d.maximum for d in of])):
        rows.append((Cell(label), *(Cell(tables.amount(end, "ms")) for end in ends)))
    note = ", ".join(f"{tables.quantile(c.quantile)} takes {requests_needed(c.quantile):,}" for c in unclaimed)
    note = f"{tables.counted(s.ttft.count, 'request')}; {note}" if note else ""
    yield Table("Times of tokens", ("", "TTFT", "ITL, all gaps", "TPOT", "longest gap"), tuple(rows), note)
    counts = (
        ("requests with tokens", tables.count(s.ttft.count)),
        ("tokens in their prompts", f"{s.prompt_tokens:,}"),
        ("tokens in their answers", f"{s.output_tokens:,}"),
        ("tokens in a piece", _pieces(s)),
    )
    yield Table("Tokens", ("", ""), tuple((Cell(name), Cell(value)) for name, value in counts))


def _pieces(s: Streaming) -> str:
    return f"{tables.number(s.tokens_per_piece)} on average, at most {s.largest_piece:,}" if s.largest_piece > 1 else "1"


def _batches(counted: Mapping[str, Mapping[int, int]]) -> Table:
    """A column of counts for each title: of one model, or of the model of each part of a mix."""
    columns, sizes = counted.values(), sorted({size for batches in counted.values() for size in batches})
    rows = tuple((Cell(str(size)), *(Cell(executed(batches, size)) for batches in columns)) for size in sizes)
    mean = ((Cell("mean size"), *(Cell(mean_batch(batches)) for batches in columns)),) if sizes else ()
    return Table(BATCHES, ("size", *map(tables.plain, counted)), (*rows, *mean), BATCHES_NOTE)


def executed(batches: Mapping[int, int], size: int) -> str:
    """How often a batch of `size` was executed, and the share of requests in such: "12 (40%)"."""
    requests = sum(of * count for of, count in batches.items())
    if not requests:
        return tables.NONE
    count = batches.get(size, 0)
    return f"{count:,} ({tables.share(size * count / requests)})" if count else "0"


def mean_batch(batches: Mapping[int, int]) -> str:
    """The mean over executions."""
    return tables.number(sum(n * c for n, c in batches.items()) / sum(batches.values())) if batches else tables.NONE


def _promise(name: str, s: SloResult) -> tuple[Cell, ...]:
    needs = f"not known (needs {s.needs:,} requests)" if s.needs else "not known"
    said = {True: Cell("met", "better"), False: Cell("missed", "worse"), None: Cell(needs, "muted")}[s.met]
    as_text = tables.share if s.unit == "share" else lambda value: tables.amount(value, s.unit)
    return Cell(name), Cell(f"at most {as_text(s.limit)}"), Cell(as_text(s.actual)), said


def _failures(summary: Summary, run: Run) -> Table:
    messages = facts.messages(run)
    rows = tuple(
        (cell(kind), Cell(tables.count(n), "bad"), cell(messages.get(kind, ""))) for kind, n in sorted(summary.errors.items())
    )
    return Table("Failed requests", ("kind", "count", "first message"), rows)


def facts_table(title: str, known: facts.Facts) -> Table:
    """Facts as rows."""
    return Table(title, ("", ""), tuple((Cell(key), cell(value)) for key, value in known.items()))
