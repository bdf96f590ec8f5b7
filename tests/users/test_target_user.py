"""What a class of users may name, and a wait time that keeps its schedule, in a process of its own for Locust's sake."""

import json
import subprocess
import sys
from typing import Any

import pytest

PROGRAM = """
import json
from types import SimpleNamespace
from bench.errors import UsageError
from bench.locustfile import TargetUser, constant_rate
from bench.users import target_user
from bench.users.process import Process, workload

class Nothing(TargetUser): pass
class Named(TargetUser): workload = "resnet50"
class Hosted(Named): host = "triton-http://class:8000"
class Targeted(Hosted): target = "triton-http://target:8000"
class Known(Targeted): headers = ["Authorization: Bearer s3cret", "Host: models.example"]
class Framed(Targeted): headers = ["Content-Length: 5"]

def told(ask):
    try:
        return str(ask())
    except UsageError as error:
        return str(error)

def process(host=None):
    return Process(SimpleNamespace(host=host, parsed_options=None), None)

def waits():
    now = [0]
    target_user.time = SimpleNamespace(perf_counter_ns=lambda: now[0])
    user, wait = SimpleNamespace(), constant_rate(10)
    for now[0] in (0, 130_000_000, 450_000_000, 460_000_000, 470_000_000):
        yield [wait(SimpleNamespace(user=user)), user._due_ns]

print(json.dumps({
    "nothing": told(lambda: workload(Nothing)),
    "named": told(lambda: process().named(Named)),
    "hosted": told(lambda: process().named(Hosted)),
    "option": told(lambda: process("triton-http://option:8000").named(Hosted)),
    "targeted": told(lambda: process("triton-http://option:8000").named(Targeted)),
    "known": [process().named(Known).headers, told(lambda: process().named(Known)), repr(process().named(Known))],
    "framed": told(lambda: process().named(Framed)),
    "waits": list(waits()),
}))
"""


@pytest.fixture(scope="module")
def said() -> Any:
    """What the program printed."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=True)
    return json.loads(done.stdout)


def test_a_class_that_names_too_little_is_told_what_is_needed(said: Any) -> None:
    """Which class, which key, and what there is."""
    assert said["nothing"].startswith(
        "class Nothing: workload: missing, and needed: a name, or the path of a .toml file; there"
    )
    assert said["named"].startswith("class Named: target: missing, and needed: in the class, or by --host, a URL such as ")


def test_the_headers_of_a_class_are_sent_and_not_shown(said: Any) -> None:
    """As those of --header; one that would break the protocol is refused, and says in which class."""
    headers, *shown = said["known"]
    assert headers == [["Authorization", "Bearer s3cret"], ["Host", "models.example"]]
    assert shown == ["resnet50 on triton-http://target:8000"] * 2
    assert said["framed"].startswith("class Framed: headers: Content-Length: says how a request is carried")


def test_a_target_of_a_class_goes_before_locusts_host(said: Any) -> None:
    """And --host before the host of a class, as Locust has it."""
    assert said["hosted"] == "resnet50 on triton-http://class:8000"
    assert said["option"] == "resnet50 on triton-http://option:8000"
    assert said["targeted"] == "resnet50 on triton-http://target:8000"


def test_a_constant_rate_catches_up_with_its_schedule(said: Any) -> None:
    """Every 100 ms from the first wait on: after a task that took too long the next follow at once, each due at its turn."""
    ms = 1_000_000
    assert said["waits"] == [[0.1, 100 * ms], [0.07, 200 * ms], [0.0, 300 * ms], [0.0, 400 * ms], [0.03, 500 * ms]]
