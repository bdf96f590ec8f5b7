"""How a model is opened: one ONNX Runtime session with the same options under Triton, under Flask and in process."""

import os
from pathlib import Path

import onnxruntime

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


def default_threads() -> int:
    """Every core that this process may use."""
    return len(os.sched_getaffinity(0))


def make_session(path: str | Path, threads: int, provider: str = "cpu", device: int = 0) -> onnxruntime.InferenceSession:
    """The model at `path` on `provider` ("cpu", or "cuda" on GPU `device`).

    RuntimeError where the provider asked for is not the one that was created: ONNX Runtime falls back without an error.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    # Threads that spin while they wait take the cores from what shares the machine: JSON, HTTP, the load generator. ResNet-50
    # on 2 cores, 4 users: Flask 21 requests/s without spinning and 15 with it, Triton 35 either way and at less CPU without.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    wanted = PROVIDERS[provider]
    if provider == "cuda" and hasattr(onnxruntime, "preload_dlls"):
        onnxruntime.preload_dlls()
    arguments = [{"device_id": str(device)}] if provider == "cuda" else [{}]
    session = onnxruntime.InferenceSession(str(path), options, providers=[wanted], provider_options=arguments)
    if session.get_providers()[0] != wanted:
        raise RuntimeError(f"{path}: {wanted} was asked for, ONNX Runtime created {', '.join(session.get_providers())}")
    return session


def session_options_facts(threads: int) -> dict[str, str | int]:
    """The options that `make_session` sets, by ONNX Runtime's names, for the record of a run."""
    return {
        "intra_op_num_threads": threads,
        "inter_op_num_threads": 1,
        "execution_mode": "sequential",
        "graph_optimization_level": "all",
        "allow_spinning": 0,
    }
