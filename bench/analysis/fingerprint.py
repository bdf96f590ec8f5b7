"""What has to be alike between runs when it is not under test, as flat text: machine, software, load, workload, models."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from bench import workload as workloads
from bench.analysis.flat import Texts, flat, table, text
from bench.analysis.target import hashes
from bench.record import Run

PACKAGE = " package"  # how the name of a package's version ends

_MACHINE = {
    "bench": "bench version",
    "python": "Python",
    "os": "operating system",
    "machine": "architecture",
    "cpu": "CPU",
    "cores_usable": "usable cores",
    "cores_limit": "core limit",
    "governor": "CPU governor",
    "memory_bytes": "memory",
    "memory_limit_bytes": "memory limit",
    "cuda": "CUDA",
}  # any other fact goes by its own name
_APART = ("packages", "gpus", "gpu_problem", "cuda_visible_devices")  # of the environment
GPU = "GPU"  # which ones there are
_GPU = {
    "memory_bytes": "GPU memory",
    "compute_capability": "GPU compute capability",
    "power_limit_w": "GPU power limit in W",
    "sm_clock_default_mhz": "GPU default SM clock in MHz",
    "sm_clock_set_mhz": "GPU SM clock as set in MHz",
    "memory_clock_set_mhz": "GPU memory clock as set in MHz",
    "sm_clock_max_mhz": "GPU highest SM clock in MHz",
    "memory_clock_max_mhz": "GPU highest memory clock in MHz",
    "mig": "MIG",
    "persistence": "GPU persistence mode",
}
OF_A_GPU = tuple(_GPU.values())
_OF_ONE_CARD = ("index", "name", "uuid")


def fingerprint(run: Run) -> Texts:
    """What has to be alike between runs when it is not under test: machine, software, load, workload and models."""
    facts = {key: text(key, value) for key, value in run.environment.items() if key not in _APART}
    named = {_MACHINE.get(key, key.replace("_", " ")): value for key, value in facts.items()}
    packages = {f"{name}{PACKAGE}": str(version) for name, version in table(run.environment, "packages").items()}
    return named | _gpus(run.environment) | packages | _load(run) | _workload(run) | hashes(run)


def cards(run: Run) -> Texts:
    """Which of several GPUs of one model it was: alike, and yet not the same."""
    uuids = ", ".join(str(gpu.get("uuid")) for gpu in run.environment.get("gpus") or ())
    visible = run.environment.get("cuda_visible_devices")
    return ({"GPU cards": uuids} if uuids else {}) | ({} if visible is None else {"CUDA_VISIBLE_DEVICES": str(visible)})


def _gpus(environment: Mapping[str, Any]) -> Texts:
    if "gpus" not in environment:
        return {}
    gpus, visible = environment["gpus"] or (), environment.get("cuda_visible_devices")
    count = Counter(str(gpu.get("name")) for gpu in gpus)
    found = {GPU: ", ".join(f"{number} x {name}" for name, number in count.items()) or "none"}
    found["GPUs that CUDA may use"] = "all" if visible is None else str(len([v for v in str(visible).split(",") if v.strip()]))
    for key in dict.fromkeys(key for gpu in gpus for key in gpu if key not in _OF_ONE_CARD):
        found[_GPU.get(key, f"GPU {key}")] = ", ".join(dict.fromkeys(text(key, gpu.get(key)) for gpu in gpus))
    return found


def _load(run: Run) -> Texts:
    workers = run.load.get("workers")
    workers = workers if isinstance(workers, list) else [{}]
    away = sum(bool(worker.get("host")) for worker in workers)
    return {"load processes": f"{len(workers) - away} here, {away} on other hosts", "load made by": run.driver or "bench"}


def _workload(run: Run) -> Texts:
    return {f"workload {path}": value for path, value in flat(workloads.essence(run.workload))}
