"""The workers of a load, gathered round their master: who they are, what they say, and which of them were lost."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bench
from bench.errors import BenchError, RunError, UsageError
from bench.load import Crew
from bench.load.crew import clocks
from bench.load.crew.clocks import Exchange, Offset
from bench.load.crew.peer import Peer, start

JOIN_S = 300.0  # how long workers from elsewhere are waited for
STOP_S = 15.0
EXCHANGES = 40  # of messages, from which the offset of a clock is taken
EXCHANGE_S = 10.0
ANYWHERE = ("*", "0.0.0.0", "::")


class Workers:
    """Starts those that are to be here, waits for those from elsewhere, and hears them all."""

    def __init__(self, crew: Crew, folder: Path, stopped: Callable[[], bool]) -> None:
        """`stopped` says whether to give up. RunError where nobody can join."""
        from bench.load.locust.master import Master

        self._crew, self._folder, self._stopped = crew, folder, stopped
        self.peers: list[Peer] = []
        self._refused: list[BenchError] = []
        host, port = (crew.host, crew.port) if crew.elsewhere else ("127.0.0.1", 0)
        self._master = Master(host, port, self._heard)
        here = "127.0.0.1" if host in ANYWHERE else host
        self.peers = [start(index, here, self._master.port, folder) for index in range(crew.here)]

    @property
    def working(self) -> list[Peer]:
        """Those of whom more is expected."""
        return [peer for peer in self.peers if peer.working]

    def gather(self, say: Callable[[str], None]) -> bool:
        """Wait until all have joined; False when stopped. RunError where they do not."""
        wanted, limit, told = self._crew.workers, time.monotonic() + JOIN_S, -1
        while (joined := sum(bool(peer.who) for peer in self.peers)) < wanted:
            come = sum(bool(peer.host) for peer in self.peers)
            if self._crew.elsewhere and come != told:
                told, port = come, self._master.port
                say(
                    f"waiting for workers from other hosts, {come} of {self._crew.elsewhere} joined; there: "
                    f"bench worker --master THIS-HOST:{port}"
                )
            self._raise_losses()
            if time.monotonic() > limit:
                raise RunError(f"{joined} of {wanted} workers joined within {JOIN_S:g} s")
            if not self.pause():
                return False
        self._master.complete({peer.who for peer in self.peers})
        return True

    def wait_for(self, kind: str, limit_s: float) -> bool:
        """Wait until all have said `kind`; False when stopped. What went wrong with one of them is raised."""
        limit = time.monotonic() + limit_s
        while late := [peer for peer in self.peers if kind not in peer.said]:
            self._raise_losses()
            if time.monotonic() > limit:
                raise RunError(f"{', '.join(peer.name for peer in late)}: not {kind} within {limit_s:g} s")
            if not self.pause():
                return False
        return True

    def tell(self, kind: str, **what: Any) -> None:
        """Say something to all that are still at work."""
        for peer in self.working:
            self._master.send(peer.who, kind, **what)

    def tell_one(self, peer: Peer, kind: str, **what: Any) -> None:
        """Say something to one."""
        self._master.send(peer.who, kind, **what)

    def spawn(self, users: int) -> None:
        """Have so many users in all."""
        self._master.spawn(users)

    def pause(self, seconds: float = 0.02) -> bool:
        """Let messages come and go; False when stopped."""
        self._master.pause(seconds)
        return not self._stopped()

    def measure_clocks(self) -> dict[int, Offset]:
        """The offset of the clock of each worker from elsewhere that is still there, by its index."""
        found = {}
        for peer in self.peers:
            if peer.host and not peer.lost:
                peer.exchanges.clear()
                limit = time.monotonic() + EXCHANGE_S
                for number in range(EXCHANGES):
                    self._master.send(peer.who, "ping", sent=time.perf_counter_ns())
                    while len(peer.exchanges) <= number and time.monotonic() < limit:
                        self._master.pause(0.001)
                if peer.exchanges:
                    found[peer.index] = clocks.offset(peer.exchanges)
        return found

    def lose(self, peer: Peer, how: str) -> None:
        """Nothing more is expected of a worker."""
        peer.lost = how
        self._master.forget(peer.who)

    def losses(self) -> Iterator[tuple[Peer, str]]:
        """Workers that were at work and are no longer, and how that shows."""
        silent = self._master.silent()
        for peer in self.working:
            if "problem" in peer.said:
                yield peer, str(peer.said["problem"]["message"]).splitlines()[0]
            elif how := peer.ended():
                yield peer, how
            elif peer.who in silent:
                yield peer, "was not heard of any more"

    def close(self) -> None:
        """Send all home."""
        self._master.quit()
        limit = time.monotonic() + STOP_S
        for peer in self.peers:
            peer.let_go()
        for peer in self.peers:
            peer.bury(limit - time.monotonic())

    def _raise_losses(self) -> None:
        if self._refused:
            raise self._refused[0]
        for peer, how in self.losses():
            if problem := peer.said.get("problem"):
                kind = UsageError if problem["exit_code"] == UsageError.exit_code else RunError
                raise kind(f"{peer.name}: {problem['message']}" if peer.host else problem["message"])
            raise RunError(f"{peer.name} {how} before the run began{peer.last_words()}")

    def _heard(self, who: str, kind: str, what: dict[str, Any]) -> None:
        now = time.perf_counter_ns()
        if kind == "hello":
            self._joined(who, what)
            return
        peer = next((peer for peer in self.peers if peer.who == who), None)
        if peer is None or peer.lost:
            return
        if kind == "records":
            peer.take(what, self._folder)
        elif kind == "pong":
            peer.exchanges.append(Exchange(what["sent"], what["t_ns"], now))
        else:
            peer.said[kind] = what

    def _joined(self, who: str, about: dict[str, Any]) -> None:
        """A worker says who it is."""
        if about["index"] is not None:
            self.peers[about["index"]].who = who
            return
        if about["version"] != bench.__version__:
            there, here = about["version"], bench.__version__
            self._refused.append(
                RunError(f"the worker on host {about['host']} is of bench {there}, this is {here}: they have to be the same")
            )
        elif len(self.peers) < self._crew.workers:
            self.peers.append(Peer(len(self.peers), who=who, host=about["host"], pid=about["pid"]))
        else:
            self._master.send(who, "stop")
