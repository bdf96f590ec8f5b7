"""The reference answers of a model to a workload's requests, which replies are compared with."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import onnxruntime

from bench import payloads
from bench.errors import RunError, UsageError
from bench.recipes.catalog import BuiltModel
from bench.tensors import Tensors, TensorSpec
from bench.workload import Workload


def reference(model: BuiltModel, workload: Workload, say: Callable[[str], None]) -> Path:
    """An .npz of output name -> answers [distinct, *output shape of one request] to `payloads.make(workload)`.

    ONNX Runtime computes them once, on the CPU and one request at a time, and they are kept in the model's folder.
    UsageError where the workload's inputs are not the model's.
    """
    check_inputs(model, workload)
    # the model's digest too: answers that a process computes while another replaces the model must not pass for the new one's
    path = model.folder / "references" / f"{payloads.digest(workload)}-{model.digest[:16]}.npz"
    if not path.exists():
        say(f"answering the {workload.payload.distinct} requests of {workload.name} with {model.name} for reference")
        _save(path, _answers(model.onnx, payloads.make(workload)))
    return path


def check_inputs(model: BuiltModel, workload: Workload) -> None:
    """UsageError unless the workload sends just the model's inputs, by name, type and shape; it prints both."""
    sent = {spec.name: spec for spec in workload.input_specs()}
    taken = {spec.name: spec for spec in model.inputs}
    if sent.keys() == taken.keys() and all(taken[name].fits(spec.datatype, spec.shape) for name, spec in sent.items()):
        return
    raise UsageError(
        f"workload {workload.name}: its inputs are not those of model {model.name}: "
        f"the workload sends {_listed(sent.values())}; the model takes {_listed(taken.values())} (-1: any size)"
    )


def _listed(specs: Iterable[TensorSpec]) -> str:
    return ", ".join(str(spec) for spec in specs) or "nothing"


def _answers(onnx: Path, requests: list[Tensors]) -> Tensors:
    session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    replies = [session.run(names, request) for request in requests]
    return {name: np.stack(answers) for name, answers in zip(names, zip(*replies, strict=True), strict=True)}


def _save(path: Path, answers: Tensors) -> None:
    part = path.with_name(f"{path.stem}.{os.getpid()}.part")
    try:
        path.parent.mkdir(exist_ok=True)
        with part.open("wb") as file:
            np.savez(file, **answers)  # type: ignore[arg-type]  # which might be named allow_pickle
        part.replace(path)
    except OSError as error:
        raise RunError(f"cannot store reference answers in {path.parent}: {error.strerror or error}") from None
    finally:
        part.unlink(missing_ok=True)
