"""What other load generators report of a server that stalled: stock Locust by its own statistics, and perf_analyzer."""

import csv
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from bench.analysis.quantiles import order_statistic
from bench.errors import RunError
from bench.evidence.selfcheck import MS, Row, Scenario
from bench.evidence.truth import MODEL
from bench.evidence.truth_server import running

USERS = 20  # of stock Locust, each sending at its share of the rate
_LIMIT_S = 300.0
_LOCUSTFILE = """\
import json
from locust import HttpUser, constant_throughput, task

HEAD = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [16], "parameters": {"binary_data_size": 64}}]})

class Caller(HttpUser):
    wait_time = constant_throughput(%(each)g)

    @task
    def infer(self):
        headers = {"Inference-Header-Content-Length": str(len(HEAD)), "Content-Type": "application/octet-stream"}
        self.client.post("/v2/models/%(model)s/infer", data=HEAD.encode() + bytes(64), headers=headers)
"""


def perf_analyzer() -> str | None:
    """The program: $PERF_ANALYZER, else on the PATH; None where there is none."""
    return os.environ.get("PERF_ANALYZER") or shutil.which("perf_analyzer")


def locust_p99_ms(scenario: Scenario) -> tuple[int, float]:
    """(requests, P99 in ms) that stock Locust reports in its own CSV; RunError where it made none."""
    with tempfile.TemporaryDirectory(prefix="bench-locust-") as folder, running(scenario.script) as server:
        file, prefix = Path(folder, "locustfile.py"), Path(folder, "out")
        file.write_text(_LOCUSTFILE % {"each": scenario.rate_hz / USERS, "model": MODEL}, encoding="utf-8")
        users, seconds = str(USERS), f"{scenario.seconds:g}s"
        _said(
            [sys.executable, "-m", "locust", "-f", str(file), "--headless", "-u", users, "-r", users, "-t", seconds,
             "--host", f"http://{server.http}", "--csv", str(prefix), "--only-summary"],
        )  # fmt: skip
        with Path(f"{prefix}_stats.csv").open(newline="", encoding="utf-8") as text:
            row = next(row for row in csv.DictReader(text) if row["Name"] == "Aggregated")
        if row["99%"] == "N/A":
            raise RunError(f"stock Locust: made no request within {seconds}")
        return int(row["Request Count"]), float(row["99%"])


def perf_analyzer_p99_ms(program: str, scenario: Scenario) -> tuple[int, float]:
    """(requests, P99 in ms) that perf_analyzer reports in its request-rate mode, Poisson."""
    window_ms = round(scenario.seconds * 1000 / 3)  # it merges three
    with running(scenario.script) as server:
        said = _said(
            [program, "-m", MODEL, "-u", server.http, "-i", "http", "--shape", "x:16", "--request-distribution", "poisson",
             "--request-rate-range", f"{scenario.rate_hz:g}", "-p", str(window_ms), "-s", "999", "--percentile", "99"],
        )  # fmt: skip
    count, p99 = re.search(r"Request count: (\d+)", said), re.search(r"p99 latency: (\d+) usec", said)
    if count is None or p99 is None:
        raise RunError(f"{program}: reported no P99; it said: {said[-300:]}")
    return int(count[1]), int(p99[1]) / 1000


def _said(command: list[str]) -> str:
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=_LIMIT_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RunError(f"{command[0]}: {error}") from None
    return done.stdout


def report(row: Row, say: Callable[[str], None]) -> list[str]:
    """The Markdown of the comparison: `row` is what bench itself reported of the same scenario."""
    return [
        "## What others report of the same stall",
        "",
        "The same server and rate, another generator: it stands still for 1 s of 20 s, so that one request in twenty or more",
        "waited. Stock Locust's users (HttpUser, constant_throughput) wait for their replies and send nothing meanwhile;",
        "perf_analyzer's request-rate mode starts its clock when it sends.",
        "",
        "| generator | requests | P99 ms |",
        "| --- | --- | --- |",
        *_rows(row, say),
        "",
    ]


def _rows(row: Row, say: Callable[[str], None]) -> Iterator[str]:
    truth, ours = (float(order_statistic(np.sort(values), 0.99)) / MS for values in (row.truth_ns, row.reported_ns))
    yield f"| the truth of bench's run | {len(row.truth_ns):,} | {truth:,.1f} |"
    yield f"| bench | {len(row.reported_ns):,} | {ours:,.1f} |"
    say(f"{row.scenario.name} by stock Locust, {row.scenario.seconds:g} s ...")
    count, p99 = locust_p99_ms(row.scenario)
    yield f"| stock Locust | {count:,} | {p99:,.1f} |"
    if program := perf_analyzer():
        say(f"{row.scenario.name} by perf_analyzer, {row.scenario.seconds:g} s ...")
        count, p99 = perf_analyzer_p99_ms(program, row.scenario)
        yield f"| perf_analyzer, request rate | {count:,} | {p99:,.1f} |"
