"""The GPU source, with the real pynvml over the scripted NVML."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Play = Callable[[str], None]

READ = """
import json, sys
from bench.testing import FakeClock
from bench.samplers.gpu import Gpus
gpus = Gpus(FakeClock(), lambda: set(map(int, sys.argv[2:])))
reads = [gpus.read() for _ in range(int(sys.argv[1]))]
print(json.dumps({"devices": [gpu.device for gpu in gpus.devices], "reads": reads, "warnings": gpus.warnings}))
"""


def read(times: int, *ours: int) -> dict[str, Any]:
    """What the source gives when it is read `times` times, in a process that finds the NVML of the environment."""
    done = subprocess.run([sys.executable, "-c", READ, str(times), *map(str, ours)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def series(found: dict[str, Any], device: str, metric: str) -> list[float]:
    return [value for sample in found["reads"] for _, _, d, m, value in sample if (d, m) == (device, metric)]


def test_every_metric_is_read_in_the_unit_of_its_name(nvml: Play) -> None:
    """NVML's milliwatts and millijoules become watts and joules; percent, bytes, MHz and °C stay."""
    nvml(
        "utilization=40 memory_utilization=15 memory_used=2000000000 power_mw=312500"
        " sm_clock_mhz=1410 temperature_c=61 energy_mj=1750"
    )
    found = read(1)
    assert found["devices"] == ["gpu0"]
    assert found["warnings"] == []
    assert {m: v for _, _, _, m, v in found["reads"][0]} == {
        "utilization": 40, "memory_utilization": 15, "memory_bytes": 2e9, "power_w": 312.5,
        "sm_clock_mhz": 1410, "temperature_c": 61, "energy_j": 1.75,
        "slowed_by_heat": 0, "slowed_by_hardware": 0, "slowed_by_power_cap": 0, "own_processes": 0, "foreign_processes": 0,
    }  # fmt: skip


def test_mean_and_peak_of_a_scripted_wave_come_out_exactly(nvml: Play) -> None:
    """Each reading is one call to NVML, in order, none dropped and none doubled."""
    nvml("gpus=2 utilization=0,25,100,75 utilization@1=30")
    found = read(8)
    assert series(found, "gpu0", "utilization") == [0, 25, 100, 75] * 2  # mean 50, peak 100
    assert series(found, "gpu1", "utilization") == [30] * 8


def test_a_call_that_is_not_supported_is_left_out_and_said_once(nvml: Play) -> None:
    """A metric that a GPU cannot give has no samples, never a zero, and the others go on."""
    nvml("gpus=2 nvmlDeviceGetPowerUsage@1=fail:3 utilization=10")
    found = read(3)
    assert found["warnings"] == ["gpu1 does not give power_w (Not Supported): it is left out"]
    assert series(found, "gpu1", "power_w") == []
    assert len(series(found, "gpu0", "power_w")) == 3
    assert series(found, "gpu1", "utilization") == [10, 10, 10]


def test_a_call_that_fails_for_a_while_leaves_a_gap_and_one_warning(nvml: Play) -> None:
    """A timeout is no reason to give up a metric, nor to warn at every tick."""
    nvml("nvmlDeviceGetPowerUsage=fail:10+2")
    found = read(5)
    assert len(series(found, "gpu0", "power_w")) == 2
    assert len(series(found, "gpu0", "utilization")) == 5
    assert found["warnings"] == ["gpu0 failed to give power_w (Timeout): samples of it are missing"]


def test_a_gpu_lost_while_sampled_ends_its_series_and_no_other(nvml: Play) -> None:
    """The lost GPU is warned of once, what it gave stands, and the GPU beside it is sampled on."""
    nvml("gpus=2 nvmlDeviceGetUtilizationRates@0=fail:15+3")
    found = read(6)
    assert len(series(found, "gpu0", "utilization")) == 3
    assert len(series(found, "gpu0", "memory_bytes")) == 3
    assert len(series(found, "gpu1", "utilization")) == 6
    assert found["warnings"] == ["gpu0 was lost while sampled (GPU is lost): its series end here"]


def test_a_gpu_that_cannot_be_opened_is_named_and_the_others_are_sampled(nvml: Play) -> None:
    """One broken GPU does not hide the rest."""
    nvml("gpus=2 nvmlDeviceGetHandleByIndex_v2@0=fail:15")
    found = read(1)
    assert found["devices"] == ["gpu1"]
    assert found["warnings"] == ["gpu0 is not sampled (GPU is lost)"]


@pytest.mark.parametrize("script", ["gpus=0", "nvmlInitWithFlags=fail:9"], ids=["zero devices", "driver not loaded"])
def test_a_machine_without_a_gpu_has_no_gpu_series_and_no_warning(nvml: Play, script: str) -> None:
    """No GPU is a fact, not a fault."""
    nvml(script)
    assert read(2) == {"devices": [], "reads": [[], []], "warnings": []}


