"""Locust's users: each has a seat in the engine of its process from when it starts until it stops."""

import logging
from typing import Protocol

import gevent.event
from locust import User, task
from locust.env import Environment

logging.getLogger("locust").setLevel(logging.ERROR)  # its warnings are about its own users and statistics


AT_ONCE = 1e6  # users a second: Locust adds, or takes away, as many in one go, and then waits for a second


class Engine(Protocol):
    """What Locust's side sees of an engine."""

    failure: BaseException | None

    @property
    def finished(self) -> bool: ...
    def open_seat(self) -> None: ...
    def close_seat(self) -> None: ...
    def ready(self) -> bool: ...


class Seating(Environment):
    """Locust's environment, with the engine that the users sit in and the end that they wait for."""

    engine: Engine
    over: gevent.event.Event


class Seat(User):
    """A user who opens a seat in the engine, and stays until Locust stops it or the load is over."""

    environment: Seating

    def on_start(self) -> None:
        try:
            self.environment.engine.open_seat()
        except Exception as error:  # Locust would log it and go on with a user less
            self.environment.engine.failure = error

    def on_stop(self) -> None:
        if not self.environment.over.is_set():
            self.environment.engine.close_seat()

    @task
    def stay(self) -> None:
        self.environment.over.wait()


def seating() -> Seating:
    """An environment whose users take seats."""
    made = Seating(user_classes=[Seat])
    made.over = gevent.event.Event()
    return made
