"""When requests are meant to be sent: closed loops and seeded schedules, as pure iterators."""

import math
from collections.abc import Callable, Iterator
from itertools import accumulate, count
from typing import Annotated, Literal

import msgspec
import numpy as np

from bench import units
from bench.slo import Nanoseconds

Count = Annotated[int, msgspec.Meta(ge=1)]
Factor = Annotated[float, msgspec.Meta(gt=0)]


class Rate(float):
    """Requests a second; in files "20/s"."""


class Closed(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="arrivals", tag="closed"):
    """`users` users, each of whom sends when the last reply came."""

    users: Count = 1

    @property
    def connections(self) -> int:
        return self.users


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """So many users for so long."""

    users: Count
    duration_ns: Nanoseconds = msgspec.field(name="duration")


class Steps(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="arrivals", tag="steps"):
    """A closed loop whose users come and go: step after step, which together are the window. The first step's warm up."""

    steps: Annotated[tuple[Step, ...], msgspec.Meta(min_length=1)]

    @property
    def connections(self) -> int:
        return max(step.users for step in self.steps)

    @property
    def duration_ns(self) -> int:
        return sum(step.duration_ns for step in self.steps)

    def users_at(self, offset_ns: int) -> int:
        """The users that there are to be so long after the window began; the first step's before it, the last one's after."""
        for step, end_ns in zip(self.steps, accumulate(step.duration_ns for step in self.steps), strict=True):
            if offset_ns < end_ns:
                return step.users
        return self.steps[-1].users


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


class Gamma(_Open, frozen=True, tag_field="arrivals", tag="gamma"):
    """Independent gaps of mean 1/rate from a gamma distribution of shape `burstiness`.

    1 is Poisson, below 1 they come in bursts, above 1 more evenly: the squared coefficient of variation is 1/burstiness.
    """

    burstiness: Factor = 1.0


class Stage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The rate goes evenly from where it is to `rate` within `duration`."""

    rate_hz: Rate = msgspec.field(name="rate")
    duration_ns: Nanoseconds = msgspec.field(name="duration")


class Ramp(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="arrivals", tag="ramp"):
    """A rate that changes: `rate` while it warms up, then stage after stage, which together are the window."""

    rate_hz: Rate = msgspec.field(name="rate")
    stages: Annotated[tuple[Stage, ...], msgspec.Meta(min_length=1)]
    gaps: Literal["poisson", "constant"] = "poisson"
    users: Count = 64

    @property
    def connections(self) -> int:
        return self.users

    @property
    def duration_ns(self) -> int:
        return sum(stage.duration_ns for stage in self.stages)


class Trace(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="arrivals", tag="trace"):
    """The times of a file's requests, `speed` times as fast; see `bench.traces` for the files that are understood."""

    file: str
    speed: Factor = 1.0
    users: Count = 64
    sha256: str = ""  # of the file, as it was when the workload was read

    @property
    def connections(self) -> int:
        return self.users


ClosedLoop = Closed | Steps
Drawn = Constant | Poisson | Gamma | Ramp
OpenLoop = Drawn | Trace
Load = ClosedLoop | OpenLoop


def offsets_ns(load: Drawn, seed: int, warmup_ns: int = 0, turn: int = 0) -> Iterator[int]:
    """The intended sends in ns after the start, without end; the same seed and turn give the same schedule everywhere.

    `warmup_ns` is how long a ramp stays at its first rate; `turn` is a round of an experiment, which has a schedule of its own.
    """
    match load:
        case Constant(rate_hz=rate):
            return (round(n * 1e9 / rate) for n in count())
        case Poisson(rate_hz=rate):
            return _sums(1e9 / rate, _exponentials(seed, turn))
        case Gamma(rate_hz=rate, burstiness=shape):
            return _sums(1e9 / rate / shape, _gammas(seed, turn, shape))
        case Ramp():
            when = _inverse(load, warmup_ns)
            sends = accumulate(_exponentials(seed, turn)) if load.gaps == "poisson" else iter(count())
            return (round(when(n)) for n in sends)


def _sums(scale: float, gaps: Iterator[float]) -> Iterator[int]:
    t = 0.0
    for gap in gaps:
        t += scale * gap
        yield round(t)


def _units(seed: int, turn: int) -> Iterator[np.ndarray]:
    """Batches of independent values, uniform in (0, 1]."""
    bits = np.random.PCG64([seed, 0x41525256, turn])
    while True:
        # raw bits, because numpy does not promise the streams of its distributions across versions
        yield ((bits.random_raw(1024) >> np.uint64(11)).astype(np.float64) + 1.0) * 2.0**-53


def _exponentials(seed: int, turn: int) -> Iterator[float]:
    """Independent values of mean 1."""
    for unit in _units(seed, turn):
        yield from (-np.log(unit)).tolist()


def _gammas(seed: int, turn: int, shape: float) -> Iterator[float]:
    """Independent values of the gamma distribution with scale 1, whose mean is `shape`.

    G. Marsaglia and W. W. Tsang, "A simple method for generating gamma variables" (2000); normals by Box and Muller. A shape
    below 1 is one of shape + 1 times a uniform value to the power of 1 / shape.
    """
    d = shape + (1 if shape < 1 else 0) - 1 / 3
    c = 1 / math.sqrt(9 * d)
    for unit in _units(seed, turn):
        u1, u2, u3, u4 = unit.reshape(4, -1)
        x = np.sqrt(-2 * np.log(u1)) * np.cos(2 * np.pi * u2)
        v = np.maximum(1 + c * x, 1e-30) ** 3
        taken = (c * x > -1) & (np.log(u3) < 0.5 * x * x + d - d * v + d * np.log(v))
        values = d * v * (u4 ** (1 / shape) if shape < 1 else 1.0)
        yield from values[taken].tolist()


def _inverse(ramp: Ramp, warmup_ns: int) -> Callable[[float], float]:
    """When (ns) a ramp has come to so many requests, of which it expects `rate x time`: its rate's integral, turned round."""
    starts, rates, expected = [0.0, float(warmup_ns)], [float(ramp.rate_hz)] * 2, [0.0, ramp.rate_hz * warmup_ns / 1e9]
    for stage in ramp.stages:
        starts.append(starts[-1] + stage.duration_ns)
        expected.append(expected[-1] + (rates[-1] + stage.rate_hz) / 2 * stage.duration_ns / 1e9)
        rates.append(float(stage.rate_hz))
    piece = 0

    def when(n: float) -> float:
        nonlocal piece  # `n` never goes back
        while piece + 1 < len(expected) - 1 and n >= expected[piece + 1]:
            piece += 1
        start, rate, more = starts[piece], rates[piece], n - expected[piece]
        length = (starts[piece + 1] - start) / 1e9
        slope = (rates[piece + 1] - rate) / length if length else 0.0
        if n >= expected[-1]:  # after the last stage its rate stays
            return starts[-1] + (n - expected[-1]) / rates[-1] * 1e9
        # more = rate t + slope t^2 / 2, solved so that a slope of 0 divides by nothing
        return start + 2 * more / (rate + math.sqrt(max(rate * rate + 2 * slope * more, 0.0))) * 1e9

    return when


def parse_rate(text: object) -> Rate:
    """`Rate` of "20/s"; ValueError names what was expected."""
    return Rate(units.rate_hz(text))
