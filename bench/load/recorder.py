"""From the thread that measures to the disk: rows go in on one side, checked records come out on the other."""

import struct
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from bench import answers
from bench.load.answers import KEPT
from bench.load.pool import Pool
from bench.record import ANSWER, AT_ONCE, BROKEN, DIFFERENT, NOT_COMPARED, OK, PROTOCOL, RECORD, Chunks
from bench.targets.base import FINE, Streamed, Verdict
from bench.tensors import Tensors
from bench.wire.line import Buffer

ANSWERS_LIMIT = 8 * 2**20  # bytes of answers that a run keeps
_FIELDS = ("id", "payload", "intended_ns", "start_ns", "end_ns", "status", "error", "check", "waited")
_ROW = struct.Struct(f"{len(_FIELDS)}q")
_pack = _ROW.pack
_CHUNK = 4096 * _ROW.size
_AT_ONCE = 16  # of what was handed over, in one batch of the file
_PENDING = 3  # stands in `check` until the reply has been looked at


class Writer(Protocol):
    """Where records go; see bench.columns.RecordWriter."""

    def write(self, records: np.ndarray, chunks: Chunks | None = None) -> None: ...
    def close(self) -> None: ...


class _Settled(NamedTuple):
    """What a reply came to that was looked at."""

    check: int
    error: int
    t_ns: Sequence[int] = ()
    tokens: Sequence[int] = ()


