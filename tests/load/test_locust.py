"""Locust's side, in a process of its own because importing Locust changes much."""

import subprocess
import sys

import pytest

PROGRAM = """
import sys
from bench.load.locust.local import drive

class Engine:
    failure, finished, seats = None, True, 0
    def open_seat(self):
        if sys.argv[1] == "broken":
            raise RuntimeError("no seat to be had")
        self.seats += 1
    def close_seat(self):
        self.seats -= 1
    def ready(self):
        return sys.argv[1] == "ready"

engine, heard = Engine(), []
began = drive(engine, lambda: 3, 0.3, lambda: sys.argv[1] == "stopped", lambda: heard.append("ready"), lambda: 0.1)
print(began, engine.seats, heard)
"""


STEPS = """
import time
from bench.load.locust.local import drive

class Engine:
    failure, seats, most = None, 0, 0
    begun = time.monotonic()
    @property
    def finished(self):
        return time.monotonic() - self.begun > 1.5
    def open_seat(self):
        self.seats += 1
    def close_seat(self):
        self.seats -= 1
    def ready(self):
        return True

engine = Engine()
seen = []
def users():
    return 2 if time.monotonic() - engine.begun < 0.4 else 5 if time.monotonic() - engine.begun < 0.9 else 1
def tick():
    seen.append(engine.seats)
    return 0.1
drive(engine, users, 5, lambda: False, lambda: None, tick)
print(sorted(set(seen)), engine.seats)
"""


def drive(how: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PROGRAM, how]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_every_user_takes_a_seat_before_the_start() -> None:
    """Three users, three seats, and then the word that all are ready."""
    assert drive("ready").stdout == "True 3 ['ready']\n"


def test_users_come_and_go_as_their_number_changes() -> None:
    """Two, then five, then one, each change at once; who is there at the end keeps the seat."""
    done = subprocess.run([sys.executable, "-c", STEPS], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "[1, 2, 5] 1\n"


@pytest.mark.parametrize("how", ["never", "stopped"])
def test_users_that_are_never_ready_do_not_wait_for_ever(how: str) -> None:
    """Neither when the connections do not come to stand, nor when the command is gone."""
    assert drive(how).stdout.startswith("False")


def test_a_user_that_finds_no_seat_ends_the_load_with_its_error() -> None:
    """Locust would log it and go on with fewer users."""
    assert "no seat to be had" in drive("broken").stderr
