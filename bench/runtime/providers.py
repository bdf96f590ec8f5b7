"""What ONNX Runtime is told of a GPU, and why it cannot be had where it cannot."""

import contextlib
import ctypes
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import onnxruntime

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}

# How cuDNN's plan for a convolution is found, which ONNX Runtime does anew whenever the shape is not that of the run before.
# Left to itself ("EXHAUSTIVE") ResNet-50 took 0.8 s on an H100 for a batch of 3 after one of 1: dynamic batching stood still.
SEARCH = "HEURISTIC"

Load = Callable[[str], Any]  # ctypes.CDLL: OSError where a library, or one that it needs, is missing


class Package(NamedTuple):
    """The ONNX Runtime that is installed."""

    version: str
    cuda: str  # the CUDA that it was built for, "13.0"; "" where it does not say
    providers: tuple[str, ...]
    folder: Path  # of its libraries


def installed() -> Package:
    """The ONNX Runtime that this process imports."""
    return Package(
        onnxruntime.__version__,
        getattr(onnxruntime, "cuda_version", None) or "",
        tuple(onnxruntime.get_available_providers()),
        Path(onnxruntime.__file__).parent / "capi",
    )


def provider_options(provider: str, device: int, graphs: bool) -> list[tuple[str, dict[str, str]]]:
    """The providers of a session, first choice first, each with its options.

    With `graphs`, the kernels of a run are captured once as a CUDA graph and replayed: shapes and addresses must stay the same.
    """
    if provider == "cpu":
        return [(PROVIDERS["cpu"], {})]
    place, switch = {"device_id": str(device)}, str(int(graphs))
    cuda = PROVIDERS["cuda"], place | {"cudnn_conv_algo_search": SEARCH}
    if provider == "cuda":
        return [(cuda[0], cuda[1] | {"enable_cuda_graph": switch})]
    # what TensorRT has no operator for, CUDA runs, but not as part of a graph
    return [(PROVIDERS["tensorrt"], place | {"trt_cuda_graph_enable": switch}), cuda]


def session_entries(provider: str) -> dict[str, str]:
    """Entries of a session's configuration: without the first of these, the CPU computes unseen what the GPU cannot."""
    return {} if provider == "cpu" else {"session.disable_cpu_ep_fallback": "1"}


def preload() -> None:
    """Load the CUDA libraries that lie in wheels beside ONNX Runtime's, where there are any."""
    if hasattr(onnxruntime, "preload_dlls"):
        with contextlib.redirect_stdout(io.StringIO()):  # it prints what it misses; `obstacle` says that
            onnxruntime.preload_dlls()


def obstacle(provider: str, device: int, package: Package, load: Load) -> str:
    """Why this provider cannot run on GPU `device` here; "" where nothing stands against it."""
    name = PROVIDERS[provider]
    if name not in package.providers:
        return (
            f"ONNX Runtime {package.version} here is a package without {name} (it has {', '.join(package.providers)}): "
            "install onnxruntime-gpu[cuda,cudnn] in place of onnxruntime"
        )
    return _driver_problem(device, package, load) or _missing_library(provider, package, load)


def _missing_library(provider: str, package: Package, load: Load) -> str:
    try:
        load(str(package.folder / "libonnxruntime_providers_shared.so"))
        load(str(package.folder / f"libonnxruntime_providers_{provider}.so"))
    except OSError as error:
        wanted = f" for CUDA {package.cuda}" if package.cuda else ""
        return (
            f"a library that {PROVIDERS[provider]} needs is missing: {error}; ONNX Runtime {package.version} is built{wanted}"
        )
    return ""


def _driver_problem(device: int, package: Package, load: Load) -> str:
    try:
        driver = load("libcuda.so.1")
    except OSError:
        return "there is no NVIDIA driver here: libcuda.so.1 is missing"
    version, count = ctypes.c_int(), ctypes.c_int()
    if driver.cuDriverGetVersion(ctypes.byref(version)) == 0 and package.cuda:
        major, minor = version.value // 1000, version.value % 1000 // 10
        # a driver runs what was built for any minor version of its CUDA or for an older one
        if major < int(package.cuda.split(".")[0]):
            return (
                f"the NVIDIA driver is too old: it knows CUDA up to {major}.{minor}, "
                f"ONNX Runtime {package.version} is built for {package.cuda}"
            )
    if (status := driver.cuInit(0)) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return f"no NVIDIA GPU can be used: cuInit answers {status}" + (" (no device)" if status == 100 else "")
    if device >= count.value:
        return f"there is no GPU {device}: this process sees {count.value}"
    return ""
