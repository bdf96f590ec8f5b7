"""Users of one process, each a seat in its engine, started and stopped by Locust's local runner."""

import time
from collections.abc import Callable

import gevent

from bench.load.locust.seats import AT_ONCE, Engine, seating


def drive(
    engine: Engine,
    users: Callable[[], int],
    limit_s: float,
    stopped: Callable[[], bool],
    ready: Callable[[], None],
    tick: Callable[[], float],
) -> bool:
    """Start as many users as `users` says, call `ready` when all have their seats, then `tick` until the engine has finished.

    `tick` says how many seconds there are to the next, and as often it is looked how many users there are to be. False when not
    all had their seats within `limit_s`, or `stopped` said so before.
    """
    environment = seating()
    environment.engine = engine
    runner = environment.create_local_runner()
    wanted = users()
    runner.start(wanted, AT_ONCE)
    limit = time.monotonic() + limit_s
    try:
        while runner.user_count < wanted or not engine.ready():
            if engine.failure is not None:
                raise engine.failure
            if stopped() or time.monotonic() > limit:
                return False
            gevent.sleep(0.01)
        ready()
        while not engine.finished:
            pause_s = tick()
            if (now := users()) != wanted:
                wanted = now
                runner.start(wanted, AT_ONCE)
            gevent.sleep(pause_s)
        return True
    finally:
        environment.over.set()
        runner.quit()
