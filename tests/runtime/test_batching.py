"""Who is in a run of the model, with rows whose next token is a sum over all that their sequence holds."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.runtime.batching import BATCHING, Batch, Job

VOCABULARY = 97


def token_after(history: Sequence[int]) -> int:
    """Depends on every token and on its place: a sequence that took another's row, or lost a token, goes on differently."""
    return sum((place + 1) * (token + 3) for place, token in enumerate(history)) % VOCABULARY


@dataclass
class FakeRows:
    """Rows of histories in place of keys and values; `calls` says what was run."""

    slots: int = 3
    movable: bool = True
    context: int = 1000
    vocabulary: int = VOCABULARY
    eos: frozenset[int] = frozenset()
    calls: list[str] = field(default_factory=list)
    failing: str = ""  # the kind of run that fails

    def __post_init__(self) -> None:
        self.held: list[list[int]] = [[] for _ in range(self.slots)]

    def read(self, slot: int, ids: np.ndarray) -> np.ndarray:
        self.calls.append(f"read {len(ids)}")
        if self.failing == "read":
            raise RuntimeError("out of memory")
        self.held[slot] += ids.tolist()
        return self._logits(slot)

    def step(self, tokens: Sequence[int | None]) -> np.ndarray:
        self.calls.append("step " + "".join("-" if token is None else "x" for token in tokens))
        if self.failing == "step":
            raise RuntimeError("out of memory")
        for slot, token in enumerate(tokens):
            self.held[slot] += [] if token is None else [token]
        return np.array([self._logits(slot) for slot in range(len(tokens))])

    def move(self, source: int, target: int) -> None:
        assert self.movable
        assert not self.held[target], "a sequence was written over"
        self.held[target], self.held[source] = self.held[source], []

    def clear(self, slot: int) -> None:
        self.held[slot] = []

    def _logits(self, slot: int) -> np.ndarray:
        return np.eye(VOCABULARY, dtype=np.float32)[token_after(self.held[slot])]  # type: ignore[no-any-return]


class Client:
    """Who submits a prompt and keeps what is emitted."""

    def __init__(self, ids: Sequence[int], max_tokens: int, arrived_ns: int = 0, eos: frozenset[int] = frozenset()) -> None:
        self.tokens: list[int] = []
        self.lasts: list[bool] = []
        self.error = ""
        self.job = Job(np.array(ids, np.int64), max_tokens, self.emit, eos, arrived_ns)

    def emit(self, token: int, last: bool, error: str) -> None:
        assert not any(self.lasts), "something came after the last"
        self.lasts.append(last)
        if error:
            self.error = error
        else:
            self.tokens.append(token)

    def expected(self) -> list[int]:
        """What the prompt is answered with when nobody else is there."""
        history = self.job.ids.tolist()
        made: list[int] = []
        while len(made) < self.job.max_tokens and not (made and made[-1] in self.job.eos):
            made.append(token_after(history + made))
        return made


def run(batch: Batch, now_ns: int = 0) -> None:
    """Turn until there is nothing to do."""
    while batch.turn(now_ns) == 0:
        pass


def prompt(length: int, first: int = 1) -> list[int]:
    return list(range(first, first + length))


@pytest.mark.parametrize("batching", BATCHING)
@given(
    st.lists(st.tuples(st.integers(1, 20), st.integers(1, 9), st.integers(0, 12)), min_size=1, max_size=12),
    st.integers(1, 4),
    st.integers(0, 6),
    st.booleans(),
)
def test_everybody_gets_the_tokens_of_one_who_is_alone(
    batching: str, asked: list[tuple[int, int, int]], slots: int, chunk: int, movable: bool
) -> None:
    """Whoever comes when, however many slots there are and however prompts are cut: nobody sees anything of the others."""
    rows = FakeRows(slots, movable)
    batch = Batch(rows, batching, chunk, max_queue_delay_ns=3)
    clients = [Client(prompt(length, n), wanted, arrived) for n, (length, wanted, arrived) in enumerate(asked)]
    for now in range(13):
        batch.add([client.job for client in clients if client.job.arrived_ns == now])
        batch.turn(now)
    run(batch, now_ns=100)
    assert [client.tokens for client in clients] == [client.expected() for client in clients]
    assert [client.lasts for client in clients] == [[False] * (n - 1) + [True] for _, n, _ in asked]
    assert rows.held == [[] for _ in range(slots)]
    if movable:
        assert not any("-" in call for call in rows.calls), "a row that nobody uses was computed"


def test_off_answers_one_after_the_other() -> None:
    """In the order in which they came; a row alone in every run."""
    rows = FakeRows()
    batch = Batch(rows, "off", 2, 0)
    batch.add([Client(prompt(4), 3).job, Client(prompt(5), 2).job])
    run(batch)
    assert rows.calls == ["read 4", "step x", "step x", "read 5", "step x"]


