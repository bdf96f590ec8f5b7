"""NVIDIA GPUs through NVML, one device "gpuN" for each, N being NVML's index.

What the numbers mean:
- utilization: the share of the last 1/6 to 1 s (the driver's window) in which any kernel ran, in percent (nvmlUtilization_t in
  NVML's API reference). One tiny kernel at a time makes 100; it says that the GPU was not idle, not how much of it was used.
- memory_utilization: the share of that window in which device memory was read or written, in percent.
- memory_bytes: allocated, and reserved by the driver.   - energy_j: a counter since the driver was loaded: take differences.
- slowed_by_heat, slowed_by_hardware, slowed_by_power_cap: 100 while the driver names that as a reason why the clock is lower
  than it could be (nvmlClocksEventReasons), else 0; the mean is the share of time. An idle GPU's clock is not held down.
- own_processes, foreign_processes: how many processes with a compute context are of the sampled trees, and how many others
  worked on the same GPU, or on the same MIG instance of it, since they were last looked for; where the driver does not tell who
  worked, how many others have a context there. Without one of ours the others are not counted: NVML tells process ids of the
  host, which a container may know by other numbers, and then what looks foreign may be the server itself.

Polled, rather than taken from nvmlDeviceGetSamples: the driver's buffer runs dry while a GPU is idle, its times are of a clock
that NVML does not name, and with a tick shorter than the driver's window polling sees every window all the same.
"""

from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import Any

import pynvml

from bench.clock import Clock
from bench.record import Sample

Handle = Any
Readings = tuple[tuple[str, float], ...]

# Processes come and go seldom; to ask who worked, and to read the energy counter, takes a driver milliseconds (an H100: 1.4 to
# 2.3, and 2.4 to 5.2), all other calls together 30 µs.
LOOK_NS = 1_000_000_000
_PROCESSES, _ENERGY = "processes", "energy_j"
_MPS = "nvidia-cuda-mps"  # the beginning of the name of CUDA's MPS server, through which processes share a GPU: no user of it

_IDLE = pynvml.nvmlClocksEventReasonGpuIdle
_HEAT = pynvml.nvmlClocksEventReasonSwThermalSlowdown | pynvml.nvmlClocksEventReasonHwThermalSlowdown
_BRAKE = pynvml.nvmlClocksEventReasonHwPowerBrakeSlowdown
_HARDWARE = pynvml.nvmlClocksThrottleReasonHwSlowdown  # any of the hardware's reasons, heat and power brake among them
_POWER_CAP = pynvml.nvmlClocksEventReasonSwPowerCap


def _utilization(handle: Handle) -> Readings:
    rates = pynvml.nvmlDeviceGetUtilizationRates(handle)
    return ("utilization", rates.gpu), ("memory_utilization", rates.memory)


def _memory(handle: Handle) -> Readings:
    return (("memory_bytes", pynvml.nvmlDeviceGetMemoryInfo(handle).used),)


def _power(handle: Handle) -> Readings:
    return (("power_w", pynvml.nvmlDeviceGetPowerUsage(handle) / 1e3),)


def _sm_clock(handle: Handle) -> Readings:
    return (("sm_clock_mhz", pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_SM)),)


def _temperature(handle: Handle) -> Readings:
    return (("temperature_c", pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU)),)


def _energy(handle: Handle) -> Readings:
    return (("energy_j", pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3),)


def _slowed(handle: Handle) -> Readings:
    try:
        why = pynvml.nvmlDeviceGetCurrentClocksEventReasons(handle)
    except pynvml.NVMLError as error:
        if error.value != pynvml.NVML_ERROR_FUNCTION_NOT_FOUND:
            raise
        why = pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle)  # its name before driver 535
    if why & _IDLE:
        why = 0
    by_hardware = why & _BRAKE or (why & _HARDWARE and not why & _HEAT)
    return (
        ("slowed_by_heat", 100.0 * bool(why & _HEAT)),
        ("slowed_by_hardware", 100.0 * bool(by_hardware)),
        ("slowed_by_power_cap", 100.0 * bool(why & _POWER_CAP)),
    )


CALLS: dict[str, Callable[[Handle], Readings]] = {
    "utilization": _utilization,
    "memory_bytes": _memory,
    "power_w": _power,
    "sm_clock_mhz": _sm_clock,
    "temperature_c": _temperature,
    _ENERGY: _energy,
    "clock_event_reasons": _slowed,
}


