"""The two kinds of target: one whose bytes the engine moves, one that is called."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from bench.errors import RunError
from bench.payloads import Prompt, Request
from bench.record import OK
from bench.tensors import Tensors, TensorSpec
from bench.wire.line import Line, Reply, WireRequest
from bench.workload import Workload


@dataclass(frozen=True, slots=True)
class Facts:
    """What an endpoint says of itself and of the model."""

    name: str  # "triton"
    version: str
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    details: dict[str, Any] = field(default_factory=dict)


class Verdict(NamedTuple):
    """A reply judged by status, id, model version and shape: an error code of bench.record, and what was seen."""

    error: int
    message: str


FINE = Verdict(OK, "")


class CallReply(NamedTuple):
    """What a call came to."""

    status: int
    verdict: Verdict
    answer: Any  # what `outputs` makes tensors of; None after an error


class Streamed(NamedTuple):
    """A streamed reply taken apart, also one that broke off: its pieces, what was generated, and the verdict on the whole."""

    t_ns: Sequence[int]  # when each piece was there
    tokens: Sequence[int]  # tokens in each; 0 for an empty one
    outputs: Tensors  # {"tokens": int64 [n]}, or {"text": BYTES [1]} where no token ids are to be had
    verdict: Verdict


class Target(Protocol):
    """An endpoint, its model, and what they say."""

    def probe(self) -> Facts:
        """Ask the endpoint and the model who they are; RunError when one is not there or the workload does not fit.

        A target that sends a request to find that out has `who` besides, which does not.
        """
        ...

    def outputs(self, answer: Any) -> Tensors:
        """The tensors of a reply that was judged fine."""
        ...

    def close(self) -> None: ...


class WireTarget(Target, Protocol):
    """A target whose requests are bytes on a socket.

    One that talks over TLS has an `ssl.SSLContext` besides, as `tls`; one whose server closes the connection after every reply,
    whatever that says, has `keeps_connections = False`.
    """

    address: tuple[str, int]

    def line(self) -> Line:
        """The protocol's side of a new connection."""
        ...

    def requests(self, payloads: Sequence[Request]) -> list[WireRequest]: ...

    def judge(self, reply: Reply, request_id: bytes) -> Verdict: ...


class CallTarget(Target, Protocol):
    """A target that a native thread calls and waits for."""

    def caller(self, payloads: Sequence[Request]) -> Callable[[int, int], CallReply]:
        """A function (payload, request id) -> reply, for one thread."""
        ...


class StreamTarget(Protocol):
    """What a target that streams has besides: a wire target's `judge` then sees only the head, a call's answer is kept whole.

    `streamed` is called off the measuring thread, for every reply that began, also one that broke off. A target that must find
    out how many tokens a piece holds says by `counted` in which way it did, in how many replies.
    """

    def streamed(self, answer: Any, prompt: Prompt) -> Streamed:
        """Take apart a reply (of a wire target: `Reply` with its marks; of a call: its answer)."""
        ...


class BatchTarget(Protocol):
    """What a target has besides whose server tells of the batches that it executed."""

    def batches(self) -> dict[int, int] | None:
        """Batch size -> how often it was executed since the model was loaded; None where the server does not say."""
        ...


def request_id(number: int) -> bytes:
    """The 16 hex digits that stand for a request on the wire."""
    return b"%016x" % number


def check_inputs(
    target: object, workload: Workload, model_inputs: Sequence[TensorSpec], optional: Collection[str] = ()
) -> None:
    """RunError that shows both sides when the workload's tensors do not fit the model's; `optional` ones may be left out."""
    ours = {spec.name: spec for spec in workload.input_specs()}
    theirs = {spec.name: spec for spec in model_inputs}
    complete = theirs.keys() - set(optional) <= ours.keys() <= theirs.keys()
    if not complete or not all(theirs[n].fits(s.datatype, s.shape) for n, s in ours.items()):
        raise RunError(
            f"target {target}: workload {workload.name!r} does not fit model {workload.model.name!r}: "
            f"it sends {', '.join(map(str, ours.values()))}; the model takes {', '.join(map(str, theirs.values()))}"
        )


class ShapeMemo:
    """Remembers the fixed beginnings of good replies, so that each distinct one is parsed once."""

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[Verdict, int]] = {}

    def get(self, key: bytes, length: int) -> Verdict | None:
        """The verdict on an earlier reply with this beginning and this length."""
        known = self._known.get(key)
        return known[0] if known is not None and known[1] == length else None

    def put(self, key: bytes, length: int, verdict: Verdict) -> Verdict:
        """Remember `verdict` where it is a good one, and return it."""
        if verdict.error == OK and len(self._known) < 256:
            self._known[key] = (verdict, length)
        return verdict
