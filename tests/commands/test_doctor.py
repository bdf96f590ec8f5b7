"""`bench doctor`."""

import argparse
import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bench.commands import doctor
from bench.commands.doctor import Finding
from bench.servers import backend_env, installs, releases

FACTS: dict[str, Any] = {
    "bench": "0.1.0", "python": "CPython 3.11.7", "packages": {"onnxruntime": "1.20.1"}, "os": "Debian 12", "kernel": "6.1.0",
    "glibc": "2.36", "machine": "x86_64", "virtualization": None, "cpu": "Example CPU", "cores": 8, "cores_usable": 8,
    "cores_limit": None, "governor": "performance", "memory_bytes": 32 * 2**30, "memory_limit_bytes": None,
    "driver": None, "cuda": None, "gpus": [], "gpu_problem": "NVML Shared Library Not Found",
}  # fmt: skip
GPU = {"index": 0, "name": "Example GPU", "memory_bytes": 80 * 2**30, "power_limit_w": 700.0, "mig": False, "persistence": True}
WITH_GPU = FACTS | {"gpus": [GPU], "driver": "550.54", "cuda": "12.4", "gpu_problem": None}


def bench_doctor() -> tuple[int, list[str]]:
    """The exit code of `bench doctor`, and what it prints."""
    parser = argparse.ArgumentParser()
    doctor.arguments(parser)
    printed: list[str] = []
    code = doctor.run(parser.parse_args([]), printed.append, printed.append)
    return code, printed


def test_it_reports_on_this_machine_in_80_columns_and_can_work_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first thing a user runs: everything it looks at has a line, and exit 0 says that bench can work."""
    monkeypatch.setenv("BENCH_CACHE", "/no-such-cache")
    code, printed = bench_doctor()
    names = [line.split()[1] for line in printed if line[:2] in ("ok", "--", "!!")]
    assert names[:2] == ["system", "processor"]
    assert names[2].startswith("gpu")
    assert names[-6:] == ["packages", "onnxruntime", "cache", "triton", "docker", "cc"]
    assert max(len(line) for line in printed) <= 80
    assert (code, printed[-1]) == (0, "bench can work here")


def test_a_missing_package_is_named_and_ends_with_3(monkeypatch: pytest.MonkeyPatch) -> None:
    """What bench cannot work without decides the exit code."""
    monkeypatch.setattr(
        importlib.metadata, "requires", lambda _: ["numpy>=1", "no-such-thing[extra]>=2,<3", 'x; extra == "dev"']
    )
    code, printed = bench_doctor()
    assert "!!  packages     missing: no-such-thing" in printed
    assert (code, printed[-1]) == (3, "bench cannot work here: see packages")


words = st.text(st.characters(categories=["L", "N", "Pd"]), min_size=1, max_size=60)


@example("onnxruntime-gpu " * 9, "inference-bench " * 9, True)
@given(st.lists(words, min_size=1).map(" ".join), st.lists(words).map(" ".join), st.booleans())
def test_a_finding_fits_80_columns_and_loses_no_word(text: str, advice: str, found: bool) -> None:
    """Long texts wrap under their own column."""
    lines = doctor.lines(Finding("name", text, found, advice))
    assert all(len(line) <= 80 for line in lines)
    assert [w for line in lines for w in line.split() if w != ">"] == [
        "ok" if found else "--",
        "name",
        *(text + " " + advice).split(),
    ]


def test_the_cores_that_a_container_may_use_are_told_from_those_of_the_machine() -> None:
    """The tightest of affinity and cgroup counts."""
    facts = FACTS | {"cores_usable": 4, "cores_limit": 1.5, "memory_limit_bytes": 2 * 2**30}
    assert doctor.processor(FACTS).text == "Example CPU, 8 cores; 32.0 GiB"
    assert doctor.processor(facts).text == "Example CPU, 8 cores, 1.5 of them usable here; 32.0 GiB, 2.0 usable here"


def test_a_clock_that_follows_the_load_is_advised_against() -> None:
    """A powersave governor makes latencies depend on what ran before."""
    assert doctor.processor(FACTS).advice == ""
    assert "cpupower frequency-set -g performance" in doctor.processor(FACTS | {"governor": "powersave"}).advice


def test_each_gpu_has_a_line_and_none_has_its_reason() -> None:
    """A GPU that bench cannot see is not passed over in silence."""
    assert [f.text for f in doctor.gpus(WITH_GPU)] == ["Example GPU, 80 GiB, 700 W; driver 550.54, CUDA 12.4"]
    (none,) = doctor.gpus(FACTS)
    assert (none.found, none.text) == (False, "none (NVML Shared Library Not Found)")


def test_a_gpu_that_answers_nothing_still_has_its_line() -> None:
    """A card of which all probes failed is shown, not crashed upon."""
    silent = {"index": 1} | dict.fromkeys(("name", "memory_bytes", "power_limit_w", "mig", "persistence"))
    (line,) = doctor.gpus(WITH_GPU | {"gpus": [silent]})
    assert (line.name, line.text) == ("gpu1", "does not answer; driver 550.54, CUDA 12.4")


@pytest.mark.parametrize(
    ("facts", "installed", "found", "advice"),
    [
        (FACTS, {"onnxruntime": "1.20.1"}, True, ""),
        (FACTS, {}, False, "[cpu]"),
        (WITH_GPU, {}, False, "[cuda]"),
        (WITH_GPU, {"onnxruntime": "1.20.1"}, False, "[cuda]"),
        (WITH_GPU, {"onnxruntime-gpu": "1.20.1"}, True, ""),
        (FACTS, {"onnxruntime": "1.20.1", "onnxruntime-gpu": "1.20.1"}, False, "pip uninstall onnxruntime onnxruntime-gpu"),
    ],
    ids=["cpu", "none", "none, GPU", "cpu only, GPU", "cuda", "both"],
)
def test_the_right_onnxruntime_is_advised(facts: dict[str, Any], installed: dict[str, str], found: bool, advice: str) -> None:
    """One of the two distributions, and the one that the machine can use."""
    finding = doctor.onnxruntime(facts | {"packages": installed})
    assert finding.found == found
    assert advice in finding.advice


def test_what_a_managed_triton_lacks_here_is_advised_on_as_its_start_would(monkeypatch: pytest.MonkeyPatch) -> None:
    """The doctor and the server that does not start say the same, and what to use instead."""
    monkeypatch.setattr(backend_env, "missing", lambda: ["libpython3.11.so.1.0 is missing: apt install libpython3.11"])
    finding = doctor.triton()
    assert not finding.found
    assert "apt install libpython3.11" in finding.advice
    assert "via=docker" in finding.advice


def test_installed_tritons_are_listed_by_both_of_their_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user names a release by month or by the server's own version."""
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    monkeypatch.setattr(backend_env, "missing", list)
    assert doctor.triton().text == "none installed yet"
    installs.folder_of(releases.find("24.07")).mkdir(parents=True)
    assert doctor.triton().text.startswith("installed: 24.07 (2.48.0); ")


