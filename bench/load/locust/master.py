"""Locust's master: workers join it, it starts and stops their users, and messages of ours go with its own."""

from collections.abc import Callable
from typing import Any

import gevent
from locust import runners
from locust.exception import RPCError

from bench.errors import RunError
from bench.load.locust.seats import AT_ONCE, seating

PATIENCE_S = 10  # of silence after which a worker counts as gone; one that prepares holds its interpreter for seconds
KIND = "bench"  # of Locust's messages that carry ours

runners.HEARTBEAT_LIVENESS = PATIENCE_S

Heard = Callable[[str, str, dict[str, Any]], None]  # (who, kind, what)


class Master:
    """Locust's side of a load with several workers; `heard` gets what they say."""

    def __init__(self, host: str, port: int, heard: Heard) -> None:
        """Listen at `host` ("*": everywhere) and `port` (0: a free one). RunError where that cannot be."""
        self._environment = seating()
        try:
            self._runner: Any = self._environment.create_master_runner(host, port)
        except (SystemExit, RPCError, OSError) as error:  # Locust exits where the port is taken
            reason = "the port is taken" if isinstance(error, SystemExit) else str(error)
            raise RunError(f"cannot listen for workers at {host}:{port}: {reason}") from None
        self.port = int(self._runner.server.port)
        self._runner.register_message(KIND, lambda environment, msg: heard(msg.node_id, *msg.data))
        self._welcome = self._runner.handle_message
        vars(self._runner)["handle_message"] = self._handle
        self._complete = False

    def complete(self, workers: set[str]) -> None:
        """These are all: whoever else has come, or will come, gets no users."""
        self._complete = True
        for who in set(self._runner.clients) - workers:
            self.forget(who)

    def _handle(self, who: str, message: Any) -> None:
        """Hear a message of Locust's; who comes now may say who it is, and is no worker of this load."""
        if message.type == "client_ready" and self._complete:
            self._runner.send_message("ack", client_id=who, data={"index": -1})
        else:
            self._welcome(who, message)

    def send(self, who: str, kind: str, **what: Any) -> None:
        """Say something to one worker."""
        self._runner.send_message(KIND, [kind, what], who)

    def spawn(self, users: int) -> None:
        """Have so many users in all, spread evenly over the workers; does not wait for them."""
        gevent.spawn(self._runner.start, users, AT_ONCE)

    def silent(self) -> set[str]:
        """Workers that have said nothing for too long."""
        return {client.id for client in self._runner.clients.missing}

    def forget(self, who: str) -> None:
        """A worker is lost: Locust would give its users to the others later on."""
        self._runner.clients.pop(who, None)

    def pause(self, seconds: float) -> None:
        """Let messages come and go."""
        gevent.sleep(seconds)

    def quit(self) -> None:
        """Send the workers home."""
        self._runner.quit()
