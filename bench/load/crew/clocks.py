"""How far another host's monotonic clock is from this one's, from messages that went there and back."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from bench.record import Chunks


class Exchange(NamedTuple):
    """A question and its answer: sent and received by our clock, answered by theirs, in ns."""

    sent: int
    answered: int
    received: int


class Offset(NamedTuple):
    """Their clock less ours, in ns, and by how much that may be wrong."""

    ns: int
    within_ns: int


NONE = Offset(0, 0)


def offset(exchanges: Iterable[Exchange]) -> Offset:
    """What the exchange with the shortest way tells: the answer was given somewhere between its two ends.

    D. L. Mills, "Internet time synchronization: the Network Time Protocol" (1991): half of the way is the largest error that
    an uneven way there and back can make.
    """
    best = min(exchanges, key=lambda e: e.received - e.sent)
    return Offset(best.answered - (best.sent + best.received) // 2, (best.received - best.sent + 1) // 2)


def over(start: Offset, end: Offset) -> Offset:
    """The offset at the start, by which a run's times were moved, with what it may be wrong by until the end."""
    return Offset(start.ns, max(start.within_ns, end.within_ns + abs(end.ns - start.ns)))


def ours(records: np.ndarray, chunks: Chunks | None, theirs_less_ours_ns: int) -> tuple[np.ndarray, Chunks | None]:
    """Records (and the chunks of streams) with the times of their clock, as times of ours."""
    moved = records.copy()
    for name in ("intended_ns", "start_ns", "end_ns"):
        moved[name] -= theirs_less_ours_ns
    return moved, None if chunks is None else Chunks(chunks.starts, chunks.t_ns - theirs_less_ours_ns, chunks.tokens)
