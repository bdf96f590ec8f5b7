"""What is read from the dicts of a run."""

from typing import Any

import pytest

from bench.lengths import Lognormal, Uniform, Values
from bench.record import Run
from bench.reports import facts
from bench.testing import make_run, make_stream_run, make_stream_workload
from bench.workload import Generate, Payload, Prefix


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


def test_what_an_endpoint_says_stands_in_for_settings_that_are_not_known() -> None:
    """Beside settings that are known it would only bury them."""
    said = {"answered_as": {"version": "2.48", "extensions": ["a", "b"]}}
    shown = {"answered as.version": "2.48", "answered as.extensions": "a, b"}
    unknown = facts.settings(run_with(target={"server": None} | said))
    assert unknown == {"server": "not started by bench: its settings are not known"} | shown
    started = run_with(target={"server": {"kind": "x"}} | said)
    assert facts.settings(started) == {"server": "x"}
    assert facts.said(started) == shown


def test_sizes_counts_and_digests_are_written_for_people() -> None:
    """25,557,032 parameters, 25.2 GB, and enough of a digest to tell two models apart."""
    model = {"parameters": 25557032, "digest": "0123456789abcdef" * 4, "memory_bytes": 25_200_000_000}
    assert facts.settings(run_with(target={"server": {"kind": "x"}, "model": model})) == {
        "server": "x",
        "model parameters": "25,557,032",
        "model digest": "0123456789abcdef",
        "model memory_bytes": "25.2 GB",
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


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "prompts of 16 to 64 token ids, answers of 8 tokens"),
        ({"form": "text", "ignore_eos": False}, "prompts of 16 to 64 words, answers of 8 tokens or until the model ends them"),
        ({"prefix": Prefix(4, 2)}, "prompts of 16 to 64 token ids, answers of 8 tokens, the first 4 alike in 2 groups"),
        ({"output_tokens": Lognormal(20, 0.5, 90)}, "prompts of 16 to 64 token ids, answers of 1 to 90 (median 20) tokens"),
        ({"output_tokens": Values((3, 9, 5))}, "prompts of 16 to 64 token ids, answers of 3 to 9 (as listed) tokens"),
    ],
)
def test_prompts_and_answers_are_told_by_their_lengths(changes: dict[str, Any], said: str) -> None:
    """As the workload states them."""
    generate = Generate(**({"prompt_tokens": Uniform(16, 64), "output_tokens": 8} | changes))
    run = make_stream_run([], workload=make_stream_workload(payload=Payload(generate=generate)))
    assert facts.load_settings(run, "")["payload"] == said


def test_the_model_is_told_with_its_precision_and_where_its_weights_come_from() -> None:
    """A context is told where the model has one."""
    model = {"name": "m", "precision": "int4", "preset": "full", "weights": "seeded", "context": 0}
    server = {"kind": "triton"}
    known = facts.settings(run_with(target={"server": server, "model": model}))
    assert (known["model precision"], known["model weights"], "model context" in known) == ("int4", "seeded", False)
    assert facts.settings(run_with(target={"server": server, "model": model | {"context": 1024}}))["model context"] == "1,024"


def test_the_model_of_the_reference_answers_is_not_told_as_the_server_s() -> None:
    """A server that bench did not start may serve anything under that name."""
    target = {"server": None, "model": None, "reference_model": {"name": "m", "digest": "0" * 64, "context": 0}}
    known = facts.settings(run_with(target=target))
    shown = {key: value for key, value in known.items() if "model" in key}
    assert shown == {"reference model name": "m", "reference model digest": "0" * 16}


def test_what_the_generator_can_do_stands_with_the_load() -> None:
    """Where it was measured; a problem with that is no fact of the load."""
    known = {"rate_hz": 86_012.3, "cpu_us": 11.36, "added_p50_ns": 74_808}
    said = facts.load_settings(make_run([10.0], load={"ceiling": known}), "")["generator"]
    assert (
        said == "reaches 86,012/s here (11.4 µs of CPU a request); against a server that does nothing a request takes 0.075 ms"
    )
    assert "generator" not in facts.load_settings(make_run([10.0], load={"ceiling": {"problem": "no"}}), "")


def test_the_processes_of_a_load_are_told_with_what_is_known_of_their_clocks() -> None:
    """Of one on another host, by how much its times may be wrong; of one process alone nothing is said."""
    here, away = {"worker": 0, "host": ""}, {"worker": 1, "host": "b", "clock_within_ns": 120_000}
    told = facts.load_settings(run_with(load={"workers": [here, away, {"worker": 2, "host": "c"}]}), "x")
    assert told["workers"] == "1 on this machine, 2 on other hosts"
    assert told["worker 1 on b"] == "its clock is aligned to within 0.120 ms"
    assert told["worker 2 on c"] == "its clock could not be compared"
    assert "workers" not in facts.load_settings(run_with(), "x")
