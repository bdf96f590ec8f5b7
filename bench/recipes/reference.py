"""The reference answers of a model to a workload's requests, which replies are compared with."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import onnxruntime

from bench import answers, lengths, payloads
from bench.answers import Answers
from bench.errors import RunError, UsageError
from bench.payloads import Prompt, Request
from bench.recipes import recipe
from bench.recipes.catalog import BuiltModel
from bench.recipes.progress import now_and_then
from bench.runtime import generation
from bench.tensors import NUMPY_TYPES, Tensors, TensorSpec
from bench.workload import Generate, Workload

Say = Callable[[str], None]


def reference(model: BuiltModel, workload: Workload, say: Say) -> Path:
    """A file of `bench.answers`: the model's outputs for each request of `payloads.make(workload)`, or its greedy tokens.

    ONNX Runtime computes them once, on the CPU and one request at a time, and they are kept in the model's folder.
    UsageError where the workload is not for this model.
    """
    check_inputs(model, workload)
    digest = payloads.digest(workload)
    # the model's digest too: answers that a process computes while another replaces the model must not pass for the new one's
    path = model.folder / "references" / f"{digest}-{model.digest[:16]}.arrow"
    if not path.exists():
        requests = payloads.make(workload)
        say(f"answering the {len(requests)} requests of {workload.name} with {model.name} for reference")
        answered = _generated(model, workload, requests, say) if model.context else _computed(model, workload, requests, say)
        _save(path, dict(enumerate(answered)), {"payloads": digest, "model": model.digest} | _tolerance(model))
    return path


def _tolerance(model: BuiltModel) -> dict[str, str]:
    """How far a right answer may lie from the reference's numbers, where the precision moves them."""
    moves = recipe.load(model.name).moves.get(model.precision)
    return {} if moves is None else {answers.TOLERANCE: repr(moves)}


def check_inputs(model: BuiltModel, workload: Workload) -> None:
    """UsageError unless the workload sends just what the model takes, by name, type and shape; it prints both."""
    generate = workload.payload.generate
    if generate is not None and model.context:
        problem = _generate_problem(model, generate)
    elif generate is not None or model.context:
        problem = "they are not of one kind"
    else:
        problem = "its inputs are not the model's" if not _same_inputs(workload.input_specs(), model.inputs) else ""
    if problem:
        raise UsageError(
            f"workload {workload.name} does not fit model {model.name}: {problem}: "
            f"the workload sends {_sent(workload)}; the model takes {_taken(model)}"
        )


def _generate_problem(model: BuiltModel, generate: Generate) -> str:
    if generate.form != "tokens":
        return "it has no tokenizer, and answers token ids alone"
    longest = lengths.most(generate.prompt_tokens) + lengths.most(generate.output_tokens)
    if longest > model.context:
        return f"the longest prompt and its answer have {longest:,} tokens together, and the context is {model.context:,}"
    if generate.vocabulary > _vocabulary(model):
        return f"token ids reach {generate.vocabulary:,}, and the vocabulary is {_vocabulary(model):,}"
    return ""


def _vocabulary(model: BuiltModel) -> int:
    return next(spec.shape[-1] for spec in model.outputs if spec.name == "logits")


def _same_inputs(sent: Sequence[TensorSpec], taken: Sequence[TensorSpec]) -> bool:
    by_name = {spec.name: spec for spec in taken}
    return {spec.name for spec in sent} == by_name.keys() and all(by_name[s.name].fits(s.datatype, s.shape) for s in sent)


def _sent(workload: Workload) -> str:
    if (generate := workload.payload.generate) is None:
        return _listed(workload.input_specs())
    prompt, output = lengths.most(generate.prompt_tokens), lengths.most(generate.output_tokens)
    form = f"token ids below {generate.vocabulary:,}" if generate.form == "tokens" else "text"
    return f"prompts of up to {prompt:,} tokens ({form}) to go on from by up to {output:,}"


def _taken(model: BuiltModel) -> str:
    if model.context:
        return f"prompts (token ids below {_vocabulary(model):,}) of up to {model.context:,} tokens with their answer"
    return f"{_listed(model.inputs)} (-1: any size)"


def _listed(specs: Iterable[TensorSpec]) -> str:
    return ", ".join(str(spec) for spec in specs) or "nothing"


def _computed(model: BuiltModel, workload: Workload, requests: Sequence[Request], say: Say) -> Iterator[Tensors]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # an error is said once, by us
    session = onnxruntime.InferenceSession(model.onnx, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    progress = _progress(len(requests), say)
    for number, request in enumerate(requests):
        assert isinstance(request, dict)
        try:
            outputs = session.run(names, request)
        except Exception as error:  # ONNX Runtime has a dozen kinds: an id beyond the vocabulary, a length beyond the positions
            raise UsageError(
                f"workload {workload.name}: model {model.name} cannot answer its request {number} "
                f"({_listed(_spec(name, array) for name, array in request.items())}): {_reason(error)}"
            ) from None
        yield dict(zip(names, outputs, strict=True))
        progress(number + 1)


def _spec(name: str, array: np.ndarray) -> TensorSpec:
    kinds = {np.dtype(kind): datatype for datatype, kind in NUMPY_TYPES.items()}
    return TensorSpec(name, kinds[array.dtype], array.shape)


def _generated(model: BuiltModel, workload: Workload, requests: Sequence[Request], say: Say) -> Iterator[Tensors]:
    prompts = [request for request in requests if isinstance(request, Prompt)]
    try:
        answered = generation.greedy(
            model.onnx,
            [(prompt.ids, prompt.max_tokens) for prompt in prompts],
            threads=len(os.sched_getaffinity(0)),
            ignore_eos=all(prompt.ignore_eos for prompt in prompts),
            progress=_progress(len(prompts), say),
        )
    except Exception as error:  # of as many kinds as above
        raise UsageError(f"workload {workload.name}: model {model.name} cannot answer its prompts: {_reason(error)}") from None
    for tokens, margin in answered:
        yield {"tokens": tokens, "margin": margin}


def _reason(error: Exception) -> str:
    """What ONNX Runtime says is wrong, without where in it."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].rpartition("Status Message: ")[2]


def _progress(count: int, say: Say) -> Callable[[int], None]:
    return now_and_then(say, lambda done: f"answered {done} of {count}")


def _save(path: Path, answered: Answers, about: dict[str, str]) -> None:
    part = path.with_name(f"{path.stem}.{os.getpid()}.part")
    try:
        path.parent.mkdir(exist_ok=True)
        answers.write(part, answered, about)
        part.replace(path)
    except OSError as error:
        raise RunError(f"cannot store reference answers in {path.parent}: {error.strerror or error}") from None
    finally:
        part.unlink(missing_ok=True)
