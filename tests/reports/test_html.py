"""Reports as one HTML file."""

import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.analysis.compare import SideComparison
from bench.analysis.summary import summarize
from bench.record import Run
from bench.reports import html
from bench.reports.sides import Sides
from bench.reports.tables import Cell, Page, Table, Verdict
from bench.testing import make_run

VOID = {"meta", "br", "hr", "img", "input", "link"}
LINKS = ("href", "src", "xlink:href", "action", "data", "srcset", "poster")


class Reader(HTMLParser):
    """Reads a page strictly: what is opened is closed in order; keeps tags, links, ids and the text outside of styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.handlers: list[str] = []
        self.text = ""
        self.feed(page)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in LINKS]
        self.ids += [value or "" for name, value in attrs if name == "id"]
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data


@pytest.fixture(scope="module")
def run_page(made_run: Callable[..., Run]) -> str:
    run = made_run()
    return html.run_html(run, summarize(run))


@pytest.fixture(scope="module")
def comparison_page(made_sides: Callable[..., tuple[SideComparison, Sides]]) -> str:
    return html.comparison_html(*made_sides())


@pytest.mark.parametrize("page", ["run_page", "comparison_page"])
def test_a_page_is_whole_and_fetches_nothing(page: str, request: pytest.FixtureRequest) -> None:
    """It opens without a network, without scripts, years later: nothing points anywhere but into the page itself."""
    text = request.getfixturevalue(page)
    read = Reader(text)
    assert text.startswith("<!DOCTYPE html>")
    assert set(read.tags).isdisjoint({"script", "link", "iframe", "object", "embed", "img", "base", "form"})
    assert not read.handlers
    assert all(link.startswith("#") for link in read.links)
    assert not re.search(r"@import|@font-face|url\(\s*[\"']?[^#\"')]", text)


@pytest.mark.parametrize("page", ["run_page", "comparison_page"])
def test_what_a_plot_points_to_is_its_own(page: str, request: pytest.FixtureRequest) -> None:
    """Several plots stand in one page: an id that two have would let one borrow the other's clip path."""
    text = request.getfixturevalue(page)
    read = Reader(text)
    assert len(set(read.ids)) == len(read.ids)
    assert {link.removeprefix("#") for link in read.links} <= set(read.ids)
    assert set(re.findall(r"url\(#([^)]*)\)", text)) <= set(read.ids)


def test_the_verdict_comes_before_any_number(run_page: str, made_run: Callable[..., Run]) -> None:
    """Nobody reads a latency before knowing whether it means anything."""
    good = Reader(run_page).text
    assert good.index("VALID") < good.index("mean latency")
    run = made_run(errors=dict.fromkeys(range(10), "status"), load={"messages": {"status": "HTTP 503"}})
    bad = Reader(html.run_html(run, summarize(run))).text
    assert bad.index("INVALID") < bad.index("10 of 100 requests failed") < bad.index("mean latency")
    assert "HTTP 503" in bad


def test_what_cannot_be_claimed_is_not_printed(run_page: str) -> None:
    """100 requests are no P99."""
    assert "n/a (needs 459 requests, has 100)" in Reader(run_page).text


def test_a_machine_without_a_gpu_shows_its_cpu_and_never_a_zero(run_page: str, comparison_page: str) -> None:
    """A GPU that is not there is not idle; it is not there."""
    for page in (run_page, comparison_page):
        text = Reader(page).text
        assert "no GPU: CPU utilization shown" in text
        assert "GPU 0" not in text
        assert "mean GPU" not in text
        assert "GPU utilization over time" not in text
        assert "CPU utilization over time" in text


def test_a_machine_with_a_gpu_shows_it(
    made_run: Callable[..., Run], made_sides: Callable[..., tuple[SideComparison, Sides]]
) -> None:
    """Where there is a GPU, its utilization leads, and the CPU's steps back."""
    run = made_run(gpu=True)
    for page in (html.run_html(run, summarize(run)), html.comparison_html(*made_sides(gpu=True))):
        text = Reader(page).text
        assert "GPU utilization over time" in text
        assert "no GPU" not in text


