"""Who is in a run of the model: one after the other, a whole batch (dynamic), or whoever is there at each step (continuous)."""

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

import numpy as np

BATCHING = ("off", "dynamic", "continuous")

Emit = Callable[[int, bool, str], None]  # (token, whether it is the last, ""), or (-1, True, what went wrong)


class Rows(Protocol):
    """What a batch asks of `bench.runtime.slots.Slots`."""

    slots: int
    context: int
    vocabulary: int
    eos: frozenset[int]
    movable: bool

    def read(self, slot: int, ids: np.ndarray) -> np.ndarray: ...

    def step(self, tokens: Sequence[int | None]) -> np.ndarray: ...

    def move(self, source: int, target: int) -> None: ...

    def clear(self, slot: int) -> None: ...


@dataclass(slots=True, eq=False)
class Job:
    """A prompt, and how far its answer has come."""

    ids: np.ndarray  # int64 [n]
    max_tokens: int
    emit: Emit
    eos: frozenset[int]  # tokens that end it early
    arrived_ns: int
    read: int = 0  # tokens of the prompt that have been read
    made: int = 0
    token: int = -1  # the newest, from which the next step goes on
    cancelled: bool = False

    def hand_on(self, logits: np.ndarray) -> bool:
        """Make the likeliest token, of equals the lowest, the newest one; whether it is the last."""
        self.token = int(logits.argmax())
        self.made += 1
        last = self.made == self.max_tokens or self.token in self.eos
        self.emit(self.token, last, "")
        return last


class Batch:
    """Those who wait, those whose prompts are to be read, and those who get a token at every step; for one thread.

    "off" and "dynamic" take others in, one or up to `slots`, when the last has ended, and read their prompts whole.
    "continuous" takes others in whenever a slot is free. A prompt that is read while others go on is read by `prefill_chunk`
    tokens (two at the least) a step, the oldest prompt first; where that is 0, every prompt is read whole before the next step.
    """

    def __init__(self, rows: Rows, batching: str, prefill_chunk: int, max_queue_delay_ns: int) -> None:
        self._rows, self._continuous, self._chunk = rows, batching == "continuous", prefill_chunk
        self._most = 1 if batching == "off" else rows.slots
        self._delay_ns = max_queue_delay_ns if batching == "dynamic" else 0
        self._waiting: deque[Job] = deque()
        self._unread: deque[Job] = deque()  # taken in; only the first has a slot, once a piece of it was read
        self._table: list[Job | None] = [None] * rows.slots  # by slot
        self.executed = [0] * (rows.slots + 1)  # steps by the number of sequences in them

    def add(self, jobs: Sequence[Job]) -> None:
        """Let others wait."""
        self._waiting.extend(jobs)

    def turn(self, now_ns: int) -> int | None:
        """Read what of the prompts is due, and make a token for each of those who go on.

        Returns in how many ns there is more to do; None where there is nothing until others come.
        """
        self._forget_cancelled()
        self._close_ranks()
        self._take_in(now_ns)
        if not self._unread and not self._going_on():
            return max(0, self._waiting[0].arrived_ns + self._delay_ns - now_ns) if self._waiting else None
        self._read_prompts()
        if self._continuous or not self._unread:
            self._close_ranks()
            self._step()
        return 0

    def fail(self, error: str) -> None:
        """End everybody with an error."""
        held = [job for job in self._table if job is not None]
        for job in [*held, *(job for job in self._unread if job not in held), *self._waiting]:
            self._end(job, error)
        self._waiting.clear()
        self._unread.clear()

    def _going_on(self) -> list[int]:
        """The slots of those whose prompt has been read."""
        return [slot for slot, job in enumerate(self._table) if job is not None and job.made]

    def _forget_cancelled(self) -> None:
        for queue in (self._waiting, self._unread):
            if any(job.cancelled for job in queue):
                kept = [job for job in queue if not job.cancelled]
                queue.clear()
                queue.extend(kept)
        for job in self._table:
            if job is not None and job.cancelled:
                self._leave(job)

    def _take_in(self, now_ns: int) -> None:
        held = sum(job is not None for job in self._table)
        if not self._continuous:
            due = self._waiting and now_ns >= self._waiting[0].arrived_ns + self._delay_ns
            if held or self._unread or not (due or len(self._waiting) >= self._most):
                return
        held += sum(not job.read for job in self._unread)
        while self._waiting and held < self._most:
            self._unread.append(self._waiting.popleft())
            held += 1

    def _read_prompts(self) -> None:
        """The oldest prompt or a piece of it; without chunks, the prompts of all who joined."""
        chunk = self._chunk if self._continuous and self._going_on() else 0
        for _ in range(len(self._unread) if self._continuous and not self._chunk else min(1, len(self._unread))):
            self._read(self._unread[0], chunk)

    def _read(self, job: Job, chunk: int) -> None:
        if not job.read:
            self._table[self._table.index(None)] = job
        # a token by itself would be read as a decoded one is, whose sums are rounded otherwise: two at the least go together
        size = max(chunk, 2)
        whole = not chunk or len(job.ids) - job.read <= size + 1
        piece = job.ids[job.read :] if whole else job.ids[job.read : job.read + size]
        try:
            logits = self._rows.read(self._table.index(job), piece)
        except Exception as error:
            self._unread.popleft()
            self._end(job, _describe(error))
            return
        job.read += len(piece)
        if job.read == len(job.ids):
            self._unread.popleft()
            self._hand_on(job, logits)

    def _step(self) -> None:
        slots = self._going_on()
        if not slots:
            return
        jobs = [job if job is not None and job.made else None for job in self._table[: slots[-1] + 1]]
        try:
            logits = self._rows.step([job.token if job else None for job in jobs])
        except Exception as error:
            for failed in filter(None, jobs):
                self._end(failed, _describe(error))
            return
        self.executed[len(slots)] += 1
        for job, row in zip(jobs, logits, strict=True):
            if job is not None:
                self._hand_on(job, row)

    def _hand_on(self, job: Job, logits: np.ndarray) -> None:
        try:
            last = job.hand_on(logits)
        except Exception:  # whoever was to take the token cannot: others go on
            last = True
        if last:
            self._leave(job)

    def _end(self, job: Job, error: str) -> None:
        with suppress(Exception):
            job.emit(-1, True, error)
        self._leave(job)

    def _leave(self, job: Job) -> None:
        if job in self._table:
            slot = self._table.index(job)
            self._table[slot] = None
            self._rows.clear(slot)

    def _close_ranks(self) -> None:
        """Move those who go on into the lowest slots: a step runs all slots up to the highest that goes on."""
        while self._rows.movable and (slots := self._going_on()) and None in self._table[: slots[-1]]:
            hole = self._table.index(None)
            self._rows.move(slots[-1], hole)
            self._table[hole], self._table[slots[-1]] = self._table[slots[-1]], None


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
