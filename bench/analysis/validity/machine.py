"""Did the server have its machine, at its full speed and to itself?"""

from collections.abc import Iterator

import numpy as np

from bench.analysis.estimate import Reason
from bench.analysis.measured import Measured

OTHERS = 15.0  # % of the machine that other processes may use
SLOWED = 1.0  # % of the window in which a GPU's clock may be held down
UNSAMPLED_NS = 3 * 10**9  # of a window, at its end
USED = 5.0  # % of utilization above which a GPU is taken for ours where NVML does not show whose processes it runs


def reasons(m: Measured) -> Iterator[Reason]:
    """GPUs that were slowed, or shared."""
    for gpu in _gpus(m):
        name = f"GPU {gpu[3:]}"
        for metric, what, remedy in (
            ("slowed_by_heat", "heat", "let it cool, look after its cooling, and run it again"),
            (
                "slowed_by_hardware",
                "its hardware (external power brake, or a failing supply)",
                "see `nvidia-smi -q -d PERFORMANCE`",
            ),
        ):
            if (share := _mean(m, gpu, metric)) > SLOWED:
                yield Reason(
                    f"gpu_{metric}", f"{name} was slowed by {what} in {share:.0f}% of the window{_clocks(m, gpu)}: a GPU in "
                    f"order is faster; {remedy}"
                )  # fmt: skip
        own, foreign = _within(m, gpu, "own_processes"), _within(m, gpu, "foreign_processes")
        if len(own) and own.max() > 0 and len(foreign) and foreign.max() > 0:
            most = int(foreign.max())
            others = "another process" if most == 1 else f"{most} other processes"
            yield Reason(
                "gpu_shared",
                f"{others} had work on {name} in {100 * np.mean(foreign > 0):.0f}% of the window: the server shared it with "
                "them, and that is in the numbers; `nvidia-smi` shows whose they are; run it again on a GPU of its own",
            )


def warnings(m: Measured) -> Iterator[Reason]:
    """Other processes on the machine, a sampler that ended too early, and GPUs that reached their power limit."""
    yield from _shared(m)
    yield from _unsampled(m)
    for gpu in _gpus(m):
        if (share := _mean(m, gpu, "slowed_by_power_cap")) > SLOWED:
            yield Reason(
                "gpu_power_cap",
                f"GPU {gpu[3:]} was at its power limit in {share:.0f}% of the window{_clocks(m, gpu)}: such is its speed with "
                "this limit; compare it only with GPUs that have the same one",
            )


def _shared(m: Measured) -> Iterator[Reason]:
    """What neither the server nor the load used of the machine, where bench knows the server's share."""
    shares = {}
    for device in ("host", "server", "load"):
        values = _within(m, device, "cpu_utilization")
        if not len(values):
            return
        shares[device] = float(values.mean())
    others = shares["host"] - shares["server"] - shares["load"]
    if others > OTHERS:
        yield Reason(
            "shared_machine",
            f"other processes used {others:.0f}% of this machine's CPU within the window: server and load had to share with "
            "them, and that is in the numbers; run it again on a quiet machine",
        )


def _unsampled(m: Measured) -> Iterator[Reason]:
    """Where the sampler died, or what it wrote is gone, utilization is that of a part of the run."""
    start, end = m.run.window_ns
    t_ns, _ = m.run.samples.get("host", "cpu_utilization")
    if not len(t_ns):
        return
    missing = end - max(int(t_ns.max()), start)
    if missing > UNSAMPLED_NS:
        yield Reason(
            "unsampled",
            f"the last {missing / 1e9:.1f} s of the window's {(end - start) / 1e9:.1f} s were not sampled: the sampler ended "
            "before the run (events.jsonl in the run's folder says why), and utilization is that of the time before",
            "utilization",
        )


def _gpus(m: Measured) -> list[str]:
    """The GPUs that the server or the model worked on: those that run processes of theirs, else those that were busy at all."""
    found = [device for device in m.run.samples.devices("memory_bytes") if device.startswith("gpu")]
    ours = [gpu for gpu in found if len(own := _within(m, gpu, "own_processes")) and own.max() > 0]
    return ours or [gpu for gpu in found if _mean(m, gpu, "utilization") > USED]


def _clocks(m: Measured, gpu: str) -> str:
    clocks = _within(m, gpu, "sm_clock_mhz")
    return f" (SM clock {clocks.min():,.0f} to {clocks.max():,.0f} MHz)" if len(clocks) else ""


def _mean(m: Measured, device: str, metric: str) -> float:
    values = _within(m, device, metric)
    return float(values.mean()) if len(values) else 0.0


def _within(m: Measured, device: str, metric: str) -> np.ndarray:
    t_ns, values = m.run.samples.get(device, metric)
    start, end = m.run.window_ns
    return values[(t_ns >= start) & (t_ns < end)]
