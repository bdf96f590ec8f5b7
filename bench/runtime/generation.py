"""Tokens from a model: by a scheduler that several share, or one prompt after the other, as a reference is made."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnxruntime

from bench.runtime.scheduler import Scheduler
from bench.runtime.session import make_session
from bench.runtime.slots import PAST, Slots

PREFILL_CHUNK = {"cpu": 16, "cuda": 512, "tensorrt": 512}


def generates(session: onnxruntime.InferenceSession) -> bool:
    """Whether the model goes on from what it has read: it has inputs for keys and values."""
    return any(tensor.name.startswith(PAST) for tensor in session.get_inputs())


def open_scheduler(
    model_file: str | Path,
    *,
    threads: int,
    provider: str = "cpu",
    device: int = 0,
    batching: str = "continuous",
    slots: int = 8,
    context: int = 0,
    prefill_chunk: int = -1,
    max_queue_delay_ns: int = 0,
) -> Scheduler:
    """A scheduler over the model in a file; see `schedule`. RuntimeError where the GPU cannot be had."""
    return schedule(
        make_session(model_file, threads, provider, device),
        provider=provider,
        device=device,
        batching=batching,
        slots=slots,
        context=context,
        prefill_chunk=prefill_chunk,
        max_queue_delay_ns=max_queue_delay_ns,
    )


def schedule(
    session: onnxruntime.InferenceSession,
    *,
    provider: str = "cpu",
    device: int = 0,
    batching: str = "continuous",
    slots: int = 8,
    context: int = 0,
    prefill_chunk: int = -1,
    max_queue_delay_ns: int = 0,
) -> Scheduler:
    """A scheduler over a model that is open.

    `context` 0: 1024 tokens, or as many as the model can have; `prefill_chunk` -1: what suits the device, 0: whole prompts.
    ValueError where the model was not made for a context as large as is asked for.
    """
    chunk = PREFILL_CHUNK[provider] if prefill_chunk < 0 else prefill_chunk
    rows = Slots(session, 1 if batching == "off" else slots, context, provider, device)
    return Scheduler(rows, batching=batching, prefill_chunk=chunk, max_queue_delay_ns=max_queue_delay_ns)


def greedy(
    model_file: str | Path,
    prompts: Sequence[tuple[np.ndarray, int]],
    threads: int,
    ignore_eos: bool = True,
    progress: Callable[[int], None] = lambda done: None,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """The likeliest tokens after each of `prompts`, (ids int64 [n], tokens wanted), one prompt at a time and read whole.

    For each: tokens int64 [n], and by how much each led, float32 [n]: (largest - second logit) / largest |logit|. `progress`
    is told how many prompts are answered.
    """
    context = max((len(ids) + wanted for ids, wanted in prompts), default=1)
    slots = Slots(make_session(model_file, threads), 1, context)
    answered = []
    for ids, wanted in prompts:
        answered.append(_answer(slots, ids, wanted, frozenset() if ignore_eos else slots.eos))
        progress(len(answered))
    return answered


def lead(logits: np.ndarray) -> float:
    """By how much the largest exceeds the second, as a share of the largest |value|."""
    second, first = np.partition(logits, -2)[-2:]
    return float((first - second) / np.abs(logits).max())


def _answer(slots: Slots, ids: np.ndarray, wanted: int, eos: frozenset[int]) -> tuple[np.ndarray, np.ndarray]:
    slots.clear(0)
    tokens: list[int] = []
    margins: list[float] = []
    logits = slots.read(0, ids)
    while True:
        tokens.append(int(logits.argmax()))
        margins.append(lead(logits))
        if len(tokens) == wanted or tokens[-1] in eos:
            return np.array(tokens, np.int64), np.array(margins, np.float32)
        logits = slots.step(tokens[-1:])[0]
