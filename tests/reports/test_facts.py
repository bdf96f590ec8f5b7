"""What is read from the dicts of a run."""

from bench.record import Run
from bench.reports import facts
from bench.testing import make_run


def run_with(**fields: object) -> Run:
    return make_run([1.0, 2.0], **fields)


def test_a_target_is_called_by_its_name_else_by_what_was_asked_for() -> None:
    """The word that was driven is the last resort: it holds a port that means nothing to a reader."""
    assert facts.target_name(run_with(target={"name": "Flask", "asked": "flask", "word": "flask://h:1"})) == "Flask"
    assert facts.target_name(run_with(target={"asked": "flask", "word": "flask://h:1"})) == "flask"
    assert facts.target_name(run_with(target={})) == "target"


def test_a_server_that_bench_did_not_start_is_said_to_be_unknown() -> None:
    """Nothing is guessed about its threads or workers."""
    known = facts.settings(run_with(target={"word": "triton-http://h:8000", "server": None}))
    assert known == {"server": "not started by bench: its settings are not known", "driven as": "triton-http://h:8000"}


def test_options_of_the_server_are_shown_by_name() -> None:
    """Threads, workers and session options decide whether a comparison is fair."""
    options = {"threads": 2, "session_options": {"graph": "all"}, "spin": False}
    known = facts.settings(run_with(target={"server": {"kind": "flask", "version": "", "options": options}}))
    assert known == {"server": "flask", "threads": "2", "session options.graph": "all", "spin": "no"}


def test_what_else_a_target_says_is_kept() -> None:
    """A fact that the reports do not know by name is shown all the same."""
    assert facts.settings(run_with(target={"server": {"kind": "x"}, "endpoint": {"extensions": ["a", "b"]}})) == {
        "server": "x",
        "endpoint.extensions": "a, b",
    }


def test_a_fingerprint_becomes_a_flat_list() -> None:
    """Nested tables and lists of tables are named by their path; what is not known is said to be so."""
    environment = {"gpus": [{"name": "H100"}, {"name": "A10"}], "cores": 2, "governor": None, "limits": [1.5, 2.0], "none": []}
    assert facts.environment(run_with(environment=environment)) == {
        "gpus[0].name": "H100",
        "gpus[1].name": "A10",
        "cores": "2",
        "governor": "unknown",
        "limits": "1.5, 2",
        "none": "none",
    }
