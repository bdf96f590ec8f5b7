"""Reports in Markdown, read back by a Markdown parser."""

from collections.abc import Callable
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from bench.analysis.compare import SideComparison
from bench.analysis.summary import summarize
from bench.record import Run
from bench.reports import tables
from bench.reports.markdown import comparison_markdown, escape, page_markdown, run_markdown
from bench.reports.sides import Sides
from bench.reports.tables import Cell, Page, Table, Verdict

GOLDEN = Path(__file__).parents[1] / "golden" / "reports"
ROW = "the name of a row, longer than any name below"
PARSER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
# the characters that mean something somewhere in Markdown, more often than chance would have them
NAMES = st.text(st.sampled_from("\\`*_{}[]()<>#+-.!|~&$@=:; 1ab\"'/") | st.characters(exclude_categories=("C",)), max_size=30)


def shown(markdown: str) -> list[str]:
    """The texts that a reader of the rendered document sees."""
    texts = []
    for token in PARSER.parse(markdown):
        if token.type == "inline":
            kinds = {child.type for child in token.children or ()}
            assert kinds <= {"text", "strong_open", "strong_close", "em_open", "em_close", "text_special"}, kinds
            texts.append("".join(child.content for child in token.children or ()))
        else:
            assert not token.type.startswith("html"), markdown
    return texts


@given(NAMES)
@example("[a](http://evil.test)")
@example("[a]: http://evil.test")
@example("![a][b]")
@example("- x")
@example("1. x")
@example("2) x")
@example("---")
@example("a\\|b`c`|d")
@example("_a_ *b* ~~c~~ <i>d</i> &amp; <http://evil.test>")
def test_a_name_is_shown_as_it_is_wherever_it_stands(name: str) -> None:
    """In a title, a list, a paragraph or a cell no name makes a link, a tag, an emphasis or a column."""
    text = " ".join(tables.plain(name).split())
    verdict = Verdict("", "INVALID", "x", (text,))
    page = Page(f"t {text}", (verdict,), f"l {text}", (Table("T", ("", "c"), ((Cell(ROW), Cell(text)),)),), (text,))
    texts = shown(page_markdown(page))
    assert texts[0] == f"t {text}".strip()
    assert f"l {text}".strip() in texts
    assert texts[texts.index(ROW) + 1] == text
    if text:
        assert texts.count(text) >= 3


@given(NAMES)
def test_escaped_text_stays_on_one_line(name: str) -> None:
    """A line break would end a row of a table."""
    assert "\n" not in escape(name)


def test_the_report_of_a_run_reads_exactly_so(made_run: Callable[..., Run]) -> None:
    """What stands in a pull request, to the letter."""
    run = made_run(errors={3: "status"}, load={"messages": {"status": "HTTP 503"}})
    assert run_markdown(summarize(run), run) == (GOLDEN / "run.md").read_text(encoding="utf-8")


def test_the_report_of_a_comparison_reads_exactly_so(made_sides: Callable[..., tuple[SideComparison, Sides]]) -> None:
    """What stands in a pull request, to the letter."""
    assert comparison_markdown(*made_sides()) == (GOLDEN / "comparison.md").read_text(encoding="utf-8")
