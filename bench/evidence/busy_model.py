"""A model for Triton's Python backend that works a fixed amount: so many products of two small matrices a request."""

import json
from typing import Any

import numpy as np
import triton_python_backend_utils as pb

OUTPUTS = 16
SIDE = 48  # of a matrix: so small that OpenBLAS takes one thread, whatever the environment says


class TritonPythonModel:
    """Input `x`, FP32 of any length from 16 on; output `y`, its first 16 values, whatever the work."""

    def initialize(self, args: dict[str, str]) -> None:
        parameters = json.loads(args["model_config"])["parameters"]
        self._products = int(parameters["products"]["string_value"])
        self._matrix = np.random.default_rng(1).random((SIDE, SIDE), dtype=np.float32)
        self._product = np.empty_like(self._matrix)

    def execute(self, requests: list[Any]) -> list[Any]:
        return [pb.InferenceResponse([pb.Tensor("y", self._answer(r.inputs()[0].as_numpy()))]) for r in requests]

    def _answer(self, x: np.ndarray) -> np.ndarray:
        for _ in range(self._products):
            np.matmul(self._matrix, self._matrix, out=self._product)
        return x[:OUTPUTS]
