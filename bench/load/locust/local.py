"""Users of one process, each a seat in its engine, started and stopped by Locust's local runner."""

import os
import time
from collections.abc import Callable
from typing import Protocol

# nothing here blocks but on gevent's own calls, and the engine's threads need the real ones
os.environ["LOCUST_SKIP_MONKEY_PATCH"] = "1"

import gevent.event
from locust import User, task
from locust.env import Environment

TICK_S = 0.1


class Engine(Protocol):
    """What Locust's side sees of an engine."""

    failure: BaseException | None

    @property
    def finished(self) -> bool: ...
    def open_seat(self) -> None: ...
    def ready(self) -> bool: ...


class Seating(Environment):
    """Locust's environment, with the engine the users sit in and the end they wait for."""

    engine: Engine
    over: gevent.event.Event


class Seat(User):
    """A user who opens a seat in the engine and stays until the load is over."""

    environment: Seating

    def on_start(self) -> None:
        try:
            self.environment.engine.open_seat()
        except Exception as error:  # Locust would log it and go on with a user less
            self.environment.engine.failure = error

    @task
    def stay(self) -> None:
        self.environment.over.wait()


def drive(
    engine: Engine, users: int, limit_s: float, stopped: Callable[[], bool], ready: Callable[[], None], tick: Callable[[], None]
) -> bool:
    """Start `users`, call `ready` when all have their seats, then `tick` ten times a second until the engine has finished.

    False when not all had their seats within `limit_s`, or `stopped` said so before.
    """
    environment = Seating(user_classes=[Seat])
    environment.engine, environment.over = engine, gevent.event.Event()
    runner = environment.create_local_runner()
    runner.start(users, spawn_rate=users)
    limit = time.monotonic() + limit_s
    try:
        while runner.user_count < users or not engine.ready():
            if engine.failure is not None:
                raise engine.failure
            if stopped() or time.monotonic() > limit:
                return False
            gevent.sleep(0.01)
        ready()
        while not engine.finished:
            tick()
            gevent.sleep(TICK_S)
        return True
    finally:
        environment.over.set()
        runner.quit()
