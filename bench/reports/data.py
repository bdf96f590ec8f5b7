"""Reports for programs: one JSON document or one CSV row a run, the numbers as they were computed, unrounded."""

import csv
import io
import json
import math
import numbers
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from bench import workload as workloads
from bench.analysis.compare import Agreement, Row, SideComparison
from bench.analysis.rule import Judgement, Rule
from bench.analysis.summary import Distribution, Estimate, PartSummary, QuantileClaim, Reason, SloResult, Streaming, Summary
from bench.record import Run
from bench.reports import facts
from bench.reports.sides import Sides

RUN_SCHEMA = "bench/run/1"
COMPARISON_SCHEMA = "bench/comparison/1"

Document = dict[str, Any]


def run_json(run: Run, summary: Summary) -> Document:
    """One run as plain values, ready for `json.dumps`; what is not a finite number is None."""
    document = {
        "schema": RUN_SCHEMA,
        "run": summary.run_id,
        "created": run.created,
        "status": summary.status,
        "validity": {"valid": summary.valid, "reasons": [_reason(r) for r in summary.reasons]},
        "warnings": [_reason(w) for w in summary.warnings],
        "workload": workloads.to_builtins(run.workload),
        "target": {"name": facts.target_name(run)} | run.target,
        "load": {"says": summary.load} | run.load,
        "window_s": summary.window_s,
        "requests": summary.requests,
        "compared": summary.compared,
        "errors": dict(summary.errors),
        "error_rate": summary.error_rate,
        "throughput": estimate(summary.throughput),
        "latency": distribution(summary.latency),
        "service": distribution(summary.service),
        "lag": distribution(summary.lag),
        "resources": [
            {"device": r.device, "metric": r.metric, "mean": r.mean, "peak": r.peak, "unit": r.unit, "samples": r.samples}
            for r in summary.resources
        ],
        "slo": _promises(summary.slo),
        "streaming": summary.streaming and streaming(summary.streaming),
        "batches": {str(size): count for size, count in summary.batches.items()},
        "parts": [_part(part) for part in summary.parts],
        "environment": run.environment,
    }
    return dict(clean(document))


def _part(part: PartSummary) -> Document:
    """One part of a mix."""
    return {
        "name": part.name,
        "share_asked": part.asked,
        "share": part.share,
        "requests": part.requests,
        "compared": part.compared,
        "errors": dict(part.errors),
        "error_rate": part.error_rate,
        "throughput": estimate(part.throughput),
        "latency": distribution(part.latency),
        "ttft": part.ttft and distribution(part.ttft),
        "slo": _promises(part.slo),
        "batches": {str(size): count for size, count in part.batches.items()},
    }


def _promises(slo: Iterable[SloResult]) -> list[Document]:
    return [{"name": s.name, "limit": s.limit, "actual": s.actual, "unit": s.unit, "met": s.met, "needs": s.needs} for s in slo]


def comparison_json(comparison: SideComparison, sides: Sides) -> Document:
    """Sides as plain values: each metric with its changes (a side / the first), and every round of each side in full.

    Of two sides `base`, `new` and `change` are named too. Without a rule there are no verdicts.
    """
    names = [side.name for side in sides]
    document = {
        "schema": COMPARISON_SCHEMA,
        "valid": comparison.valid,
        "rule": comparison.rule and _rule(comparison.rule),
        "verdicts": list(_verdicts(comparison, names)),
        **({"base": names[0], "new": names[1]} if len(sides) == 2 else {}),
        "metrics": [_metric(row, names) for row in comparison.rows],
        "parts": [{"name": name, "metrics": [_metric(row, names) for row in rows]} for name, rows in comparison.parts],
        "agreement": _agreement(comparison, names),
        "sides": [
            {
                "name": side.name,
                "valid": not reasons,
                "reasons": [_reason(r) for r in reasons],
                "rounds": [run_json(run, summary) for run, summary in zip(side.runs, side.summaries, strict=True)],
            }
            for side, reasons in zip(sides, comparison.reasons, strict=True)
        ],
    }
    return dict(clean(document))


def _rule(rule: Rule) -> Document:
    looks = rule.looks
    return {"looks": list(looks.rounds), "error": looks.error, "gated": looks.gated, "deltas": dict(rule.deltas)}


def _verdicts(comparison: SideComparison, names: Sequence[str]) -> Iterator[Document]:
    """Of each side but the first: on every metric that has a verdict, with the interval that decided, then on the answers."""
    for n, name in enumerate(names[1:]):
        for row in comparison.rows:
            if row.judged:
                yield {"side": name, "metric": row.metric} | _judgement(row.judged[n]) | {"change": estimate(row.changes[n])}
        if comparison.rule and comparison.agreement and (answers := comparison.agreement[n]) and answers.compared:
            yield {"side": name, "metric": "answers"} | _judgement(answers.judged())


def _judgement(judgement: Judgement) -> Document:
    return {"verdict": judgement.verdict, "delta": judgement.delta, "needs_rounds": judgement.needed, "why": judgement.why}


def _metric(row: Row, names: Sequence[str]) -> Document:
    values, changes = [_measure(value) for value in row.values], [estimate(change) for change in row.changes]
    of_two = {"base": values[0], "new": values[1], "change": changes[0]} if len(values) == 2 else {}
    return {"metric": row.metric, **of_two, "values": values, "changes": changes, "better": row.better}


def _agreement(comparison: SideComparison, names: Sequence[str]) -> list[Document]:
    """How many of each side's kept answers are those of the first."""

    def counts(found: Agreement | None) -> Document:
        return {"same": found and found.same, "compared": found and found.compared}

    return [{"side": name} | counts(found) for name, found in zip(names[1:], comparison.agreement, strict=False)]


