"""Who answers at the start of a run and at its end."""

from typing import Any

import pytest

from bench.analysis.validity import validity
from bench.errors import RunError
from bench.load.identity import asked_again
from bench.targets.base import Facts
from bench.testing import make_run

START = Facts("triton", "2.46.0", details={"platform": "python", "uptime": 5})


class Saying:
    """A target that answers with these facts, or fails."""

    def __init__(self, answer: Facts | Exception) -> None:
        self._answer = answer

    def probe(self) -> Facts:
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer

    def outputs(self, answer: Any) -> Any:
        raise NotImplementedError

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("end", "reasons", "warnings"),
    [
        (START, [], []),
        (Facts("triton", "2.46.0", details={"platform": "python", "uptime": 65}), [], []),
        (Facts("triton", "2.48.0", details={"platform": "python"}), ["server_changed"], []),
        (Facts("triton", "2.46.0", details={"platform": "onnxruntime_onnx"}), ["server_changed"], []),
        (RunError("nothing answers\nnobody"), [], ["server_silent"]),
    ],
)
def test_what_a_server_says_twice_is_compared(end: Facts | Exception, reasons: list[str], warnings: list[str]) -> None:
    """By name, version and platform, not by what changes while it runs; what the analysis makes of it is here too."""
    run = make_run([10.0] * 100, load=asked_again(Saying(end), START))
    assert tuple([r.code for r in found] for found in validity(run)) == (reasons, warnings)


def test_of_an_answer_that_did_not_come_one_line_is_kept() -> None:
    """The report has no room for more."""
    assert asked_again(Saying(RunError("nothing answers\nnobody")), START)["server_at_end_problem"] == "nothing answers"


def test_a_target_that_tries_a_request_when_it_is_probed_is_asked_without_one() -> None:
    """What is sent after the run would be in the server's counts, and costs it a generation."""

    class Trying(Saying):
        def who(self) -> Facts:
            return START

    assert asked_again(Trying(RuntimeError("a request was sent")), START)["server_at_end"]["version"] == "2.46.0"
