"""A user's own Locust file, run by Locust itself."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest

from bench import answers, store
from bench.evidence.truth import Script
from bench.evidence.truth_server import Running, running
from bench.record import ANSWER, NOT_COMPARED, OK, SAME, STATUS, Run

MS = 1_000_000

ONE = """\
from locust import constant, task
from bench.locustfile import TargetUser

class Caller(TargetUser):
    workload = "./truth.toml"
    wait_time = constant(0.005)

    @task
    def call(self):
        self.request()
"""

SEVERAL = """\
import time
from locust import constant, task
from bench.locustfile import TargetUser, constant_rate

class Thinking(TargetUser):
    workload = "./truth.toml"
    wait_time = constant(0.005)

    @task
    def classify(self):
        outputs = self.request().outputs()
        assert outputs["y"].shape == (16,)

class Steady(TargetUser):
    workload = "./truth.toml"
    wait_time = constant_rate(50)

    @task
    def classify(self):
        assert self.request().ok

class Late(TargetUser):
    workload = "./truth.toml"
    wait_time = constant(60)

    @task
    def classify(self):
        answer = self.request(intended_ns=time.perf_counter_ns() - 500_000_000)
        assert answer.latency_ns > 500_000_000
"""


@dataclass(frozen=True, slots=True)
class Done:
    """A Locust file that was run to its end, and what the server saw."""

    locust: Any
    run: Run
    folder: Path
    book: dict[str, list[int]]


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    """Answers after a millisecond."""
    with running(Script(MS, slots=4)) as started:
        yield started


@pytest.fixture(scope="module")
def done(locust: Callable[..., Any]) -> Done:
    """Three classes of users with one workload, all of whose answers are as recorded."""
    made = locust(SEVERAL, answer=0.0)
    with running(Script(20 * MS, slots=4)) as server:
        made.run("-u", "3", "-r", "100", "-t", "2s", "--host", f"triton-http://{server.http}")
        book = server.finish()
    (folder,) = made.folders()
    return Done(made, made.made(), folder, book)


def test_every_request_is_recorded_once_and_within_the_times_that_the_server_saw(done: Done) -> None:
    """The server's own book and the records are of the same requests, those under way at the end too."""
    records = done.run.records
    assert done.locust.code == 0, done.locust.err
    assert {f"{number:016x}" for number in records["id"].tolist()} == set(done.book)
    for number, start, end in zip(*(records[name].tolist() for name in ("id", "start_ns", "end_ns")), strict=True):
        arrived, replied = done.book[f"{number:016x}"]
        assert start <= arrived <= replied <= end
    assert set(records["error"]) == {OK}
    assert done.locust.statistics() == {"num_requests": len(records), "num_failures": 0}


def test_the_run_says_that_the_load_was_the_users_own(done: Done) -> None:
    """In run.json, and in the report's first line; the schedule of the workload is not held against it."""
    load = done.run.load
    assert done.run.status == "complete"
    assert load["driver"].startswith("mine.py (Locust ")
    assert (load["users"], load["sent"], load["unsent"], "workers" in load) == (3, len(done.run.records), 0, False)
    assert load["cpu_s"] >= load["engine_cpu_s"] > 0
    assert load["server_at_end"] == load["server_at_start"]
    assert done.run.target["answered_as"]["name"] == "truth"
    assert done.run.environment["cores"] == os.cpu_count()
    assert "samples.parquet" in os.listdir(done.folder)


def test_the_report_is_of_the_same_folder(done: Done, bench: Callable[..., Any]) -> None:
    """Computed anew, as of any run."""
    said = bench("report", done.folder)
    assert said.code == 0
    assert "3 users of mine.py (Locust" in said.out.splitlines()[2]
    assert "rate_not_reached" not in bench("report", done.folder, "--json").out


def test_the_window_begins_after_the_warm_up_and_ends_with_the_test(done: Done) -> None:
    """200 ms after the start; what was under way at the end is in it."""
    begun = next(event.detail for event in done.run.events if event.name == "started")
    start, end = done.run.window_ns
    assert start == begun["window_ns"] == begun["start_ns"] + 200 * MS
    assert start < end <= done.run.records["end_ns"].max()
    assert {event.name: event.detail for event in done.run.events}["users"] == {"count": 3}


def test_answers_are_compared_and_kept(done: Done) -> None:
    """The first to each request, and one in five."""
    records = done.run.records
    assert set(records["check"]) == {SAME, NOT_COMPARED}
    assert (records["check"][records["id"] % 5 == 0] == SAME).all()
    kept = answers.read(done.folder / "answers.arrow")[0]
    assert sorted(kept) == [0, 1, 2, 3]
    assert not kept[0]["y"].any()


