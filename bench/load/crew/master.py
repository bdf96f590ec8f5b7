"""A load carried out by several workers, here or on other hosts: `python -m bench.load.crew.master`, spoken to over pipes."""

import sys
import time
from typing import Any

from bench.errors import RunError
from bench.load import Plan, pipes
from bench.load import plan as plans
from bench.load.crew import clocks, merged, parcels
from bench.load.crew.clocks import Offset
from bench.load.crew.peer import Peer
from bench.load.crew.workers import Workers
from bench.load.phases import Phases
from bench.load.worker import DRAIN_TICKS, users_at

PREPARE_S = 300.0  # for the slowest worker to ask its target, make its requests, measure its generator
START_S = 10.0  # what the users may take to start, beside the timeout of their connections
LEAD_NS = 300_000_000  # from the word "go" to the first send: the word has to get to every worker
END_S = 30.0  # what a worker may need after the last reply to hand over what it has
TICK_S = 0.1


class Master:
    """One plan being carried out by its crew."""

    def __init__(self, plan: Plan) -> None:
        self._plan, self._workload = plan, plan.workload
        self._orders = pipes.Orders()
        self._workers = Workers(plan.crew, plan.folder, self._orders.stop.is_set)
        self._phases = Phases.of(plan.workload, 0)
        self._interrupted = self._ended = False
        self._lost: list[str] = []

    def run(self) -> None:
        """Gather the crew, prepare, wait for the word, send, and say how it went."""
        try:
            if self._prepare() and self._told_to_go():
                self._begin()
                self._watch()
                pipes.tell(finished=self._finished())
        finally:
            self._workers.close()

    # ------------------------------------------------------------ before the start

    def _prepare(self) -> bool:
        """Until every user has a seat; False when told to stop."""
        workers = self._workers
        if not workers.gather(lambda line: pipes.tell(say={"line": line})):
            return False
        self._share_out()
        if not workers.wait_for("prepared", PREPARE_S):
            return False
        self._agree()
        workers.tell("calibrate")  # all at once, as they will send
        if not workers.wait_for("calibrated", PREPARE_S):
            return False
        workers.spawn(users_at(self._workload.load, 0))
        if not workers.wait_for("seated", self._workload.timeout_ns / 1e9 + START_S):
            return False
        for index, offset in workers.measure_clocks().items():
            workers.peers[index].offset = offset
        pipes.tell(ready=workers.peers[0].said["prepared"]["facts"])
        return True

    def _share_out(self) -> None:
        """Tell each worker what to do, and those from elsewhere what is in the files."""
        document = plans.to_document(self._plan)
        away = any(peer.host for peer in self._workers.peers)
        files = parcels.read(document["workload"]) if away else {}
        references = [of.reference.read_bytes() if of.reference else b"" for of in self._plan.files] if away else []
        for peer in self._workers.peers:
            plan = document | {"share": [peer.index, self._plan.crew.workers]}
            if peer.host:
                self._workers.tell_one(peer, "plan", plan=plan, files=files, references=references)
            else:
                self._workers.tell_one(peer, "plan", plan=plan)

    def _agree(self) -> None:
        """RunError where the workers were answered by different servers."""
        first, *others = self._workers.peers
        for peer in others:
            ours, theirs = (p.said["prepared"]["facts"] for p in (first, peer))
            if any(ours[key] != theirs[key] for key in ("name", "version", "inputs", "outputs")):
                raise RunError(
                    f"target {self._plan.target}: {first.name} was answered by {ours['name']} {ours['version']}, {peer.name} "
                    f"by {theirs['name']} {theirs['version']}: all have to reach the same server"
                )

    def _told_to_go(self) -> bool:
        while not self._orders.go.is_set():
            if not self._workers.pause():
                return False
        return True

    # ------------------------------------------------------------ the load

    def _begin(self) -> None:
        start_ns = time.perf_counter_ns() + LEAD_NS
        self._phases = Phases.of(self._workload, start_ns)
        for peer in self._workers.working:
            self._workers.tell_one(peer, "begin", start_ns=start_ns + peer.offset.ns)
        pipes.tell(started={"start_ns": start_ns, "window_ns": self._phases.window_ns})

    def _watch(self) -> None:
        """Until all workers have handed over what they have, or are lost."""
        users, looks = users_at(self._workload.load, 0), 0
        while self._workers.working:
            going_on, now, looks = self._workers.pause(TICK_S), time.perf_counter_ns(), looks + 1
            if not going_on and not self._interrupted:
                self._interrupted = True
                self._phases.end_ns = min(self._phases.end_ns, now)
                self._workers.tell("stop")
            self._note_losses(now)
            self._end_where_counted(now)
            if (wanted := users_at(self._workload.load, now - self._phases.window_ns)) != users:
                users = wanted
                self._workers.spawn(users)
            if not looks % DRAIN_TICKS:
                pipes.tell(progress=self._progress(now))

    def _note_losses(self, now: int) -> None:
        """Workers that ended, fell silent, or did not come to an end."""
        limit_ns = self._phases.limit_ns(self._workload.timeout_ns, streams=self._streams)
        losses = list(self._workers.losses())
        if now > limit_ns + END_S * 1e9:
            losses += [(peer, "did not come to an end") for peer in self._workers.working]
        for peer, how in losses:
            if peer.working:
                self._workers.lose(peer, how)
                when = f"after {max(0, now - self._phases.start_ns) / 1e9:.1f} s"
                self._lost.append(f"{peer.name} {how} {when}".replace("\n", " "))
                pipes.tell(say={"line": f"{self._lost[-1]}{peer.last_words()}"})

    def _end_where_counted(self, now: int) -> None:
        """A closed loop that counts requests ends when all workers together have so many."""
        if self._phases.requests is None or self._ended:
            return
        if sum(peer.said.get("counted", {}).get("replies", 0) for peer in self._workers.peers) >= self._phases.requests:
            self._ended = True
            self._phases.end_ns = min(self._phases.end_ns, now)
            self._workers.tell("end")

    @property
    def _streams(self) -> bool:
        return bool(self._workers.peers[0].said["prepared"]["streams"])

    def _progress(self, now: int) -> dict[str, int]:
        told = [peer.said.get("progress", {}) for peer in self._workers.peers]
        sums = {key: sum(one.get(key, 0) for one in told) for key in ("sent", "done", "errors")}
        return {"elapsed_ns": max(0, now - self._phases.start_ns), **sums}

    # ------------------------------------------------------------ the end

    def _finished(self) -> dict[str, Any]:
        ends = self._workers.measure_clocks()
        told = [peer for peer in self._workers.peers if "finished" in peer.said]
        if not told:
            raise RunError(f"no worker came to the end of the run: {'; '.join(self._lost)}")
        self._keep_answers(told)
        details = merged.details([peer.said["finished"]["details"] for peer in told])
        details["workers"] = [self._about(peer, ends.get(peer.index)) for peer in self._workers.peers]
        for peer in told:
            if peer.host and (missing := peer.said["finished"]["records"] - peer.received):
                self._lost.append(f"{peer.name} sent {missing:,} records that did not arrive")
        if self._lost:
            details["workers_lost"] = self._lost
        window = (self._phases.window_ns, max(self._phases.window_ns, self._phases.end_ns))
        return {"window_ns": window, "interrupted": self._interrupted, "details": details}

    def _about(self, peer: Peer, end: Offset | None) -> dict[str, Any]:
        """What the run's record says of a worker."""
        told = peer.said.get("finished", {}).get("details", {})
        about = {"worker": peer.index, "host": peer.host, "pid": peer.pid, "lost": peer.lost}
        about |= {key: told[key] for key in ("sent", "cpu_s", "engine_cpu_s") if key in told}
        if peer.host:
            moved = peer.offset if end is None else clocks.over(peer.offset, end)
            about |= {"clock_offset_ns": moved.ns, "clock_within_ns": moved.within_ns}
        return about

    def _keep_answers(self, told: list[Peer]) -> None:
        kept = []
        for peer in told:
            path = self._plan.folder / f"answers-{peer.index}.arrow"
            if peer.host:
                path.write_bytes(peer.said["finished"]["answers"])
            kept.append(path)
        merged.keep_answers(self._plan.folder, kept)


def main() -> int:
    """Carry out the plan on stdin."""
    pipes.settle()
    line = sys.stdin.readline()
    return pipes.carry_out(lambda: Master(plans.from_json(line)).run())


if __name__ == "__main__":
    sys.exit(main())
