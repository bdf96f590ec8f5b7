"""A mix of several models in one workload: whose each of its requests is, and whose turn it is."""

import math
import sys
from collections.abc import Sequence
from fractions import Fraction
from itertools import accumulate, pairwise
from typing import Protocol

import numpy as np

from bench.workload import Workload
from bench.workload_checks import FINEST

SHUFFLED = 32  # sends at the least that are shuffled together
PERIOD = 4096  # sends at the least until the order of the parts comes round again
_SALT = 0x4D4958


class Turns(Protocol):
    """Which request the number of a send stands for; after `len` of them they come round again."""

    def __len__(self) -> int: ...

    def __getitem__(self, number: int, /) -> int: ...


def starts(workload: Workload) -> list[int]:
    """Where each part's requests begin in the row of all distinct requests, and where the row ends.

    The payload of a record, and of an answer, is a request's place in this row; a workload of one model has one part.
    """
    return [0, *accumulate(part.payload.distinct for part in workload.parts)]


def shares(workload: Workload) -> list[float]:
    """The share of the requests that each part is to have."""
    weights = [part.weight for part in workload.mix] or [1.0]
    return [weight / math.fsum(weights) for weight in weights]


def turns(workload: Workload) -> Turns:
    """Whose turn it is at each send: of one model its requests one after another, of a mix as `Mixed` has it.

    In a round of an experiment the requests of each model come in a shuffled order, which is the round's own.
    """
    row, seed, turn = starts(workload), workload.seed, workload.round
    rows = [_shuffled(range(*ends), seed, turn) if turn else range(*ends) for ends in pairwise(row)]
    if not workload.mix:
        return rows[0]
    return Mixed(whole([part.weight for part in workload.mix]), rows, seed, turn)


class Mixed:
    """The turns of a mix: its parts in a seeded, shuffled order, each part's requests one after another.

    In a period of `len(order)` sends every part has exactly its weight's share, and so it has in each of the stretches that are
    shuffled by themselves: as many sends as the whole weights add up to, as often as makes `SHUFFLED` or more. A load process
    that makes every N-th send gets every part in proportion. No request of a part is ever ahead of another of it by more than
    one send.
    """

    def __init__(self, weights: Sequence[int], rows: Sequence[Sequence[int]], seed: int, turn: int = 0) -> None:
        order = _order(weights, seed, turn)
        nth = np.zeros(len(order), np.int64)
        for part in range(len(weights)):
            nth[order == part] = np.arange(np.count_nonzero(order == part))
        self.order: list[int] = order.tolist()  # lists, for one element of them is asked for at every send
        self._nth: list[int] = nth.tolist()
        self._counts: list[int] = np.bincount(order, minlength=len(weights)).tolist()
        self._rows = rows
        again = math.lcm(*(len(row) // math.gcd(len(row), c) for row, c in zip(rows, self._counts, strict=True)))
        self._length = min(len(order) * again, sys.maxsize)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, number: int, /) -> int:
        periods, at = divmod(number, len(self.order))
        part = self.order[at]
        row = self._rows[part]
        return row[(periods * self._counts[part] + self._nth[at]) % len(row)]


def whole(weights: Sequence[float]) -> list[int]:
    """The smallest whole numbers in the proportion of `weights`; where their sum is above FINEST, the nearest with this sum."""
    exact = [Fraction(repr(float(weight))) for weight in weights]  # as it was written: 0.1 is a tenth
    scale = math.lcm(*(f.denominator for f in exact))
    numbers = [int(f * scale) for f in exact]
    common = math.gcd(*numbers)
    if sum(numbers) <= FINEST * common:
        return [n // common for n in numbers]
    quotas = [FINEST * f / sum(exact) for f in exact]
    found = [math.floor(q) for q in quotas]
    by_rest = sorted(range(len(quotas)), key=lambda n: found[n] - quotas[n])  # largest remainders first
    for n in by_rest[: FINEST - sum(found)]:
        found[n] += 1
    return found


def _shuffled(row: Sequence[int], seed: int, turn: int) -> list[int]:
    bits = np.random.PCG64([seed, _SALT, turn, row[0]]).random_raw(len(row))
    return [row[n] for n in bits.argsort(kind="stable").tolist()]


def _order(weights: Sequence[int], seed: int, turn: int) -> np.ndarray:
    """int64 [period]: the part of each send, shuffled a stretch at a time, each of them with every part's share."""
    stretch = np.repeat(np.arange(len(weights)), np.multiply(weights, -(-SHUFFLED // sum(weights))))
    stretches = -(-PERIOD // len(stretch))
    # raw bits, because numpy does not promise its shuffles across versions
    bits = np.random.PCG64([seed, _SALT, turn]).random_raw(stretches * len(stretch)).reshape(stretches, -1)
    return np.asarray(stretch[bits.argsort(axis=1, kind="stable")].ravel())