def test_dynamic_takes_who_waits_as_one_batch_and_lets_later_ones_wait_for_its_end() -> None:
    """Its prompts are read whole, then all go on together; a row that ends early stays free."""
    rows = FakeRows(slots=3)
    batch = Batch(rows, "dynamic", 2, 0)
    batch.add([Client(prompt(n), wanted).job for n, wanted in ((4, 2), (5, 4), (6, 3))])
    batch.turn(0)
    batch.add([Client(prompt(7), 1).job])
    run(batch)
    assert rows.calls == ["read 4", "read 5", "read 6", "step xxx", "step xx", "step x", "read 7"]


def test_dynamic_waits_for_company_until_the_oldest_has_waited_long_enough() -> None:
    """It says how long there is nothing to do; a batch that is full does not wait."""
    rows = FakeRows(slots=2)
    batch = Batch(rows, "dynamic", 0, max_queue_delay_ns=10)
    batch.add([Client(prompt(4), 1, arrived_ns=100).job])
    assert batch.turn(100) == 10
    assert batch.turn(107) == 3
    assert rows.calls == []
    assert batch.turn(110) == 0
    assert rows.calls == ["read 4"]
    batch.add([Client(prompt(n), 1, arrived_ns=200).job for n in (5, 6)])
    assert batch.turn(200) == 0
    assert rows.calls == ["read 4", "read 5"]


def test_continuous_takes_others_in_at_every_step_and_lets_go_of_who_has_ended() -> None:
    """The second joins the first, the third takes the slot of whoever ends, while the others go on."""
    rows = FakeRows(slots=2)
    batch = Batch(rows, "continuous", 0, 0)
    batch.add([Client(prompt(4), 4).job])
    batch.turn(0)
    batch.add([Client(prompt(5), 2).job, Client(prompt(6), 2).job])
    run(batch)
    assert rows.calls == ["read 4", "step x", "read 5", "step xx", "read 6", "step xx"]


def test_a_prompt_is_read_in_pieces_between_the_steps_of_those_who_go_on() -> None:
    """A step is held up by one piece and not by a prompt; with nobody to hold up, a prompt is read whole."""
    rows = FakeRows()
    batch = Batch(rows, "continuous", 16, 0)
    batch.add([Client(prompt(20), 9).job])
    batch.turn(0)
    batch.add([Client(prompt(40), 2).job, Client(prompt(3), 2).job])
    for _ in range(5):
        batch.turn(0)
    assert rows.calls == [
        "read 20", "step x",
        "read 16", "step x", "read 16", "step x", "read 8", "step xx",
        "read 3", "step xx",
        "step x",
    ]  # fmt: skip


def test_without_pieces_all_who_wait_are_read_before_the_next_step() -> None:
    """What an engine does that does not cut prompts: those who go on wait for all of them."""
    rows = FakeRows()
    batch = Batch(rows, "continuous", 0, 0)
    batch.add([Client(prompt(20), 9).job])
    batch.turn(0)
    batch.add([Client(prompt(40), 2).job, Client(prompt(3), 2).job])
    batch.turn(0)
    assert rows.calls == ["read 20", "step x", "read 40", "read 3", "step xxx"]


@given(st.lists(st.integers(1, 30), min_size=2, max_size=8), st.integers(1, 8))
def test_who_came_first_is_read_first(lengths: list[int], chunk: int) -> None:
    """A short prompt does not overtake a long one: nobody waits for ever."""
    rows, order = FakeRows(slots=2), list[int]()
    batch = Batch(rows, "continuous", chunk, 0)
    jobs = [
        Job(np.array(prompt(length)), 1, lambda *_, n=n: order.append(n), frozenset(), 0) for n, length in enumerate(lengths)
    ]
    batch.add(jobs)
    run(batch)
    assert order == list(range(len(lengths)))


@given(length=st.integers(2, 40), chunk=st.integers(1, 16))
def test_no_prompt_is_left_with_a_piece_of_one_token(length: int, chunk: int) -> None:
    """Which is computed as a decoded one is: its last bit, and then the answer, would depend on how the prompt was cut."""
    rows = FakeRows()
    batch = Batch(rows, "continuous", chunk, 0)
    batch.add([Client(prompt(5), 60).job])
    batch.turn(0)
    batch.add([Client(prompt(length), 1).job])
    run(batch)
    pieces = [int(call.split()[1]) for call in rows.calls if call.startswith("read")][1:]
    assert sum(pieces) == length
    assert all(1 < piece <= max(chunk, 2) + 1 for piece in pieces)


def test_rows_that_cannot_be_moved_run_along_with_a_hole() -> None:
    """On a GPU: the highest slot in use decides how many rows a step runs."""
    rows = FakeRows(slots=3, movable=False)
    batch = Batch(rows, "continuous", 0, 0)
    batch.add([Client(prompt(4), 2).job, Client(prompt(5), 4).job])
    run(batch)
    assert rows.calls == ["read 4", "read 5", "step xx", "step -x", "step -x"]


