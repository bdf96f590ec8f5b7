"""From the thread that measures to the disk: rows go in on one side, checked records come out on the other."""

from array import array
from collections import deque
from typing import Any

import numpy as np

from bench.load.answers import KEPT, Reference
from bench.record import ANSWER, DIFFERENT, NOT_COMPARED, OK, RECORD
from bench.store import RecordWriter
from bench.targets.base import Target
from bench.tensors import Tensors
from bench.workload import Workload

_FIELDS = len(RECORD.names or ())
_CHUNK = 4096 * _FIELDS
_PENDING = 3  # stands in `check` until the reply has been compared


class Recorder:
    """`add` belongs to the measuring thread and does as little as can be; `drain` compares and writes on another.

    Rows gather in a flat array of int64 (no object a row, nothing for the garbage collector), which changes hands whole.
    """

    def __init__(self, workload: Workload, items: int, worker: int = 0) -> None:
        self._every, self._items, self._worker = workload.check.every, items, worker
        self._rows = array("q")
        self._full: deque[array[int]] = deque()
        self._replies: deque[tuple[int, int, Any]] = deque()
        self._unseen = bytearray(
            b"\1" * min(workload.payload.distinct, KEPT) + b"\0" * max(workload.payload.distinct - KEPT, 0)
        )
        self._checks: dict[int, int] = {}
        self.messages: dict[int, str] = {}
        self.answers: dict[int, Tensors] = {}
        self.done = self.errors = 0

    def add(
        self, number: int, payload: int, intended: int, start: int, end: int, status: int, error: int, message: str, answer: Any
    ) -> None:
        """One request has ended, with `error` OK or not."""
        check = NOT_COMPARED
        if error == OK:
            if self._unseen[payload] or number % self._every == 0:
                self._unseen[payload] = 0
                self._replies.append((number, payload, answer))
                check = _PENDING
        else:
            self.errors += 1
            self.messages.setdefault(error, message)
        self.done += 1
        rows = self._rows
        rows.extend((number, payload, intended, start, end, self._items, status, error, check, self._worker))
        if len(rows) >= _CHUNK:
            self.hand_over()

    def hand_over(self) -> None:
        """Give the rows so far to `drain`; called by the measuring thread."""
        if self._rows:
            self._full.append(self._rows)
            self._rows = array("q")

    def drain(self, target: Target, reference: Reference, writer: RecordWriter) -> None:
        """Compare the replies that came and write the rows that were handed over."""
        while self._full:
            records = _records(self._full.popleft())
            self._compare(target, reference)
            for at in np.flatnonzero(records["check"] == _PENDING):
                check = self._checks.pop(int(records["id"][at]))
                records["check"][at] = check
                if check == DIFFERENT:
                    records["error"][at] = ANSWER
                    self.errors += 1
            writer.write(records)

    def _compare(self, target: Target, reference: Reference) -> None:
        # a reply is queued before its row, so every row that was handed over finds its reply compared
        while self._replies:
            number, payload, answer = self._replies.popleft()
            check, message = self._check(target, reference, payload, answer)
            self._checks[number] = check
            if check == DIFFERENT:
                self.messages.setdefault(ANSWER, message)

    def _check(self, target: Target, reference: Reference, payload: int, answer: Any) -> tuple[int, str]:
        try:
            outputs = target.outputs(answer)
        except Exception as error:  # whatever a server sent, the run goes on
            return DIFFERENT, f"the outputs in a reply cannot be read: {type(error).__name__}: {str(error)[:200]}"
        if payload < KEPT:
            self.answers.setdefault(payload, outputs)
        return reference.compare(payload, outputs)


def _records(rows: "array[int]") -> np.ndarray:
    flat = np.frombuffer(rows, np.int64).reshape(-1, _FIELDS)
    records = np.empty(len(flat), RECORD)
    for column, name in enumerate(RECORD.names or ()):
        records[name] = flat[:, column]
    return records
