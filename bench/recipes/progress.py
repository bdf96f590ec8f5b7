"""How far a long piece of work has come, said every few seconds."""

import time
from collections.abc import Callable
from typing import TypeVar

EVERY_S = 5.0

T = TypeVar("T")


def now_and_then(say: Callable[[str], None], sentence: Callable[[T], str]) -> Callable[[T], None]:
    """A function that is told at each step how much is done, and says it where the last time is long enough ago."""
    said_s = time.monotonic()

    def progress(done: T) -> None:
        nonlocal said_s
        if time.monotonic() - said_s > EVERY_S:
            said_s = time.monotonic()
            say(sentence(done))

    return progress
