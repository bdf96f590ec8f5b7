"""The report of a run against its history: the verdict, each metric beside those before it, and every change of level."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from bench.analysis.estimate import Estimate
from bench.analysis.history import ERROR, MIN_RUNS, History, Metric, Step
from bench.analysis.judging import estimate_of
from bench.reports import compared, data, facts, html, run_page, tables, verdicts
from bench.reports.html import el, figure
from bench.reports.tables import Cell, Page, Table, Verdict

SCHEMA = "bench/history/1"
PassedOver = Counter[str]


def history_page(history: History, passed_over: PassedOver) -> Page:
    """The page; `passed_over` are the runs that are not of the history: why, and how many."""
    run, summary = history.judged
    valid = Verdict(
        tables.plain(run.id),
        "VALID" if summary.valid else "INVALID",
        f"{tables.plain(summary.load)}; {tables.counted(summary.requests, 'request')}, {tables.number(summary.window_s)} s",
        tuple(run_page.reason(reason) for reason in summary.reasons),
    )
    leading = (_in_short(history), *(_step(history, step) for step in history.steps))
    return Page(
        title=f"{facts.target_name(run)} against its history: {tables.plain(summary.workload)}",
        verdicts=(_banner(history), valid),
        lead=_lead(history),
        tables=leading,
        warnings=tuple(_warnings(passed_over)),
        leading=len(leading),
    )


def _banner(history: History) -> Verdict:
    said = ", ".join(f"{compared.name(m.name)} {m.judgement.verdict}" for m in history.metrics)
    reasons = (f"{compared.name(m.name)} is not known: {m.judgement.why}" for m in history.metrics if m.judgement.why)
    return Verdict("this run", history.verdict, said, tuple(reasons))


def _lead(history: History) -> str:
    earlier = history.points[:-1]
    if not earlier:
        return f"No run is stored that it could be held to; {MIN_RUNS} are needed."
    count = f"the {len(earlier)} runs" if len(earlier) > 1 else "the one run"
    span = f"{count} from {_when(earlier[0].run.created)} to {_when(earlier[-1].run.created)}"
    changed = "; ".join(_pointed(history, step) for step in history.steps)
    return f"Held to {span}." + (f" Changed: {changed}." if changed else " No change of level is seen among them.")


def _pointed(history: History, step: Step) -> str:
    names = ", ".join(f"{compared.name(s.metric)} {_change(s.before, s.after)}" for s in step.shifts)
    came_with = ", ".join(_told(d.name, d.values) for d in step.differences)
    return f"{names} from {tables.plain(history.points[step.at].run.id)} on" + (
        f", which came with {came_with}" if came_with else ""
    )


def _told(name: str, values: tuple[str, ...]) -> str:
    return f"{tables.plain(name)} {' -> '.join(map(tables.plain, values))}"


def _warnings(passed_over: PassedOver) -> Iterator[str]:
    if passed_over:
        said = ", ".join(f"{count} {why}" for why, count in passed_over.most_common())
        yield f"runs that are not of its history: {said}"


# ---------------------------------------------------------------- tables


def _in_short(history: History) -> Table:
    earlier = len(history.points) - 1
    rows = tuple(_row(metric) for metric in history.metrics)
    titles = ("", f"mean of {tables.counted(earlier, 'run')}", "this run", "change", "verdict")
    return Table("In short", titles, rows, _note(history), ("", "first", "second", "", ""))


def _row(metric: Metric) -> tuple[Cell, ...]:
    like = tables.largest((metric.mean, metric.values[-1]))
    return (
        Cell(compared.name(metric.name)),
        Cell(tables.pointed(metric.mean, like)),
        Cell(tables.pointed(metric.values[-1], like)),
        Cell(tables.difference(metric.change)),
        _word(metric.judgement.verdict),
    )


def _word(word: Any) -> Cell:
    return Cell(word, Verdict("", word, "", ()).tone)


def _note(history: History) -> str:
    if not any(metric.change for metric in history.metrics):
        return ""
    deltas = ", ".join(f"{compared.name(m.name)} {verdicts.matters(m.name, m.judgement.delta)}" for m in history.metrics)
    confidence = 100 * (1 - ERROR / len(history.metrics))
    return (
        f"SAME: the interval lies within what does not matter ({deltas}); "
        "WORSE, BETTER: on one side of no change. "
        f"The interval is one of {confidence:.3g}% for a single run more of those that scatter as the runs before it, "
        "of which the mean is geometric."
    )


def _step(history: History, step: Step) -> Table:
    """A change of level: the two runs that it lies between, the levels, and what differs in their records."""
    pair = [point.run for point in history.points[step.at - 1 : step.at + 1]]
    rows = [(Cell("run"), *(tables.cell(run.id) for run in pair), Cell("")), (Cell("made"), *map(_made, pair), Cell(""))]
    rows += [_level(shift.metric, shift.before, shift.after) for shift in step.shifts]
    rows += [(tables.cell(d.name), *(tables.cell(value) for value in d.values), Cell("")) for d in step.differences]
    note = "" if step.differences else "In what is recorded of target, machine and software these two runs do not differ."
    title = f"Changed between run {step.at} and run {step.at + 1} of {len(history.points)}"
    return Table(title, ("", "up to", "from", "change"), tuple(rows), note)


def _made(run: Any) -> Cell:
    return Cell(_when(run.created))


def _level(metric: str, before: Estimate, after: Estimate) -> tuple[Cell, ...]:
    like = tables.largest((before, after))
    levels = (Cell(tables.pointed(level, like)) for level in (before, after))
    return Cell(compared.name(metric)), *levels, Cell(_change(before, after))


def _change(before: Estimate, after: Estimate) -> str:
    return tables.difference(Estimate(after.value / before.value, None, None, "x"))


def _when(created: str) -> str:
    return tables.plain(created[:16].replace("T", " "))


# ---------------------------------------------------------------- other forms


def history_html(history: History, passed_over: PassedOver) -> str:
    """The report as one HTML file, with a plot of every metric over the runs."""
    from bench.reports import history_plots  # matplotlib takes half a second, and only this page needs it

    made = f"bench · {tables.counted(len(history.points), 'run')} · {tables.plain(history.judged.run.created)}"
    drawn = enumerate(history_plots.figures(history))
    return html.document(
        history_page(history, passed_over),
        made,
        [el("section", *(figure(*one, key=f"plot{n}") for n, one in drawn), class_="pair"), el("section", html.terms())],
    )


def history_json(history: History, passed_over: PassedOver) -> dict[str, Any]:
    """The report as plain values, unrounded; each metric's values are those of `runs`, the judged run's last."""
    run, summary = history.judged
    document = {
        "schema": SCHEMA,
        "run": run.id,
        "valid": summary.valid,
        "reasons": [{"code": r.code, "spoils": r.spoils, "message": r.message} for r in summary.reasons],
        "verdict": history.verdict,
        "runs": [{"run": p.run.id, "created": p.run.created} for p in history.points],
        "passed_over": dict(passed_over),
        "metrics": [_metric_json(metric) for metric in history.metrics],
        "changes": [_step_json(history, step) for step in history.steps],
    }
    return dict(data.clean(document))


def _metric_json(metric: Metric) -> dict[str, Any]:
    return {
        "metric": metric.name,
        "better": metric.better,
        "unit": metric.unit,
        "values": [e and e.value for e in map(estimate_of, metric.values)],
        "mean": data.estimate(metric.mean),
        "change": data.estimate(metric.change),
        "verdict": metric.judgement.verdict,
        "delta": metric.judgement.delta,
        "why": metric.judgement.why,
    }


def _step_json(history: History, step: Step) -> dict[str, Any]:
    before, after = (point.run.id for point in history.points[step.at - 1 : step.at + 1])
    return {
        "after": before,
        "from": after,
        "levels": [
            {"metric": s.metric, "before": data.estimate(s.before), "after": data.estimate(s.after)} for s in step.shifts
        ],
        "differences": [{"name": d.name, "before": d.values[0], "after": d.values[1]} for d in step.differences],
    }
