"""Whether the server had its machine to itself."""

import pytest

from bench.analysis.validity import validity
from bench.record import Run
from bench.testing import make_run


def reasons(run: Run) -> list[str]:
    return [r.code for r in validity(run)[0]]


def warnings(run: Run) -> list[str]:
    return [w.code for w in validity(run)[1]]


@pytest.mark.parametrize(("server", "warned"), [(40.0, True), (80.0, False)])
def test_other_processes_on_the_machine_are_warned_of(server, warned):
    """Host CPU that is neither the server's nor the load's belongs to somebody else, and spoils the numbers."""
    cpu = {"host": 90.0, "server": server, "load": 5.0}
    samples = {(device, "cpu_utilization"): [(t, share) for t in range(0, 1000, 100)] for device, share in cpu.items()}
    _, warnings = validity(make_run([10.0] * 100, samples=samples))
    assert ("shared_machine" in [w.code for w in warnings]) is warned


def test_nothing_is_said_of_other_processes_where_the_server_s_share_is_unknown():
    """A server that bench did not start may be the other process."""
    samples = {(device, "cpu_utilization"): [(500, 90.0)] for device in ("host", "load")}
    _, warnings = validity(make_run([10.0] * 100, samples=samples))
    assert "shared_machine" not in [w.code for w in warnings]


@pytest.mark.parametrize(("last_ms", "warned"), [(9900, False), (8000, False), (6000, True), (0, True)])
def test_a_sampler_that_ended_before_the_run_is_told_of(last_ms: int, warned: bool) -> None:
    """Of a window of 10 s more than 3 s at the end have no samples; what it saw before stands."""
    samples = {("host", "cpu_utilization"): [(t, 50.0) for t in range(0, last_ms + 1, 100)]}
    _, found = validity(make_run([10.0] * 1000, samples=samples, window_ms=(0, 10_000)))
    assert [w.spoils for w in found if w.code == "unsampled"] == ["utilization"] * warned


def gpu_run(gpu: str = "gpu0", utilization: float = 90.0, **metrics: list[float]) -> Run:
    """10 readings of a GPU within the window of 1 s, and of each of `metrics` as many as are given, repeated."""
    levels = {"memory_bytes": [1e9], "utilization": [utilization], "sm_clock_mhz": [1980.0, 1410.0]} | metrics
    samples = {(gpu, metric): [(100 * n, values[n % len(values)]) for n in range(10)] for metric, values in levels.items()}
    return make_run([10.0] * 100, samples=samples)


@pytest.mark.parametrize("why", ["heat", "hardware"])
def test_a_gpu_slowed_by_heat_or_hardware_makes_a_run_invalid(why: str) -> None:
    """The reason says for how much of the window, and how far the clock went down."""
    run = gpu_run(**{f"slowed_by_{why}": [100.0] * 3 + [0.0] * 7})
    assert reasons(run) == [f"gpu_slowed_by_{why}"]
    (reason,) = validity(run)[0]
    assert reason.message.startswith("GPU 0 was slowed by")
    assert "in 30% of the window (SM clock 1,410 to 1,980 MHz)" in reason.message


def test_a_gpu_at_its_power_limit_is_warned_of() -> None:
    """Such is the GPU with this limit; the run stands."""
    run = gpu_run(slowed_by_power_cap=[100.0], slowed_by_heat=[0.0], slowed_by_hardware=[0.0])
    assert (reasons(run), warnings(run)) == ([], ["gpu_power_cap"])


@pytest.mark.parametrize(("own", "foreign", "expected"), [(1.0, 1.0, ["gpu_shared"]), (1.0, 0.0, []), (0.0, 2.0, [])])
def test_a_gpu_shared_with_others_makes_a_run_invalid(own: float, foreign: float, expected: list[str]) -> None:
    """Only where processes of the server are seen on it: else what looks foreign may be the server itself."""
    assert reasons(gpu_run(own_processes=[own], foreign_processes=[foreign, 0.0])) == expected


def test_a_gpu_that_the_server_does_not_use_may_be_hot() -> None:
    """Where processes of ours are seen on one GPU, or where it was not busy at all, the others are not looked at."""
    assert reasons(gpu_run(utilization=0.0, slowed_by_heat=[100.0])) == []
    beside = {
        ("gpu0", "memory_bytes"): [(0.0, 1e9)], ("gpu0", "own_processes"): [(0.0, 1.0)],
        ("gpu1", "memory_bytes"): [(0.0, 1e9)], ("gpu1", "own_processes"): [(0.0, 0.0)],
        ("gpu1", "utilization"): [(0.0, 99.0)], ("gpu1", "slowed_by_heat"): [(0.0, 100.0)],
    }  # fmt: skip
    assert reasons(make_run([10.0] * 100, samples=beside)) == []
