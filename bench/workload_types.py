"""What a workload file says: its tables, as frozen data."""

from typing import Annotated, Literal

import msgspec

from bench.arrivals import Load
from bench.lengths import Length
from bench.slo import Nanoseconds, Slo
from bench.tensors import TensorSpec

Count = Annotated[int, msgspec.Meta(ge=1)]


class Size(int):
    """Bytes; in files "602 kB"."""


class DataType(str):
    """A KServe data type, "FP32"."""


class Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table of a workload file: every key is known, nothing is guessed."""


class Model(Strict, frozen=True):
    """Which model the server is asked for, and in which precision it was built."""

    name: str
    version: str = "1"
    precision: str = "fp32"
    preset: str = "full"
    weights: str = ""  # seeded; else the folder or the hub's name of a Hugging Face checkpoint


class Input(Strict, frozen=True):
    """One input tensor of each request, filled with seeded uniform values in [low, high).

    A name in `shape` is a length of `payload.lengths`, drawn anew for each request. BYTES are texts of [low, high) characters.
    Instead of a range: `values` to draw from, or a `file` of requests (.npy, .npz by the input's name, .json).
    """

    datatype: DataType
    shape: tuple[Count | str, ...]
    low: float = 0.0
    high: float = 1.0
    values: tuple[bool | int | float | str, ...] = ()
    file: str = ""
    sha256: str = ""  # of the file, as it was when the workload was read


class Prefix(Strict, frozen=True):
    """The first `tokens` of a prompt are the same in all requests of a group, as a system prompt is."""

    tokens: Count
    groups: Count = 1


class Generate(Strict, frozen=True):
    """A prompt goes in, tokens stream out. Prompts are random token ids below `vocabulary`, or words where `form` is "text"."""

    prompt_tokens: Length
    output_tokens: Length
    vocabulary: Annotated[int, msgspec.Meta(ge=2)] = 32_000
    prefix: Prefix | None = None
    ignore_eos: bool = True  # the output is as long as asked for, whatever the model says
    form: Literal["tokens", "text"] = "tokens"


class Payload(Strict, frozen=True):
    """A pool of distinct requests, made before the clock starts and sent in turn: tensors, or prompts to go on from."""

    inputs: dict[str, Input] = {}
    generate: Generate | None = None
    lengths: dict[str, Length] = {}
    distinct: Count = 32
    size: Size | None = None


class Check(Strict, frozen=True):
    """One reply in `every` is compared with the reference answers: |difference| <= tolerance x the largest |reference|."""

    every: Count = 10
    tolerance: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1e-2
    reference: bool = True


class Part(Strict, frozen=True):
    """One model of several that a workload asks in turn: of `weight` out of the sum of all weights of its requests."""

    name: str
    model: Model
    payload: Payload
    workload: str = ""  # the name or file of the workload that the others were taken over from
    weight: Annotated[float, msgspec.Meta(gt=0, le=1e9)] = 1.0
    slo: Slo = Slo()
    check: Check = Check()


class Workload(Strict, frozen=True):
    """A workload file; see workloads/resnet50.toml for one with every key explained.

    It asks one model, or it is a mix of `parts`; then `model`, `payload` and `check` are each part's, and `slo` is of all.
    """

    name: str
    load: Load
    model: Model = Model("")
    payload: Payload = Payload()
    description: str = ""
    seed: Annotated[int, msgspec.Meta(ge=0)] = 1
    round: Annotated[int, msgspec.Meta(ge=0)] = 0  # of an experiment: each has a schedule and an order of requests of its own
    warmup_ns: Nanoseconds = msgspec.field(name="warmup", default=Nanoseconds(2 * 10**9))
    duration_ns: Nanoseconds = msgspec.field(name="duration", default=Nanoseconds(20 * 10**9))
    requests: Count | None = None
    timeout_ns: Nanoseconds = msgspec.field(name="timeout", default=Nanoseconds(10 * 10**9))
    slo: Slo = Slo()
    check: Check = Check()
    mix: tuple[Part, ...] = ()

    @property
    def parts(self) -> tuple["Workload", ...]:
        """The workload of each model under the same load; of one that is no mix, itself."""
        return tuple(
            msgspec.structs.replace(self, name=p.name, model=p.model, payload=p.payload, slo=p.slo, check=p.check, mix=())
            for p in self.mix
        ) or (self,)

    @property
    def generates(self) -> bool:
        """Whether tokens are streamed: in all parts of a mix, or in none."""
        return all(part.payload.generate is not None for part in self.parts)

    def input_specs(self) -> list[TensorSpec]:
        """The inputs of each request; a dimension whose length is drawn, or told by a file, is -1."""
        fixed = {name: length for name, length in self.payload.lengths.items() if isinstance(length, int)}
        return [
            TensorSpec(name, i.datatype, tuple(fixed.get(n, -1) if isinstance(n, str) else n for n in i.shape))
            for name, i in self.payload.inputs.items()
        ]
