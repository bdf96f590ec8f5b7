"""Tokens from a model file."""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.runtime import generation
from bench.runtime.session import make_session

GOLDEN = Path(__file__).parents[1] / "golden" / "qwen2" / "ref.npz"
WAYS = [("off", 0), ("dynamic", 0), ("continuous", 0), ("continuous", 1), ("continuous", 5), ("continuous", 16)]


def answers(
    model: Path, prompts: Sequence[tuple[np.ndarray, int]], batching: str, chunk: int, ignore_eos: bool = True
) -> list[list[int]]:
    """What a scheduler of three slots makes of the prompts, all submitted at once."""
    made: list[list[int]] = [[] for _ in prompts]
    ended = threading.Semaphore(0)

    def taker(n: int) -> Callable[[int, bool, str], None]:
        def emit(token: int, last: bool, error: str) -> None:
            assert not error
            made[n].append(token)
            if last:
                ended.release()

        return emit

    scheduler = generation.open_scheduler(model, threads=1, batching=batching, slots=3, context=96, prefill_chunk=chunk)
    try:
        for n, (ids, wanted) in enumerate(prompts):
            scheduler.submit(ids, wanted, taker(n), ignore_eos)
        for _ in prompts:
            assert ended.acquire(timeout=30)
    finally:
        scheduler.close()
    return made


@pytest.mark.parametrize("precision", ["fp32", "int4"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=8, derandomize=True)
@given(st.lists(st.tuples(st.integers(1, 48), st.integers(1, 24)), min_size=2, max_size=7), st.integers(0, 1000))
def test_the_tokens_are_the_same_however_requests_are_batched(
    qwen: Callable[[str], Path], precision: str, sizes: list[tuple[int, int]], seed: int
) -> None:
    """One at a time, in whole batches, joined at every step, prompts whole or in pieces."""
    draw = np.random.default_rng(seed)
    prompts = [(draw.integers(0, 320, length), wanted) for length, wanted in sizes]
    alone = [tokens.tolist() for tokens, _ in generation.greedy(qwen(precision), prompts, threads=1)]
    for batching, chunk in WAYS:
        assert answers(qwen(precision), prompts, batching, chunk) == alone, f"{batching}, chunks of {chunk}"


def test_greedy_answers_as_the_reference_implementation_does(qwen: Callable[[str], Path]) -> None:
    """Token by token."""
    golden = np.load(GOLDEN)
    made = generation.greedy(qwen("fp32"), [(ids, 24) for ids in golden["input_ids"]], threads=1)
    assert [tokens.tolist() for tokens, _ in made] == golden["greedy"].tolist()
    assert {(tokens.dtype.name, margin.dtype.name, tokens.shape == margin.shape) for tokens, margin in made} == {
        ("int64", "float32", True)
    }


def test_the_margin_says_by_how_much_a_token_led(qwen: Callable[[str], Path]) -> None:
    """As a share of the largest |logit|; 0 is a tie."""
    golden = np.load(GOLDEN)
    ((_, margin),) = generation.greedy(qwen("fp32"), [(golden["input_ids"][0], 1)], threads=1)
    second, first = np.sort(golden["logits"][0, -1])[-2:]
    assert margin[0] == pytest.approx((first - second) / np.abs(golden["logits"][0, -1]).max(), abs=1e-4)
    assert generation.lead(np.array([1.0, 3.0, -4.0, 3.0])) == 0.0
    assert generation.lead(np.array([1.0, 3.0, -4.0])) == 0.5


def test_an_end_of_text_ends_an_answer_unless_it_is_to_be_ignored(ending_qwen: Path) -> None:
    """The reference and the scheduler agree on where."""
    draw = np.random.default_rng(5)
    prompts = [(draw.integers(0, 320, 9), 20) for _ in range(4)]
    ended = [tokens.tolist() for tokens, _ in generation.greedy(ending_qwen, prompts, 1, ignore_eos=False)]
    assert all(len(tokens) == 20 or tokens[-1] % 4 == 0 for tokens in ended)
    assert not any(token % 4 == 0 for tokens in ended for token in tokens[:-1])
    assert any(len(tokens) < 20 for tokens in ended)
    assert answers(ending_qwen, prompts, "continuous", 4, ignore_eos=False) == ended
    assert [len(tokens) for tokens, _ in generation.greedy(ending_qwen, prompts, 1)] == [20] * 4


def test_the_device_decides_how_much_of_a_prompt_is_read_at_once_unless_told(qwen: Callable[[str], Path]) -> None:
    """And the context is the usual one, or the model's where that is smaller."""
    session = make_session(qwen("fp32"), 1)
    scheduler = generation.schedule(session)
    scheduler.close()
    assert (scheduler.facts()["prefill_chunk"], scheduler.facts()["context"]) == (generation.PREFILL_CHUNK["cpu"], 256)
    scheduler = generation.schedule(session, prefill_chunk=0, context=100, batching="off")
    scheduler.close()
    assert [scheduler.facts()[key] for key in ("prefill_chunk", "context", "slots")] == [0, 100, 1]


def test_a_model_that_generates_is_told_by_its_inputs(qwen: Callable[[str], Path], onnx_file: Path) -> None:
    """Keys and values go in."""
    assert generation.generates(make_session(qwen("fp32"), 1))
    assert not generation.generates(make_session(onnx_file, 1))