def test_a_request_counts_from_when_it_was_meant_to_be_sent(done: Done) -> None:
    """By default from the call; one user said half a second before it."""
    lag = done.run.records["start_ns"] - done.run.records["intended_ns"]
    assert lag.min() >= 0
    assert np.count_nonzero(lag >= 500 * MS) >= 1


ELSEWHERE = (
    ONE
    + """
from bench.users import place
from locust import events

@events.init.add_listener
def begin(environment, runner, **_):
    if getattr(runner, "worker_index", 0) == 1:
        place.machine = lambda: "another machine, for all that this worker knows"
"""
)


def test_each_worker_records_its_part_and_one_on_another_machine_a_run_of_its_own(
    locust: Callable[..., Any], server: Running
) -> None:
    """Two processes of Locust's: the first writes into the master's run, the second cannot; both runs say so.

    Without -t, Ctrl-C is the end that Locust asks for, and the runs are complete.
    """
    made = locust(ELSEWHERE)
    made.stop(made.start("-u", "4", "-r", "100", "--host", f"triton-http://{server.http}", "--processes", "2"), workers=2)
    assert made.code == 0, made.err
    runs = [store.load_run(folder) for folder in made.folders()]
    assert len(runs) == 2
    whole, own = sorted(runs, key=lambda run: run.records["id"].max())
    assert (set(whole.records["worker"]), set(own.records["worker"])) == ({0}, {1})
    assert not set(whole.records["id"]) & set(own.records["id"])
    assert [run.status for run in runs] == ["complete", "complete"]
    assert whole.load["elsewhere"][0].endswith(str(Path("results") / own.id))
    assert own.load["elsewhere"] == [f"the master's {whole.id}"]


def test_ctrl_c_before_the_end_makes_a_partial_run_of_all_processes(locust: Callable[..., Any], server: Running) -> None:
    """To the whole group, as a terminal sends it: what both workers had recorded is there, and the run says it is short."""
    made = locust(ONE)
    process = made.start("-u", "4", "-r", "100", "-t", "60s", "--host", f"triton-http://{server.http}", "--processes", "2")
    made.stop(process, workers=2)
    run = made.made()
    assert run.status == "partial"
    assert set(run.records["worker"]) == {0, 1}
    assert [worker["worker"] for worker in run.load["workers"]] == [0, 1]
    assert run.load["sent"] - run.load["unsent"] == len(run.records)
    assert run.load["unsent"] <= 4  # a user has one request under way at the most when it is stopped
    assert "workers_lost" not in run.load
    left = {path.name for path in made.folders()[0].iterdir() if not path.name.startswith("samples")}
    assert left == {"answers.arrow", "events.jsonl", "requests.parquet", "run.json"}


class Flask(BaseHTTPRequestHandler):
    """Speaks like the Flask baseline: of tensors, the third of five is refused; prompts are answered with 0, 1, 2, ..."""

    protocol_version = "HTTP/1.1"
    asked = 0

    def do_GET(self) -> None:
        inputs, outputs = ([{"name": name, "datatype": "FP32", "shape": [16]}] for name in "xy")
        about = {"model": "truth", "version": "1", "flask_version": "3", "generates": True}
        self.reply(200, about | {"inputs": inputs, "outputs": outputs})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        Flask.asked += 1
        if "max_tokens" in body:
            self.stream(body["max_tokens"])
        elif Flask.asked % 5 == 3:
            self.reply(503, {"error": "too busy"})
        else:
            self.reply(200, {"model": "truth", "version": "1", "shapes": {"y": [16]}, "predictions": {"y": [0.0] * 16}})

    def reply(self, status: int, document: dict[str, Any]) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("X-Request-Id", self.headers.get("X-Request-Id", ""))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def stream(self, tokens: int) -> None:
        self.send_response(200)
        self.send_header("X-Request-Id", self.headers["X-Request-Id"])
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for line in (*(b'{"token": %d}\n' % n for n in range(tokens)), b'{"done": true}\n'):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *args: Any) -> None:
        pass


@contextmanager
def answering(handler: type[Flask]) -> Iterator[str]:
    """The word for a server of that kind."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"flask://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def flask() -> Iterator[str]:
    """The word for a server of that kind."""
    with answering(Flask) as word:
        yield word


PROMPTS = """\
warmup = "200ms"

[model]
name = "truth"

[payload]
distinct = 2

[payload.generate]
prompt_tokens = 4
output_tokens = 3

[load]
arrivals = "closed"

