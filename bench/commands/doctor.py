"""`bench doctor`: what bench sees of this machine, and what to do about each thing that is missing."""

import argparse
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import resources
from bench.environment import fingerprint
from bench.errors import NOT_MADE, OK
from bench.servers import backend_env, installs, releases

WIDTH = 80
GIB = 2**30


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that bench looked for, and what to do where something about it could be better."""

    name: str
    text: str
    found: bool = True
    advice: str = ""
    fatal: bool = False  # without it bench cannot work at all


def arguments(parser: argparse.ArgumentParser) -> None:
    """`bench doctor` has no flags."""


def run(args: argparse.Namespace, out: Callable[[str], None], say: Callable[[str], None]) -> int:
    """Print all findings; 3 only when bench cannot work here at all."""
    facts = fingerprint()
    findings = [
        system(facts), processor(facts), *gpus(facts), packages(), onnxruntime(facts), cache(resources.cache_dir()),
        triton(), docker(), compiler(),
    ]  # fmt: skip
    for finding in findings:
        for line in lines(finding):
            out(line)
    fatal = [finding.name for finding in findings if finding.fatal]
    out("")
    out(f"bench cannot work here: see {', '.join(fatal)}" if fatal else "bench can work here")
    return NOT_MADE if fatal else OK


def lines(finding: Finding) -> list[str]:
    """A finding in at most 80 columns, less a word that is longer."""
    mark = "ok" if finding.found else "!!" if finding.fatal else "--"
    head, indent = f"{mark}  {finding.name:<12} ", " " * 17
    wrap = textwrap.TextWrapper(WIDTH, initial_indent=head, subsequent_indent=indent, break_long_words=False)
    wrap.break_on_hyphens = False
    found = wrap.wrap(finding.text)
    wrap.initial_indent, wrap.subsequent_indent = f"{indent}> ", f"{indent}  "
    return found + wrap.wrap(finding.advice)


def system(facts: dict[str, Any]) -> Finding:
    """The operating system and Python."""
    where = f" in a {facts['virtualization']}" if facts["virtualization"] else ""
    text = f"bench {facts['bench']}, {facts['python']}; {facts['os'] or sys.platform}, kernel {facts['kernel']}{where}"
    if sys.platform != "linux":
        return Finding("system", text, False, "use Linux: bench stands on epoll, timerfd and /proc", fatal=True)
    return Finding("system", text)


def processor(facts: dict[str, Any]) -> Finding:
    """CPU and memory, as far as this process may use them."""
    cores = f"{facts['cores']} cores"
    usable = [n for n in (facts["cores_usable"], facts["cores_limit"]) if n is not None and n < facts["cores"]]
    if usable:
        cores += f", {min(usable):g} of them usable here"
    memory = f"{(facts['memory_bytes'] or 0) / GIB:.1f} GiB"
    limit = facts["memory_limit_bytes"]
    if limit is not None and limit < facts["memory_bytes"]:
        memory += f", {limit / GIB:.1f} usable here"
    governor = facts["governor"]
    advice = ""
    if governor not in (None, "performance"):
        advice = (
            f"the clock follows the load (governor {governor}), and latencies with it: cpupower frequency-set -g performance"
        )
    return Finding("processor", f"{facts['cpu'] or 'unknown'}, {cores}; {memory}", advice=advice)


def gpus(facts: dict[str, Any]) -> list[Finding]:
    """Each GPU, or that there is none."""
    if not facts["gpus"]:
        advice = "where there should be one: see whether nvidia-smi lists it; without one, CPU utilization is shown"
        return [Finding("gpu", f"none ({facts['gpu_problem'] or 'NVML lists no device'})", False, advice)]
    found = []
    for gpu in facts["gpus"]:
        memory = f", {gpu['memory_bytes'] / GIB:.0f} GiB" if gpu["memory_bytes"] else ""
        power = f", {gpu['power_limit_w']:.0f} W" if gpu["power_limit_w"] else ""
        mig = ", MIG: utilization cannot be read" if gpu["mig"] else ""
        text = f"{gpu['name'] or 'does not answer'}{memory}{power}{mig}; driver {facts['driver']}, CUDA {facts['cuda']}"
        advice = "runs begin slowly until persistence mode is on: nvidia-smi -pm 1" if gpu["persistence"] is False else ""
        found.append(Finding(f"gpu{gpu['index']}", text, advice=advice))
    return found


def packages() -> Finding:
    """The distributions that bench declares as its own."""
    wanted = [re.split(r"[^A-Za-z0-9._-]", text, maxsplit=1)[0] for text in _requirements()]
    missing = [name for name in wanted if not _installed(name)]
    if missing:
        return Finding("packages", f"missing: {', '.join(missing)}", False, "pip install inference-bench", fatal=True)
    return Finding("packages", f"all {len(wanted)} that bench needs")


def _requirements() -> list[str]:
    try:
        declared = importlib.metadata.requires("inference-bench") or []
    except importlib.metadata.PackageNotFoundError:  # run from a checkout that is not installed
        return []
    return [text for text in declared if "extra ==" not in text]


def _installed(name: str) -> bool:
    try:
        return bool(importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return False


def onnxruntime(facts: dict[str, Any]) -> Finding:
    """The ONNX Runtime that serves in this process and builds reference answers; of its two distributions one, not both."""
    name, has_gpu = "onnxruntime", bool(facts["gpus"])
    cpu, cuda = facts["packages"].get("onnxruntime"), facts["packages"].get("onnxruntime-gpu")
    extra = f"pip install 'inference-bench[{'cuda' if has_gpu else 'cpu'}]'"
    if cpu and cuda:
        advice = f"they install over each other: pip uninstall onnxruntime onnxruntime-gpu, then {extra}"
        return Finding(name, f"both onnxruntime {cpu} and onnxruntime-gpu {cuda}", False, advice)
    if not cpu and not cuda:
        return Finding(name, "none: only endpoints that run already can be measured", False, extra)
    if has_gpu and not cuda:
        return Finding(name, f"{cpu}, for the CPU only", False, f"to use the GPU: pip uninstall onnxruntime, then {extra}")
    return Finding(name, f"{cuda} with CUDA" if cuda else f"{cpu} for the CPU")


def cache(folder: Path) -> Finding:
    """The folder for installed servers and built models."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(there).free / GIB
    text = f"{_short(folder)}: {_size(folder) / GIB:.1f} GiB, {free:.0f} GiB free on the disk"
    if not os.access(there, os.W_OK):
        return Finding("cache", text, False, "it cannot be written: set BENCH_CACHE to a folder that can")
    return Finding("cache", text)


