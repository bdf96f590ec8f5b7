"""Tensors by name: their KServe data types and shapes, and how messages speak of them."""

from dataclasses import dataclass

import numpy as np

Tensors = dict[str, np.ndarray]

NUMPY_TYPES = {
    "BOOL": np.bool_, "INT8": np.int8, "INT16": np.int16, "INT32": np.int32, "INT64": np.int64,
    "UINT8": np.uint8, "UINT16": np.uint16, "UINT32": np.uint32, "UINT64": np.uint64,
    "FP16": np.float16, "FP32": np.float32, "FP64": np.float64,
    "BYTES": np.object_,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output of a model; -1 in `shape` is a free dimension."""

    name: str
    datatype: str
    shape: tuple[int, ...]

    def fits(self, datatype: str, shape: tuple[int, ...]) -> bool:
        """Whether a tensor of this type and shape may stand here."""
        same_rank = len(shape) == len(self.shape)
        return datatype == self.datatype and same_rank and all(s in (-1, n) for s, n in zip(self.shape, shape, strict=True))

    def __str__(self) -> str:
        return f"{self.name} {self.datatype}{list(self.shape)}"
