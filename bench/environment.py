"""The fingerprint: what of a machine and its software bears on a measurement. No host name, no user, no network."""

import importlib.metadata
import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pynvml

import bench

PACKAGES = (
    "flask", "gevent", "grpcio", "gunicorn", "locust", "numpy", "nvidia-ml-py", "onnx", "onnxruntime", "onnxruntime-gpu",
    "pandas", "psutil", "pyarrow", "scipy", "tritonclient",
)  # fmt: skip

_CGROUPS = Path("/sys/fs/cgroup")
_CPU0 = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")


def fingerprint() -> dict[str, Any]:
    """What bench can see of this machine, ready for JSON; what could not be found out is None."""
    cores, memory = _or_none(lambda: cgroup_limits(_CGROUPS, Path("/proc/self/cgroup").read_text())) or (None, None)
    probes: dict[str, Callable[[], Any]] = {
        "bench": lambda: bench.__version__,
        "python": lambda: f"{platform.python_implementation()} {platform.python_version()}",
        "packages": packages,
        "os": lambda: platform.freedesktop_os_release()["PRETTY_NAME"],
        "kernel": platform.release,
        "glibc": lambda: platform.libc_ver()[1] or None,
        "machine": platform.machine,
        "virtualization": _virtualization,
        "cpu": _cpu_model,
        "cores": os.cpu_count,
        "cores_usable": lambda: len(os.sched_getaffinity(0)),
        "cores_limit": lambda: cores,
        "governor": lambda: _CPU0.read_text().strip(),
        "memory_bytes": lambda: psutil.virtual_memory().total,
        "memory_limit_bytes": lambda: memory,
    }
    return {name: _or_none(probe) for name, probe in probes.items()} | gpu_facts()


def packages() -> dict[str, str]:
    """The versions of the distributions that serve, load or measure, of those that are installed."""
    found = {}
    for name in PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def cgroup_limits(root: Path, membership: str) -> tuple[float | None, int | None]:
    """(cores, bytes) that cgroups, v1 or v2, mounted at `root`, grant the process whose /proc/PID/cgroup is `membership`."""
    cores: list[float] = []
    sizes: list[int] = []
    for line in membership.splitlines():
        _, controllers, path = line.split(":", 2)
        for name in controllers.split(",") if controllers else ["", "unified"]:
            for folder in _upwards(root / name, path):
                cores += _cores_in(folder)
                sizes += _bytes_in(folder)
    return min(cores, default=None), min(sizes, default=None)


def _upwards(mount: Path, path: str) -> Iterator[Path]:
    """A group's folder and those above it, up to its mount; a container often sees its own group there only."""
    folder = mount / path.strip("/")
    while folder != mount and mount in folder.parents:
        yield folder
        folder = folder.parent
    yield mount


def _cores_in(folder: Path) -> list[float]:
    quota = _words(folder / "cpu.max") or _words(folder / "cpu.cfs_quota_us") + _words(folder / "cpu.cfs_period_us")
    if len(quota) != 2 or quota[0] in ("max", "-1"):
        return []
    return [int(quota[0]) / int(quota[1])]


def _bytes_in(folder: Path) -> list[int]:
    limit = _words(folder / "memory.max") or _words(folder / "memory.limit_in_bytes")
    # v1 writes "no limit" as the largest multiple of a page below 2**63
    return [int(word) for word in limit if word != "max" and int(word) < 2**62]


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []


def _cpu_model() -> str | None:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith(("model name", "Model")):
            return line.partition(":")[2].strip()
    return platform.processor() or None


def _virtualization() -> str | None:
    """Whether this is a container, else the maker of the virtual machine, if the kernel tells; None on bare metal."""
    if Path("/.dockerenv").exists() or Path("/run/.containerenv").exists():
        return "container"
    if "hypervisor" not in Path("/proc/cpuinfo").read_text():
        return None
    maker = _words(Path("/sys/class/dmi/id/sys_vendor"))
    return " ".join(["virtual machine", *maker])


def gpu_facts() -> dict[str, Any]:
    """The driver and what each GPU is, by NVML; `gpus` is empty, and `gpu_problem` says why, where there is none to be had."""
    facts: dict[str, Any] = {"driver": None, "cuda": None, "gpus": [], "gpu_problem": None}
    facts["cuda_visible_devices"] = os.environ.get("CUDA_VISIBLE_DEVICES")
    try:
        with _nvml():
            facts["driver"] = _or_none(pynvml.nvmlSystemGetDriverVersion)
            facts["cuda"] = _or_none(_cuda_version)
            facts["gpus"] = [_gpu(index) for index in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError as error:
        facts["gpu_problem"] = str(error)
    return facts


@contextmanager
def _nvml() -> Iterator[None]:
    pynvml.nvmlInit()
    try:
        yield
    finally:
        pynvml.nvmlShutdown()


def _cuda_version() -> str:
    """The newest CUDA that the driver serves."""
    number = pynvml.nvmlSystemGetCudaDriverVersion_v2()
    return f"{number // 1000}.{number % 1000 // 10}"


def _gpu(index: int) -> dict[str, Any]:
    handle = _or_none(lambda: pynvml.nvmlDeviceGetHandleByIndex(index))
    sm, memory = pynvml.NVML_CLOCK_SM, pynvml.NVML_CLOCK_MEM
    probes: dict[str, Callable[[], Any]] = {
        "name": lambda: pynvml.nvmlDeviceGetName(handle),
        "uuid": lambda: pynvml.nvmlDeviceGetUUID(handle),
        "memory_bytes": lambda: pynvml.nvmlDeviceGetMemoryInfo(handle).total,
        "compute_capability": lambda: "{}.{}".format(*pynvml.nvmlDeviceGetCudaComputeCapability(handle)),
        "power_limit_w": lambda: pynvml.nvmlDeviceGetEnforcedPowerLimit(handle) / 1e3,
        "sm_clock_default_mhz": lambda: pynvml.nvmlDeviceGetDefaultApplicationsClock(handle, sm),
        "sm_clock_set_mhz": lambda: pynvml.nvmlDeviceGetApplicationsClock(handle, sm),
        "memory_clock_set_mhz": lambda: pynvml.nvmlDeviceGetApplicationsClock(handle, memory),
        "sm_clock_max_mhz": lambda: pynvml.nvmlDeviceGetMaxClockInfo(handle, sm),
        "memory_clock_max_mhz": lambda: pynvml.nvmlDeviceGetMaxClockInfo(handle, memory),
        "mig": lambda: bool(pynvml.nvmlDeviceGetMigMode(handle)[0]),
        "persistence": lambda: bool(pynvml.nvmlDeviceGetPersistenceMode(handle)),
    }
    return {"index": index} | {name: _or_none(probe) for name, probe in probes.items()}


def _or_none(probe: Callable[[], Any]) -> Any:
    """What `probe` finds; None when it fails in whatever way: no fingerprint is worth a run."""
    try:
        return probe()
    except Exception:
        return None
