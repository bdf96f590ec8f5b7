"""What a user's own Locust file imports: users whose requests are recorded as `bench run` records them."""

from typing import Any

from locust import events

from bench.users.process import Process
from bench.users.session import Session
from bench.users.target_user import Answer, Failed, TargetUser, constant_rate

__all__ = ["Answer", "Failed", "TargetUser", "constant_rate"]


def _begin(environment: Any, runner: Any, **_: Any) -> None:
    Session(Process(environment, runner)).make_ready()


events.init.add_listener(_begin)  # type: ignore[no-untyped-call]