def _short(path: Path) -> str:
    home = Path.home()
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)


def _size(folder: Path) -> int:
    """Bytes of the files below `folder`, links not followed."""
    total = 0
    for parent, _, files in os.walk(folder):
        for file in files:
            try:
                total += os.lstat(os.path.join(parent, file)).st_size
            except OSError:  # removed meanwhile
                continue
    return total


def triton() -> Finding:
    """The Tritons that bench has installed, and whether they can run."""
    lacking = backend_env.missing()
    if lacking:
        advice = f"{'; '.join(lacking)}. Else use triton?via=docker, or the URL of one that runs already"
        return Finding("triton", "a managed Triton cannot run here", False, advice)
    versions = [f"{release.ngc} ({release.triton})" for release in releases.RELEASES if installs.installed(release)]
    if not versions:
        return Finding("triton", "none installed yet", False, "comes by itself when first used, or by: bench triton install")
    return Finding("triton", f"installed: {', '.join(versions)}; libpython3.{sys.version_info.minor} is there")


def docker() -> Finding:
    """Whether a Docker engine answers."""
    advice = "only needed for triton?via=docker"
    if shutil.which("docker") is None:
        return Finding("docker", "no docker command", False, advice)
    command = ["docker", "version", "--format", "{{.Server.Version}}"]
    try:
        asked = subprocess.run(command, capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Finding("docker", f"no answer ({type(error).__name__})", False, advice)
    if asked.returncode:
        why = (asked.stderr.strip().splitlines() or ["no reason given"])[-1]
        return Finding("docker", f"the engine does not answer: {why}", False, advice)
    return Finding("docker", f"engine {asked.stdout.strip()}")


def compiler() -> Finding:
    """The C compiler with which the tests build their simulated GPU driver."""
    path = shutil.which("cc")
    if path is None:
        return Finding("cc", "no C compiler", False, "only needed for make test: apt install gcc")
    return Finding("cc", path)
