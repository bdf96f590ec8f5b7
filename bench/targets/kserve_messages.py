"""KServe v2's messages over gRPC: requests serialized beforehand, replies known by their layout."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from tritonclient.grpc import service_pb2

from bench.record import PROTOCOL, SHAPE
from bench.record import VERSION as WRONG_VERSION
from bench.targets import kserve_model
from bench.targets.base import FINE, Verdict
from bench.tensors import NUMPY_TYPES, Tensors, TensorSpec
from bench.wire import grpc
from bench.wire.line import ProtocolError, Varying, WireRequest
from bench.workload import Model

_NO_ID = "0" * 16
_ID_FIELD, _RAW_FIELD = 3, 6  # of a reply
_KNOWN = 256  # lengths of replies whose layouts are remembered


def request(model: Model, inputs: Mapping[str, tuple[str, np.ndarray]], block: bytes) -> WireRequest:
    """A request with these inputs, by name: (datatype, tensor); `block` is its header block."""
    message = service_pb2.ModelInferRequest(model_name=model.name, model_version=model.version, id=_NO_ID)
    contents = service_pb2.ModelInferRequest()
    for name, (datatype, array) in inputs.items():
        message.inputs.add(name=name, datatype=datatype, shape=array.shape)
        contents.raw_input_contents.append(kserve_model.encode(array))
    # two serialized messages in a row are one message with the fields of both
    text, body = message.SerializeToString(), contents.SerializeToString()
    before = service_pb2.ModelInferRequest(model_name=model.name, model_version=model.version).ByteSize()
    id_at = grpc.PREFIX + before + 2
    head = bytearray(grpc.prefixed(text, len(body)))
    assert head[id_at : id_at + 16] == _NO_ID.encode()
    return WireRequest(head, id_at, body, block)


class Layouts:
    """Remembers where ids and contents are in good replies, so that others laid out alike need not be parsed."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[int, tuple[tuple[int, bytes], ...]]] = {}

    def fits(self, body: bytes, id_: bytes) -> bool:
        """Whether a good reply was, but for its id and its contents, the same as this one, whose id must be `id_`."""
        known = self._known.get(len(body))
        if known is None:
            return False
        id_at, parts = known
        if body[id_at : id_at + 16] != id_:
            return False
        for at, part in parts:  # noqa: SIM110, a generator costs more than what it does here
            if not body.startswith(part, at):
                return False
        return True

    def learn(self, body: bytes) -> None:
        """Remember the layout of a good reply."""
        parts, id_at, at = [], 0, 0
        for number, begin, end in _fields(body):
            if number not in (_ID_FIELD, _RAW_FIELD):
                continue
            if number == _ID_FIELD:
                id_at = begin
            parts.append((at, body[at:begin]))
            at = end
        if id_at and len(parts) > 1 and (len(body) in self._known or len(self._known) < _KNOWN):
            self._known[len(body)] = (id_at, (*parts, (at, body[at:])))


def varying(body: bytes, id_: bytes) -> Varying | None:
    """Where the id and the raw contents are in a good reply's body; None where there is no such id in front of them."""
    places = [(number, begin, end) for number, begin, end in _fields(body) if number in (_ID_FIELD, _RAW_FIELD)]
    if not places or places[0][0] != _ID_FIELD or body[places[0][1] : places[0][2]] != id_:
        return None
    return Varying(places[0][1], tuple((begin, end) for number, begin, end in places[1:] if number == _RAW_FIELD))


def _fields(body: bytes) -> Iterator[tuple[int, int, int]]:
    """(number, begin, end) of each field with a length in the message of a body that can be parsed."""
    at = grpc.PREFIX
    while at < len(body):
        key, at = _number(body, at)
        kind = key & 7
        if kind == 2:
            size, at = _number(body, at)
            yield key >> 3, at, at + size
            at += size
        elif kind == 0:
            _, at = _number(body, at)
        else:
            at += 8 if kind == 1 else 4


def _number(body: bytes, at: int) -> tuple[int, int]:
    """A protobuf varint, and where it ends."""
    value = shift = 0
    while body[at] & 0x80:
        value |= (body[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
    return value | body[at] << shift, at + 1


def reply_of(body: bytes) -> Any:
    """The one message that answers a call; ProtocolError or ValueError where it is another number, or none that can be read."""
    found = list(grpc.messages(body))
    if len(found) != 1 or found[0][0] != len(body):
        raise ProtocolError("not one message")
    try:
        return service_pb2.ModelInferResponse.FromString(found[0][1])
    except Exception as problem:  # protobuf's DecodeError is no ValueError, and moves between its implementations
        raise ProtocolError(str(problem)) from None


def verdict(reply: Any, id_: str, wanted: str, expected: Mapping[str, TensorSpec]) -> Verdict:
    """The verdict on a message that answers request `id_`: its id, its version (any where `wanted` is ""), and its outputs."""
    if reply.id not in (id_, ""):
        return Verdict(PROTOCOL, f"the reply to request {id_} carries the id {reply.id[:32]}")
    if wanted and reply.model_version not in ("", wanted):  # which KServe v2 lets a server leave out
        return Verdict(WRONG_VERSION, f"answered by model version {reply.model_version!r}, asked was {wanted!r}")
    fits = len(reply.outputs) == len(expected) and all(
        o.name in expected and expected[o.name].fits(o.datatype, tuple(o.shape)) for o in reply.outputs
    )
    if not fits or not _complete(reply):
        got = ", ".join(map(str, _specs(reply.outputs))) or "no output"
        return Verdict(SHAPE, f"answered {got}; expected {', '.join(map(str, expected.values()))}, each with its contents")
    return FINE


def tensors(reply: Any) -> Tensors:
    """The outputs of a message."""
    if not reply.raw_output_contents:
        return {output.name: _unpacked(output) for output in reply.outputs}
    return {
        output.name: kserve_model.decode(output.datatype, output.shape, data)
        for output, data in zip(reply.outputs, reply.raw_output_contents, strict=True)
    }


def _complete(reply: Any) -> bool:
    """Whether each output has as much as its shape says: raw, as Triton sends it, or in its own field."""
    raw = reply.raw_output_contents
    if not raw:
        return all(len(_contents(o)) == math.prod(o.shape) for o in reply.outputs)
    sizes = zip(reply.outputs, raw, strict=True) if len(raw) == len(reply.outputs) else ()
    fits = [kserve_model.weighs(o.datatype, o.shape, len(data)) for o, data in sizes]
    return len(fits) == len(reply.outputs) and all(fits)


def _contents(output: Any) -> list[Any]:
    """The values of an output that are not raw."""
    return [value for _, values in output.contents.ListFields() for value in values]


def _unpacked(output: Any) -> np.ndarray:
    values = _contents(output)
    array: np.ndarray = np.empty(len(values), NUMPY_TYPES.get(output.datatype, np.float32))
    array[:] = values
    return array.reshape(tuple(output.shape))


def _specs(tensors: Any) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(t.name, t.datatype, tuple(t.shape)) for t in tensors)
