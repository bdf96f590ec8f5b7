"""The fingerprint of the machine; its GPUs are tested in samplers/test_gpu_facts.py, beside the scripted NVML."""

import getpass
import json
import platform
from pathlib import Path

import pytest

from bench import environment


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_the_fingerprint_is_json_and_says_what_bears_on_a_measurement() -> None:
    """A stored run can be told from one on another machine or with other libraries."""
    found = json.loads(json.dumps(environment.fingerprint()))
    assert found["python"] == f"CPython {platform.python_version()}"
    assert found["packages"]["numpy"]
    assert 1 <= found["cores_usable"] <= found["cores"]
    assert found["memory_bytes"] > 2**28
    assert isinstance(found["gpus"], list)


def test_the_fingerprint_names_neither_host_nor_user() -> None:
    """Reports are shown around: whose machine it was is nobody's business."""
    found = json.dumps(environment.fingerprint())
    assert f'"{platform.node()}"' not in found
    assert f'"{getpass.getuser()}"' not in found


def test_a_probe_that_fails_is_none_and_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that hides something is measured all the same."""

    def refuse(*_: object) -> str:
        raise OSError("hidden")

    monkeypatch.setattr(Path, "read_text", refuse)
    monkeypatch.setattr(platform, "freedesktop_os_release", refuse)
    found = environment.fingerprint()
    assert [found[key] for key in ("os", "cpu", "governor", "cores_limit", "memory_limit_bytes")] == [None] * 5
    assert found["kernel"] == platform.release()


def test_limits_of_cgroups_v2_are_the_tightest_on_the_way_up(tmp_path: Path) -> None:
    """A group has at most what each group above it has: 1.5 cores from the parent, 1 GiB from its own."""
    root = write(
        tmp_path,
        {
            "pod/cpu.max": "150000 100000\n", "pod/memory.max": "4294967296\n",
            "pod/job/cpu.max": "200000 100000\n", "pod/job/memory.max": "1073741824\n",
        },
    )  # fmt: skip
    assert environment.cgroup_limits(root, "0::/pod/job\n") == (1.5, 2**30)


def test_limits_of_a_container_are_found_at_the_mount_where_its_own_path_is_hidden(tmp_path: Path) -> None:
    """In a container /proc names the group as the host sees it, while the mount shows the container's own."""
    root = write(
        tmp_path,
        {
            "cpu,cpuacct/cpu.cfs_quota_us": "200000\n", "cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            "memory/memory.limit_in_bytes": "536870912\n",
        },
    )  # fmt: skip
    (root / "cpu").symlink_to(root / "cpu,cpuacct")
    membership = "4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n1:name=systemd:/docker/abc\n"
    assert environment.cgroup_limits(root, membership) == (2.0, 2**29)


@pytest.mark.parametrize(
    ("files", "membership"),
    [
        ({"cpu.max": "max 100000\n", "memory.max": "max\n"}, "0::/\n"),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, "1:cpu:/\n"),
        ({"memory/memory.limit_in_bytes": "9223372036854771712\n"}, "1:memory:/\n"),
        ({}, "0::/nowhere\n"),
    ],
    ids=["v2", "v1 cpu", "v1 memory", "nothing mounted"],
)
def test_no_limit_is_none(tmp_path: Path, files: dict[str, str], membership: str) -> None:
    """Each version writes "unlimited" in a way of its own, and none of them is a limit."""
    assert environment.cgroup_limits(write(tmp_path, files), membership) == (None, None)