def test_a_machine_without_nvml_has_no_gpu_series_and_no_warning(no_nvml: None) -> None:
    """A machine that never saw an NVIDIA driver is sampled like any other."""
    assert read(1) == {"devices": [], "reads": [[]], "warnings": []}


def test_a_broken_driver_is_named(nvml: Play) -> None:
    """A GPU that should be there and is not must not pass for a machine without one."""
    nvml("nvmlInitWithFlags=fail:18")
    found = read(1)
    assert found["devices"] == []
    assert found["warnings"] == [
        "no GPU is sampled (NVML: RM has detected an NVML/RM version mismatch.): nvidia-smi may say more"
    ]


@pytest.mark.parametrize(
    ("bits", "slowed"),
    [
        (0x00, []),
        (0x04, ["power_cap"]),
        (0x20, ["heat"]),  # by the driver
        (0x48, ["heat"]),  # by the hardware, which sets the bit for all its reasons too
        (0x88, ["hardware"]),  # the power brake
        (0x08, ["hardware"]),  # for a reason that it does not name
        (0x0C, ["hardware", "power_cap"]),
        (0x21, []),  # idle: no clock is wanted
        (0x12, []),  # clocks that were set, and a group that runs in step
    ],
)
def test_what_holds_the_clock_down_is_told_apart(nvml: Play, bits: int, slowed: list[str]) -> None:
    """By the bits of nvmlClocksEventReasons."""
    nvml(f"event_reasons={bits}")
    found = {m: v for _, _, _, m, v in read(1)["reads"][0] if m.startswith("slowed_by_")}
    assert found == {f"slowed_by_{why}": 100.0 * (why in slowed) for why in ("heat", "hardware", "power_cap")}


def test_a_driver_that_knows_the_reasons_by_their_former_name_is_asked_by_that(nvml: Play) -> None:
    """NVML_ERROR_FUNCTION_NOT_FOUND from drivers before 535."""
    nvml("event_reasons=32 nvmlDeviceGetCurrentClocksEventReasons=fail:13")
    found = read(2)
    assert series(found, "gpu0", "slowed_by_heat") == [100, 100]
    assert found["warnings"] == []


@pytest.mark.parametrize(
    ("pids", "own", "foreign"),
    [
        ("11+12+13", 2, 1),
        ("13+14", 0, 0),  # without one of ours, what looks foreign may be ours under another number
        ("11/1+13/1+14/2", 1, 1),  # another MIG instance is another GPU
    ],
)
def test_processes_on_the_gpu_are_counted_as_ours_or_foreign(nvml: Play, pids: str, own: int, foreign: int) -> None:
    """11 and 12 are measured."""
    nvml(f"gpus=2 pids@0={pids}")
    found = read(1, 11, 12)
    assert series(found, "gpu0", "own_processes") == [own]
    assert series(found, "gpu0", "foreign_processes") == [foreign]
    assert series(found, "gpu1", "own_processes") == [0]


def test_the_server_of_mps_is_no_foreign_process(nvml: Play, tmp_path: Path) -> None:
    """It holds a context for others to share, and does no work of its own."""
    (tmp_path / "nvidia-cuda-mps-server").symlink_to("/bin/sleep")
    with subprocess.Popen([tmp_path / "nvidia-cuda-mps-server", "60"]) as server:
        nvml(f"pids=11+{server.pid}")
        assert series(read(1, 11), "gpu0", "foreign_processes") == [0]
        server.kill()


@pytest.mark.parametrize(
    ("busy", "foreign"),
    [
        ("11:90+13:5+14:0", 1),  # 13 works, 14 has a context and stands still, as the idle server of another side does
        ("11:90", 0),
        ("", 0),  # nobody worked
    ],
)
def test_other_processes_count_where_they_worked(nvml: Play, busy: str, foreign: int) -> None:
    """Where the driver tells; a context alone takes nothing from the one that is measured."""
    nvml(f"pids=11+13+14 busy={busy}")
    found = read(1, 11)
    assert series(found, "gpu0", "foreign_processes") == [foreign]
    assert found["warnings"] == []


def test_what_takes_the_driver_long_is_asked_once_a_second_at_the_most(nvml: Play) -> None:
    """Processes, and the energy counter, take it longer than all the rest; here no time passes."""
    nvml("pids=11")
    found = read(3, 11)
    assert len(series(found, "gpu0", "own_processes")) == len(series(found, "gpu0", "energy_j")) == 1
    assert len(series(found, "gpu0", "utilization")) == 3


def test_a_driver_that_lists_no_processes_is_sampled_for_the_rest(nvml: Play) -> None:
    """Before driver 510 the call is not there, and pynvml's plain name for it raises what is no NVMLError."""
    nvml("nvmlDeviceGetComputeRunningProcesses_v3=fail:13 utilization=7")
    found = read(2)
    assert series(found, "gpu0", "utilization") == [7, 7]
    assert found["warnings"] == ["gpu0 does not give processes (Function Not Found): it is left out"]
