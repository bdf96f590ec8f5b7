"""A page of evidence in Markdown: its title, the command that makes it, the machine that it was made on, and tables."""

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from textwrap import wrap

from bench import environment
from bench.errors import FAILED, OK, BenchError, RunError, UsageError
from bench.terminal import Terminal

PROTOCOLS = {"http": "HTTP", "grpc": "gRPC"}  # as a page has them
WIDTH = 120  # letters in a line of prose


def heading(title: str, command: str) -> Iterator[str]:
    """What every page begins with."""
    yield from (f"# {title}", "", f"Made by `{command}` on {machine(environment.fingerprint())}.", "")


def machine(facts: dict[str, object]) -> str:
    """A fingerprint in a few words: "AMD EPYC, 2 cores (virtual machine), Linux 6.1, CPython 3.11.7"."""
    where = f" ({facts['virtualization']})" if facts.get("virtualization") else ""
    cores = facts.get("cores_limit") or facts.get("cores_usable")
    return f"{facts.get('cpu')}, {cores} cores{where}, Linux {facts.get('kernel')}, {facts.get('python')}"


def prose(text: str) -> Iterator[str]:
    """A paragraph."""
    yield from (*wrap(text, WIDTH, break_on_hyphens=False), "")


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """The lines of a table, a row as soon as it is known."""
    yield line(columns)
    yield line(["---"] * len(columns))
    yield from map(line, rows)


def line(cells: Sequence[str]) -> str:
    """One row."""
    return f"| {' | '.join(cells)} |"


def verdict(held: bool) -> str:
    """What stands in the column "held"."""
    return "yes" if held else "**no**"


def main(
    parser: argparse.ArgumentParser,
    make: Callable[[argparse.Namespace, Callable[[str], None]], tuple[Iterable[str], bool]],
    arguments: Sequence[str] | None,
) -> int:
    """Make a page as the arguments say, and show it; the exit code, which is 1 where something was not held.

    `make` measures what the parsed arguments ask for, tells how far it is, and returns the lines and whether all was held.
    """
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the page there, too")
    options, say = parser.parse_args(arguments), Terminal()
    try:
        check_output(options.output)
        lines, held = make(options, say)
        publish(lines, options.output)
    except BenchError as error:
        say(f"error: {error}")
        return error.exit_code
    return OK if held else FAILED


def check_output(output: Path | None) -> None:
    """UsageError where no page can be written to `output`, told before minutes of measuring."""
    if output is not None and not output.parent.is_dir():
        raise UsageError(f"--output {output}: expected a file in a folder that is there; there is no {output.parent}")
    if output is not None and output.is_dir():
        raise UsageError(f"--output {output}: expected a file, this is a folder")


def publish(lines: Iterable[str], output: Path | None) -> None:
    """Print a page, line by line as it is made, and write it to `output` when it is whole. RunError."""
    made = []
    for text in lines:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
        made.append(text)
    if output is not None:
        try:
            output.write_text("\n".join(made) + "\n", encoding="utf-8")
        except OSError as error:
            raise RunError(f"--output {output}: cannot be written: {error.strerror}") from None