def test_the_cache_is_measured_and_may_not_exist_yet(tmp_path: Path) -> None:
    """Its size is what its files take, not what they point to."""
    (tmp_path / "cache" / "a").mkdir(parents=True)
    with (tmp_path / "cache" / "a" / "model").open("wb") as file:
        file.truncate(3 * 2**30)
    (tmp_path / "cache" / "link").symlink_to("a/model")
    assert doctor.cache(tmp_path / "cache").text.startswith(f"{tmp_path}/cache: 3.0 GiB, ")
    assert doctor.cache(tmp_path / "none" / "yet").text.startswith(f"{tmp_path}/none/yet: 0.0 GiB, ")


def test_a_cache_that_cannot_be_written_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The advice is the variable that moves it."""
    monkeypatch.setattr(os, "access", lambda *_: False)
    finding = doctor.cache(tmp_path)
    assert not finding.found
    assert "BENCH_CACHE" in finding.advice


@pytest.mark.parametrize(
    ("script", "found", "text"),
    [
        ("echo 27.1", True, "engine 27.1"),
        ("echo no daemon >&2; exit 1", False, "the engine does not answer: no daemon"),
        ("exit 1", False, "the engine does not answer: no reason given"),
    ],
)
def test_docker_is_there_when_its_engine_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, found: bool, text: str
) -> None:
    """A docker command without an engine is no Docker."""
    (tmp_path / "docker").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    finding = doctor.docker()
    assert (finding.found, finding.text) == (found, text)


def test_what_is_not_on_the_path_is_said_with_what_it_is_needed_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither Docker nor a C compiler is needed to measure."""
    monkeypatch.setenv("PATH", str(tmp_path))
    for finding in (doctor.docker(), doctor.compiler()):
        assert not finding.found
        assert not finding.fatal
        assert finding.advice.startswith("only needed for")


def test_it_imports_nothing_of_what_it_looks_for() -> None:
    """A broken library is found by its version, not by a crash; and the answer comes at once."""
    script = "import sys; from bench.commands import doctor; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert not {"onnxruntime", "locust", "gevent", "pyarrow", "pandas", "matplotlib", "tritonclient", "flask"} & set(loaded)
