"""What the workers of one load said, as one."""

from pathlib import Path
from typing import Any

import numpy as np

from bench import answers
from bench.load.crew import merged

CEILING = {"protocol": "HTTP/1.1", "connections": 2, "workers": 2, "rate_hz": 1000.0, "cpu_us": 20.0,
           "added_p50_ns": 50, "added_p99_ns": 90}  # fmt: skip


def told(**changes: Any) -> dict[str, Any]:
    base = {"sent": 10, "unsent": 1, "late_without_connection": 2, "reconnects": 3, "cpu_s": 0.5, "engine_cpu_s": 0.2,
            "tolerance": 0.01, "messages": {}}  # fmt: skip
    return base | changes


def test_counts_are_summed_and_the_engines_cpu_is_that_of_the_busiest() -> None:
    """Each engine has a core of its own: two that are half busy are not one that is saturated."""
    made = merged.details([told(), told(sent=5, engine_cpu_s=0.4)])
    assert (made["sent"], made["unsent"], made["reconnects"], made["cpu_s"]) == (15, 2, 6, 1.0)
    assert made["engine_cpu_s"] == 0.4


def test_of_messages_the_first_of_each_kind_stands() -> None:
    """As one process would keep it."""
    made = merged.details([told(messages={"status": "one"}), told(messages={"status": "two", "closed": "three"})])
    assert made["messages"] == {"status": "one", "closed": "three"}


def test_what_one_worker_tells_for_all_is_kept() -> None:
    """The batches that the server executed, and who it was."""
    made = merged.details([told(batches={"1": 4}, server_at_start={"server": "x"}), told()])
    assert (made["batches"], made["server_at_start"], made["tolerance"]) == ({"1": 4}, {"server": "x"}, 0.01)
    assert "tokens_counted" not in made


def test_ways_of_counting_tokens_are_summed() -> None:
    """In so many replies each."""
    ways = merged.details([told(tokens_counted={"a": 2}), told(tokens_counted={"a": 1, "b": 5})])["tokens_counted"]
    assert ways == {"a": 3, "b": 5}


def test_ceilings_measured_together_are_added_up() -> None:
    """1,000 and 600 a second make 1,600; the dearer request and the longer wait are told."""
    other = CEILING | {"rate_hz": 600.0, "cpu_us": 30.0, "added_p99_ns": 80}
    made = merged.details([told(ceiling=CEILING), told(ceiling=other)])["ceiling"]
    assert (made["rate_hz"], made["cpu_us"], made["added_p50_ns"], made["added_p99_ns"]) == (1600.0, 30.0, 50, 90)


def test_a_ceiling_that_one_worker_could_not_measure_is_none() -> None:
    """A sum with a part missing would call a load too fast that is not."""
    broken = {"protocol": "HTTP/1.1", "problem": "no request was answered"}
    made = merged.details([told(ceiling=CEILING), told(ceiling=broken)])["ceiling"]
    assert made.get("problem") == "no request was answered"
    assert "rate_hz" not in made
    assert "ceiling" not in merged.details([told(ceiling=CEILING), told()])


def test_answers_of_all_workers_come_together(tmp_path: Path) -> None:
    """Each has answered other requests; of one that died nothing can be read, and the rest stands."""
    one, two, torn = (tmp_path / f"answers-{n}.arrow" for n in range(3))
    answers.write(one, {0: {"y": np.array([1.0])}, 1: {"y": np.array([2.0])}})
    answers.write(two, {1: {"y": np.array([9.0])}, 2: {"y": np.array([3.0])}})
    torn.write_bytes(b"ARROW1")
    merged.keep_answers(tmp_path, [one, two, torn])
    kept, _ = answers.read(tmp_path / "answers.arrow")
    assert {payload: outputs["y"].tolist() for payload, outputs in kept.items()} == {0: [1.0], 1: [2.0], 2: [3.0]}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["answers.arrow"]
