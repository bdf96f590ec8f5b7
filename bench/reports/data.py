"""Reports for programs: one JSON document or one CSV row a run, the numbers as they were computed, unrounded."""

import csv
import io
import json
import math
import numbers
from collections.abc import Iterable, Mapping
from typing import Any

from bench import workload as workloads
from bench.analysis.compare import SideComparison
from bench.analysis.summary import Distribution, Estimate, QuantileClaim, Summary
from bench.record import Run
from bench.reports import facts
from bench.reports.comparison_page import Sides

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
        "validity": {"valid": summary.valid, "reasons": [_reason(r.code, r.message) for r in summary.reasons]},
        "warnings": [_reason(w.code, w.message) for w in summary.warnings],
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
        "slo": [
            {"name": s.name, "limit": s.limit, "actual": s.actual, "unit": s.unit, "met": s.met, "needs": s.needs}
            for s in summary.slo
        ],
        "environment": run.environment,
    }
    return dict(clean(document))


def comparison_json(comparison: SideComparison, sides: Sides) -> Document:
    """Two sides as plain values: each metric with its change (new / base), and every round of each side in full."""
    document = {
        "schema": COMPARISON_SCHEMA,
        "valid": comparison.valid,
        "base": sides[0].name,
        "new": sides[1].name,
        "metrics": [
            {
                "metric": row.metric,
                "base": _measure(row.base),
                "new": _measure(row.new),
                "change": estimate(row.change),
                "better": row.better,
            }
            for row in comparison.rows
        ],
        "sides": [
            {
                "name": side.name,
                "valid": not reasons,
                "reasons": [_reason(r.code, r.message) for r in reasons],
                "rounds": [run_json(run, summary) for run, summary in zip(side.runs, side.summaries, strict=True)],
            }
            for side, reasons in zip(sides, (comparison.base_reasons, comparison.new_reasons), strict=True)
        ],
    }
    return dict(clean(document))


def to_text(document: Document) -> str:
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


def _reason(code: str, message: str) -> Document:
    return {"code": code, "message": message}


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
    for r in summary.resources:
        row |= {f"{r.device}_{r.metric}_mean": r.mean, f"{r.device}_{r.metric}_peak": r.peak}
    return dict(clean(row))


def _times(name: str, d: Distribution) -> Document:
    row: Document = {f"{name}_mean_ms": d.mean.value if d.mean else None, f"{name}_max_ms": d.maximum}
    for c in d.quantiles:
        key = f"{name}_{quantile_key(c.quantile)}"
        values = _ms(c.estimate)
        row |= {f"{key}_ms": values["value_ms"]}
        if name == "latency":
            row |= {f"{key}_low_ms": values["low_ms"], f"{key}_high_ms": values["high_ms"]}
    return row