class _Processes:
    """Whose processes are on one GPU, and which of the others work there."""

    def __init__(self, ours: Callable[[], Collection[int]]) -> None:
        self._ours = ours
        self._seen_us = 0  # of the driver's clock: up to where it has told who worked

    def __call__(self, handle: Handle) -> Readings:
        ours = self._ours()
        found = pynvml.nvmlDeviceGetComputeRunningProcesses_v3(handle)
        instances = {process.gpuInstanceId for process in found if process.pid in ours}  # all the same where there is no MIG
        foreign = [p.pid for p in found if p.pid not in ours and p.gpuInstanceId in instances]
        if foreign and (worked := self._worked(handle)) is not None:
            foreign = [pid for pid in foreign if pid in worked]  # the idle server of another side of a comparison is none
        return (
            ("own_processes", sum(process.pid in ours for process in found)),
            ("foreign_processes", sum(not _name(pid).startswith(_MPS) for pid in foreign)),
        )

    def _worked(self, handle: Handle) -> set[int] | None:
        """The processes that had kernels running since the last look; None where the driver does not tell."""
        try:
            samples = pynvml.nvmlDeviceGetProcessUtilization(handle, self._seen_us)
        except pynvml.NVMLError as error:
            # pynvml takes "nothing since then", which is a success, for an error
            return set() if error.value in (pynvml.NVML_SUCCESS, pynvml.NVML_ERROR_NOT_FOUND) else None
        self._seen_us = max((sample.timeStamp for sample in samples), default=self._seen_us)
        return {sample.pid for sample in samples if sample.smUtil}


def _name(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text()
    return ""


# this machine has no NVIDIA GPU to speak of, which is no fault
NO_GPU = (pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, pynvml.NVML_ERROR_DRIVER_NOT_LOADED)
# this GPU, or the driver, will never answer this call
NEVER = (
    pynvml.NVML_ERROR_NOT_SUPPORTED,
    pynvml.NVML_ERROR_FUNCTION_NOT_FOUND,
    pynvml.NVML_ERROR_NO_PERMISSION,
    pynvml.NVML_ERROR_INVALID_ARGUMENT,
    pynvml.NVML_ERROR_DEPRECATED,
)
LOST = (pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.NVML_ERROR_GPU_NOT_FOUND, pynvml.NVML_ERROR_RESET_REQUIRED)


class Gpus:
    """All GPUs that NVML shows, also those hidden from CUDA by CUDA_VISIBLE_DEVICES: another's work on them matters too."""

    name = "nvml"

    def __init__(self, clock: Clock, ours: Callable[[], Collection[int]] = tuple) -> None:
        """`ours` tells the ids of the processes that are measured."""
        self._ours, self._looked_ns = ours, clock.now_ns() - LOOK_NS
        self.warnings: list[str] = []
        self.devices: list[_Gpu] = []
        self._clock = clock
        try:
            pynvml.nvmlInit()
            for index in range(pynvml.nvmlDeviceGetCount()):
                self._add(index)
        except pynvml.NVMLError as error:
            if error.value not in NO_GPU:
                self.warnings.append(f"no GPU is sampled (NVML: {error}): nvidia-smi may say more")

    def _add(self, index: int) -> None:
        try:
            self.devices.append(_Gpu(f"gpu{index}", pynvml.nvmlDeviceGetHandleByIndex(index), self._ours))
        except pynvml.NVMLError as error:
            self.warnings.append(f"gpu{index} is not sampled ({error})")

    def read(self) -> list[Sample]:
        """One sample of each metric that each GPU still gives."""
        samples = []
        look = self._clock.now_ns() - self._looked_ns >= LOOK_NS
        if look:
            self._looked_ns = self._clock.now_ns()
        for gpu in self.devices:
            t_ns = self._clock.now_ns()
            readings = gpu.read(self.warnings, look)
            samples += [Sample(t_ns, self.name, gpu.device, metric, float(value)) for metric, value in readings]
        return samples


class _Gpu:
    """One GPU and the calls that it answers."""

    def __init__(self, device: str, handle: Handle, ours: Callable[[], Collection[int]]) -> None:
        self.device = device
        self._handle = handle
        self._calls = CALLS | {_PROCESSES: _Processes(ours)}
        self._failing: set[str] = set()

    def read(self, warnings: list[str], look: bool) -> list[tuple[str, float]]:
        """(metric, value) of each call that is answered, of dear ones only where to `look`; `warnings` get the rest once."""
        readings: list[tuple[str, float]] = []
        for name, call in list(self._calls.items()):
            if name in (_PROCESSES, _ENERGY) and not look:
                continue
            try:
                readings += call(self._handle)
            except pynvml.NVMLError as error:
                self._note(name, error, warnings)
            if not self._calls:
                break
        return readings

    def _note(self, name: str, error: pynvml.NVMLError, warnings: list[str]) -> None:
        if error.value in LOST:
            self._calls.clear()
            warnings.append(f"{self.device} was lost while sampled ({error}): its series end here")
        elif error.value in NEVER:
            del self._calls[name]
            warnings.append(f"{self.device} does not give {name} ({error}): it is left out")
        elif name not in self._failing:
            self._failing.add(name)
            warnings.append(f"{self.device} failed to give {name} ({error}): samples of it are missing")
