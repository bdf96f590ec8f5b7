"""Sequences that share a model: one thread runs it, whoever wants tokens submits a prompt and is called back with each."""

import threading
import time
from collections.abc import Callable

import numpy as np

from bench.runtime.batching import BATCHING, Batch, Emit, Job, Rows


class Scheduler:
    """A thread that runs a model for all who submit to it, until `close`."""

    def __init__(
        self,
        rows: Rows,
        *,
        batching: str,
        prefill_chunk: int,
        max_queue_delay_ns: int = 0,
        clock: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        if batching not in BATCHING:
            raise ValueError(f"batching: expected {', '.join(BATCHING)}, got {batching!r}")
        self._rows, self._batching, self._chunk, self._clock = rows, batching, prefill_chunk, clock
        self._batch = Batch(rows, batching, prefill_chunk, max_queue_delay_ns)
        self._arrived: list[Job] = []
        self._closed = self._news = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="scheduler", daemon=True)
        self._thread.start()

    def submit(self, ids: np.ndarray, max_tokens: int, emit: Emit, ignore_eos: bool = True) -> Callable[[], None]:
        """Answer the prompt `ids` (int64 [n]) with up to `max_tokens` tokens, fewer only where the model ends and may.

        `emit(token, last, error)` is called for each on the scheduler's thread; with (-1, True, error) where it cannot go on.
        Returns what cancels it: then nothing more is emitted, but for what is under way. ValueError where the prompt is not one
        for this model, RuntimeError after `close`.
        """
        self._check(ids, max_tokens)
        job = Job(ids, max_tokens, emit, frozenset() if ignore_eos else self._rows.eos, self._clock())

        def cancel() -> None:
            job.cancelled = True
            self._wake()

        with self._changed:
            if self._closed:
                raise RuntimeError("the scheduler is closed")
            self._arrived.append(job)
            self._news = True
            self._changed.notify()
        return cancel

    def executed(self) -> dict[int, int]:
        """Sequences in a step -> how often there were as many, so far."""
        return {size: count for size, count in enumerate(self._batch.executed) if count}

    def facts(self) -> dict[str, str | int | float]:
        """How it batches, and what it has done so far."""
        executed = self.executed()
        steps, made = sum(executed.values()), sum(size * count for size, count in executed.items())
        return {
            "batching": self._batching,
            "slots": self._rows.slots,
            "context": self._rows.context,
            "vocabulary": self._rows.vocabulary,
            "prefill_chunk": self._chunk,
            "decode_steps": steps,
            "mean_rows": round(made / steps, 2) if steps else 0.0,
        }

    def close(self) -> None:
        """End the thread after the run that is under way; who still waits for tokens gets an error."""
        with self._changed:
            self._closed = True
        self._wake()
        self._thread.join()

    def _check(self, ids: np.ndarray, max_tokens: int) -> None:
        if ids.ndim != 1 or not len(ids):
            raise ValueError(f"the prompt: expected token ids in one dimension, at least one, got shape {list(ids.shape)}")
        if max_tokens < 1:
            raise ValueError(f"max_tokens: expected at least 1, got {max_tokens}")
        if not 0 <= int(ids.min()) <= int(ids.max()) < self._rows.vocabulary:
            wrong = next(i for i in ids.tolist() if not 0 <= i < self._rows.vocabulary)
            raise ValueError(f"the prompt: token id {wrong} is not in the vocabulary, 0 to {self._rows.vocabulary - 1}")
        if len(ids) + max_tokens > self._rows.context:
            raise ValueError(
                f"a prompt of {len(ids)} tokens and an answer of {max_tokens} are {len(ids) + max_tokens} tokens, "
                f"the context has {self._rows.context}"
            )

    def _wake(self) -> None:
        with self._changed:
            self._news = True
            self._changed.notify()

    def _run(self) -> None:
        due_ns: int | None = None
        while True:
            with self._changed:
                if not self._news and due_ns != 0:
                    self._changed.wait(None if due_ns is None else due_ns / 1e9)
                self._news = False
                self._batch.add(self._arrived)
                self._arrived.clear()
                closed = self._closed  # here, or a prompt that is submitted in this moment would never be answered
            if closed:
                self._batch.fail("the model is being shut down")
                return
            try:
                due_ns = self._batch.turn(self._clock())
            except Exception as error:  # a fault of the batch's own: whoever waits must not wait forever
                self._batch.fail(f"{type(error).__name__}: {error}")
                due_ns = None