[check]
reference = false
"""


TWO = (
    ONE
    + """
class Prompter(TargetUser):
    workload = "./prompts.toml"
    wait_time = constant(0.01)

    @task
    def ask(self):
        assert self.request().outputs()["tokens"].tolist() == [0, 1, 2]
"""
)


@pytest.fixture(scope="module")
def two(locust: Callable[..., Any], flask: str) -> tuple[Any, Run, Run]:
    """Locust, and the runs of users with two workloads: one of tensors with errors, one of prompts."""
    made = locust(TWO, answer=1.0)
    (made.folder / "prompts.toml").write_text(PROMPTS, encoding="utf-8")
    made.run("-u", "4", "-r", "100", "-t", "2s", "--host", flask)
    prompts, tensors = sorted(map(store.load_run, made.folders()), key=lambda run: run.workload.name)
    return made, tensors, prompts


def test_what_goes_wrong_is_recorded_and_a_failure_to_locust(two: tuple[Any, Run, Run]) -> None:
    """A refusal at once, a wrong answer when it is compared; Locust's exit code tells that there were some."""
    made, run, others = two
    assert made.code == 1
    assert set(run.records["error"]) == {OK, STATUS, ANSWER}
    failed = int(np.count_nonzero(run.records["error"]))
    assert made.statistics() == {"num_requests": len(run.records) + len(others.records), "num_failures": failed}
    assert run.load["messages"]["status"] == "HTTP 503: too busy"
    for told in ("status: HTTP 503: too busy", "answer: output y of request"):
        assert told in made.err


def test_users_with_another_workload_make_a_run_of_their_own(two: tuple[Any, Run, Run]) -> None:
    """In the same test of Locust's, with their own number of users."""
    _, *runs = two
    assert [(run.workload.name, run.load["users"]) for run in runs] == [("truth", 2), ("prompts", 2)]


def test_streams_are_recorded_with_every_piece(two: tuple[Any, Run, Run]) -> None:
    """Three tokens a reply, each with its time; the tasks were given them too, or there would be exceptions in Locust's log."""
    made, _, run = two
    assert "AssertionError" not in made.err
    assert run.chunks is not None
    assert len(run.records) > 0
    assert set(run.records["error"]) == {OK}
    for n, record in enumerate(run.records):
        times, tokens = run.chunks.of_record(n)
        assert tokens.tolist() == [1, 1, 1]
        assert record["start_ns"] < times[0] <= times[1] <= times[2] <= record["end_ns"]


def test_a_slip_ends_locust_with_one_line(locust: Callable[..., Any]) -> None:
    """Before there are users, whatever the number of processes; nothing is left behind."""
    made = locust(ONE.replace("./truth.toml", "resnet51"))
    made.run("-u", "4", "-t", "10s", "--processes", "2", "--host", "triton-http://127.0.0.1:8000")
    (error,) = made.errors()
    assert error.startswith("workload 'resnet51': not found; tried")
    assert (made.code, "Traceback" in made.err, made.folders()) == (2, False, [])


class Gateway(Flask):
    """Refuses all that it is asked, but for who it is at the beginning, and says the token that it was asked with."""

    known = True

    def do_GET(self) -> None:
        if self.known:
            super().do_GET()
        else:
            self.reply(200, {"model": f"none for {self.token()}", "version": "1"})

    def do_POST(self) -> None:
        Gateway.known = False
        self.rfile.read(int(self.headers["Content-Length"]))
        self.reply(401, {"error": f"unknown token {self.token()}"})

    def token(self) -> str:
        return self.headers["X-Auth"].partition("=")[2]


KNOWN = ONE.replace("    wait", '    headers = ["X-Auth: key=9f86d081884c7d65"]\n    wait').replace(
    "self.request()", "print('said', self.request().message)"
)


def test_what_a_server_says_of_a_header_is_neither_shown_nor_kept(locust: Callable[..., Any]) -> None:
    """In the errors of requests, at the end of a run, and before there is one."""
    made = locust(KNOWN)
    with answering(Gateway) as word:
        made.run("-u", "1", "-t", "1s", "--host", word)
        told = [made.out, made.err, *(path.read_text() for path in made.folders()[0].glob("*.json*"))]
        assert "said HTTP 401: unknown token ***" in made.out
        assert made.made().load["server_at_end_problem"].endswith("it has: none for *** (1)")
        made.run("-u", "1", "-t", "1s", "--host", word)
    assert (made.code, len(made.errors())) == (3, 1)
    assert made.errors()[0].endswith("it has: none for *** (1)")
    assert "9f86d081" not in "".join([*told, made.out, made.err])