def to_text(document: Document | list[Document]) -> str:
    """A document as JSON text, keys in the order of reading."""
    return json.dumps(clean(document), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def runs_csv(runs: Iterable[tuple[Run, Summary]]) -> str:
    """One row a run under one row of names; a cell is empty where a run has no such number."""
    rows = [_row(run, summary) for run, summary in runs]
    names = list(dict.fromkeys(name for row in rows for name in row))
    out = io.StringIO()
    writer = csv.DictWriter(out, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: "" if value is None else value for name, value in row.items()} for row in rows)
    return out.getvalue()


def estimate(e: Estimate | None) -> Document | None:
    """A value, its interval and its unit."""
    if e is None:
        return None
    return {"value": e.value, "low": e.low, "high": e.high, "unit": e.unit, "confidence": e.confidence}


def distribution(d: Distribution) -> Document:
    """Count, mean, smallest, largest and the quantiles of times in ms."""
    return {
        "count": d.count,
        "mean": _ms(d.mean),
        "min_ms": d.minimum,
        "max_ms": d.maximum,
        "quantiles": {quantile_key(c.quantile): claim(c) for c in d.quantiles},
    }


def streaming(s: Streaming) -> Document:
    """The metrics of tokens; of ITL the count is of gaps, and what a claim has or needs is of requests."""
    return {
        "ttft": distribution(s.ttft),
        "itl": distribution(s.itl),
        "tpot": distribution(s.tpot),
        "longest_gap": distribution(s.longest),
        "output_tokens_per_s": estimate(s.tokens),
        "goodput": estimate(s.goodput),
        "output_tokens": s.output_tokens,
        "prompt_tokens": s.prompt_tokens,
        "pieces": s.pieces,
        "tokens_per_piece": s.tokens_per_piece,
        "largest_piece": s.largest_piece,
    }


def claim(c: QuantileClaim) -> Document:
    """A quantile in ms; the value is None where it cannot be claimed, and `needs` says how many requests that takes."""
    return _ms(c.estimate) | {"claimable": c.estimate is not None, "needs": c.needs, "has": c.has}


def quantile_key(quantile: float) -> str:
    """ "p99", "p99.9"."""
    return f"p{round(100 * quantile, 6):g}"


def clean(value: Any) -> Any:
    """The same with only what JSON knows: numbers that are not finite become None, anything unknown its text."""
    if isinstance(value, Mapping):
        return {str(key): clean(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [clean(inner) for inner in value]
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    try:
        number = float(value)
    except (TypeError, ValueError):
        return str(value)
    return number if math.isfinite(number) else None


def _measure(value: Estimate | QuantileClaim | None) -> Document | None:
    return claim(value) if isinstance(value, QuantileClaim) else estimate(value)


def _ms(e: Estimate | None) -> Document:
    if e is None:
        return {"value_ms": None, "low_ms": None, "high_ms": None}
    return {"value_ms": e.value, "low_ms": e.low, "high_ms": e.high}


def _reason(reason: Reason) -> Document:
    return {"code": reason.code, "spoils": reason.spoils, "message": reason.message}


def _row(run: Run, summary: Summary) -> Document:
    row: Document = {
        "run": summary.run_id,
        "created": run.created,
        "status": summary.status,
        "valid": summary.valid,
        "reasons": " ".join(r.code for r in summary.reasons),
        "workload": summary.workload,
        "target": facts.target_name(run),
        "load": summary.load,
        "window_s": summary.window_s,
        "requests": summary.requests,
        "failed": sum(summary.errors.values()),
        "error_rate": summary.error_rate,
        "throughput": summary.throughput.value,
        "throughput_low": summary.throughput.low,
        "throughput_high": summary.throughput.high,
    }
    for name, d in (("latency", summary.latency), ("service", summary.service), ("lag", summary.lag)):
        row |= _times(name, d)
    if summary.streaming is not None:
        row |= _streamed(summary.streaming)
    for part in summary.parts:
        row |= {f"part_{part.name}_{key}": value for key, value in _of_part(part).items()}
    for r in summary.resources:
        row |= {f"{r.device}_{r.metric}_mean": r.mean, f"{r.device}_{r.metric}_peak": r.peak}
    return dict(clean(row))


def _of_part(part: PartSummary) -> Document:
    counted = {"share": part.share, "requests": part.requests, "failed": sum(part.errors.values())}
    row = counted | {"error_rate": part.error_rate, "throughput": part.throughput.value} | _times("latency", part.latency)
    return row | (_times("ttft", part.ttft) if part.ttft else {}) | {"slo_met": part.kept}


def _streamed(s: Streaming) -> Document:
    row: Document = {}
    for name, d in (("ttft", s.ttft), ("itl", s.itl), ("tpot", s.tpot), ("longest_gap", s.longest)):
        row |= _times(name, d)
    for name, e in (("output_tokens_per_s", s.tokens), ("goodput", s.goodput)):
        row |= {name: e and e.value, f"{name}_low": e and e.low, f"{name}_high": e and e.high}
    return row | {"output_tokens": s.output_tokens, "prompt_tokens": s.prompt_tokens, "tokens_per_piece": s.tokens_per_piece}


def _times(name: str, d: Distribution) -> Document:
    row: Document = {f"{name}_mean_ms": d.mean.value if d.mean else None, f"{name}_max_ms": d.maximum}
    for c in d.quantiles:
        key = f"{name}_{quantile_key(c.quantile)}"
        values = _ms(c.estimate)
        row |= {f"{key}_ms": values["value_ms"]}
        if name in ("latency", "ttft"):
            row |= {f"{key}_low_ms": values["low_ms"], f"{key}_high_ms": values["high_ms"]}
    return row
