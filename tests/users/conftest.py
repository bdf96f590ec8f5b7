"""Real Locust, in processes of its own because importing it changes much, on workloads for the server that knows the truth."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import recorded, resources, store
from bench.evidence.truth import OUTPUTS
from bench.record import Run

LIMIT_S = 120.0
SOME_RECORDS = 4096  # bytes of a stream
TRUTH = """\
warmup = "200ms"
timeout = "5s"

[model]
name = "truth"

[payload]
distinct = 4

[payload.inputs.x]
datatype = "FP32"
shape = [16]

[load]
arrivals = "poisson"
rate = "1000/s"

[check]
every = 5
"""


@dataclass(slots=True)
class Locust:
    """A folder with a Locust file and workloads, and what Locust does there."""

    folder: Path
    code: int | None = None
    out: str = ""
    err: str = ""

    def start(self, *options: str) -> "subprocess.Popen[str]":
        """Locust on mine.py, in a group of processes of its own."""
        command = [sys.executable, "-m", "locust", "-f", "mine.py", "--headless", "--only-summary", "--json", *options]
        return subprocess.Popen(
            command, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip

    def finish(self, process: "subprocess.Popen[str]") -> None:
        """Wait for its end."""
        try:
            self.out, self.err = process.communicate(timeout=LIMIT_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            raise
        self.code = process.returncode

    def run(self, *options: str) -> None:
        """Run it to its end."""
        self.finish(self.start(*options))

    def stop(self, process: "subprocess.Popen[str]", workers: int) -> None:
        """Ctrl-C, which a terminal sends to the whole group, as soon as so many workers have written records."""
        deadline = time.monotonic() + LIMIT_S
        while time.monotonic() < deadline and process.poll() is None:
            sizes = [path.stat().st_size for path in self.folder.glob("results/*/requests-*.arrows")]
            if sum(size > SOME_RECORDS for size in sizes) >= workers:
                break
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        self.finish(process)

    def folders(self) -> list[Path]:
        """Those of the runs that were made."""
        return sorted((self.folder / "results").glob("*"))

    def made(self) -> Run:
        """The one run."""
        (folder,) = self.folders()
        return store.load_run(folder)

    def statistics(self) -> dict[str, int]:
        """Requests and failures as Locust counted them."""
        rows = json.loads(self.out[self.out.index("[") :])
        return {key: sum(row[key] for row in rows) for key in ("num_requests", "num_failures")}

    def errors(self) -> list[str]:
        """The messages of what was logged as an error."""
        return re.findall(r"/ERROR/\S+: (.*)", self.err)


@pytest.fixture(scope="session")
def locust(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Locust]:
    """Lays out a folder: mine.py, and truth.toml, whose requests are all answered with `answer` where one is given."""

    def lay_out(text: str, answer: float | None = None) -> Locust:
        folder = tmp_path_factory.mktemp("locust")
        (folder / "mine.py").write_text(text, encoding="utf-8")
        path = folder / "truth.toml"
        path.write_text(TRUTH, encoding="utf-8")
        if answer is not None:
            y: Any = np.full(OUTPUTS, answer, np.float32)
            recorded.write(str(path), resources.load_workload(str(path)), {n: {"y": y} for n in range(4)}, "truth")
        return Locust(folder)

    return lay_out
