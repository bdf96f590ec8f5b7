"""The weights that a graph asks for, and where seeded ones come from."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Weight:
    """One tensor as a recipe asks for it: seeded values are uniform with this mean and standard deviation."""

    name: str
    shape: tuple[int, ...]
    std: float = 0.0
    mean: float = 0.0
    centered: bool = False  # every filter (row of the first dimension) sums to 0
    trained: bool = True  # a parameter of the model; running statistics are none

    @property
    def count(self) -> int:
        """How many values it has."""
        return int(np.prod(self.shape, dtype=np.int64))


Source = Callable[[Weight], np.ndarray]


def seeded(seed: int) -> Source:
    """A source of float32 values from raw PCG64 bits, by seed and tensor name: the same under every numpy and on every CPU."""

    def source(weight: Weight) -> np.ndarray:
        bits = np.random.PCG64([seed, zlib.crc32(weight.name.encode())]).random_raw((weight.count + 1) // 2)
        steps = bits.astype("<u8").view("<u4")[: weight.count] >> np.uint32(8)
        unit = (steps.astype(np.float32) * np.float32(2**-23) - np.float32(1)).reshape(weight.shape)
        if weight.centered:
            # the values are multiples of 2**-23, so that a float64 sum is exact in whatever order a CPU adds
            unit -= unit.mean(axis=tuple(range(1, unit.ndim)), keepdims=True, dtype=np.float64).astype(np.float32)
        return unit * np.float32(weight.std * 3**0.5) + np.float32(weight.mean)

    return source
