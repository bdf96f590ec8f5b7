"""The command line: one verb a module, one place where an error becomes an exit code."""

import argparse
import os
import signal
import sys
from importlib import import_module
from typing import NoReturn

from bench import __version__, errors
from bench.errors import BenchError
from bench.terminal import Terminal

# verb -> (module, what it does); a module is imported when its verb is used
COMMANDS = {
    "demo": ("bench.commands.demo", "Flask against Triton on ResNet-50: the five-minute tour"),
    "run": ("bench.commands.run", "one measured run of a workload against a target"),
    "compare": ("bench.commands.compare", "is one side slower than the other: yes, no, or not yet known"),
    "report": ("bench.commands.report", "show stored runs again: text, Markdown, HTML, JSON, CSV"),
    "serve": ("bench.commands.serve", "a server in the foreground, as bench itself would start it"),
    "triton": ("bench.commands.triton", "install and list managed Triton servers"),
    "models": ("bench.commands.models", "build and list models"),
    "workloads": ("bench.commands.workloads", "list, show and check workloads"),
    "worker": ("bench.commands.worker", "carry a part of the load that another host's `bench run` makes"),
    "selfcheck": ("bench.commands.selfcheck", "how true and how cheap bench's own numbers are on this machine"),
    "doctor": ("bench.commands.doctor", "what bench finds on this machine"),
}


class Parser(argparse.ArgumentParser):
    """argparse with its errors sent through the one error boundary."""

    def error(self, message: str) -> NoReturn:
        raise errors.UsageError(f"{self.prog}: {message}; see `{self.prog} --help`")


def main(argv: list[str]) -> int:
    """Run one command and return its exit code; stdout gets the result, stderr what a person wants to know meanwhile."""
    say = Terminal()
    try:
        return _dispatch(argv, say)
    except BenchError as error:
        say(f"bench: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        say("bench: interrupted")
        return errors.INTERRUPTED


def _dispatch(argv: list[str], say: Terminal) -> int:
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(_overview())
        return errors.OK
    if argv[0] == "--version":
        print(f"bench {__version__}")
        return errors.OK
    if argv[0] not in COMMANDS:
        raise errors.UsageError(f"unknown command {argv[0]!r}; there are: {', '.join(COMMANDS)}")
    module = import_module(COMMANDS[argv[0]][0])
    parser = Parser(prog=f"bench {argv[0]}", description=module.__doc__, allow_abbrev=False)
    module.arguments(parser)
    args = parser.parse_args(argv[1:])
    try:
        code: int = module.run(args, _out, say)
    except BenchError as error:
        from bench.headers import hide  # a server may have said in its reply what it was sent

        error.args = (hide(str(error), getattr(args, "header", ())),)
        raise
    return code


def _out(text: str) -> None:
    """A line of the result; a reader who has seen enough (`| head`) does not change how the command ends."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _overview() -> str:
    lines = ["usage: bench COMMAND ...", "", "Measure inference serving.", ""]
    lines += [f"  {verb:<10} {what}" for verb, (_, what) in COMMANDS.items()]
    return "\n".join([*lines, "", "`bench COMMAND --help` tells more; `bench --version` the version."])


def entry() -> NoReturn:
    """The console script: a polite end (SIGTERM) is an interruption like Ctrl-C."""

    def interrupt(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    code = main(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:  # what is left unread goes nowhere, also when the interpreter flushes once more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)
