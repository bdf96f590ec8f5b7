"""Plots as SVG."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable

import matplotlib
import numpy as np

from bench.analysis.compare import SideComparison, compare_sides
from bench.analysis.summary import summarize
from bench.record import Run
from bench.reports import comparison_plots, drawing, plots, run_plots, series
from bench.reports.series import Curve
from bench.reports.sides import Sides, side
from bench.testing import Stream, make_run, make_stream_run, make_workload

AXIS = drawing.TimeAxis("time, s", -1.0, 0.0, 10.0)


def texts(svg: str) -> list[str]:
    return [
        "".join(e.itertext()).strip() for e in ET.fromstring(svg[svg.index("<svg") :]).iter("{http://www.w3.org/2000/svg}text")
    ]


def test_every_plot_is_svg_with_letters_that_can_be_searched(made_run: Callable[..., Run]) -> None:
    """Text stays text, so that it can be found, read aloud and set in the reader's font."""
    run = made_run()
    for title, explained, svg, _ in run_plots.figures(run, summarize(run)):
        assert title
        assert explained
        assert len(texts(svg)) > 5


def test_the_same_run_is_drawn_the_same(made_run: Callable[..., Run]) -> None:
    """A report made again from the stored run is the same file."""
    run = made_run()
    assert run_plots.figures(run, summarize(run)) == run_plots.figures(run, summarize(run))


def test_drawing_leaves_matplotlib_as_it_was(made_run: Callable[..., Run]) -> None:
    """A user who plots in the same process keeps their own style."""
    before = dict(matplotlib.rcParams)
    run = made_run()
    run_plots.figures(run, summarize(run))
    assert dict(matplotlib.rcParams) == before


def test_a_long_run_makes_small_plots() -> None:
    """300,000 requests, every tenth failed, are drawn in less than 400 kB."""
    run = make_run(np.linspace(1.0, 2.0, 300_000), errors=dict.fromkeys(range(0, 300_000, 10), "status"))
    assert sum(len(svg) for _, _, svg, _ in run_plots.figures(run, summarize(run))) < 400_000


def test_a_choice_of_requests_is_said_to_be_one() -> None:
    """A reader must not take the dots for all there is, or the slowest for typical."""
    few, many = (run_plots.figures(run, summarize(run))[1] for run in (make_run([5.0] * 100), make_run([5.0] * 5000)))
    assert few[1].startswith("Every request")
    assert many[1].startswith("1,500 of 5,000 requests")
    assert "slowest" in texts(many[2])


def test_only_what_may_be_claimed_is_marked(made_run: Callable[..., Run]) -> None:
    """100 requests carry a P50, P90 and P95: three dots; the curve beyond them is dotted."""
    run = made_run()
    _, _, svg, _ = run_plots.figures(run, summarize(run))[0]
    assert len(re.findall(r"<use [^>]*href=", svg)) == 3
    assert "stroke-dasharray" in svg


def test_the_asked_rate_stands_in_the_throughput() -> None:
    """Whether the load was what was asked for is seen at a glance."""
    run = make_run([2.0] * 100, every_ms=10.0)
    assert "asked: 100/s" in texts(run_plots.figures(run, summarize(run))[2][2])


def test_a_promise_stands_in_the_distribution() -> None:
    """How far the curve stays from what was promised."""
    from bench.slo import Nanoseconds, Slo

    run = make_run([2.0] * 100, workload=make_workload(slo=Slo(latency_ns=Nanoseconds(50_000_000))))
    assert "promised P99" in texts(run_plots.figures(run, summarize(run))[0][2])


def test_the_warm_up_is_shaded() -> None:
    """What was not measured looks it."""
    run = make_run([10.0] * 100, window_ms=(200.0, 1000.0))
    assert run_plots.axis(run) == drawing.TimeAxis("time, s", -0.2, 0.0, 0.8)
    drawn = plots.latency_over_time([], [], np.empty(0), run_plots.axis(run))
    assert drawing.COLOURS["shade"] in drawn
    assert drawing.COLOURS["shade"] not in plots.latency_over_time(
        [], [], np.empty(0), drawing.TimeAxis("time, s", 0.0, 0.0, 0.8)
    )


def test_latencies_far_apart_are_drawn_on_a_logarithmic_scale() -> None:
    """From 1 ms to 10 s on a linear scale the fast ones would be a line at the bottom."""
    wide = plots.latency_over_time(
        [("x", "#1f5fbf", Curve(np.arange(3.0), np.array([1.0, 100.0, 10_000.0])))], [], np.empty(0), AXIS
    )
    assert {"1", "10", "100", "1,000", "10,000"} <= set(texts(wide))
    narrow = plots.latency_over_time(
        [("x", "#1f5fbf", Curve(np.arange(3.0), np.array([8.0, 9.0, 10.0])))], [], np.empty(0), AXIS
    )
    assert "0" in texts(narrow)


