"""When requests are meant to be sent: closed loops and seeded schedules, as pure iterators."""

from collections.abc import Iterator
from typing import Annotated

import msgspec
import numpy as np

from bench import units

Count = Annotated[int, msgspec.Meta(ge=1)]


class Rate(float):
    """Requests a second; in files "20/s"."""


class Closed(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="arrivals", tag="closed"):
    """`users` users, each of whom sends when the last reply came."""

    users: Count = 1

    @property
    def connections(self) -> int:
        return self.users


class _Open(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A schedule of intended sends; `users` connections wait to carry them, and a send that finds none free is late."""

    rate_hz: Rate = msgspec.field(name="rate")
    users: Count = 64

    @property
    def connections(self) -> int:
        return self.users


class Constant(_Open, frozen=True, tag_field="arrivals", tag="constant"):
    """One request every 1/rate seconds."""


class Poisson(_Open, frozen=True, tag_field="arrivals", tag="poisson"):
    """Independent exponential gaps of mean 1/rate: what many independent users look like."""


Load = Closed | Constant | Poisson


def offsets_ns(load: Constant | Poisson, seed: int) -> Iterator[int]:
    """The intended sends in ns after the start, without end; the same seed gives the same schedule everywhere."""
    match load:
        case Constant(rate_hz=rate):
            n = 0
            while True:
                yield round(n * 1e9 / rate)
                n += 1
        case Poisson(rate_hz=rate):
            bits = np.random.PCG64([seed, 0x41525256])
            t = 0.0
            while True:
                # raw bits, because numpy does not promise the streams of its distributions across versions
                unit = ((bits.random_raw(1024) >> np.uint64(11)).astype(np.float64) + 1.0) * 2.0**-53
                for gap in (-np.log(unit) * (1e9 / rate)).tolist():
                    t += gap
                    yield round(t)


def parse_rate(text: object) -> Rate:
    """`Rate` of "20/s"; ValueError names what was expected."""
    return Rate(units.rate_hz(text))
