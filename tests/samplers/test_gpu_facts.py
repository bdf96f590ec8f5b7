"""What the fingerprint says of GPUs, with the real pynvml over the scripted NVML."""

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

Play = Callable[[str], None]


def facts() -> dict[str, Any]:
    """The GPU part of the fingerprint, in a process that finds the NVML of the environment."""
    script = "import json; from bench import environment; print(json.dumps(environment.gpu_facts()))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_gpu_is_told_by_all_that_bears_on_its_speed(nvml: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two runs on cards of one name differ by power limit, clocks, MIG and driver, so all of them are kept."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    nvml("power_limit_mw=350000 mig=1 persistence=0 set_clock_mhz=1410,1593 max_clock_mhz=1980,2619")
    assert facts() == {
        "driver": "550.54.15",
        "cuda": "12.4",
        "gpu_problem": None,
        "cuda_visible_devices": None,
        "gpus": [
            {
                "index": 0,
                "name": "Scripted GPU",
                "uuid": "GPU-00000000",
                "memory_bytes": 80 * 2**30,
                "compute_capability": "9.0",
                "power_limit_w": 350.0,
                "sm_clock_default_mhz": 1755,
                "sm_clock_set_mhz": 1410,
                "memory_clock_set_mhz": 1593,
                "sm_clock_max_mhz": 1980,
                "memory_clock_max_mhz": 2619,
                "mig": True,
                "persistence": False,
            }
        ],
    }


def test_every_gpu_is_listed_also_those_hidden_from_cuda(nvml: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    """Index and UUID say which is meant by gpu1 of the samples, and CUDA_VISIBLE_DEVICES which of them were used."""
    nvml("gpus=3")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2")
    found = facts()
    assert [(gpu["index"], gpu["uuid"]) for gpu in found["gpus"]] == [(n, f"GPU-0000000{n}") for n in range(3)]
    assert found["cuda_visible_devices"] == "2"


def test_what_a_gpu_does_not_tell_is_none(nvml: Play) -> None:
    """A card without MIG, or a driver that dropped a call, is described by the rest."""
    nvml("nvmlDeviceGetMigMode=fail:3 nvmlDeviceGetDefaultApplicationsClock=fail:26")
    (gpu,) = facts()["gpus"]
    assert (gpu["mig"], gpu["sm_clock_default_mhz"], gpu["name"]) == (None, None, "Scripted GPU")


def test_a_gpu_that_cannot_be_opened_is_listed_by_its_index(nvml: Play) -> None:
    """A card that fell off the bus does not hide the others."""
    nvml("gpus=2 nvmlDeviceGetHandleByIndex_v2@0=fail:15")
    assert [(gpu["index"], gpu["name"]) for gpu in facts()["gpus"]] == [(0, None), (1, "Scripted GPU")]


def test_a_machine_without_nvml_has_no_gpus_and_says_why(no_nvml: None) -> None:
    """No GPU is an empty list, and the reason stands beside it."""
    found = facts()
    assert found["gpus"] == []
    assert found["gpu_problem"] == "NVML Shared Library Not Found"
