"""The KV cache of a generating model: a row of its buffers for each sequence, which every run reads and writes in place."""

import json
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import onnxruntime

DEFAULT_CONTEXT = 1024
PAST = "past_key_values."

_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


class _Buffer(NamedTuple):
    """The keys or the values of one layer, of all slots."""

    past: str  # the input and the output that are bound to it
    present: str
    kind: Any  # numpy's type
    shape: tuple[int, ...]  # [slots, kv heads, context, head size]
    address: int
    memory: Any  # what holds it: an array, or an OrtValue on a GPU


class _Rows(NamedTuple):
    """What stays bound from one run over the same rows to the next."""

    binding: Any  # onnxruntime.IOBinding
    logits: np.ndarray  # float32 [rows, vocabulary]


class Slots:
    """A model and its KV buffers, each bound as past and as present of its layer.

    `lengths[slot]` tokens of a slot's sequence have been read. The logits that a run returns stand until the next run of as
    many rows.
    """

    def __init__(
        self, session: onnxruntime.InferenceSession, slots: int, context: int = 0, provider: str = "cpu", device: int = 0
    ) -> None:
        described = session.get_modelmeta().custom_metadata_map
        self.vocabulary, limit = int(described["vocabulary"]), int(described["context"])
        context = context or min(DEFAULT_CONTEXT, limit)
        if context > limit:
            raise ValueError(f"context: the model was made for {limit} tokens at most, got {context}")
        self.eos = frozenset(int(token) for token in json.loads(described["eos"]))
        self._session, self.slots, self.context = session, slots, context
        self.lengths = np.zeros(slots, np.int32)
        # where a row can be copied in place, those in use are kept together; elsewhere the unused ones between them run along
        self.movable = provider == "cpu"
        self._place = ("cpu", 0) if self.movable else ("cuda", device)
        self._buffers = [self._buffer(tensor) for tensor in session.get_inputs() if tensor.name.startswith(PAST)]
        self._bound: dict[tuple[int, int], _Rows] = {}

    def read(self, slot: int, ids: np.ndarray) -> np.ndarray:
        """Go on with a slot's sequence by a prompt, or a piece of one: the logits [vocabulary] after its last token."""
        totals = self.lengths[slot : slot + 1] + np.int32(len(ids))
        logits = self._run(slot, ids.reshape(1, -1), totals)
        self.lengths[slot] = totals[0]
        return logits[0]  # type: ignore[no-any-return]

    def step(self, tokens: Sequence[int | None]) -> np.ndarray:
        """Go on with the first len(tokens) slots by a token each: the logits [len(tokens), vocabulary] after it.

        A slot whose token is None runs along: its sequence stays as it is, and its logits mean nothing.
        """
        ids = np.array([[0 if token is None else token] for token in tokens], np.int64)
        totals = self.lengths[: len(tokens)] + np.int32(1)
        logits = self._run(0, ids, totals)
        for slot, token in enumerate(tokens):
            if token is not None:  # what was written for the others lies beyond their length
                self.lengths[slot] = totals[slot]
        return logits

    def move(self, source: int, target: int) -> None:
        """Let the sequence in `source` go on in `target`; only where `movable`."""
        length = int(self.lengths[source])
        for buffer in self._buffers:
            buffer.memory[target, :, :length] = buffer.memory[source, :, :length]
        self.lengths[target], self.lengths[source] = length, 0

    def clear(self, slot: int) -> None:
        """Forget a slot's sequence."""
        self.lengths[slot] = 0

    def _run(self, first: int, ids: np.ndarray, totals: np.ndarray) -> np.ndarray:
        rows = self._rows(first, len(ids))
        bind = rows.binding.bind_cpu_input
        bind("input_ids", np.ascontiguousarray(ids, np.int64))
        bind("seqlens_k", totals - np.int32(1))
        bind("total_length", np.array(totals.max(), np.int32))
        bind("last", np.full(len(ids), ids.shape[1] - 1, np.int64))
        self._session.run_with_iobinding(rows.binding)
        return rows.logits

    def _rows(self, first: int, count: int) -> _Rows:
        """The bindings of `count` rows from `first` on, made once: two to each of a model's 56 buffers."""
        if (first, count) not in self._bound:
            binding = self._session.io_binding()
            for past, present, kind, shape, address, _ in self._buffers:
                row = math.prod(shape[1:]) * np.dtype(kind).itemsize
                where = (*self._place, kind, [count, *shape[1:]], address + first * row)
                binding.bind_input(past, *where)
                binding.bind_output(present, *where)
            logits = np.empty((count, self.vocabulary), np.float32)
            binding.bind_output("logits", "cpu", 0, np.float32, logits.shape, logits.ctypes.data)
            self._bound[first, count] = _Rows(binding, logits)
        return self._bound[first, count]

    def _buffer(self, past: Any) -> _Buffer:
        _, heads, _, size = past.shape
        kind, shape = _TYPES[past.type], (self.slots, heads, self.context, size)
        present = past.name.replace(PAST, "present.")
        if self.movable:
            array = np.zeros(shape, kind)  # memory that no sequence comes to is never touched, and costs nothing
            return _Buffer(past.name, present, kind, shape, array.ctypes.data, array)
        value = onnxruntime.OrtValue.ortvalue_from_shape_and_type(shape, kind, *self._place)
        return _Buffer(past.name, present, kind, shape, value.data_ptr(), value)
