"""How a model is opened: one ONNX Runtime session with the same options under Triton, under Flask and in process."""

import ctypes
import os
from pathlib import Path

import onnxruntime

from bench.runtime import providers


def default_threads() -> int:
    """Every core that this process may use."""
    return len(os.sched_getaffinity(0))


def make_session(
    path: str | Path, threads: int, provider: str = "cpu", device: int = 0, graphs: bool = False
) -> onnxruntime.InferenceSession:
    """The model at `path` on `provider`: "cpu", or "cuda" or "tensorrt" on GPU `device`, with CUDA graphs if asked for.

    RuntimeError where the GPU cannot be had, or would leave a part of the model to the CPU: left to itself ONNX Runtime does
    so without an error.
    """
    if provider != "cpu":
        providers.preload()
        if problem := providers.obstacle(provider, device, providers.installed(), ctypes.CDLL):
            raise RuntimeError(f"{path}: {provider}:{device} was asked for: {problem}")
    wanted = providers.provider_options(provider, device, graphs)
    options = _options(threads, providers.session_entries(provider))
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=wanted, enable_fallback=0)
    except Exception as error:
        if provider == "cpu":
            raise
        raise RuntimeError(f"{path}: {provider}:{device} was asked for: {_explain(error, wanted[0][0])}") from error
    if session.get_providers()[0] != wanted[0][0]:
        raise RuntimeError(
            f"{path}: {wanted[0][0]} was asked for, ONNX Runtime created {', '.join(session.get_providers())}; its log says why"
        )
    return session


def session_options_facts(threads: int, gpu: bool = False) -> dict[str, str | int]:
    """The options that `make_session` sets, by ONNX Runtime's names, for the record of a run."""
    facts: dict[str, str | int] = {"cudnn_conv_algo_search": providers.SEARCH.lower()} if gpu else {}
    return facts | {
        "intra_op_num_threads": threads,
        "inter_op_num_threads": 1,
        "execution_mode": "sequential",
        "graph_optimization_level": "all",
        "allow_spinning": 0,
    }


def _options(threads: int, entries: dict[str, str]) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    # Threads that spin while they wait take the cores from what shares the machine: JSON, HTTP, the load generator. ResNet-50
    # on 2 cores, 4 users: Flask 21 requests/s without spinning and 15 with it, Triton 35 either way and at less CPU without.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    for key, value in entries.items():
        options.add_session_config_entry(key, value)
    return options


def _explain(error: Exception, provider: str) -> str:
    """ONNX Runtime's refusal in the user's terms."""
    if "CPU EP" in str(error):
        return f"a part of the model has no operators in {provider} and would run on the CPU"
    return f"{type(error).__name__}: {error}"
