"""A model as a user may have one: each row's text in capitals, and its numbers times the length of the text in bytes."""

from typing import Any

import numpy as np
import triton_python_backend_utils as pb


class TritonPythonModel:
    """Strings and a free dimension in, two outputs out; each request for itself."""

    def execute(self, requests: list[Any]) -> list[Any]:
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        texts = pb.get_input_tensor_by_name(request, "text").as_numpy()
        values = pb.get_input_tensor_by_name(request, "values").as_numpy()
        lengths = np.array([[len(text)] for text in texts.ravel()], np.float32)
        labels = np.array([text.upper() for text in texts.ravel()], object).reshape(texts.shape)
        return pb.InferenceResponse([pb.Tensor("label", labels), pb.Tensor("scaled", values * lengths)])