class Recorder:
    """`add` belongs to the measuring thread and does as little as can be; `drain` looks at replies and writes on another.

    Rows gather as int64 in a row of bytes (no object a row, nothing for the garbage collector), which changes hands whole.
    Where replies are streamed, every one that began is taken apart.
    """

    def __init__(self, pool: Pool, worker: int = 0) -> None:
        self._pool, self._worker = pool, worker
        self._every, self._items, self._streams = pool.every, np.array(pool.items, np.uint32), pool.streams
        self._rows = bytearray()
        self._full: deque[bytearray] = deque()
        self._replies: deque[tuple[int, int, Verdict, Any]] = deque()
        self._unseen = bytearray(local < KEPT for local in pool.local)
        self._settled: dict[int, _Settled] = {}
        self.messages: dict[int, str] = {}
        self.answers: dict[int, Tensors] = {}
        self.done = self.errors = 0

    def add(
        self,
        number: int,
        payload: int,
        times: tuple[int, int, int],
        status: int,
        verdict: Verdict,
        answer: Any,
        waited: int = AT_ONCE,
    ) -> None:
        """One request has ended, well or not; `times`: when it was meant to be sent, was sent, and ended."""
        check, (error, message) = NOT_COMPARED, verdict
        if self._streams and answer is not None:
            self._replies.append((number, payload, verdict, answer))
            check = _PENDING
        elif error == OK:
            if self.wants(number, payload):
                self._unseen[payload] = 0
                self._replies.append((number, payload, FINE, answer))
                check = _PENDING
        else:
            self.errors += 1
            self.messages.setdefault(error, message)
        self.done += 1
        intended, start, end = times
        rows = self._rows
        rows += _pack(number, payload, intended, start, end, status, error, check, waited)
        if len(rows) >= _CHUNK:
            self.hand_over()

    def good(self, number: int, payload: int, intended: int, start: int, end: int, status: int, waited: int) -> None:
        """`add`, of a good answer that it does not want to look at."""
        self.done += 1
        rows = self._rows
        rows += _pack(number, payload, intended, start, end, status, OK, NOT_COMPARED, waited)
        if len(rows) >= _CHUNK:
            self.hand_over()

    def wants(self, number: int, payload: int) -> bool:
        """Whether the answer to a request would be looked at, if it is good."""
        return bool(self._unseen[payload]) or not number % self._every[payload]

    def hand_over(self) -> None:
        """Give the rows so far to `drain`; called by the measuring thread."""
        if self._rows:
            self._full.append(self._rows)
            self._rows = bytearray()

    def drain(self, writer: Writer) -> None:
        """Look at the replies that came and write the rows that were handed over."""
        left = len(self._full)
        while left:
            handed = [self._full.popleft() for _ in range(min(left, _AT_ONCE))]
            left -= len(handed)
            self._settle()
            self._write(self._records(b"".join(handed)), writer)

    def _write(self, records: np.ndarray, writer: Writer) -> None:
        pieces: list[tuple[Sequence[int], Sequence[int]]] = [((), ())] * (len(records) if self._streams else 0)
        for at in np.flatnonzero(records["check"] == _PENDING).tolist():
            settled = self._settled.pop(int(records["id"][at]))
            records["check"][at], records["error"][at] = settled.check, settled.error
            self.errors += settled.error != OK
            if self._streams:
                pieces[at] = settled.t_ns, settled.tokens
        if self._streams:
            writer.write(records, Chunks.of(pieces))
        else:
            writer.write(records)

    def rows(self) -> np.ndarray:
        """The rows that were handed over and not drained, with no reply looked at: of a burst that nobody keeps."""
        return np.concatenate([self._records(rows) for rows in self._full]) if self._full else np.empty(0, RECORD)

    def _records(self, rows: Buffer) -> np.ndarray:
        flat = np.frombuffer(rows, np.int64).reshape(-1, len(_FIELDS))
        records = np.empty(len(flat), RECORD)
        for column, name in enumerate(_FIELDS):
            records[name] = flat[:, column]
        records["items"], records["worker"] = self._items[records["payload"]], self._worker
        return records

    def keep(self, path: Path) -> None:
        """Write the answers that were kept."""
        answers.write(path, self.answers, limit=ANSWERS_LIMIT)

    def _settle(self) -> None:
        # a reply is queued before its row, so every row that was handed over finds its reply looked at; not "while": they go
        # on coming, as fast as they are looked at if it comes to that
        for _ in range(len(self._replies)):
            number, payload, verdict, answer = self._replies.popleft()
            if self._streams:
                streamed = self._taken_apart(payload, answer)
                check, error = self._judged(number, payload, verdict, streamed)
                self._settled[number] = _Settled(check, error, streamed.t_ns, streamed.tokens)
            else:
                self._settled[number] = self._compared(payload, answer)

    def _judged(self, number: int, payload: int, verdict: Verdict, streamed: Streamed) -> tuple[int, int]:
        """(check, error) of a stream that ended as `verdict` says."""
        # of a stream that broke off, what the server said last is worth more
        if verdict.error in (OK, BROKEN) and streamed.verdict.error != OK:
            verdict = streamed.verdict
        if verdict.error != OK:
            self.messages.setdefault(*verdict)
            return NOT_COMPARED, verdict.error
        if not self._unseen[payload] and number % self._every[payload]:
            return NOT_COMPARED, OK
        self._unseen[payload] = 0
        return self._held(payload, streamed.outputs)

    def _compared(self, payload: int, answer: Any) -> _Settled:
        try:
            outputs = self._pool.outputs(payload, answer)
        except Exception as problem:  # whatever a server sent, the run goes on
            message = f"the outputs in a reply cannot be read: {type(problem).__name__}: {str(problem)[:200]}"
            self.messages.setdefault(ANSWER, message)
            return _Settled(DIFFERENT, ANSWER)
        return _Settled(*self._held(payload, outputs))

    def _held(self, payload: int, outputs: Tensors) -> tuple[int, int]:
        """(check, error) of outputs held to the reference."""
        if self._pool.local[payload] < KEPT:
            self.answers.setdefault(payload, outputs)
        check, message = self._pool.compare(payload, outputs)
        if check == DIFFERENT:
            self.messages.setdefault(ANSWER, message)
        return check, ANSWER if check == DIFFERENT else OK

    def _taken_apart(self, payload: int, answer: Any) -> Streamed:
        try:
            return self._pool.streamed(payload, answer)
        except Exception as problem:  # whatever a server sent, the run goes on
            message = f"a stream cannot be taken apart: {type(problem).__name__}: {str(problem)[:200]}"
            return Streamed((), (), {}, Verdict(PROTOCOL, message))
