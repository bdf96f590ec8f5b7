"""The runs of one test in several Locust processes, without Locust's own ways between them, in a process for Locust's sake."""

import json
import subprocess
import sys
from typing import Any

import pytest

PROGRAM = """
import json, sys
from types import SimpleNamespace
from bench.errors import RunError
from bench.locustfile import TargetUser
from locust.event import Events
from bench.users import load_test, session
from bench.users.load_test import PLACES, LoadTest
from bench.users.process import Process

class One(TargetUser): workload, target, headers = "w", "triton-http://h:1", ["X-Token: secret-of-one"]
class Same(One): pass
class Other(One): headers = ["X-Token: secret-of-other"]

class Keeper:
    def __init__(self, prepared, driver, pids):
        self.folder, self.elsewhere, self.lost = prepared.folder, [], []
        self.place = SimpleNamespace(folder=self.folder, told=lambda: self.folder)

class Part:
    def __init__(self, prepared, place, *rest):
        self.place = place

load_test.Keeper, load_test.Part, load_test.place.heard = Keeper, Part, lambda told: told

def process(classes, options, role):
    environment = SimpleNamespace(host=None, parsed_options=options, user_classes=classes, locustfile="mine.py")
    made = Process(environment, SimpleNamespace(client_id="worker 1", send_message=lambda kind, told: sent.append(told)))
    made.master, made.worker = role == "master", role == "worker"
    return made

def opened(classes, options, role):
    of = process(classes, options, role)
    test = LoadTest(of, None)
    for n, named in enumerate(dict.fromkeys(map(of.named, of.kinds()))):
        prepared = SimpleNamespace(folder=f"{role} {n}", endpoint=SimpleNamespace(word=SimpleNamespace(kind="k")))
        test.open(named, SimpleNamespace(workload=SimpleNamespace(name="w"), **vars(prepared)))
    return test

sent, options = [], SimpleNamespace()
master = opened([One, Same, Other], options, "master")
told = json.loads(json.dumps(getattr(options, PLACES)))
worker = opened([One, Same, Other], SimpleNamespace(**{PLACES: told}), "worker")
places = [kind._part.place for kind in (One, Same, Other)]
worker.lost(RunError("the server said secret-of-one and secret-of-other"))
fewer = opened([Same, Other], SimpleNamespace(), "master")
for message in sent:
    master.hear(**message)
    fewer.hear(**message)
def ended(error, headless=True):
    of = process([One], SimpleNamespace(headless=headless), "master")
    of.environment.process_exit_code, of.environment.events = None, Events()
    of.environment.stop_timeout, of.runner.register_message = 0, lambda *of: None
    test = LoadTest(of, None)
    def fail(*_): raise error
    test._keepers = {"any": SimpleNamespace(finish=fail)}
    test.finish(False, False)
    try:
        session.Session(of).quit(exit_code=0)
    except SystemExit as end:
        return end.code
    return 0

print(json.dumps({
    "codes": [ended(RunError("no")), ended(OSError(28, "No space left")), ended(RunError("no"), headless=False)],
    "told": told,
    "places": places,
    "sent": sent,
    "lost": [keeper.lost for keeper in master._keepers.values()],
    "fewer": [len(keeper.lost) for keeper in fewer._keepers.values()],
}))
"""


@pytest.fixture(scope="module")
def said() -> Any:
    """What the program printed."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_classes_with_other_headers_have_runs_of_their_own_in_every_process(said: Any) -> None:
    """A worker writes what each sends into the run that the master keeps for it."""
    assert said["places"] == ["master 0", "master 0", "master 1"]


def test_what_becomes_of_a_workers_part_is_told_of_its_own_run(said: Any) -> None:
    """Once each, though the runs have the same workload and target; also where the master was asked for fewer classes."""
    assert [len(lost) for lost in said["lost"]] == [1, 1]
    assert said["fewer"] == [1, 1]


def test_no_value_of_a_header_goes_from_one_process_to_another(said: Any) -> None:
    """Neither to name a run nor in what a server has said."""
    assert "secret-of" not in json.dumps([said["told"], said["sent"], said["lost"]])
    assert {text for (text,) in said["lost"]} == {"worker 1: the server said *** and ***"}


def test_a_run_that_cannot_be_made_whole_is_locusts_exit_code_where_nobody_looks_on(said: Any) -> None:
    """Also where Locust had made it up already, as a master has; with the web UI there may be more tests to come."""
    assert said["codes"] == [3, 3, 0]
