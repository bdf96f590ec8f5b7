"""A bare ONNX Runtime loop: the model run over and over in a process that does nothing else; a plan as JSON on stdin."""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from bench import payloads
from bench import workload as workloads
from bench.errors import RunError
from bench.runtime.session import default_threads, make_session
from bench.workload import Workload

_SHOWN = 300  # characters of what a process said at its end


def loop(model: Path, workload: Workload, warmup_s: float, seconds: float) -> list[int]:
    """When each run ended, in ns, of those in the `seconds` after the warm-up; the requests are the workload's, in turn."""
    session = make_session(model, default_threads())
    names = [output.name for output in session.get_outputs()]
    requests = [tensors for tensors in payloads.make(workload) if isinstance(tensors, dict)]
    ends = []
    begin = time.perf_counter_ns() + round(warmup_s * 1e9)
    now, number = 0, 0
    while now < begin + seconds * 1e9:
        session.run(names, requests[number % len(requests)])
        now, number = time.perf_counter_ns(), number + 1
        if now >= begin:
            ends.append(now)
    return ends


def in_its_own_process(model: Path, workload: Workload, warmup_s: float, seconds: float) -> np.ndarray:
    """The same in a process of its own: int64 [runs]; RunError where that fails."""
    plan = {"model": str(model), "workload": workloads.to_builtins(workload), "warmup_s": warmup_s, "seconds": seconds}
    command = [sys.executable, "-P", "-m", "bench.evidence.bare_onnx"]
    done = subprocess.run(command, input=json.dumps(plan), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RunError(f"the bare loop ended with {done.returncode}: {done.stderr.strip()[-_SHOWN:]}")
    return np.array(json.loads(done.stdout), np.int64)


def main() -> None:
    plan = json.load(sys.stdin)
    workload = workloads.from_builtins(plan["workload"], "the plan")
    print(json.dumps(loop(Path(plan["model"]), workload, plan["warmup_s"], plan["seconds"])))


if __name__ == "__main__":
    main()