@pytest.fixture(params=["waiting", "being read", "going on"])
def somebody(request: pytest.FixtureRequest) -> tuple[FakeRows, Batch, Client, Client]:
    """Two clients, the second as far as the parameter says."""
    rows = FakeRows(slots=1 if request.param == "waiting" else 2)
    batch, first = Batch(rows, "continuous", 4, 0), Client(prompt(3), 8)
    second = Client(prompt(2 if request.param == "going on" else 7, 50), 20)
    batch.add([first.job, second.job])
    for _ in range(2):
        batch.turn(0)
    return rows, batch, first, second


def test_who_cancels_frees_the_slot_and_disturbs_nobody(somebody: tuple[FakeRows, Batch, Client, Client]) -> None:
    """Wherever in its life a request is, nothing more is emitted, and the others get what they would have got."""
    rows, batch, first, second = somebody
    second.job.cancelled = True
    emitted = len(second.lasts)
    third = Client(prompt(6, 70), 3)
    batch.add([third.job])
    run(batch)
    assert (first.tokens, third.tokens) == (first.expected(), third.expected())
    assert len(second.lasts) == emitted
    assert rows.held == [[] for _ in range(rows.slots)]


def test_a_prompt_that_cannot_be_read_fails_alone() -> None:
    """Those who go on do not hear of it."""
    rows = FakeRows()
    batch, first, second = Batch(rows, "continuous", 4, 0), Client(prompt(3), 5), Client(prompt(9), 2)
    batch.add([first.job])
    batch.turn(0)
    batch.add([second.job])
    rows.failing = "read"
    batch.turn(0)
    rows.failing = ""
    run(batch)
    assert (second.error, second.tokens, second.lasts) == ("RuntimeError: out of memory", [], [True])
    assert first.tokens == first.expected()
    assert rows.held == [[], [], []]


def test_a_step_that_fails_fails_those_in_it_and_the_others_go_on() -> None:
    """Whoever is being read or waits is answered."""
    rows = FakeRows()
    batch, first, second = Batch(rows, "continuous", 4, 0), Client(prompt(3), 5), Client(prompt(9), 2)
    batch.add([first.job])
    batch.turn(0)
    batch.add([second.job])
    rows.failing = "step"
    batch.turn(0)
    rows.failing = ""
    run(batch)
    assert (first.error, len(first.tokens), first.lasts[-1]) == ("RuntimeError: out of memory", 2, True)
    assert second.tokens == second.expected()


def test_who_cannot_take_a_token_gets_no_more_and_the_others_go_on() -> None:
    """A fault of one client ends one answer."""
    rows = FakeRows()
    batch, good = Batch(rows, "continuous", 0, 0), Client(prompt(4), 3)
    batch.add([Job(np.array([1]), 5, lambda *_: 1 / 0, frozenset(), 0), good.job])  # type: ignore[arg-type]
    run(batch)
    assert good.tokens == good.expected()
    assert rows.held == [[], [], []]


def test_when_all_fail_everybody_hears_of_it_once() -> None:
    """Who waits, who is being read, and who goes on."""
    rows = FakeRows(slots=2)
    clients = [Client(prompt(3), 9), Client(prompt(9), 9), Client(prompt(2), 9)]
    batch = Batch(rows, "continuous", 4, 0)
    batch.add([client.job for client in clients[:1]])
    batch.turn(0)
    batch.add([client.job for client in clients[1:]])
    batch.turn(0)
    batch.fail("the end")
    assert [client.error for client in clients] == ["the end"] * 3
    assert rows.held == [[], []]
    assert batch.turn(0) is None


@given(st.integers(1, 30), st.integers(1, 20))
def test_an_end_of_text_ends_the_answer_where_it_may(length: int, wanted: int) -> None:
    """It is the last token that is emitted; where it is to be ignored, the answer is as long as asked for."""
    ends = frozenset(range(0, VOCABULARY, 5))
    ending, going_on = Client(prompt(length), wanted, eos=ends), Client(prompt(length), wanted)
    batch = Batch(FakeRows(), "continuous", 4, 0)
    batch.add([ending.job, going_on.job])
    run(batch)
    assert ending.tokens == ending.expected()
    assert not any(token in ends for token in ending.tokens[:-1])
    assert len(going_on.tokens) == wanted


def test_of_equal_logits_the_lowest_token_is_taken() -> None:
    """The same everywhere, whatever order a kernel sums in."""
    client = Client([1], 1)
    client.job.hand_on(np.array([0.0, 2.0, 2.0, 1.0], np.float32))
    assert client.tokens == [1]


def test_steps_are_counted_by_the_sequences_in_them() -> None:
    """How well a batching fills the model."""
    batch = Batch(FakeRows(), "continuous", 0, 0)
    batch.add([Client(prompt(4), 3).job, Client(prompt(5), 2).job])
    run(batch)
    assert batch.executed == [0, 1, 1, 0]
