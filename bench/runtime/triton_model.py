"""A model for Triton's Python backend: any ONNX model of fixed ranks, all requests of an `execute` joined into one batch.

Copied into a model repository as VERSION/model.py, with bench/runtime beside it.
"""

import bisect
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb

from bench.runtime.session import default_threads, make_session


class TritonPythonModel:
    """One instance: one ONNX Runtime session, or one for each of `batch_sizes`.

    Parameters in the model's configuration, each with a default:
    - `onnx_file`, absolute or relative to this file; `threads`.
    - `batch_sizes`: "1,2,4,8": a batch is filled up with zeros to the next of these, so that no session meets another size than
      in the run before, for which a GPU's convolutions would be planned anew.
    - `padded`: "true" where requests may differ in their inputs' free dimensions too. Then zeros make all of a batch as long as
      the longest, which the model has to know from the rest by a mask, and outputs are cut back along the dimensions of the
      same name.
    """

    def initialize(self, args: dict[str, str]) -> None:
        config = json.loads(args["model_config"])
        parameters = {name: value["string_value"] for name, value in config.get("parameters", {}).items()}
        self._batched = config["max_batch_size"] > 0
        self._padded = self._batched and parameters.get("padded") == "true"
        self._inputs = [tensor["name"] for tensor in config["input"]]
        self._outputs = [tensor["name"] for tensor in config["output"]]
        file = Path(__file__).parent / parameters.get("onnx_file", "model.onnx")
        threads = int(parameters.get("threads", default_threads()))
        provider = "cuda" if args["model_instance_kind"] == "GPU" else "cpu"
        self._sizes = sorted(map(int, parameters["batch_sizes"].split(","))) if "batch_sizes" in parameters else []
        device = int(args["model_instance_device_id"])
        self._sessions = [make_session(file, threads, provider, device) for _ in self._sizes or [0]]
        tensors = (*self._sessions[0].get_inputs(), *self._sessions[0].get_outputs())
        self._dims = {tensor.name: tensor.shape for tensor in tensors}

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
        """Requests, by their index, that can run as one batch: those whose inputs differ in nothing but the first dimension.

        Where the model is padded, those whose inputs differ in free dimensions too.
        """
        groups: dict[Any, list[tuple[int, list[np.ndarray]]]] = {}
        for index, request in enumerate(requests):
            try:
                arrays = [pb.get_input_tensor_by_name(request, name).as_numpy() for name in self._inputs]
            except Exception as error:
                responses[index] = _failure(error)
                continue
            key = tuple(map(self._joinable, self._inputs, arrays)) if self._batched and self._agrees(arrays) else index
            groups.setdefault(key, []).append((index, arrays))
        return list(groups.values())

    def _agrees(self, arrays: list[np.ndarray]) -> bool:
        """Whether dimensions of one name are equally long; padding would hide it where they are not."""
        sizes: dict[str, int] = {}
        return all(
            sizes.setdefault(dim, size) == size
            for name, array in zip(self._inputs, arrays, strict=True)
            for dim, size in zip(self._dims[name], array.shape, strict=False)
            if isinstance(dim, str)
        )

    def _joinable(self, name: str, array: np.ndarray) -> tuple[int | str, ...]:
        """What an input has in common with those that it can be joined with: a size for each dimension after the first."""
        dims = self._dims[name]
        if not self._padded or len(dims) != array.ndim:
            return array.shape[1:]
        return tuple(dim if isinstance(dim, str) else size for dim, size in zip(dims[1:], array.shape[1:], strict=True))

    def _run(self, batch: list[list[np.ndarray]]) -> list[list[np.ndarray]]:
        """The outputs of each request, of one run over all of them."""
        if len(batch) == 1:
            return [self._compute(dict(zip(self._inputs, batch[0], strict=True)))]
        joined = {name: _join(parts) for name, parts in zip(self._inputs, zip(*batch, strict=True), strict=True)}
        ends = np.cumsum([arrays[0].shape[0] for arrays in batch])[:-1]
        outputs = [np.split(output, ends) for output in self._compute(joined)]
        answers = [list(parts) for parts in zip(*outputs, strict=True)]
        return [self._cut(*pair) for pair in zip(batch, answers, strict=True)] if self._padded else answers

    def _compute(self, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        """The outputs of one run, by the session of the next larger size where there is one."""
        rows = len(next(iter(inputs.values()))) if self._sizes else 0
        at = bisect.bisect_left(self._sizes, rows)
        if at == len(self._sizes):  # there are no sizes, or the batch is larger than all of them
            outputs: list[np.ndarray] = self._sessions[-1].run(self._outputs, inputs)
            return outputs
        if more := self._sizes[at] - rows:
            inputs = {name: np.concatenate([a, np.zeros((more, *a.shape[1:]), a.dtype)]) for name, a in inputs.items()}
        return [output[:rows] for output in self._sessions[at].run(self._outputs, inputs)]

    def _cut(self, inputs: list[np.ndarray], outputs: list[np.ndarray]) -> list[np.ndarray]:
        """The outputs as long as this request's own inputs make them."""
        own = {
            dim: size
            for name, array in zip(self._inputs, inputs, strict=True)
            for dim, size in zip(self._dims[name][1:], array.shape[1:], strict=True)
            if isinstance(dim, str)
        }
        cuts = [(slice(None), *(slice(own.get(dim)) for dim in self._dims[name][1:])) for name in self._outputs]
        return [output[cut] for output, cut in zip(outputs, cuts, strict=True)]

    def finalize(self) -> None:
        del self._sessions


def _join(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """All rows as one batch, zeros after those that are shorter than others."""
    longest = tuple(np.max([array.shape[1:] for array in arrays], axis=0).astype(int).tolist())
    if all(array.shape[1:] == longest for array in arrays):
        return np.concatenate(arrays)
    joined = np.zeros((sum(len(array) for array in arrays), *longest), arrays[0].dtype)
    begin = 0
    for array in arrays:
        joined[(slice(begin, begin + len(array)), *map(slice, array.shape[1:]))] = array
        begin += len(array)
    return joined


def _failure(error: Exception) -> Any:
    return pb.InferenceResponse(error=pb.TritonError(f"{type(error).__name__}: {error}"))
