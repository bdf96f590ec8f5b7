"""Reports as one HTML file that needs nothing else: style and plots inside, no script, nothing fetched from anywhere."""

from collections.abc import Sequence
from html import escape
from importlib import resources

from bench.analysis.compare import SideComparison
from bench.analysis.summary import Summary
from bench.record import Run
from bench.reports import comparison_page, facts, run_page
from bench.reports.sides import Sides
from bench.reports.tables import Cell, Page, Table, Verdict, counted

TERMS = (
    ("latency", "from when a request was meant to be sent until its reply was complete: a late send is in it."),
    ("service", "from a request's first byte until its reply was complete: what the server and the wire took."),
    ("send lag", "from when a request was meant to be sent until it was. Latency is send lag and service together."),
    ("throughput", "requests answered correctly in the window, divided by its length."),
    ("TTFT", "time to first token: from when a request was meant to be sent until the piece with its first token came."),
    ("ITL", "inter-token latency: all gaps between one token and the next; 0 between tokens that came in one piece."),
    ("TPOT", "time per output token of a request: from its first token to its last, divided by the tokens after the first."),
    ("goodput", "requests answered correctly in the window that kept every bound promised of one, divided by its length."),
    ("P99", "99% of the requests were answered within this. Printed only where enough requests stand behind it."),
    ("[low, high]", "the 95% interval, from rounds or long stretches of time: single requests depend on each other."),
    ("INVALID", "what the run did is not what was asked, so its numbers show what went wrong and nothing else."),
    ("GPU utilization", "the share of time in which any kernel ran: 100% says that it was never idle, not that it was full."),
    ("CPU", "100% is every core of the machine. The server's and the load generator's are those of all their processes."),
)  # fmt: skip


class Markup(str):
    """Text that is HTML already; every other text is escaped when it becomes a child of an element."""


