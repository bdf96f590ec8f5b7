"""List, show and check workload files."""

import argparse
from collections.abc import Callable
from pathlib import Path

from bench import errors, resources
from bench import workload as workloads
from bench.errors import UsageError


def arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="list|show|check")
    actions.add_parser("list", help="the workloads there are")
    show = actions.add_parser("show", help="print a workload file")
    check = actions.add_parser("check", help="read workload files and say what is wrong with them")
    show.add_argument("workload", help="a name, or a path to a .toml file")
    check.add_argument("workload", nargs="+", help="names, or paths to .toml files")


def run(args: argparse.Namespace, out: Callable[[str], None], say: Callable[[str], None]) -> int:
    match args.action:
        case "list":
            for name, path in resources.workload_names().items():
                out(f"{name:<16} {_described(path)}")
        case "show":
            out(_text(args.workload).rstrip())
        case "check":
            return _check(args.workload, out, say)
    return errors.OK


def _check(names: list[str], out: Callable[[str], None], say: Callable[[str], None]) -> int:
    code = errors.OK
    for name in names:
        try:
            workload = resources.load_workload(name)
        except UsageError as error:
            say(f"bench: {error}")
            code = error.exit_code
            continue
        size = workloads.payload_bytes(workload)
        out(f"{name}: ok: model {workload.model.name}, {size:,} bytes a request, {workload.payload.distinct} distinct requests")
    return code


def _described(path: Path) -> str:
    try:
        return resources.load_workload(str(path.absolute())).description
    except UsageError as error:
        return f"(broken: {error})"


def _text(name: str) -> str:
    workload = resources.load_workload(name)  # shows only what can be used
    path = Path(name) if "/" in name or name.endswith(".toml") else resources.workload_names()[workload.name]
    return path.read_text(encoding="utf-8")
