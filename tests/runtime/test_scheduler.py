"""The thread that runs a model for all who submit to it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from bench.runtime.scheduler import Scheduler


class Rows:
    """Two slots; every token is the one before plus one. A run waits for `go`, if that is closed."""

    slots, context, vocabulary, movable = 2, 20, 50, True
    eos = frozenset({9})

    def __init__(self) -> None:
        self.go = threading.Event()
        self.go.set()
        self.begun = threading.Semaphore(0)
        self.last = [0, 0]
        self.broken = False

    def _run(self) -> None:
        self.begun.release()
        assert self.go.wait(10)
        if self.broken:
            raise RuntimeError("out of memory")

    def read(self, slot: int, ids: np.ndarray) -> np.ndarray:
        self._run()
        self.last[slot] = int(ids[-1])
        return np.eye(50)[self.last[slot] + 1]  # type: ignore[no-any-return]

    def step(self, tokens: Any) -> np.ndarray:
        self._run()
        return np.eye(50)[[(token or 0) + 1 for token in tokens]]

    def move(self, source: int, target: int) -> None:
        pass

    def clear(self, slot: int) -> None:
        pass


class Client:
    """Who is called back, and waits for the end."""

    def __init__(self) -> None:
        self.made: list[tuple[int, bool, str]] = []
        self.ended = threading.Event()
        self.threads: set[str] = set()

    def emit(self, token: int, last: bool, error: str) -> None:
        self.made.append((token, last, error))
        self.threads.add(threading.current_thread().name)
        if last:
            self.ended.set()


@contextmanager
def scheduler(rows: Rows, batching: str = "continuous", **options: Any) -> Iterator[Scheduler]:
    made = Scheduler(rows, batching=batching, prefill_chunk=4, **options)
    try:
        yield made
    finally:
        rows.go.set()
        made.close()


@pytest.mark.parametrize("batching", ["off", "dynamic", "continuous"])
def test_each_token_is_called_back_as_it_is_made_on_the_scheduler_s_thread(batching: str) -> None:
    """The last one is marked."""
    with scheduler(Rows(), batching) as shared:
        clients = [Client() for _ in range(5)]
        for n, client in enumerate(clients):
            shared.submit(np.array([n, 10 * n]), 3, client.emit)
        for n, client in enumerate(clients):
            assert client.ended.wait(10)
            assert client.made == [(10 * n + 1, False, ""), (10 * n + 2, False, ""), (10 * n + 3, True, "")]
            assert client.threads == {"scheduler"}


def test_an_answer_ends_where_the_model_says_unless_that_is_to_be_ignored() -> None:
    """The end-of-text token is part of the answer."""
    with scheduler(Rows()) as shared:
        ending, going_on = Client(), Client()
        shared.submit(np.array([6]), 8, ending.emit, ignore_eos=False)
        shared.submit(np.array([6]), 8, going_on.emit)
        assert ending.ended.wait(10)
        assert going_on.ended.wait(10)
    assert [token for token, _, _ in ending.made] == [7, 8, 9]
    assert [token for token, _, _ in going_on.made] == list(range(7, 15))


@pytest.mark.parametrize(
    ("ids", "wanted", "message"),
    [
        ([], 1, r"the prompt: expected token ids in one dimension, at least one, got shape \[0\]"),
        ([[1, 2]], 1, r"got shape \[1, 2\]"),
        ([1, 50, 51], 1, "token id 50 is not in the vocabulary, 0 to 49"),
        ([1, -1], 1, "token id -1 is not in the vocabulary"),
        ([1], 0, "max_tokens: expected at least 1, got 0"),
        ([1] * 11, 10, "a prompt of 11 tokens and an answer of 10 are 21 tokens, the context has 20"),
    ],
)
def test_a_prompt_that_is_none_for_this_model_is_refused_where_it_is_submitted(ids: Any, wanted: int, message: str) -> None:
    """Before it costs anybody anything."""
    with scheduler(Rows()) as shared, pytest.raises(ValueError, match=message):
        shared.submit(np.array(ids, np.int64), wanted, Client().emit)


def test_a_prompt_may_fill_the_context_to_its_end() -> None:
    """The bound is the sum, not less."""
    with scheduler(Rows()) as shared:
        client = Client()
        shared.submit(np.array([1] * 11), 9, client.emit)
        assert client.ended.wait(10)
    assert len(client.made) == 9


def test_who_cancels_is_not_called_back_any_more() -> None:
    """But for the token that was being made."""
    rows = Rows()
    rows.go.clear()
    with scheduler(rows) as shared:
        client, other = Client(), Client()
        cancel = shared.submit(np.array([1]), 15, client.emit)
        assert rows.begun.acquire(timeout=10)
        cancel()
        shared.submit(np.array([2]), 15, other.emit)
        rows.go.set()
        assert other.ended.wait(10)
    assert len(client.made) <= 2
    assert not client.ended.is_set()


def test_a_run_that_fails_ends_its_requests_and_the_next_ones_are_answered() -> None:
    """The thread outlives what the model does."""
    rows = Rows()
    rows.broken = True
    with scheduler(rows) as shared:
        client, other = Client(), Client()
        shared.submit(np.array([1]), 3, client.emit)
        assert client.ended.wait(10)
        rows.broken = False
        shared.submit(np.array([1]), 3, other.emit)
        assert other.ended.wait(10)
    assert client.made == [(-1, True, "RuntimeError: out of memory")]
    assert len(other.made) == 3


def test_closing_ends_the_thread_and_tells_everybody_who_waits() -> None:
    """Nobody is left hanging, and nothing can be submitted after."""
    rows = Rows()
    rows.go.clear()
    with scheduler(rows, "off") as shared:
        clients = [Client(), Client()]
        for client in clients:
            shared.submit(np.array([1]), 15, client.emit)
        assert rows.begun.acquire(timeout=10)
        closing = threading.Thread(target=shared.close)
        closing.start()
        rows.go.set()
        closing.join(10)
        assert not closing.is_alive()
    assert [client.made[-1] for client in clients] == [(-1, True, "the model is being shut down")] * 2
    with pytest.raises(RuntimeError, match="the scheduler is closed"):
        shared.submit(np.array([1]), 1, Client().emit)


def test_a_scheduler_that_has_nothing_to_do_sleeps() -> None:
    """It looks at the clock when somebody comes, and not meanwhile."""
    looks: list[int] = []

    def clock() -> int:
        looks.append(0)
        return 0

    with scheduler(Rows(), clock=clock) as shared:
        client = Client()
        shared.submit(np.array([1]), 2, client.emit)
        assert client.ended.wait(10)
        threading.Event().wait(0.05)
        before = len(looks)
        threading.Event().wait(0.1)
        assert len(looks) == before


def test_a_queue_delay_is_slept_through_and_not_spun(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a clock that stands still, the delay is waited for as a whole."""
    waits: list[float | None] = []
    wait = threading.Condition.wait

    def noted(self: threading.Condition, timeout: float | None = None) -> bool:
        if threading.current_thread().name == "scheduler":
            waits.append(timeout)
        return wait(self, timeout)

    monkeypatch.setattr(threading.Condition, "wait", noted)
    now = iter([0, 0, 5_000_000, 5_000_000, 5_000_000, 5_000_000])
    with scheduler(Rows(), "dynamic", max_queue_delay_ns=5_000_000, clock=lambda: next(now, 5_000_000)) as shared:
        client = Client()
        shared.submit(np.array([1]), 1, client.emit)
        assert client.ended.wait(10)
    assert 0.005 in waits


def test_the_facts_say_how_it_batches_and_what_it_has_done() -> None:
    """Enough to read a result by."""
    with scheduler(Rows()) as shared:
        client = Client()
        shared.submit(np.array([1]), 3, client.emit)
        assert client.ended.wait(10)
        assert shared.facts() == {
            "batching": "continuous", "slots": 2, "context": 20, "vocabulary": 50, "prefill_chunk": 4,
            "decode_steps": 2, "mean_rows": 1.0,
        }  # fmt: skip
        assert shared.executed() == {1: 2}


def test_a_batching_that_there_is_not_is_refused() -> None:
    """By name, with those there are."""
    with pytest.raises(ValueError, match="batching: expected off, dynamic, continuous, got 'static'"):
        Scheduler(Rows(), batching="static", prefill_chunk=0)
