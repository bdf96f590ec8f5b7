"""A model for Triton's Python backend: any ONNX model of fixed ranks, all requests of an `execute` joined into one batch.

Copied into a model repository as VERSION/model.py, with session.py beside it.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb
from session import make_session  # type: ignore[import-not-found]  # lies beside this file in the repository


class TritonPythonModel:
    """One instance: one ONNX Runtime session.

    Parameters in the model's configuration: `threads`, and `onnx_file` where it is not called model.onnx.
    """

    def initialize(self, args: dict[str, str]) -> None:
        config = json.loads(args["model_config"])
        parameters = {name: value["string_value"] for name, value in config["parameters"].items()}
        self._batched = config["max_batch_size"] > 0
        self._inputs = [tensor["name"] for tensor in config["input"]]
        self._outputs = [tensor["name"] for tensor in config["output"]]
        file = Path(__file__).with_name(parameters.get("onnx_file", "model.onnx"))
        provider = "cuda" if args["model_instance_kind"] == "GPU" else "cpu"
        self._session = make_session(file, int(parameters["threads"]), provider, int(args["model_instance_device_id"]))

    def execute(self, requests: list[Any]) -> list[Any]:
        responses: list[Any] = [None] * len(requests)
        for group in self._groups(requests, responses):
            try:
                answers = self._run([tensors for _, tensors in group])
            except Exception as error:
                # an error belongs to the requests of this batch; raised, it would fail those of the others too
                for index, _ in group:
                    responses[index] = _failure(error)
                continue
            for (index, _), arrays in zip(group, answers, strict=True):
                wanted = requests[index].requested_output_names()
                tensors = [pb.Tensor(n, a) for n, a in zip(self._outputs, arrays, strict=True) if n in wanted]
                responses[index] = pb.InferenceResponse(output_tensors=tensors)
        return responses

    def _groups(self, requests: list[Any], responses: list[Any]) -> list[list[tuple[int, list[np.ndarray]]]]:
        """Requests, by their index, that can run as one batch: those whose inputs differ in nothing but the first dimension."""
        groups: dict[Any, list[tuple[int, list[np.ndarray]]]] = {}
        for index, request in enumerate(requests):
            try:
                arrays = [pb.get_input_tensor_by_name(request, name).as_numpy() for name in self._inputs]
            except Exception as error:
                responses[index] = _failure(error)
                continue
            key = tuple(a.shape[1:] for a in arrays) if self._batched else index
            groups.setdefault(key, []).append((index, arrays))
        return list(groups.values())

    def _run(self, batch: list[list[np.ndarray]]) -> list[list[np.ndarray]]:
        """The outputs of each request, of one run over all of them."""
        if len(batch) == 1:
            return [self._session.run(self._outputs, dict(zip(self._inputs, batch[0], strict=True)))]
        joined = {name: np.concatenate(parts) for name, parts in zip(self._inputs, zip(*batch, strict=True), strict=True)}
        ends = np.cumsum([arrays[0].shape[0] for arrays in batch])[:-1]
        outputs = [np.split(output, ends) for output in self._session.run(self._outputs, joined)]
        return [list(parts) for parts in zip(*outputs, strict=True)]

    def finalize(self) -> None:
        del self._session


def _failure(error: Exception) -> Any:
    return pb.InferenceResponse(error=pb.TritonError(f"{type(error).__name__}: {error}"))
