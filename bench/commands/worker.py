"""Carry a part of the load that `bench run --remote-workers N` makes on another host."""

import argparse
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable

from bench import errors
from bench.commands.crew_flags import PORT, place

Line = Callable[[str], None]

KNOCK_S = 2.0
PAUSE_S = 1.0  # between two looks for a master
LEAVE_S = 20.0


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--master", type=place, required=True, metavar="HOST:PORT",
                        help=f"where the command waits for its workers (port {PORT} unless said otherwise)")  # fmt: skip
    parser.add_argument("--once", action="store_true", help="end after one run, instead of waiting for the next")


def run(args: argparse.Namespace, out: Line, say: Line) -> int:
    """Work for one run after another until Ctrl-C, which is how this command is meant to end: it exits with 0."""
    host, port = args.master
    try:
        while True:
            _wait(host, port, say)
            code = _work(host, port, say)
            if args.once:
                return errors.OK if code == 0 else errors.NOT_MADE
            time.sleep(PAUSE_S)
    except KeyboardInterrupt:
        say("stopping")
        return errors.OK


def _wait(host: str, port: int, say: Line) -> None:
    """Until somebody listens there."""
    said = False
    while True:
        try:
            socket.create_connection((host, port), KNOCK_S).close()
            return
        except OSError as error:
            if not said:
                reason = "no answer" if isinstance(error, TimeoutError) else error.strerror or str(error)
                say(f"waiting for a command at {host}:{port} ({reason}); Ctrl-C ends this")
                said = True
            time.sleep(PAUSE_S)


def _work(host: str, port: int, say: Line) -> int:
    """Carry one load's part, in a process of its own; its exit code."""
    say(f"working for {host}:{port} ...")
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "bench.load.crew.member", host, str(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        try:
            for line in process.stdout or ():
                ((kind, news),) = json.loads(line).items()
                say(str(news["message" if kind == "error" else "line"]))
            code = process.wait()
        except KeyboardInterrupt:
            process.stdin.close()  # type: ignore[union-attr]
            try:
                process.wait(LEAVE_S)
            except subprocess.TimeoutExpired:
                process.kill()
            raise
    if code:
        say(f"the worker ended with code {code}")
    return code
