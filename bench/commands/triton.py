"""`bench triton`: install Tritons side by side, and list those that can be had."""

import argparse
from collections.abc import Callable

from bench.errors import OK
from bench.servers import backend_env, installs, releases

Line = Callable[[str], None]


def arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `bench triton`."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="install|list")
    install = verbs.add_parser("install", help="install Triton and what runs its models", description=_INSTALL)
    install.add_argument(
        "versions", nargs="*", metavar="VERSION", help=f"an NGC release or a version (default {releases.DEFAULT})"
    )
    verbs.add_parser("list", help="the versions that can be had, and where those that are installed stand")


_INSTALL = "Download NVIDIA's tritonserver by pip, checked against a known hash, and make the Python environment of its models."


def run(args: argparse.Namespace, out: Line, say: Line) -> int:
    """Do what the verb says."""
    if args.verb == "list":
        for line in _table():
            out(line)
        return OK
    wanted = [releases.find(version) for version in args.versions or [releases.DEFAULT]]
    backend_env.check_machine()
    for release in wanted:
        out(f"Triton {release.ngc} ({release.triton}): {installs.install(release, say)}")
    backend_env.backend_environment(say)
    return OK


def _table() -> list[str]:
    rows = [("release", "version", "from", "installed in")]
    for release in releases.RELEASES:
        folder = installs.installed(release)
        ngc = f"{release.ngc} (default)" if release.ngc == releases.DEFAULT else release.ngc
        rows.append((ngc, release.triton, f"nvidia-pytriton {release.wheel}", str(folder or "-")))
    return ["{:<16} {:<9} {:<24} {}".format(*row) for row in rows]