def el(name: str, *children: object, **attributes: str) -> Markup:
    """An element; None and empty children are left out, `class_` is the attribute class."""
    given = "".join(f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"' for key, value in attributes.items() if value)
    return Markup(f"<{name}{given}>{join(children)}</{name}>")


def join(children: Sequence[object]) -> Markup:
    """Children one after the other, escaped unless they are markup."""
    return Markup("".join(c if isinstance(c, Markup) else escape(str(c)) for c in children if c is not None))


def run_html(run: Run, summary: Summary) -> str:
    """The report of one run."""
    from bench.reports import run_plots  # matplotlib takes half a second, and only this page needs it

    page = run_page.run_page(summary, run)
    made = " · ".join(filter(None, ("bench", run.id, run.created)))
    figures = el(
        "section", *(figure(*drawn, key=f"plot{n}") for n, drawn in enumerate(run_plots.figures(run, summary))), class_="pair"
    )
    rest = el("section", *(_section(table) for table in page.tables[page.leading :]), class_="pair")
    machine = el(
        "section",
        _details("Machine and software", facts.environment(run)),
        _details("What the endpoint said of itself", facts.said(run)) if run.target.get("server") else None,
        _details("What the load said of itself", facts.load_report(run)),
        terms(),
    )
    return document(page, made, [figures, rest, machine])


def comparison_html(comparison: SideComparison, sides: Sides) -> str:
    """The report of a comparison."""
    from bench.reports import comparison_plots

    page = comparison_page.comparison_page(comparison, sides)
    runs = [run for side in sides for run in side.runs]
    made = " · ".join(filter(None, ("bench", counted(len(runs), "run"), min((run.created for run in runs), default=""))))
    drawn = enumerate(comparison_plots.figures(comparison, sides))
    figures = el("section", *(figure(*one, key=f"plot{n}") for n, one in drawn), class_="pair")
    rest = [el("section", el("h2", t.title), table_html(t)) for t in page.tables[page.leading :]]
    known = [(side.name, side.runs[0]) for side in sides if side.runs]
    machines = (_details(f"Machine and software: {name}", facts.environment(run)) for name, run in known)
    said = (_details(f"What the endpoint said of itself: {name}", facts.said(run)) for name, run in known)
    return document(page, made, [figures, *rest, el("section", *machines, *said, terms())])


def document(page: Page, made: str, rest: Sequence[Markup]) -> str:
    """A whole page: title, verdicts, what they mean in short, warnings, then `rest`."""
    first, others = page.tables[:1], page.tables[1 : page.leading]
    leading = [el("section", _leading(table), class_="leading") for table in first]
    leading += [el("section", el("h2", table.title), table_html(table), class_="leading") for table in others]
    body = el(
        "body",
        el("header", el("h1", page.title), el("p", made, class_="from")),
        el("div", *(_verdict(v) for v in page.verdicts), class_="verdicts"),
        el("p", page.lead, class_="lead") if page.lead else None,
        *leading,
        _warnings(page.warnings),
        *rest,
        el("footer", "Made by bench from the stored records of the run; it can be made again from them."),
    )
    style = resources.files("bench.reports").joinpath("page.css").read_text(encoding="utf-8")
    head = el(
        "head",
        Markup('<meta charset="utf-8">'),
        Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        el("title", page.title),
        el("style", Markup(style)),
    )
    return f'<!DOCTYPE html>\n<html lang="en">{head}{body}</html>\n'


def figure(title: str, explained: str, svg: str, wide: bool = False, *, key: str) -> Markup:
    """A plot under its title and a line that says how to read it."""
    from bench.reports.drawing import themed

    caption = el("figcaption", el("b", title), el("span", explained))
    return el(
        "figure",
        caption,
        Markup(themed(svg, key)),
        class_="full" if wide else "",
        role="img",
        aria_label=f"{title}. {explained}",
    )


def table_html(table: Table) -> Markup:
    """A table; the title of a column that belongs to a side has the side's colour."""
    classes = [*table.sides, *[""] * len(table.columns)]
    head = el("thead", el("tr", *(el("th", c, scope="col", class_=k) for c, k in zip(table.columns, classes, strict=False))))
    rows = (el("tr", el("th", row[0].text, scope="row"), *(_cell(c) for c in row[1:])) for row in table.rows)
    note = el("p", table.note, class_="note") if table.note else None
    return join([el("div", el("table", head if any(table.columns) else None, el("tbody", *rows)), class_="scroll"), note])


def _leading(table: Table) -> Markup:
    """The table that leads; of one run, a strip of figures."""
    if len(table.columns) > 2:
        return table_html(table)
    figures = (el("div", el("dt", name.text), el("dd", value.text, class_=value.tone)) for name, value in table.rows)
    note = el("p", table.note, class_="note") if table.note else None
    return join([el("dl", *figures, class_="figures"), note])


def terms() -> Markup:
    """What the words mean."""
    items = [part for term, meaning in TERMS for part in (el("dt", term), el("dd", meaning))]
    return el("details", el("summary", "What the words mean"), el("div", el("dl", *items)))


def _verdict(v: Verdict) -> Markup:
    word = el("b", v.word, class_="word")
    name = el("b", v.name, class_="side") if v.name else None
    reasons = el("ul", *(el("li", r) for r in v.reasons)) if v.reasons else None
    return el(
        "div",
        word,
        name,
        el("span", v.summary, class_="said"),
        reasons,
        class_={"better": "verdict", "worse": "verdict invalid", "muted": "verdict unknown"}[v.tone],
    )


def _warnings(warnings: Sequence[str]) -> Markup | None:
    if not warnings:
        return None
    return el("section", el("h2", "Warnings"), el("ul", *(el("li", w) for w in warnings)), class_="warnings")


def _section(table: Table) -> Markup:
    return el("div", el("h2", table.title), table_html(table), class_="full" if len(table.columns) > 3 else "")


def _details(title: str, known: facts.Facts) -> Markup | None:
    if not known:
        return None
    return el("details", el("summary", title), el("div", table_html(run_page.facts_table(title, known))))


def _cell(c: Cell) -> Markup:
    if c.tone == "code":
        return el("td", el("code", c.text))
    value, _, interval = c.text.partition("\n")
    return el("td", value, *((" ", el("span", interval, class_="interval")) if interval else ()), class_=c.tone)
