"""The flags that say which processes make the load."""

import argparse

from bench import words
from bench.commands.arrival_flags import count, reads
from bench.errors import UsageError
from bench.load import Crew
from bench.words import Word
from bench.workload import Workload

PORT = 5557  # Locust's own
ANYWHERE = "*"


def _place(text: str) -> tuple[str, int]:
    return words.host_and_port(text, PORT)


place = reads(_place)  # HOST:PORT, as a flag's type


def add(parser: argparse.ArgumentParser) -> None:
    """Add them to a parser."""
    group = parser.add_argument_group("who makes the load")
    group.add_argument("--workers", type=count, metavar="N", help="processes on this machine that share it (default: 1; 0 with "
                       "--remote-workers): more than one where one cannot send fast enough")  # fmt: skip
    group.add_argument("--remote-workers", type=count, default=0, metavar="N",
                       help="wait for N processes that other hosts bring by `bench worker`")  # fmt: skip
    group.add_argument("--bind", type=place, metavar="HOST:PORT",
                       help=f"where they join this command (default: every address, port {PORT})")  # fmt: skip


def crew(args: argparse.Namespace, workload: Workload, *targets: Word) -> Crew:
    """The processes that the flags ask for; UsageError where the load cannot be shared so."""
    away = args.remote_workers
    if args.bind and not away:
        raise UsageError("--bind goes with --remote-workers")
    host, port = args.bind or (ANYWHERE, PORT)
    made = Crew(args.workers or (0 if away else 1), away, host, port) if away else Crew(args.workers or 1)
    for word in targets:
        if word.kind == "echo" and made.workers > 1:
            raise UsageError(f"--workers: target {word} is answered in virtual time, by no process")
        if word.kind == "onnx" and away:
            raise UsageError(
                f"--remote-workers: target {word} is in the load process itself, which has the model on this machine"
            )
    if made.workers > (users := workload.load.connections):
        raise UsageError(
            f"{made.workers} workers cannot share {users} user{'s' if users > 1 else ''}: each needs one at least (--users)"
        )
    return made
