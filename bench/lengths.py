"""How long requests are: sequence, prompt and output lengths as seeded distributions."""

import math
import zlib
from statistics import NormalDist
from typing import Annotated

import msgspec
import numpy as np

Count = Annotated[int, msgspec.Meta(ge=1)]


class Uniform(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="distribution", tag="uniform"):
    """Every length from `low` to `high`, both included, as often as any other."""

    low: Count
    high: Count
    multiple: Count = 1  # rounded up to a multiple of this, as a service that pads to a few lengths would


class Lognormal(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="distribution", tag="lognormal"):
    """exp(N(ln `median`, `sigma`)), kept within `low` and `high`: many short ones, a few long ones, as traffic has them."""

    median: Annotated[float, msgspec.Meta(gt=0)]
    sigma: Annotated[float, msgspec.Meta(ge=0, le=10)]
    high: Count
    low: Count = 1
    multiple: Count = 1


class Values(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="distribution", tag="values"):
    """Lengths as they were seen, each as often as it stands there; a workload file may name a CSV column in their place."""

    values: Annotated[tuple[Count, ...], msgspec.Meta(min_length=1, max_length=100_000)]
    multiple: Count = 1


Length = Count | Uniform | Lognormal | Values  # a number alone is a fixed length


def problem(length: Length) -> str | None:
    """What is wrong with a length's range, if anything is."""
    if isinstance(length, Uniform | Lognormal) and length.low > length.high:
        return f"expected low <= high, got low = {length.low} and high = {length.high}"
    return None


def most(length: Length) -> int:
    """The largest length that may be drawn."""
    if isinstance(length, int):
        return length
    largest = max(length.values) if isinstance(length, Values) else length.high
    return _up(largest, length.multiple)


def draw(length: Length, seed: int, name: str, count: int) -> list[int]:
    """`count` lengths; the same seed and name give the same ones everywhere."""
    if isinstance(length, int):
        return [length] * count
    # raw PCG64 bits: numpy does not promise its distributions across versions
    bits = np.random.PCG64([seed, zlib.crc32(f"length/{name}".encode())]).random_raw(count)
    return [_up(_one(length, (int(b >> 11) + 0.5) * 2.0**-53), length.multiple) for b in bits.tolist()]


def _one(length: Uniform | Lognormal | Values, unit: float) -> int:
    match length:
        case Uniform(low=low, high=high):
            return min(low + int(unit * (high - low + 1)), high)
        case Lognormal(median=median, sigma=sigma, low=low, high=high):
            return max(round(min(median * math.exp(sigma * NormalDist().inv_cdf(unit)), high)), low)
        case Values(values=values):
            return values[min(int(unit * len(values)), len(values) - 1)]


def _up(length: int, multiple: int) -> int:
    return -(-length // multiple) * multiple