def test_a_legend_holds_any_name() -> None:
    """A leading underscore, a dollar, letters that the drawing font lacks: all are shown, none warns."""
    for name in ("_hidden", "$x_1$", "\u4e16\u754c", "<b>&"):
        svg = plots.cdf(
            [
                (name, "#b4530a", Curve(np.array([1.0, 2.0]), np.array([0.0, 0.5]))),
                ("b", "#1f5fbf", Curve(np.array([1.0, 2.0]), np.array([0.0, 0.5]))),
            ],
            [],
            None,
        )
        assert name in texts(svg)


def test_no_plot_needs_a_value() -> None:
    """Rounds without a latency, sides without samples, curves of gaps."""
    nothing = Curve(np.array([1.0, 2.0]), np.array([np.nan, np.nan]))
    nan = float("nan")
    for svg in (
        plots.cdf([], [], None),
        plots.latency_over_time([("a", "#b4530a", nothing)], [("b", "#1f5fbf", nothing)], np.array([1.0]), AXIS),
        plots.steps_over_time([("a", "#b4530a", nothing)], None, AXIS, "%"),
        plots.rounds([("mean", [[nan, 1.0], [nan]])], ("a", "b")),
        plots.rounds([("mean", [[], []])], ("a", "b")),
        plots.rounds([("mean", [[0.0], [0.0]])], ("a", "b")),
    ):
        assert svg.rstrip().endswith("</svg>")


def test_theming_touches_tags_only() -> None:
    """A side called like a colour keeps its name."""
    svg = plots.cdf(
        [
            ("#1f5fbf", "#1f5fbf", Curve(np.array([1.0, 2.0]), np.array([0.0, 0.5]))),
            ("b", "#b4530a", Curve(np.array([1.0]), np.array([0.0]))),
        ],
        [],
        None,
    )
    themed = drawing.themed(svg, "p0")
    assert ">#1f5fbf<" in themed
    assert "var(--second, #1f5fbf)" in themed
    assert 'id="p0-' in themed


def test_a_side_without_a_gpu_is_not_drawn_among_gpus(made_sides: Callable[..., tuple[SideComparison, Sides]]) -> None:
    """Its CPU must not pass for the utilization of a GPU."""
    figures = comparison_plots.figures(*made_sides(new={"gpu": True}))
    title, _, svg, _ = figures[-1]
    assert title == "GPU utilization over time"
    assert drawing.SIDES[0] not in svg
    assert drawing.SIDES[1] in svg


def test_both_sides_are_drawn_in_every_plot_of_a_comparison(made_sides: Callable[..., tuple[SideComparison, Sides]]) -> None:
    """Names and colours of both stand in each."""
    for title, _, svg, _ in comparison_plots.figures(*made_sides()):
        assert {"Flask", "Triton 24.07"} <= set(texts(svg)), title
        assert all(colour in svg for colour in drawing.SIDES[:2]), title


def test_every_plot_of_streams_is_svg_with_its_tokens(
    made_stream_run: Callable[..., Run], made_modes: Callable[..., tuple[SideComparison, Sides]]
) -> None:
    """The timeline is wide and comes first; the plots of many sides have a colour for each."""
    run = made_stream_run()
    figures = run_plots.figures(run, summarize(run))
    assert figures[0][0] == "When each token came"
    assert [wide for *_, wide in figures] == [True, *[False] * 6]
    for title, _, svg, _ in comparison_plots.figures(*made_modes()):
        assert all(colour in svg for colour in drawing.SIDES[:4]), title


def test_a_timeline_has_a_dot_for_each_piece_with_tokens() -> None:
    """Two streams with three and two pieces, one of them empty; lines of the same length beside each other."""
    streams = series.first_streams(make_stream_run([Stream(0, [10, 20, 30]), Stream(5, [10, 20], [0, 2])]), 8)
    svg = plots.tokens_over_time([("a side", drawing.SIDES[0], streams)])
    drawn = [path for path in re.findall(r"<path [^>]*>", svg) if f"stroke: {drawing.SIDES[0]}" in path]
    assert sum(path.count("M ") for path in drawn) == 4
    assert "a side" in texts(svg)


def test_no_plot_of_streams_needs_a_value() -> None:
    """No stream, streams without tokens, a side without rounds."""
    for made in ([], [Stream(0, [], end_ms=5)] * 3, [Stream(0, [1])]):
        run = make_stream_run(made)
        run_plots.figures(run, summarize(run))
        sides = (side("a", [run]), side("b", []), side("c", [make_run([])]))
        comparison_plots.figures(compare_sides(*(one.runs for one in sides)), sides)


def test_a_long_run_of_streams_makes_small_plots() -> None:
    """200 streams of 5,000 tokens are drawn in less than 500 kB."""
    times = np.cumsum(np.full(5000, 20.0)).tolist()
    run = make_stream_run([Stream(10.0 * n, times) for n in range(200)])
    assert sum(len(svg) for _, _, svg, _ in run_plots.figures(run, summarize(run))) < 500_000