def test_settings_machine_and_terms_are_in_the_page(run_page: str) -> None:
    """A number without its circumstances cannot be repeated."""
    text = Reader(run_page).text
    for wanted in ("batching", "dynamic", "a processor", "packages.numpy", "2.4.0", "What the words mean", "send lag"):
        assert wanted in text


def test_a_comparison_shows_both_sides_settings_and_every_round(comparison_page: str) -> None:
    """Whether it was fair must be visible: workers of one beside instances of the other."""
    text = Reader(comparison_page).text
    for wanted in ("gunicorn 23.0.0", "workers", "instances", "differs", "Round by round", "3.0x lower"):
        assert wanted in text


def test_a_page_reads_in_light_dark_and_on_paper(run_page: str) -> None:
    """Every colour of a plot is one of the page's, so that a dark page has no dark letters."""
    style, _, rest = run_page.partition("</style>")
    assert "prefers-color-scheme: dark" in style
    assert "@media print" in style
    outside = re.sub(r"var\(--[a-z]+, #[0-9a-f]{6}\)", "", rest)
    assert not re.findall(r"(?:fill|stroke): ?#[0-9a-f]{3,6}", outside)
    used = set(re.findall(r"var\(--([a-z]+)", rest))
    assert all(style.count(f"--{name}:") == 3 for name in used)


def test_no_name_becomes_markup(hostile_run: Run) -> None:
    """Workload, target, options, messages, machine: all of them escaped, in text, attributes and plots."""
    page = html.run_html(hostile_run, summarize(hostile_run))
    read = Reader(page)
    assert "script" not in read.tags
    assert "<script>alert(1)</script>" in read.text


def test_no_name_of_a_side_becomes_markup(made_sides: Callable[..., tuple[SideComparison, Sides]]) -> None:
    """The names of sides stand in titles, tables and legends."""
    name = '"><script>alert(1)</script>'
    page = html.comparison_html(*made_sides(rounds=3, base={"name": name}, new={"name": f"_{name}"}))
    read = Reader(page)
    assert "script" not in read.tags
    assert read.text.count(name) >= 6


@given(st.text(max_size=40), st.sampled_from(["", "better", "bad", "code"]))
def test_any_text_comes_out_as_it_went_in(text: str, tone: str) -> None:
    """Escaping is where text becomes markup, once, for every text."""
    table = Table("T", ("", "x", "y"), ((Cell("r"), Cell(text, tone), Cell(text)),), note=text)  # type: ignore[arg-type]
    page = html.document(Page(text, (Verdict(text, "INVALID", text, (text,)),), text, (table,), (text,)), text, [])
    # the parser, as HTML has it, makes a line feed of every carriage return and drops or replaces what is no character
    if text.isprintable():
        assert Reader(page).text.count(text) >= 9


@given(st.text(st.characters(exclude_categories=("C",)), min_size=1, max_size=40))
def test_any_text_stays_inside_its_attribute(text: str) -> None:
    """A quote in the text does not end the attribute."""
    page = html.el("p", "x", id=text)
    assert Reader(page).ids == [text]
    assert Reader(page).tags == ["p"]


def test_a_run_without_requests_or_samples_still_has_a_page() -> None:
    """A server that died at once leaves such a run, and its report must say so instead of failing."""
    run = make_run([], target={})
    text = Reader(html.run_html(run, summarize(run))).text
    assert "INVALID" in text
    assert "no request was measured" in text
    assert "Nothing was sampled." in text


def test_a_comparison_of_nothing_still_has_a_page() -> None:
    """Interrupted before the first round was over."""
    from bench.analysis.compare import compare_sides
    from bench.reports.sides import side

    text = Reader(html.comparison_html(compare_sides([], []), (side("A", []), side("B", [])))).text
    assert text.count("INVALID") >= 2


def test_matplotlib_is_loaded_only_for_a_page_and_pyplot_never() -> None:
    """Text and Markdown of a run cost no plotting library; a page costs no state of pyplot's."""
    script = """
import sys
from bench.analysis.summary import summarize
from bench.reports import data, html, markdown, text
from bench.testing import make_run
run = make_run([5.0] * 50)
text.run_text(summarize(run), run)
assert "matplotlib" not in sys.modules
html.run_html(run, summarize(run))
assert "matplotlib" in sys.modules and "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True)
