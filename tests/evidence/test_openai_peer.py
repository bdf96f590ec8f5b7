"""What `make verify-openai` asks and shows; the server itself, which is not ours, only that command starts."""

import numpy as np
import pytest

from bench import payloads
from bench.evidence import gguf, openai_peer
from bench.evidence.openai_peer import TRIALS, Trial
from bench.testing import Stream, make_stream_run
from bench.workload import Workload


def asked(trial: Trial = TRIALS[0]) -> Workload:
    return openai_peer.workload(trial, len(gguf.vocabulary()), 64)


@pytest.mark.parametrize("trial", TRIALS, ids=[trial.title for trial in TRIALS])
def test_every_trial_can_be_asked_of_the_checkpoint(trial: Trial) -> None:
    """Ids are the model's own, texts are texts, and each answer fits its context."""
    workload = asked(trial)
    assert workload.payload.generate is not None
    for prompt in payloads.prompts(workload, workload.payload.generate):
        assert bool(prompt.text) is (trial.form == "text")
        assert prompt.ids.max(initial=0) < len(gguf.vocabulary())
        assert prompt.tokens + prompt.max_tokens < gguf.Shape().context


def test_a_row_has_what_was_asked_what_came_and_what_failed() -> None:
    """Whoever reads it sees a missing token, a chunk of several and an error each by themselves."""
    workload = asked()
    assert workload.payload.generate is not None
    wanted = [prompt.max_tokens for prompt in payloads.prompts(workload, workload.payload.generate)]
    streams = [Stream(0, (5, 8), (1, 3)), Stream(10, (3,), error="broken")]
    run = make_stream_run(streams, workload=workload)
    cells = openai_peer.row(TRIALS[0], run, 16, 15)
    assert cells == [TRIALS[0].title, "2", str(sum(wanted[:2])), "5", "3", "4.00", "0.00", "1 broken", "15 of 16"]


def test_a_letter_that_is_not_whole_at_the_end_is_no_other_text() -> None:
    """A stream leaves it out, a reply in one piece shows that it is cut; any other difference counts."""
    streamed = {"text": np.array([" one €".encode()], np.object_)}
    assert openai_peer._same(streamed, " one €\N{REPLACEMENT CHARACTER}")
    assert not openai_peer._same(streamed, " one\N{REPLACEMENT CHARACTER}€")
