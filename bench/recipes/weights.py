"""The weights that a graph asks for, and where seeded ones come from."""

import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Weight:
    """One tensor as a recipe asks for it: seeded values are uniform with this mean and standard deviation.

    `levels`, an odd number: they are one of so many that are equally far apart; 0: as many as float32 can tell apart.
    """

    name: str
    shape: tuple[int, ...]
    std: float = 0.0
    mean: float = 0.0
    centered: bool = False  # every filter (row of the first dimension) sums to 0
    trained: bool = True  # a parameter of the model; running statistics are none
    levels: int = 0

    @property
    def count(self) -> int:
        """How many values it has."""
        return math.prod(self.shape)


# float32 rows [start:stop] of a weight's first dimension; the same values in whatever pieces they are taken
Source = Callable[[Weight, slice], np.ndarray]
WHOLE = slice(None)


def seeded(seed: int) -> Source:
    """A source of values from raw PCG64 bits, by seed and tensor name: the same under every numpy and on every CPU."""

    def source(weight: Weight, rows: slice) -> np.ndarray:
        start, stop, _ = rows.indices(weight.shape[0])
        shape = (stop - start, *weight.shape[1:])
        key = [seed, zlib.crc32(weight.name.encode())]
        drawn = _draw(key, start * math.prod(shape[1:]), math.prod(shape)).reshape(shape)
        unit, spread = _among(drawn, weight.levels) if weight.levels else _units(drawn)
        if weight.centered:
            # the values are multiples of 2**-23, so that a float64 sum is exact in whatever order a CPU adds
            unit -= unit.mean(axis=tuple(range(1, unit.ndim)), keepdims=True, dtype=np.float64).astype(np.float32)
        unit *= np.float32(weight.std * spread)
        unit += np.float32(weight.mean)
        return unit

    return source


def _draw(key: list[int], first: int, count: int) -> np.ndarray:
    """Numbers of 24 bits, `first` and on of the stream that `key` names: two of each 64 bits."""
    generator = np.random.PCG64(key)
    generator.advance(first // 2)
    bits = generator.random_raw((first + count + 1) // 2 - first // 2)
    drawn = bits.astype("<u8", copy=False).view("<u4")[first % 2 :][:count]
    drawn >>= np.uint32(8)
    return drawn


def _units(drawn: np.ndarray) -> tuple[np.ndarray, float]:
    """float32 values in [-1, 1), and what they are multiplied by to have the standard deviation 1."""
    unit = drawn.astype(np.float32)
    unit *= np.float32(2**-23)
    unit -= np.float32(1)
    return unit, 3**0.5


def _among(drawn: np.ndarray, levels: int) -> tuple[np.ndarray, float]:
    """Whole numbers around 0, `levels` different ones, as float32, and the same."""
    number = (drawn * np.uint32(levels)) >> np.uint32(24)
    unit = number.astype(np.float32)
    unit -= np.float32(levels // 2)
    return unit, ((levels**2 - 1) / 12) ** -0.5
