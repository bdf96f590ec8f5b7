"""What ONNX Runtime is told of a GPU, and why it cannot be had."""

import ctypes
from pathlib import Path
from typing import Any

import pytest

from bench.runtime import providers
from bench.runtime.providers import Package, obstacle, provider_options, session_entries

GPU_PACKAGE = Package(
    "1.31.1", "13.0", ("TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"), Path("/ort/capi")
)


class Machine:
    """What can be loaded here: a driver of some version that sees some GPUs, and all libraries but some."""

    def __init__(self, driver: int | None = 13000, gpus: int = 1, status: int = 0, missing: str = "") -> None:
        self._driver, self._gpus, self._status, self._missing = driver, gpus, status, missing
        self.loaded: list[str] = []

    def load(self, name: str) -> Any:
        self.loaded.append(name)
        if (name == "libcuda.so.1" and self._driver is None) or (self._missing and name.endswith(self._missing)):
            raise OSError("libcublasLt.so.13: cannot open shared object file")
        return self

    def cuDriverGetVersion(self, found: Any) -> int:  # noqa: N802  # CUDA's names
        found._obj.value = self._driver
        return 0

    def cuInit(self, flags: int) -> int:  # noqa: N802
        return self._status

    def cuDeviceGetCount(self, found: Any) -> int:  # noqa: N802
        found._obj.value = self._gpus
        return 0


def test_a_gpu_that_can_be_had_has_nothing_against_it() -> None:
    """Driver, device and the libraries of the provider are there."""
    machine = Machine(gpus=2)
    assert obstacle("cuda", 1, GPU_PACKAGE, machine.load) == ""
    assert machine.loaded == [
        "libcuda.so.1", "/ort/capi/libonnxruntime_providers_shared.so", "/ort/capi/libonnxruntime_providers_cuda.so",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("provider", "device", "package", "machine", "reason"),
    [
        (
            "cuda", 0, Package("1.32.0", "", ("CPUExecutionProvider",), Path()), Machine(),
            "ONNX Runtime 1.32.0 here is a package without CUDAExecutionProvider (it has CPUExecutionProvider): "
            "install onnxruntime-gpu[cuda,cudnn] in place of onnxruntime",
        ),
        ("cuda", 0, GPU_PACKAGE, Machine(driver=None), "there is no NVIDIA driver here: libcuda.so.1 is missing"),
        (
            "cuda", 0, GPU_PACKAGE, Machine(driver=12080),
            "the NVIDIA driver is too old: it knows CUDA up to 12.8, ONNX Runtime 1.31.1 is built for 13.0",
        ),
        ("cuda", 0, GPU_PACKAGE, Machine(status=100), "no NVIDIA GPU can be used: cuInit answers 100 (no device)"),
        ("cuda", 0, GPU_PACKAGE, Machine(status=802), "no NVIDIA GPU can be used: cuInit answers 802"),
        ("cuda", 2, GPU_PACKAGE, Machine(gpus=2), "there is no GPU 2: this process sees 2"),
        (
            "tensorrt", 0, GPU_PACKAGE, Machine(missing="providers_tensorrt.so"),
            "a library that TensorrtExecutionProvider needs is missing: libcublasLt.so.13: cannot open shared object file; "
            "ONNX Runtime 1.31.1 is built for CUDA 13.0",
        ),
    ],
    ids=["package", "driver", "old driver", "no device", "broken device", "no such device", "library"],
)  # fmt: skip
def test_what_stands_against_a_gpu_is_said(provider: str, device: int, package: Package, machine: Machine, reason: str) -> None:
    """The one thing to be mended first."""
    assert obstacle(provider, device, package, machine.load) == reason


@pytest.mark.parametrize("driver", [13000, 13020, 14010])
def test_a_driver_may_be_as_new_as_it_likes(driver: int) -> None:
    """And of an older minor version: drivers run what was built for any of their CUDA."""
    package = GPU_PACKAGE._replace(cuda="13.1")
    assert obstacle("cuda", 0, package, Machine(driver=driver).load) == ""


def test_a_package_that_does_not_say_its_cuda_is_not_held_to_the_driver() -> None:
    """Older ones do not."""
    assert obstacle("cuda", 0, GPU_PACKAGE._replace(cuda=""), Machine(driver=11000).load) == ""


def test_each_provider_is_told_its_device_and_whether_to_capture_graphs() -> None:
    """TensorRT leaves to CUDA what it has no operator for; nobody leaves anything to the CPU."""
    assert provider_options("cpu", 0, False) == [("CPUExecutionProvider", {})]
    plans, name = {"cudnn_conv_algo_search": "HEURISTIC"}, "CUDAExecutionProvider"
    assert provider_options("cuda", 1, True) == [(name, {"device_id": "1", "enable_cuda_graph": "1"} | plans)]
    assert provider_options("cuda", 0, False) == [(name, {"device_id": "0", "enable_cuda_graph": "0"} | plans)]
    assert provider_options("tensorrt", 2, True) == [
        ("TensorrtExecutionProvider", {"device_id": "2", "trt_cuda_graph_enable": "1"}),
        (name, {"device_id": "2"} | plans),
    ]
    assert session_entries("cpu") == {}
    assert session_entries("cuda") == session_entries("tensorrt") == {"session.disable_cpu_ep_fallback": "1"}


def test_the_package_that_is_installed_describes_itself() -> None:
    """Its libraries lie where it says."""
    package = providers.installed()
    assert "CPUExecutionProvider" in package.providers
    assert list(package.folder.glob("*onnxruntime*.so*"))


def test_looking_for_a_gpu_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    """A server's log and a command's output are not its place."""
    providers.preload()
    obstacle("cuda", 0, providers.installed(), ctypes.CDLL)
    assert capfd.readouterr() == ("", "")
